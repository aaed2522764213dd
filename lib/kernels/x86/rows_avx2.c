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

/* Parts of one plane of a g32 row, for writing. */
typedef struct plane {
    int8_t *q;
    float *scale;
    int16_t *sum16;
    int32_t *sum32;
    float *scaled16, *scaled32;
} plane;

static size_t plane_bytes(uint32_t k)
{
    return nib__align_up(k, NIB_ALIGN) + 3 * nib__align_up(k / 32 * sizeof(float), NIB_ALIGN) +
           2 * nib__align_up(k / 16 * sizeof(float), NIB_ALIGN);
}

static plane plane_at(uint8_t *base, uint32_t k)
{
    size_t per16 = nib__align_up(k / 16 * sizeof(float), NIB_ALIGN);
    size_t per32 = nib__align_up(k / 32 * sizeof(float), NIB_ALIGN);
    plane p = {.q = (int8_t *)base};
    base += nib__align_up(k, NIB_ALIGN);
    p.scale = (float *)(void *)base;
    p.sum16 = (int16_t *)(void *)(base + per32);
    p.sum32 = (int32_t *)(void *)(base + per32 + per16);
    p.scaled16 = (float *)(void *)(base + 2 * per32 + per16);
    p.scaled32 = (float *)(void *)(base + 2 * per32 + 2 * per16);
    return p;
}

size_t nib__row_g32_bytes_avx2(uint32_t k)
{
    return 2 * plane_bytes(k) + NIB_ALIGN + nib__align_up(k / 32 * sizeof(uint32_t), NIB_ALIGN);
}

static row_g32 view_plane(const uint8_t *base, uint32_t k)
{
    size_t per16 = nib__align_up(k / 16 * sizeof(float), NIB_ALIGN);
    size_t per32 = nib__align_up(k / 32 * sizeof(float), NIB_ALIGN);
    row_g32 p = {.q = (const int8_t *)base};
    base += nib__align_up(k, NIB_ALIGN);
    p.scale = (const float *)(const void *)base;
    p.sum16 = (const int16_t *)(const void *)(base + per32);
    p.sum32 = (const int32_t *)(const void *)(base + per32 + per16);
    p.scaled16 = (const float *)(const void *)(base + 2 * per32 + per16);
    p.scaled32 = (const float *)(const void *)(base + 2 * per32 + 2 * per16);
    return p;
}

void nib__row_g32_view_avx2(const void *row, uint32_t k, row_g32 *all, row_g32_rest *rest)
{
    const uint8_t *base = row, *tail = base + 2 * plane_bytes(k);
    *all = view_plane(base, k);
    rest->plane = view_plane(base + plane_bytes(k), k);
    rest->groups = (const uint32_t *)(const void *)(tail + NIB_ALIGN);
    memcpy(&rest->count, tail, sizeof rest->count);
}

static uint32_t group_max_bits(const float *x)
{
    __m256i max = magnitude_bits(x);
    for (int i = 1; i < 4; i++) max = _mm256_max_epi32(max, magnitude_bits(x + 8 * i));
    return reduce_max(max);
}

/* 32 values with the largest magnitude `bits` into group g of a plane, `flip` being applied to the
 * bits of every q. left[32], where not NULL, receives what rounding leaves. */
NIB_INLINE void round_group(const float *x, uint32_t bits, uint8_t flip, const plane *p, uint32_t g,
                            float *left)
{
    float top = nib__f32_of_bits(bits), to = 0.0f, scale = 0.0f;
    if (bits >= 0x7f800000u) { /* infinite or NaN: results must show it */
        scale = nib__f32_of_bits(0x7fc00000u);
    } else if (top >= 0x1p-100f) {
        to = 127.0f / top;
        scale = top / 127.0f;
    }
    const __m256 factor = _mm256_set1_ps(to), back = _mm256_set1_ps(scale);
    __m256i v[4];
    NIB_UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256 values = _mm256_loadu_ps(x + 8 * i);
        v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(values, factor));
        if (to == 0.0f) v[i] = _mm256_setzero_si256();
        if (left == NULL) continue;
        _mm256_storeu_ps(left + 8 * i, _mm256_fnmadd_ps(_mm256_cvtepi32_ps(v[i]), back, values));
    }
    int32_t first = reduce_add(_mm256_add_epi32(v[0], v[1]));
    int32_t second = reduce_add(_mm256_add_epi32(v[2], v[3]));
    p->scale[g] = scale;
    p->sum16[2 * g] = (int16_t)first;
    p->sum16[2 * g + 1] = (int16_t)second;
    p->sum32[g] = first + second;
    p->scaled16[2 * g] = scale * (float)first;
    p->scaled16[2 * g + 1] = scale * (float)second;
    p->scaled32[g] = scale * (float)(first + second);
    __m256i low = _mm256_packs_epi32(v[0], v[1]), high = _mm256_packs_epi32(v[2], v[3]);
    __m256i bytes = _mm256_packs_epi16(low, high);
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    bytes = _mm256_xor_si256(bytes, _mm256_set1_epi8((char)flip));
    _mm256_storeu_si256((__m256i *)(void *)(p->q + 32 * (size_t)g), bytes);
}

/* The error of a group grows with the square of its largest magnitude. Groups above eight times the
 * mean of these squares get a second plane: docs/kernels.md has what that costs and gives. */
static const double large_factor = 8.0;

static void round_g32(const float *x, uint32_t k, uint8_t flip, void *row)
{
    uint8_t *base = row, *tail = base + 2 * plane_bytes(k);
    const plane all = plane_at(base, k), rest = plane_at(base + plane_bytes(k), k);
    uint32_t *groups = (uint32_t *)(void *)(tail + NIB_ALIGN), count = 0, n = k / 32;
    double total = 0;
    for (uint32_t g = 0; g < n; g++) {
        double top = (double)nib__f32_of_bits(group_max_bits(x + 32 * (size_t)g));
        total += top * top;
    }
    double limit = total / n * large_factor; /* NaN where a value is: then no group is above it */
    for (uint32_t g = 0; g < n; g++) {
        const float *from = x + 32 * (size_t)g;
        float left[32];
        uint32_t bits = group_max_bits(from);
        double top = (double)nib__f32_of_bits(bits);
        bool large = top * top > limit && bits < 0x7f800000u;
        round_group(from, bits, flip, &all, g, large ? left : NULL);
        if (!large) continue;
        round_group(left, group_max_bits(left), flip, &rest, g, NULL);
        groups[count++] = g;
    }
    memcpy(tail, &count, sizeof count);
}

void nib__row_g32_round_avx2(const float *x, uint32_t k, void *row)
{
    round_g32(x, k, 0, row);
}

void nib__row_g32_round_unsigned_avx2(const float *x, uint32_t k, void *row)
{
    round_g32(x, k, 0x80, row);
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
            d = _mm256_mul_ps(d, _mm256_set1_ps(layout->unit));
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
