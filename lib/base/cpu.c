/* SPDX-License-Identifier: MIT
 * CPU detection. */
#define _GNU_SOURCE
#include "base/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

static const char *const isa_names[NIB__ISA_COUNT] = {
    "scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "dotprod", "i8mm",
};

const char *nib__isa_name(nib__isa isa)
{
    return (unsigned)isa < NIB__ISA_COUNT ? isa_names[isa] : "unknown";
}

#if defined(__x86_64__)

static bool amx_permitted(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static bool has(uint32_t reg, unsigned bit)
{
    return (reg >> bit & 1u) != 0;
}

int nib__isa_available(nib__isa isa)
{
    if (isa == NIB__ISA_SCALAR) return 1;
    uint32_t a, b, c, d, a1, b7, c7, d7, b71, c71, d71;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, 27)) return 0; /* OSXSAVE */
    bool fma = has(c, 12), f16c = has(c, 29);
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return 0;
    if (!__get_cpuid_count(7, 1, &a1, &b71, &c71, &d71)) a1 = 0;
    uint32_t xcr0, xcr0_high;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));

    bool avx2 = fma && f16c && has(b7, 5) && has(b7, 8) && (xcr0 & 0x06) == 0x06;
    bool avx512 =
        avx2 && has(b7, 16) && has(b7, 17) && has(b7, 30) && has(b7, 31) && (xcr0 & 0xe6) == 0xe6;
    bool vnni = avx512 && has(c7, 11) && has(c7, 1);
    switch (isa) {
    case NIB__ISA_AVX2: return avx2;
    case NIB__ISA_AVXVNNI: return avx2 && has(a1, 4);
    case NIB__ISA_AVX512: return avx512;
    case NIB__ISA_AVX512VNNI: return vnni;
    case NIB__ISA_AMX:
        return vnni && has(a1, 5) && has(d7, 22) && has(d7, 24) && has(d7, 25) &&
               (xcr0 & 0x60000) == 0x60000 && amx_permitted();
    default: return 0;
    }
}

#elif defined(__aarch64__)

int nib__isa_available(nib__isa isa)
{
    switch (isa) {
    case NIB__ISA_SCALAR:
    case NIB__ISA_NEON: return 1; /* part of every AArch64 Linux */
    case NIB__ISA_DOTPROD: return (getauxval(AT_HWCAP) >> 20 & 1) != 0;
    case NIB__ISA_I8MM: return (getauxval(AT_HWCAP2) >> 13 & 1) != 0;
    default: return 0;
    }
}

#else

int nib__isa_available(nib__isa isa)
{
    return isa == NIB__ISA_SCALAR;
}

#endif

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
                             "avx2, avxvnni, avx512, avx512vnni, amx, neon, dotprod, i8mm",
                             cap);
        }
    }
    while (top > 0 && !nib__isa_available((nib__isa)top)) top--;
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
