/* SPDX-License-Identifier: MIT
 * What the int8 kernels of the AVX-512 levels share: from exact sums to results, as kernels.h says,
 * and the declarations of the kernels. */
#ifndef NIB_KERNELS_X86_INT8_AVX512_H
#define NIB_KERNELS_X86_INT8_AVX512_H

#include <string.h>

#include "kernels/panel.h"
#include "kernels/simd.h"
#include "kernels/x86/avx512.h"

/* 256 * hi + lo for 8 outputs, exact, then rounded once. */
NIB_INLINE __m256 eight_sums(__m256i hi, __m256i lo)
{
    __m512i sum = _mm512_slli_epi64(_mm512_cvtepi32_epi64(hi), 8);
    return _mm512_cvtepi64_ps(_mm512_add_epi64(sum, _mm512_cvtepi32_epi64(lo)));
}

NIB_INLINE __m512 plane_sums(__m512i hi, __m512i lo)
{
    __m256 low = eight_sums(_mm512_castsi512_si256(hi), _mm512_castsi512_si256(lo));
    __m256 high = eight_sums(_mm512_extracti64x4_epi64(hi, 1), _mm512_extracti64x4_epi64(lo, 1));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

NIB_INLINE const nib__int8_head *int8_head(const nib__packed *w, uint32_t panel)
{
    return (const nib__int8_head *)(const void *)nib__panel_at(w, panel);
}

NIB_INLINE float row_scale(const uint8_t *row)
{
    float scale;
    memcpy(&scale, row, sizeof scale);
    return scale;
}

extern const nib__matmul nib__int8_avx512vnni;      /* two planes: decode, and prefill */
extern const nib__matmul nib__int8_fast_avx512vnni; /* one plane */
extern const nib__matmul nib__prefill_int8_amx, nib__prefill_int8_fast_amx;

#endif
