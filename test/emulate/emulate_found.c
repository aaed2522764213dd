/* SPDX-License-Identifier: MIT
 * In the place of lib/base/cpu_found.c: the levels of this CPU, and those that are emulated with
 * them. */
#include "base/cpu.h"

static uint32_t level(nib__isa isa, int there)
{
    return (uint32_t)(there != 0) << isa;
}

uint32_t nib__isa_found(void)
{
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("bmi2");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    int vnni =
        avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    int bf16 = vnni && __builtin_cpu_supports("avx512bf16");
    return level(NIB__ISA_SCALAR, 1) | level(NIB__ISA_AVX2, avx2) | level(NIB__ISA_AVX512, avx512) |
           level(NIB__ISA_AVX512VNNI, vnni) | level(NIB__ISA_AVXVNNI, vnni) |
           level(NIB__ISA_AVX512BF16, bf16) | level(NIB__ISA_AMX, bf16);
}

int nib__isa_permitted(nib__isa isa)
{
    (void)isa;
    return 1;
}
