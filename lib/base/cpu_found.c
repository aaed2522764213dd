/* SPDX-License-Identifier: MIT
 * What the CPU has. `make test-emulated` puts another file in the place of this one. */
#define _GNU_SOURCE
#include <stdbool.h>

#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

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

/* By CPUID and XGETBV. Each CPUID leaves a virtual machine, so they are few: one for the highest
 * leaf, and one for each leaf. */
uint32_t nib__isa_found(void)
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

int nib__isa_permitted(nib__isa isa)
{
    return isa != NIB__ISA_AMX || amx_permitted();
}

#elif defined(__aarch64__)

uint32_t nib__isa_found(void)
{
    uint32_t dotprod = (uint32_t)(getauxval(AT_HWCAP) >> 20 & 1);
    uint32_t i8mm = (uint32_t)(getauxval(AT_HWCAP2) >> 13 & 1);
    return 1u << NIB__ISA_SCALAR | 1u << NIB__ISA_NEON /* part of every AArch64 Linux */ |
           dotprod << NIB__ISA_DOTPROD | i8mm << NIB__ISA_I8MM;
}

int nib__isa_permitted(nib__isa isa)
{
    (void)isa;
    return 1;
}

#else

uint32_t nib__isa_found(void)
{
    return 1u << NIB__ISA_SCALAR;
}

int nib__isa_permitted(nib__isa isa)
{
    (void)isa;
    return 1;
}

#endif
