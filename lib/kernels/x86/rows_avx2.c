/* SPDX-License-Identifier: MIT
 * Rounds rows of activations with AVX2. The 16-bit rows hold the same numbers as the scalar ones.
 */
#include "kernels/x86/rows_avx2.h"

#include "base/half.h"
#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"

NIB_INLINE uint32_t reduce_max(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

NIB_INLINE int32_t reduce_add(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* Bits without the sign: as integers they order like the magnitudes, with NaN on top. */
NIB_INLINE __m256i magnitude_bits(const float *x)
{
    return _mm256_and_si256(load_256(x), _mm256_set1_epi32(0x7fffffff));
}

uint32_t nib__max_bits_avx2(const float *x, uint32_t k)
{
    __m256i max = _mm256_setzero_si256();
    uint32_t i = 0;
    for (; i + 8 <= k; i += 8) max = _mm256_max_epi32(max, magnitude_bits(x + i));
    uint32_t top = reduce_max(max), rest = nib__max_magnitude_bits(x + i, k - i);
    return rest > top ? rest : top;
}

/* Sixteen values as 16-bit q; adds them up. `to` as in nib__row16_scale. */
NIB_INLINE __m256i round_16(const float *x, float to, int32_t *sum)
{
    if (to == 0.0f) { /* 0 * infinity is no number */
        *sum = 0;
        return _mm256_setzero_si256();
    }
    const __m256 factor = _mm256_set1_ps(to);
    __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), factor));
    __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), factor));
    *sum = reduce_add(_mm256_add_epi32(a, b));
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
}

void nib__row16_round_avx2(const float *x, uint32_t k, void *row)
{
    int8_t *hi, *lo;
    int32_t *sum;
    nib__row16_parts(row, k, &hi, &lo, &sum);
    float to, scale = nib__row16_scale(nib__max_bits_avx2(x, k), &to);
    memcpy(row, &scale, sizeof scale);
    const __m256i round = _mm256_set1_epi16(128), byte = _mm256_set1_epi16(0xff);
    for (uint32_t i = 0; i < k; i += 16) {
        __m256i q = round_16(x + i, to, &sum[i / 16]);
        __m256i high = _mm256_srai_epi16(_mm256_add_epi16(q, round), 8); /* (q - lo) / 256 */
        __m256i low = _mm256_and_si256(q, byte);
        _mm_storeu_si128(
            (__m128i *)(void *)(hi + i),
            _mm_packs_epi16(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
        _mm_storeu_si128(
            (__m128i *)(void *)(lo + i),
            _mm_packus_epi16(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
    }
}

size_t nib__row_q16_bytes_avx2(uint32_t k)
{
    return NIB_ALIGN + nib__align_up((size_t)k * 2, NIB_ALIGN) +
           nib__align_up(k / 16 * sizeof(int32_t), NIB_ALIGN);
}

void nib__row_q16_round_avx2(const float *x, uint32_t k, void *row)
{
    uint8_t *base = row;
    int16_t *q = (int16_t *)(void *)(base + NIB_ALIGN);
    int32_t *sum = (int32_t *)(void *)(base + NIB_ALIGN + nib__align_up((size_t)k * 2, NIB_ALIGN));
    float to, scale = nib__row16_scale(nib__max_bits_avx2(x, k), &to);
    memcpy(base, &scale, sizeof scale);
    /* Within 4 values: k0 k1 k2 k3 becomes k0 k2 k1 k3. */
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0,
                                           1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    for (uint32_t i = 0; i < k; i += 16) {
        __m256i packed = round_16(x + i, to, &sum[i / 16]);
        _mm256_storeu_si256((__m256i *)(void *)(q + i), _mm256_shuffle_epi8(packed, order));
    }
}

/* Byte offsets of the parts of a g32 row, in the order of row_g32; the last one is its size. */
static void g32_offsets(uint32_t k, size_t at[7])
{
    size_t per16 = nib__align_up(k / 16 * sizeof(float), NIB_ALIGN);
    size_t per32 = nib__align_up(k / 32 * sizeof(float), NIB_ALIGN);
    at[0] = 0;
    at[1] = nib__align_up(k, NIB_ALIGN);
    at[2] = at[1] + per32;
    at[3] = at[2] + per16;
    at[4] = at[3] + per32;
    at[5] = at[4] + per16;
    at[6] = at[5] + per32;
}

size_t nib__row_g32_bytes_avx2(uint32_t k)
{
    size_t at[7];
    g32_offsets(k, at);
    return at[6];
}

row_g32 nib__row_g32_view_avx2(const void *row, uint32_t k)
{
    size_t at[7];
    const uint8_t *base = row;
    g32_offsets(k, at);
    row_g32 view = {(const int8_t *)base,
                    (const float *)(const void *)(base + at[1]),
                    (const int32_t *)(const void *)(base + at[2]),
                    (const int32_t *)(const void *)(base + at[3]),
                    (const float *)(const void *)(base + at[4]),
                    (const float *)(const void *)(base + at[5])};
    return view;
}

/* 32 values to int8 with the scale; sums over the first and the second 16. */
NIB_INLINE float round_group(const float *x, int8_t *q, int32_t sums[2])
{
    __m256i max = magnitude_bits(x), v[4];
    for (int i = 1; i < 4; i++) max = _mm256_max_epi32(max, magnitude_bits(x + 8 * i));
    uint32_t bits = reduce_max(max);
    float top = nib__f32_of_bits(bits), to = 0.0f, scale = 0.0f;
    if (bits >= 0x7f800000u) { /* infinite or NaN: results must show it */
        scale = nib__f32_of_bits(0x7fc00000u);
    } else if (top >= 0x1p-100f) {
        to = 127.0f / top;
        scale = top / 127.0f;
    }
    const __m256 factor = _mm256_set1_ps(to);
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), factor));
        if (to == 0.0f) v[i] = _mm256_setzero_si256();
    }
    sums[0] = reduce_add(_mm256_add_epi32(v[0], v[1]));
    sums[1] = reduce_add(_mm256_add_epi32(v[2], v[3]));
    __m256i low = _mm256_packs_epi32(v[0], v[1]), high = _mm256_packs_epi32(v[2], v[3]);
    __m256i bytes = _mm256_packs_epi16(low, high);
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)(void *)q, bytes);
    return scale;
}

