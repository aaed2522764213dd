/* SPDX-License-Identifier: MIT
 * Peak of the 512-bit int8 dot product. */
#include <immintrin.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 12 };

double peak_int8_avx512vnni(uint64_t steps)
{
    __m512i acc[CHAINS], a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_setzero_si512();
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
            __asm__ volatile("" : "+v"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 64 * 2;
}
