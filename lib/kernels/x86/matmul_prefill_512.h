/* SPDX-License-Identifier: MIT
 * The vectors of matmul_prefill_g32.h: 16 outputs, a panel, in 512 bits. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_512_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_512_H

#include <string.h>

#include "kernels/simd.h"
#include "kernels/x86/avx512.h"

enum {
    LANES = 16,
    TILE = 8 /* rows: three sums of each fit in 32 registers */
};
typedef __m512i ints;
typedef __m512 floats;

NIB_INLINE ints v_load_ints(const void *at)
{
    return _mm512_load_si512(at);
}

/* The same four bytes in every lane. */
NIB_INLINE ints v_four(const void *at)
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    return _mm512_set1_epi32(four);
}

NIB_INLINE ints v_int(int32_t x)
{
    return _mm512_set1_epi32(x);
}

NIB_INLINE ints v_add(ints a, ints b)
{
    return _mm512_add_epi32(a, b);
}

NIB_INLINE ints v_sub(ints a, ints b)
{
    return _mm512_sub_epi32(a, b);
}

NIB_INLINE ints v_add16(ints a, ints b)
{
    return _mm512_add_epi16(a, b);
}

NIB_INLINE ints v_madd16(ints a, ints b)
{
    return _mm512_madd_epi16(a, b);
}

/* Products of unsigned a and signed b, pairs added. */
NIB_INLINE ints v_maddubs(ints a, ints b)
{
    return _mm512_maddubs_epi16(a, b);
}

/* The same for signed a and b; |b| < 128. */
NIB_INLINE ints v_maddbs(ints a, ints b)
{
    b = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    return _mm512_maddubs_epi16(_mm512_abs_epi8(a), b);
}

/* As keep_sum (avx2.h). */
NIB_INLINE ints v_keep(ints v)
{
    __asm__("" : "+v"(v));
    return v;
}

NIB_INLINE floats v_float(ints x)
{
    return _mm512_cvtepi32_ps(x);
}

NIB_INLINE floats v_bits(ints x)
{
    return _mm512_castsi512_ps(x);
}

NIB_INLINE floats v_load(const float *at)
{
    return _mm512_load_ps(at);
}

NIB_INLINE floats v_set(float x)
{
    return _mm512_set1_ps(x);
}

NIB_INLINE floats v_mul(floats a, floats b)
{
    return _mm512_mul_ps(a, b);
}

NIB_INLINE floats v_fma(floats a, floats b, floats c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* The first `count` lanes, or all. */
NIB_INLINE floats v_load_first(const float *at, uint32_t count)
{
    return _mm512_maskz_loadu_ps(nib__lanes(count), at);
}

NIB_INLINE void v_store_first(float *to, floats x, uint32_t count)
{
    _mm512_mask_storeu_ps(to, nib__lanes(count), x);
}

#endif
