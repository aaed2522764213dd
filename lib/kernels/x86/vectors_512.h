/* SPDX-License-Identifier: MIT
 * 16 lanes in 512 bits, by the names that kernels written once for several widths use
 * (matmul_prefill_g32.h, attention_int16.h, attention_tile.h). Addresses need no alignment. */
#ifndef NIB_KERNELS_X86_VECTORS_512_H
#define NIB_KERNELS_X86_VECTORS_512_H

#include "kernels/x86/avx512.h"

enum { LANES = 16 };
typedef __m512i ints;
typedef __m512 floats;

NIB_INLINE floats v_set(float x)
{
    return _mm512_set1_ps(x);
}

NIB_INLINE floats v_load(const float *at)
{
    return _mm512_loadu_ps(at);
}

NIB_INLINE void v_store(float *to, floats x)
{
    _mm512_storeu_ps(to, x);
}

/* The first `count` lanes, or all; the others are 0 and are not touched. */
NIB_INLINE floats v_load_first(const float *at, uint32_t count)
{
    return _mm512_maskz_loadu_ps(nib__lanes(count), at);
}

NIB_INLINE void v_store_first(float *to, floats x, uint32_t count)
{
    _mm512_mask_storeu_ps(to, nib__lanes(count), x);
}

NIB_INLINE floats v_add(floats a, floats b)
{
    return _mm512_add_ps(a, b);
}

NIB_INLINE floats v_sub(floats a, floats b)
{
    return _mm512_sub_ps(a, b);
}

NIB_INLINE floats v_mul(floats a, floats b)
{
    return _mm512_mul_ps(a, b);
}

NIB_INLINE floats v_div(floats a, floats b)
{
    return _mm512_div_ps(a, b);
}

NIB_INLINE floats v_fma(floats a, floats b, floats c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* b where a is no number. */
NIB_INLINE floats v_max(floats a, floats b)
{
    return _mm512_max_ps(a, b);
}

NIB_INLINE ints v_int(int32_t x)
{
    return _mm512_set1_epi32(x);
}

/* The same four bytes in every lane. */
NIB_INLINE ints v_four(const void *at)
{
    return broadcast4_512(at);
}

NIB_INLINE ints v_load_ints(const void *at)
{
    return _mm512_loadu_si512(at);
}

NIB_INLINE void v_store_ints(void *to, ints x)
{
    _mm512_storeu_si512(to, x);
}

NIB_INLINE floats v_float(ints x)
{
    return _mm512_cvtepi32_ps(x);
}

#endif
