/* SPDX-License-Identifier: MIT
 * What the machine can do at most: multiply-add instructions that never wait for memory, and memory
 * that is read and not used. Kernels are shown as a share of these, measured in the same run. */
#ifndef NIB_BENCH_PEAK_H
#define NIB_BENCH_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* Runs `steps` rounds of one instruction on independent registers; returns the operations done (a
 * multiply and an add count two). The operands change nothing: no denormals, no NaN. */
typedef double (*peak_loop)(uint64_t steps);

double peak_fma_avx2(uint64_t steps);        /* vfmadd231ps ymm */
double peak_int8_avx2(uint64_t steps);       /* vpmaddubsw ymm */
double peak_int8_avxvnni(uint64_t steps);    /* vpdpbusd ymm */
double peak_fma_avx512(uint64_t steps);      /* vfmadd231ps zmm */
double peak_int8_avx512(uint64_t steps);     /* vpmaddubsw zmm */
double peak_int8_avx512vnni(uint64_t steps); /* vpdpbusd zmm */
double peak_bf16_avx512bf16(uint64_t steps); /* vdpbf16ps zmm */
double peak_int8_amx(uint64_t steps);        /* tdpbssd */
double peak_bf16_amx(uint64_t steps);        /* tdpbf16ps */
double peak_fma_neon(uint64_t steps);        /* fmla 4s */
double peak_int8_dotprod(uint64_t steps);    /* sdot */
double peak_int8_i8mm(uint64_t steps);       /* smmla */

#endif
