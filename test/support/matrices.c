/* SPDX-License-Identifier: MIT
 * Weights and activations for kernel tests. */
#include "matrices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "guard.h"

const weight_kind weight_kinds[N_WEIGHT_KINDS] = {
    {"random", -1, 0.01f},          {"all bits set", 0xff, 0.01f}, {"all bits clear", 0x00, 0.01f},
    {"most positive", 0x7f, 0.5f},  {"most negative", 0x80, 0.5f}, {"zero scales", -1, 0.0f},
    {"denormal scales", -1, 3e-7f}, {"large scales", -1, 1000.0f},
};

const nib__format all_formats[N_FORMATS] = {
    NIB__F32,     NIB__F16,   NIB__BF16,  NIB__Q4_0,  NIB__Q4_1,    NIB__Q5_0,   NIB__Q5_1,
    NIB__Q8_0,    NIB__Q2_K,  NIB__Q3_K,  NIB__Q4_K,  NIB__Q5_K,    NIB__Q6_K,   NIB__IQ4_NL,
    NIB__IQ4_XS,  NIB__MXFP4, NIB__IQ1_S, NIB__IQ1_M, NIB__IQ2_XXS, NIB__IQ2_XS, NIB__IQ2_S,
    NIB__IQ3_XXS, NIB__IQ3_S, NIB__TQ1_0, NIB__TQ2_0, NIB__I8R,
};

static const char *const row_kinds[N_ROW_KINDS] = {
    "random", "all +max", "alternating +-max", "zero", "one hot", "outlier", "tiny", "huge",
};

const char *row_kind_name(int kind)
{
    return row_kinds[kind];
}

const char *format_name(nib__format format)
{
    return format == NIB__I8R ? "I8R" : nib__format_find((uint32_t)format)->name;
}

/* The format of the rows that a matrix is packed from. */
static const nib__format_info *file_format(nib__format format)
{
    return nib__format_find((uint32_t)(format == NIB__I8R ? NIB__F32 : format));
}

size_t file_row_bytes(nib__format format, uint32_t k)
{
    const nib__format_info *info = file_format(format);
    return (size_t)(k / info->block) * info->block_bytes;
}

/* Byte offsets of the f16 fields of a block; -1 ends the list. */
static const int *half_fields(nib__format format)
{
    static const int first[] = {0, -1}, pair[] = {0, 2, -1}, q2[] = {80, 82, -1}, q3[] = {108, -1},
                     q6[] = {208, -1}, tq1[] = {52, -1}, tq2[] = {64, -1}, none[] = {-1};
    switch (format) {
    case NIB__Q4_1:
    case NIB__Q5_1:
    case NIB__Q4_K:
    case NIB__Q5_K: return pair;
    case NIB__Q2_K: return q2;
    case NIB__Q3_K: return q3;
    case NIB__Q6_K: return q6;
    case NIB__TQ1_0: return tq1;
    case NIB__TQ2_0: return tq2;
    case NIB__IQ1_M:
    case NIB__MXFP4: return none;
    default: return first;
    }
}

static void put16(uint8_t *dst, uint16_t value)
{
    memcpy(dst, &value, sizeof value);
}

static void make_float(nib__format format, const weight_kind *kind, rng *r, uint8_t *dst)
{
    float value = kind->scale * (kind->fill < 0 ? rng_float(r) : kind->fill < 0x80 ? 1.0f : -1.0f);
    if (format == NIB__F32)
        memcpy(dst, &value, sizeof value);
    else
        put16(dst, format == NIB__F16 ? nib__f16_of_f32(value) : nib__bf16_of_f32(value));
}

