/* SPDX-License-Identifier: MIT
 * Reads packed panels (layout: kernels.h) with AVX-512: one group of 32 k becomes 8 registers of
 * [16 rows][4 k] unsigned codes, its scales and mins become registers of 16 float32.
 *
 * Every function is inlined with a constant `format`, so that each kernel is compiled once per
 * format without a branch inside. The constants repeat nib__layout_of(), which the kernel test
 * checks by comparing results; only for the code-book formats the zero point differs (ours alone,
 * the exact integer sums do not depend on it). */
#ifndef NIB_KERNELS_X86_UNPACK_AVX512_H
#define NIB_KERNELS_X86_UNPACK_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "kernels/simd.h"
#include "kernels/x86/avx512.h"

NIB_INLINE int code_bits(nib__format f)
{
    switch (f) {
    case NIB__TQ2_0:
    case NIB__Q2_K: return 2;
    case NIB__Q3_K: return 3;
    case NIB__Q5_0:
    case NIB__Q5_1:
    case NIB__Q5_K: return 5;
    case NIB__Q6_K: return 6;
    case NIB__Q8_0: return 8;
    default: return 4;
    }
}

/* Codes are indices into a 16-entry book of signed bytes. */
NIB_INLINE int has_book(nib__format f)
{
    return f == NIB__IQ4_NL || f == NIB__IQ4_XS || f == NIB__IQ2_XS || f == NIB__MXFP4;
}

NIB_INLINE int code_zero(nib__format f)
{
    switch (f) {
    case NIB__Q4_0: return 8;
    case NIB__Q5_0: return 16;
    case NIB__Q6_K: return 32;
    case NIB__Q3_K: return 4;
    case NIB__TQ2_0: return 1;
    case NIB__Q8_0:
    case NIB__IQ4_NL:
    case NIB__IQ4_XS:
    case NIB__IQ2_XS:
    case NIB__MXFP4: return 128;
    default: return 0;
    }
}

/* The same of a layout, where the format is no constant. */
static inline int32_t layout_zero(const nib__layout *layout)
{
    return layout->table != NULL ? 128 : layout->zero;
}

NIB_INLINE int has_min(nib__format f)
{
    return f == NIB__Q4_1 || f == NIB__Q5_1 || f == NIB__Q4_K || f == NIB__Q5_K || f == NIB__Q2_K;
}

/* Groups of 32 k per entry of the scale area. */
NIB_INLINE uint32_t block_groups(nib__format f)
{
    switch (f) {
    case NIB__Q2_K:
    case NIB__Q3_K:
    case NIB__Q4_K:
    case NIB__Q5_K:
    case NIB__Q6_K:
    case NIB__IQ2_XS:
    case NIB__TQ2_0:
    case NIB__IQ4_XS: return 8;
    default: return 1;
    }
}

/* Scales per group of 32 k. */
NIB_INLINE int group_scales(nib__format f)
{
    return f == NIB__Q2_K || f == NIB__Q3_K || f == NIB__Q6_K || f == NIB__IQ2_XS ? 2 : 1;
}

NIB_INLINE size_t group_bytes(nib__format f)
{
    return 64 * (size_t)code_bits(f);
}

NIB_INLINE size_t scale_bytes(nib__format f)
{
    switch (f) {
    case NIB__Q4_1:
    case NIB__Q5_1: return 64;
    case NIB__Q4_K:
    case NIB__Q5_K: return 64 + 8 * 32;
    case NIB__Q2_K: return 64 + 16 * 32;
    case NIB__Q3_K:
    case NIB__IQ2_XS:
    case NIB__Q6_K: return 32 + 16 * 16;
    case NIB__TQ2_0:
    case NIB__IQ4_XS: return 32 + 8 * 16;
    default: return 32;
    }
}

/* The book as unsigned bytes (value + 128) in every 128-bit lane; unused by other formats. */
NIB_INLINE __m512i load_book(nib__format f, const nib__layout *layout)
{
    if (!has_book(f)) return _mm512_setzero_si512();
    __m128i book = _mm_loadu_si128((const __m128i *)(const void *)layout->table);
    return _mm512_broadcast_i32x4(_mm_xor_si128(book, _mm_set1_epi8((char)0x80)));
}

/* Bits [from, from + 2) etc. of every byte moved to bit `to`: the caller masks. */
NIB_INLINE __m512i move_bits(__m512i v, int from, int to)
{
    return from > to ? _mm512_srli_epi16(v, (unsigned)(from - to))
                     : _mm512_slli_epi16(v, (unsigned)(to - from));
}

