/* SPDX-License-Identifier: MIT
 * Peak of the 256-bit int8 dot product. */
#include <immintrin.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 12 };

double peak_int8_avxvnni(uint64_t steps)
{
    __m256i acc[CHAINS], a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm256_setzero_si256();
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm256_dpbusd_avx_epi32(acc[i], a, b);
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 32 * 2;
}