static void make_block(const nib__format_info *info, const weight_kind *kind, rng *r, uint8_t *dst)
{
    for (uint32_t i = 0; i < info->block_bytes; i++) {
        dst[i] = (uint8_t)(kind->fill < 0 ? (int)rng_below(r, 256) : kind->fill);
    }
    for (const int *field = half_fields(info->format); *field >= 0; field++) {
        float sign = rng_below(r, 4) == 0 ? -1.0f : 1.0f;
        float jitter = kind->fill < 0 ? 0.5f + 0.5f * rng_float(r) : 1.0f;
        put16(dst + *field, nib__f16_of_f32(sign * jitter * kind->scale));
    }
    if (info->format == NIB__IQ1_M) { /* a nibble of d in the top of four words */
        uint16_t d = nib__f16_of_f32(kind->scale);
        for (int i = 0; i < 4; i++) {
            dst[49 + 2 * i] = (uint8_t)((dst[49 + 2 * i] & 15) | (d >> (4 * i) & 15) << 4);
        }
    }
    if (info->format == NIB__MXFP4) {
        dst[0] = (uint8_t)(kind->scale == 0.0f   ? rng_below(r, 2)
                           : kind->scale < 1e-6f ? 2
                                                 : 118 + rng_below(r, 12));
    }
}

void make_weights(nib__format format, uint32_t n, uint32_t k, const weight_kind *kind, rng *r,
                  uint8_t *dst)
{
    const nib__format_info *info = file_format(format);
    size_t blocks = (size_t)n * (k / info->block);
    for (size_t b = 0; b < blocks; b++) {
        uint8_t *block = dst + b * info->block_bytes;
        if (info->block == 1)
            make_float(info->format, kind, r, block);
        else
            make_block(info, kind, r, block);
    }
}

void make_row(int kind, uint32_t k, rng *r, float *x)
{
    for (uint32_t i = 0; i < k; i++) {
        float u = rng_float(r);
        switch (kind) {
        case 1: x[i] = 3.0f; break;
        case 2: x[i] = i % 2 == 0 ? 3.0f : -3.0f; break;
        case 3: x[i] = 0.0f; break;
        case 4: x[i] = 0.0f; break;
        case 6: x[i] = u * 1e-37f; break;
        case 7: x[i] = u * 1e30f; break;
        default: x[i] = u * u * u * 4.0f; break;
        }
    }
    if (kind == 4) x[rng_below(r, k)] = -2.5f;
    if (kind == 5) x[rng_below(r, k)] = 5000.0f;
}

/* What kernels.h says that packing makes of a row of finite numbers. */
static void round_to_int8(float *values, uint32_t k)
{
    float max = 0;
    for (uint32_t i = 0; i < k; i++) max = fabsf(values[i]) > max ? fabsf(values[i]) : max;
    for (uint32_t i = 0; i < k; i++) {
        /* + 0: codes have no negative zero */
        values[i] = max < 0x1p-100f ? 0.0f : max / 127 * (rintf(values[i] * (127 / max)) + 0.0f);
    }
}

void matrix_make(matrix *m, nib__format format, uint32_t n, uint32_t k, const weight_kind *kind,
                 rng *r)
{
    const nib__format_info *info = file_format(format);
    nib_error err;
    if (nib__packed_init(&m->packed, format, n, k, &err) != NIB_OK) {
        fprintf(stderr, "packed_init: %s\n", err.text);
        exit(1);
    }
    size_t row = file_row_bytes(format, k);
    m->file_bytes = row * n;
    m->data_bytes = m->packed.n_panels * m->packed.panel_bytes;
    m->file = guard_alloc(m->file_bytes);
    m->data = guard_alloc(m->data_bytes);
    m->values = guard_alloc((size_t)n * k * sizeof(float));
    uint8_t *src = m->file + (m->file_bytes + 63) / 64 * 64 - m->file_bytes;
    make_weights(format, n, k, kind, r, src);
    for (uint32_t i = 0; i < n; i++) info->decode(src + i * row, m->values + (size_t)i * k, k);
    memset(m->data, 0xee, m->data_bytes);
    if (format == NIB__I8R) {
        for (uint32_t i = 0; i < n; i++) round_to_int8(m->values + (size_t)i * k, k);
        nib__pack_int8(&m->packed, info, src, 0, m->packed.n_panels, m->data);
    } else {
        nib__pack_panels(&m->packed, src, 0, m->packed.n_panels, m->data);
    }
    m->src = src;
    m->packed.data = m->data;
}

void matrix_free(matrix *m)
{
    guard_free(m->file, m->file_bytes);
    guard_free(m->data, m->data_bytes);
    guard_free(m->values, (size_t)m->packed.n * m->packed.k * sizeof(float));
}
