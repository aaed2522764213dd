/* SPDX-License-Identifier: MIT
 * Names of the levels, the choice of one, and how many CPUs there are. */
#define _GNU_SOURCE
#include "base/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static const char *const isa_names[NIB__ISA_COUNT] = {
    "scalar",     "avx2", "avxvnni", "avx512",  "avx512vnni",
    "avx512bf16", "amx",  "neon",    "dotprod", "i8mm",
};

const char *nib__isa_name(nib__isa isa)
{
    return (unsigned)isa < NIB__ISA_COUNT ? isa_names[isa] : "unknown";
}

static bool is_available(uint32_t found, nib__isa isa)
{
    return (unsigned)isa < NIB__ISA_COUNT && (found >> isa & 1) != 0 && nib__isa_permitted(isa);
}

int nib__isa_available(nib__isa isa)
{
    return is_available(nib__isa_found(), isa);
}

nib_status nib__isa_choose(const char *cap, nib__isa *isa, nib_error *err)
{
    int top = NIB__ISA_COUNT - 1;
    if (cap != NULL && cap[0] != '\0') {
        top = -1;
        for (int i = 0; i < NIB__ISA_COUNT; i++) {
            if (strcmp(cap, isa_names[i]) == 0) top = i;
        }
        if (top < 0) {
            return nib__fail(err, NIB_ERR_ARGUMENT,
                             "instruction set \"%s\": expected one of scalar, "
                             "avx2, avxvnni, avx512, avx512vnni, avx512bf16, amx, neon, "
                             "dotprod, i8mm",
                             cap);
        }
    }
    uint32_t found = nib__isa_found();
    while (top > 0 && !is_available(found, (nib__isa)top)) top--;
    *isa = (nib__isa)top;
    return NIB_OK;
}

/* "max 100000" or "150000 100000" in cgroup v2's cpu.max; 0 where there is no limit. */
static uint32_t cgroup_cpus(void)
{
    char text[64];
    int fd = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = '\0';
    uint64_t value[2] = {0, 0};
    const char *p = text;
    for (int i = 0; i < 2; i++) {
        if (*p < '0' || *p > '9') return 0;
        for (; *p >= '0' && *p <= '9' && value[i] < UINT32_MAX; p++) {
            value[i] = value[i] * 10 + (uint64_t)(*p - '0');
        }
        while (*p == ' ') p++;
    }
    if (value[1] == 0) return 0;
    uint64_t cpus = (value[0] + value[1] - 1) / value[1];
    return cpus == 0 ? 1 : cpus > 4096 ? 4096 : (uint32_t)cpus;
}

uint32_t nib__cpu_count(void)
{
    cpu_set_t set;
    uint32_t n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = (uint32_t)CPU_COUNT(&set);
    uint32_t limit = cgroup_cpus();
    if (limit != 0 && limit < n) n = limit;
    return n == 0 ? 1 : n;
}
