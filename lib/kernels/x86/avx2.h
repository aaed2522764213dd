/* SPDX-License-Identifier: MIT
 * What the AVX2 kernels share: reading packed panels (layout: kernels.h) with 256-bit registers,
 * and the declarations of the kernels. A line of 64 codes, [16 rows][4 k], is two halves of 8 rows.
 */
#ifndef NIB_KERNELS_X86_AVX2_H
#define NIB_KERNELS_X86_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/simd.h"

NIB_INLINE __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* Bits [from, ...) of every byte moved to bit `to`; the caller masks what came from neighbours. */
NIB_INLINE __m256i move_bits(__m256i v, int from, int to)
{
    return from > to ? _mm256_srli_epi16(v, from - to) : _mm256_slli_epi16(v, to - from);
}

NIB_INLINE __m256i masked_bits(const uint8_t *p, int from, int to, int mask)
{
    return _mm256_and_si256(move_bits(load_256(p), from, to), _mm256_set1_epi8((char)mask));
}

/* Line j (0..7) of a group, half h: 8 rows x 4 k unsigned codes. c, j and h are constants. */
NIB_INLINE __m256i code_line(code_class c, const uint8_t *group, int j, int h, __m256i book)
{
    const uint8_t *at = group + 32 * h;
    __m256i low;
    switch (c) {
    case CODES_8: return load_256(at + 64 * j);
    case CODES_TERNARY:
    case CODES_2: return masked_bits(at + 64 * (j / 4), 2 * (j % 4), 0, 3);
    case CODES_3:
        low = masked_bits(at + 64 * (j / 4), 2 * (j % 4), 0, 3);
        return _mm256_or_si256(low, masked_bits(at + 128, j, 2, 4));
    case CODES_4: return masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15);
    case CODES_5:
        low = masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15);
        return _mm256_or_si256(low, masked_bits(at + 256, j, 4, 16));
    case CODES_6:
        low = masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15);
        return _mm256_or_si256(low, masked_bits(at + 256 + 64 * (j / 4), 2 * (j % 4), 4, 48));
    case CODES_BOOK:
    case CODES_BOOK_16:
        return _mm256_shuffle_epi8(book, masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15));
    }
    return _mm256_setzero_si256();
}

/* The book as unsigned codes in both 128-bit lanes; zero for formats without one. */
NIB_INLINE __m256i load_book(const nib__layout *layout)
{
    if (layout->table == NULL) return _mm256_setzero_si256();
    __m128i book = _mm_loadu_si128((const __m128i *)(const void *)layout->table);
    book = _mm_add_epi8(book, _mm_set1_epi8((char)layout->zero));
    return _mm256_broadcastsi128_si256(book);
}

NIB_INLINE __m256 load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

NIB_INLINE __m256 load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

NIB_INLINE __m256i broadcast4(const void *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

/* The same value, but a compiler cannot see that: gcc would turn a chain of integer sums into a tree,
 * all products of which are alive at once and leave the registers. That cost a fifth of the time. */
NIB_INLINE __m256i keep_sum(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* Eight lanes, all or the first `count` of them. */
NIB_INLINE void store_first(float *dst, __m256 value, uint32_t count)
{
    if (count >= 8) {
        _mm256_storeu_ps(dst, value);
        return;
    }
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(dst, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane), value);
}

NIB_INLINE __m256 load_first(const float *src, uint32_t count)
{
    if (count >= 8) return _mm256_loadu_ps(src);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(src, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane));
}

/* All scales of a panel as float32, s[k / scale_group][16], and mins m likewise where the layout
 * has them; else m is not touched. */
void nib__expand_scales_avx2(const nib__layout *layout, const uint8_t *panel, uint32_t k, float *s,
                             float *m);

/* Largest magnitude as float32 bits: infinities and NaN win over numbers. */
uint32_t nib__max_bits_avx2(const float *x, uint32_t k);

/* Rows in the common layout, nib__row16. */
void nib__row16_round_avx2(const float *x, uint32_t k, void *row);

extern const nib__matmul nib__decode_coded_avx2, nib__decode_coded_avxvnni;
extern const nib__matmul nib__fast_decode_avx2;
extern const nib__matmul nib__prefill_coded_avx2, nib__prefill_coded_avxvnni;
extern const nib__matmul nib__matmul_float_avx2;
extern const nib__matmul nib__int8_avx2, nib__int8_avxvnni;

void nib__rmsnorm_avx2(const float *x, const float *w, uint32_t n, float eps, float *out);
void nib__layernorm_avx2(const float *x, const float *w, const float *b, uint32_t n, float eps,
                         float *out);
void nib__activate_init_avx2(nib__kernels *table);
void nib__add_avx2(const float *x, uint32_t n, float *y);
void nib__rope_avx2(float *head, const float *cos_sin, uint32_t n_rot, int32_t interleaved);
void nib__kv_store_avx2(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v);
uint32_t nib__argmax_avx2(const float *x, uint32_t n);
double nib__sum_exp_avx2(const float *x, uint32_t n, float max, float scale);
uint32_t nib__filter_above_avx2(const float *x, uint32_t n, float above, int32_t *ids);
void nib__run_maxima_avx2(const float *x, uint32_t n, float *out);
void nib__attention_avx2(const nib__attention *a);
size_t nib__attention_scratch_avx2(uint32_t dim);
void nib__attention_prefill_avx2(const nib__attention *a);
size_t nib__attention_prefill_scratch_avx2(uint32_t dim);
void nib__attention_prefill_avxvnni(const nib__attention *a);
size_t nib__attention_prefill_scratch_avxvnni(uint32_t dim);

#endif