/* a | (b & mask) */
NIB_INLINE __m512i or_masked(__m512i a, __m512i b, int mask)
{
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8((char)mask), 0xf8);
}

/* Half a group: lines 4 half .. 4 half + 3 of [16 rows][4 k]. codes: group_bytes() bytes, 64-byte
 * aligned. */
NIB_INLINE void unpack_half(nib__format f, const uint8_t *codes, int half, __m512i book,
                            __m512i line[4])
{
    const __m512i *src = (const __m512i *)(const void *)codes;
    const int bits = code_bits(f);
    if (bits == 8) {
        NIB_UNROLL
        for (int j = 0; j < 4; j++) line[j] = src[4 * half + j];
    } else if (bits >= 4) {
        const __m512i low = _mm512_set1_epi8(15);
        NIB_UNROLL
        for (int t = 0; t < 2; t++) {
            __m512i v = src[2 * half + t];
            line[2 * t] = _mm512_and_si512(v, low);
            line[2 * t + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
        }
    } else {
        NIB_UNROLL
        for (int j = 0; j < 4; j++) {
            line[j] = _mm512_and_si512(_mm512_srli_epi16(src[half], (unsigned)(2 * j)),
                                       _mm512_set1_epi8(3));
        }
    }
    if (bits == 5 || bits == 3) { /* one high bit a code: bit j of a byte belongs to line j */
        const int at = bits == 5 ? 4 : 2;
        const __m512i high = half != 0 ? _mm512_srli_epi16(src[at], 4) : src[at];
        NIB_UNROLL
        for (int j = 0; j < 4; j++) line[j] = or_masked(line[j], move_bits(high, j, at), 1 << at);
    } else if (bits == 6) {
        NIB_UNROLL
        for (int j = 0; j < 4; j++) {
            line[j] = or_masked(line[j], move_bits(src[4 + half], 2 * j, 4), 0x30);
        }
    }
    if (has_book(f)) {
        NIB_UNROLL
        for (int j = 0; j < 4; j++) line[j] = _mm512_shuffle_epi8(book, line[j]);
    }
}

/* All 8 lines of a group. */
NIB_INLINE void unpack_group(nib__format f, const uint8_t *codes, __m512i book, __m512i line[8])
{
    unpack_half(f, codes, 0, book, line);
    unpack_half(f, codes, 1, book, line + 4);
}

NIB_INLINE __m512 load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

NIB_INLINE __m512 load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

NIB_INLINE __m512 load_i8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* What one entry of the scale area says for all its groups. */
typedef struct block_scale {
    __m512 d, dmin;
    const uint8_t *parts; /* per scale group: factors of d and dmin */
} block_scale;

NIB_INLINE block_scale load_block_scale(nib__format f, float unit, const uint8_t *entry)
{
    block_scale b = {_mm512_setzero_ps(), _mm512_setzero_ps(), entry + 32};
    if (f == NIB__MXFP4) { /* bf16: the high half of a float32 */
        __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)entry);
        b.d = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
        return b;
    }
    b.d = load_f16(entry);
    /* Formats with a unit other than 1 are twins of these two. */
    if (f == NIB__IQ4_XS || f == NIB__IQ2_XS) b.d = _mm512_mul_ps(b.d, _mm512_set1_ps(unit));
    if (has_min(f)) {
        b.dmin = load_f16(entry + 32);
        b.parts = entry + 64;
    }
    return b;
}

/* Scale and min of scale group `i` of the block; min untouched where the format has none. */
NIB_INLINE void group_scale(nib__format f, const block_scale *b, uint32_t i, __m512 *s, __m512 *m)
{
    if (f == NIB__Q4_K || f == NIB__Q5_K || f == NIB__Q2_K) {
        *s = _mm512_mul_ps(b->d, load_u8(b->parts + 32 * (size_t)i));
        __m512 product = _mm512_mul_ps(b->dmin, load_u8(b->parts + 32 * (size_t)i + 16));
        *m = _mm512_xor_ps(product, _mm512_set1_ps(-0.0f));
    } else if (f == NIB__Q6_K || f == NIB__Q3_K || f == NIB__IQ4_XS || f == NIB__IQ2_XS ||
               f == NIB__TQ2_0) {
        *s = _mm512_mul_ps(b->d, load_i8(b->parts + 16 * (size_t)i));
    } else {
        *s = b->d;
        if (has_min(f)) *m = b->dmin;
    }
}

/* Lanes of this panel that are real outputs. */
NIB_INLINE __mmask16 panel_mask(const nib__packed *w, uint32_t panel)
{
    return nib__lanes(w->n - panel * NIB__PANEL);
}

#endif
