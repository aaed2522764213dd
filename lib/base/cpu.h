/* SPDX-License-Identifier: MIT
 * Which instruction sets this process may use, as named levels. */
#ifndef NIB_BASE_CPU_H
#define NIB_BASE_CPU_H

#include "base/status.h"

/* Levels are bundles of features, in the order in which kernels override each other. */
typedef enum nib__isa {
    NIB__ISA_SCALAR = 0,
    NIB__ISA_AVX2,       /* AVX2, FMA, F16C, BMI2 */
    NIB__ISA_AVXVNNI,    /* AVX2 + 256-bit vpdpbusd */
    NIB__ISA_AVX512,     /* AVX-512 F, BW, VL, DQ */
    NIB__ISA_AVX512VNNI, /* AVX512 + VNNI + VBMI */
    NIB__ISA_AVX512BF16, /* AVX512VNNI + AVX512-BF16 */
    NIB__ISA_AMX,        /* AVX512BF16 + AMX tile, int8, bf16, permission granted */
    NIB__ISA_NEON,
    NIB__ISA_DOTPROD,
    NIB__ISA_I8MM,
    NIB__ISA_COUNT
} nib__isa;

const char *nib__isa_name(nib__isa isa);

/* The levels of this CPU, bit 1 << level; of AMX, that the CPU has it. */
uint32_t nib__isa_found(void);
/* 0 if the system does not let this process use a level that the CPU has. */
int nib__isa_permitted(nib__isa isa);

/* 1 if kernels of this level may run here: CPUID, XGETBV and, for AMX, the kernel's permission
 * (asked for on the first call; any refusal means "not available"). SCALAR is always there. */
int nib__isa_available(nib__isa isa);

/* The highest level available that does not exceed the cap (a level name; NULL: no cap).
 * ARGUMENT if the cap names no level of this architecture. */
nib_status nib__isa_choose(const char *cap, nib__isa *isa, nib_error *err);

/* CPUs this process may use: affinity mask and cgroup quota. At least 1. */
uint32_t nib__cpu_count(void);

#endif
