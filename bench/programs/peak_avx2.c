/* SPDX-License-Identifier: MIT
 * Peak of the 256-bit multiply-adds. Twelve registers hide the latency of two units. */
#include <immintrin.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 12 };

double peak_fma_avx2(uint64_t steps)
{
    __m256 acc[CHAINS], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_set1_ps((float)i);
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm256_fmadd_ps(acc[i], a, b);
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 8 * 2;
}

double peak_int8_avx2(uint64_t steps)
{
    __m256i acc[CHAINS], b = _mm256_set1_epi8(1);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_set1_epi8((char)i);
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm256_maddubs_epi16(acc[i], b);
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 32 * 2;
}