void nib__row_g32_round_avx2(const float *x, uint32_t k, void *row)
{
    size_t at[7];
    uint8_t *base = row;
    g32_offsets(k, at);
    float *scale = (float *)(void *)(base + at[1]);
    int32_t *sum16 = (int32_t *)(void *)(base + at[2]), *sum32 = (int32_t *)(void *)(base + at[3]);
    float *scaled16 = (float *)(void *)(base + at[4]), *scaled32 = (float *)(void *)(base + at[5]);
    for (uint32_t g = 0; g < k / 32; g++) {
        scale[g] = round_group(x + 32 * g, (int8_t *)base + 32 * g, sum16 + 2 * g);
        sum32[g] = sum16[2 * g] + sum16[2 * g + 1];
        scaled16[2 * g] = scale[g] * (float)sum16[2 * g];
        scaled16[2 * g + 1] = scale[g] * (float)sum16[2 * g + 1];
        scaled32[g] = scale[g] * (float)sum32[g];
    }
}

void nib__expand_scales_avx2(const nib__layout *layout, const uint8_t *panel, uint32_t k, float *s,
                             float *m)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    uint32_t parts = layout->block / layout->scale_group;
    for (uint32_t b = 0; b < k / layout->block; b++) {
        const uint8_t *entry = panel + (size_t)b * layout->scale_bytes;
        for (uint32_t h = 0; h < 16; h += 8, s += 8, m += 8) {
            __m256 d = load_f16(entry + 2 * h), dmin = _mm256_setzero_ps();
            if (layout->format == NIB__MXFP4) { /* bf16: the high half of a float32 */
                __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)(entry + 2 * h));
                d = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
            }
            if (layout->has_min) dmin = load_f16(entry + 32 + 2 * h);
            if (layout->block == 32) {
                _mm256_storeu_ps(s, d);
                if (layout->has_min) _mm256_storeu_ps(m, dmin);
                continue;
            }
            for (uint32_t i = 0; i < parts; i++) {
                if (!layout->has_min) {
                    _mm256_storeu_ps(s + 16 * i,
                                     _mm256_mul_ps(d, load_i8(entry + 32 + 16 * i + h)));
                    continue;
                }
                const uint8_t *at = entry + 64 + 32 * i + h;
                __m256i sc =
                    _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)at));
                __m256i mn =
                    _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(at + 16)));
                _mm256_storeu_ps(s + 16 * i, _mm256_mul_ps(d, _mm256_cvtepi32_ps(sc)));
                __m256 product = _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(mn));
                _mm256_storeu_ps(m + 16 * i, _mm256_xor_ps(product, sign));
            }
        }
        s += 16 * (parts - 1);
        m += 16 * (parts - 1);
    }
}
