/* SPDX-License-Identifier: MIT
 * Peak of the 512-bit bf16 dot product. */
#include <immintrin.h>
#include <string.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 12 };

double peak_bf16_avx512bf16(uint64_t steps)
{
    const __m512 half = _mm512_set1_ps(0.5f), quarter = _mm512_set1_ps(0.25f);
    __m512 acc[CHAINS];
    __m512bh a = _mm512_cvtne2ps_pbh(half, half), b = _mm512_cvtne2ps_pbh(quarter, quarter);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_setzero_ps();
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
            __asm__ volatile("" : "+v"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 32 * 2;
}
