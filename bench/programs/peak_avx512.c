/* SPDX-License-Identifier: MIT
 * Peak of the 512-bit multiply-adds without VNNI. */
#include <immintrin.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 12 };

double peak_fma_avx512(uint64_t steps)
{
    __m512 acc[CHAINS], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm512_fmadd_ps(acc[i], a, b);
            __asm__ volatile("" : "+v"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 16 * 2;
}

double peak_int8_avx512(uint64_t steps)
{
    __m512i acc[CHAINS], b = _mm512_set1_epi8(1);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_epi8((char)i);
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm512_maddubs_epi16(acc[i], b);
            __asm__ volatile("" : "+v"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 64 * 2;
}
