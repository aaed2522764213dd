/* SPDX-License-Identifier: MIT
 * The largest of 16-bit numbers, for attention_int16_256.h and _512.h. */
#ifndef NIB_KERNELS_X86_ATTENTION_SIZES_H
#define NIB_KERNELS_X86_ATTENTION_SIZES_H

#include "kernels/x86/avx2.h"

/* x86 has the smallest of 8 only, so they are counted from above. */
NIB_INLINE uint16_t largest_of_16(__m256i x)
{
    const __m128i ones = _mm_set1_epi16(-1);
    __m128i most = _mm_max_epu16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    __m128i least = _mm_minpos_epu16(_mm_xor_si128(most, ones));
    return (uint16_t)~_mm_extract_epi16(least, 0);
}

#endif
