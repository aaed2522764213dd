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
    "scalar",     "avx2", "avxvnni", "avx512",  "avx512vnni",
    "avx512bf16", "amx",  "neon",    "dotprod", "i8mm",
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

static uint32_t level(nib__isa isa, bool there)
{
    return (uint32_t)there << isa;
}

/* Levels by CPUID and XGETBV, bit 1 << level; of AMX, that the CPU has it. Each CPUID leaves a
 * virtual machine, so they are few: one for the highest leaf, and one for each leaf. */
static uint32_t levels(void)
{
    uint32_t a, b, c1, d, b7, c7, d7, a71, b71, c71, d71, xcr0, xcr0_high;
    uint32_t scalar = level(NIB__ISA_SCALAR, true);
    if (__get_cpuid_max(0, NULL) < 7) return scalar;
    __cpuid(1, a, b, c1, d);
    if (!has(c1, 27)) return scalar; /* OSXSAVE */
    __cpuid_count(7, 0, a, b7, c7, d7);
    a71 = 0;
    if (a >= 1) __cpuid_count(7, 1, a71, b71, c71, d71);
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));

    bool fma = has(c1, 12), f16c = has(c1, 29);
    bool avx2 = fma && f16c && has(b7, 5) && has(b7, 8) && (xcr0 & 0x06) == 0x06;
    bool avx512 =
        avx2 && has(b7, 16) && has(b7, 17) && has(b7, 30) && has(b7, 31) && (xcr0 & 0xe6) == 0xe6;
    bool vnni = avx512 && has(c7, 11) && has(c7, 1);
    bool bf16 = vnni && has(a71, 5);
    bool amx = bf16 && has(d7, 22) && has(d7, 24) && has(d7, 25) && (xcr0 & 0x60000) == 0x60000;
    return scalar | level(NIB__ISA_AVX2, avx2) | level(NIB__ISA_AVXVNNI, avx2 && has(a71, 4)) |
           level(NIB__ISA_AVX512, avx512) | level(NIB__ISA_AVX512VNNI, vnni) |
           level(NIB__ISA_AVX512BF16, bf16) | level(NIB__ISA_AMX, amx);
}

static bool permitted(nib__isa isa)
{
    return isa != NIB__ISA_AMX || amx_permitted();
}

#elif defined(__aarch64__)

static uint32_t levels(void)
{
    uint32_t dotprod = (uint32_t)(getauxval(AT_HWCAP) >> 20 & 1);
    uint32_t i8mm = (uint32_t)(getauxval(AT_HWCAP2) >> 13 & 1);
    return 1u << NIB__ISA_SCALAR | 1u << NIB__ISA_NEON /* part of every AArch64 Linux */ |
           dotprod << NIB__ISA_DOTPROD | i8mm << NIB__ISA_I8MM;
}

static bool permitted(nib__isa isa)
{
    (void)isa;
    return true;
}

#else

static uint32_t levels(void)
{
    return 1u << NIB__ISA_SCALAR;
}

static bool permitted(nib__isa isa)
{
    (void)isa;
    return true;
}

#endif

static bool is_available(uint32_t found, nib__isa isa)
{
    return (unsigned)isa < NIB__ISA_COUNT && (found >> isa & 1) != 0 && permitted(isa);
}

int nib__isa_available(nib__isa isa)
{
    return is_available(levels(), isa);
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
    uint32_t found = levels();
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
