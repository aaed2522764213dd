/* SPDX-License-Identifier: MIT
 * Rows of activations for prefill with vpdpbusd (matmul_prefill_avx512vnni.c): int8 with 128 added
 * and one scale per 32 k. Groups whose largest value stands out of their row would cause most of
 * the rounding error: theirs is rounded again, to a second int8 plane in units of 1/254. Few groups
 * need it. */
#ifndef NIB_KERNELS_X86_PREFILL_ROWS_G32_AVX512_H
#define NIB_KERNELS_X86_PREFILL_ROWS_G32_AVX512_H

#include <string.h>

#include "base/half.h"
#include "kernels/x86/avx512.h"

static const uint32_t INFINITY_BITS = 0x7f800000u;
static const float SECOND_PLANE = 254.0f; /* steps of the second plane per step of the first */
/* Groups with this many times the mean square of the largest values get a second plane. */
static const float OUTLIER = 8.0f;

/* A group of 32 k in a rounded row. Sums are of the rounded values. */
typedef struct row_group {
    float scale, sum32, sum16[2];
} row_group;

/* A rounded row: [codes: k][second plane: k][groups: k / 32][n, uint32_t][n groups that have a
 * second plane, ascending, uint32_t], each part but the last padded to 64 bytes. Here and in all
 * that follows k is a multiple of 32; int8 weights may have any, and zeros fill up the last group.
 */
static uint32_t whole_groups(uint32_t k)
{
    return (uint32_t)nib__align_up(k, NIB__GROUP);
}

static size_t plane_bytes(uint32_t k)
{
    return nib__align_up(k, NIB_ALIGN);
}

static size_t list_at(uint32_t k)
{
    return 2 * plane_bytes(k) + nib__align_up(k / NIB__GROUP * sizeof(row_group), NIB_ALIGN);
}

static size_t row_bytes(uint32_t any_k)
{
    const uint32_t k = whole_groups(any_k);
    const size_t bytes =
        list_at(k) + nib__align_up((k / NIB__GROUP + 1) * sizeof(uint32_t), NIB_ALIGN);
    /* An odd number of lines: 4096 bytes apart, rows would share a few sets of the caches. */
    return bytes | NIB_ALIGN;
}

/* Largest magnitude of 32 values, as float32 bits: infinities and NaN win over numbers. */
static uint32_t max_bits(const float *x)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i a = _mm512_and_epi32(_mm512_loadu_si512(x), magnitude);
    __m512i b = _mm512_and_epi32(_mm512_loadu_si512(x + 16), magnitude);
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
}

static void store_codes(__m512i q, uint8_t *codes)
{
    q = _mm512_add_epi32(q, _mm512_set1_epi32(128));
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(q));
}

/* 32 values, the largest with these bits, to codes + 128 in one plane or two, 0 if `second` is
 * NULL. */
static void round_group(const float *x, uint32_t bits, uint8_t *codes, uint8_t *second,
                        row_group *group)
{
    float max = nib__f32_of_bits(bits), to = 0.0f, sum[2];
    group->scale = 0.0f;
    if (bits >= INFINITY_BITS) { /* results must show it */
        group->scale = nib__f32_of_bits(0x7fc00000u);
    } else if (max >= 0x1p-100f) {
        to = 127.0f / max;
        group->scale = max / 127.0f;
    }
    for (int i = 0; i < 2; i++) {
        __m512 v = _mm512_setzero_ps();
        if (to != 0.0f) v = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), _mm512_set1_ps(to));
        __m512i q = _mm512_cvtps_epi32(v);
        sum[i] = (float)_mm512_reduce_add_epi32(q);
        store_codes(q, codes + 16 * i);
        if (second == NULL) continue;
        v = _mm512_mul_ps(_mm512_sub_ps(v, _mm512_cvtepi32_ps(q)), _mm512_set1_ps(SECOND_PLANE));
        q = _mm512_cvtps_epi32(v);
        sum[i] += (float)_mm512_reduce_add_epi32(q) * (1.0f / SECOND_PLANE);
        store_codes(q, second + 16 * i);
    }
    group->sum16[0] = group->scale * sum[0];
    group->sum16[1] = group->scale * sum[1];
    group->sum32 = group->scale * (sum[0] + sum[1]);
}

/* Group g of x[k], the last one with zeros behind it. */
static const float *group_in(const float *x, uint32_t k, uint32_t g, float last[NIB__GROUP])
{
    const float *from = x + (size_t)g * NIB__GROUP;
    const uint32_t there = k - g * NIB__GROUP;
    if (there >= NIB__GROUP) return from;
    memset(last, 0, NIB__GROUP * sizeof *last);
    memcpy(last, from, there * sizeof *last);
    return last;
}

static void round_row(const float *x, uint32_t any_k, void *row)
{
    const uint32_t k = whole_groups(any_k);
    float last[NIB__GROUP];
    uint8_t *codes = row, *second = codes + plane_bytes(k);
    uint32_t *list = (uint32_t *)(void *)(codes + list_at(k)), count = 0;
    row_group *groups = (row_group *)(void *)(codes + 2 * plane_bytes(k));
    uint32_t n = k / NIB__GROUP;
    float energy = 0.0f;
    for (uint32_t g = 0; g < n; g++) {
        float max = nib__f32_of_bits(max_bits(group_in(x, any_k, g, last)));
        groups[g].scale = max;
        energy += max * max;
    }
    float limit = OUTLIER * energy / (float)n;
    for (uint32_t g = 0; g < n; g++) {
        float max = groups[g].scale;
        uint32_t at = g * NIB__GROUP;
        const bool large = max * max > limit;
        if (large) list[++count] = g;
        round_group(group_in(x, any_k, g, last), nib__bits_of_f32(max), codes + at,
                    large ? second + at : NULL, &groups[g]);
    }
    list[0] = count;
}

#endif
