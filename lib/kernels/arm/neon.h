/* SPDX-License-Identifier: MIT
 * What the ARM kernels share: reading packed panels (layout: kernels.h) with 128-bit registers, and
 * the declarations of the kernels. A line of 64 codes, [16 rows][4 k], is four quarters of 4 rows.
 */
#ifndef NIB_KERNELS_ARM_NEON_H
#define NIB_KERNELS_ARM_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/simd.h"

/* 8-bit codes and book values are read as signed weights, others as codes that are never negative;
 * this is the zero point that is left. */
NIB_INLINE int32_t signed_zero(const nib__layout *layout)
{
    code_class c = code_class_of(layout);
    return c == CODES_8 || class_has_book(c) ? 0 : layout->zero;
}

/* Bits of every byte from `from` up, moved to bit `to`, under the mask. Constants all three. */
NIB_INLINE uint8x16_t masked_bits(const uint8_t *p, int from, int to, int mask)
{
    uint8x16_t v = vld1q_u8(p); /* a shift by a negative count goes right */
    v = vshlq_u8(v, vdupq_n_s8((int8_t)(to - from)));
    return vandq_u8(v, vdupq_n_u8((uint8_t)mask));
}

/* Line j (0..7) of a group, quarter h (0..3): 4 rows x 4 k signed. c, j and h are constants. */
NIB_INLINE int8x16_t code_line(code_class c, const uint8_t *group, int j, int h, int8x16_t book)
{
    const uint8_t *at = group + 16 * h;
    uint8x16_t code = vdupq_n_u8(0);
    switch (c) {
    case CODES_8: code = veorq_u8(vld1q_u8(at + 64 * j), vdupq_n_u8(0x80)); break;
    case CODES_TERNARY:
    case CODES_2: code = masked_bits(at + 64 * (j / 4), 2 * (j % 4), 0, 3); break;
    case CODES_3:
        code = masked_bits(at + 64 * (j / 4), 2 * (j % 4), 0, 3);
        code = vorrq_u8(code, masked_bits(at + 128, j, 2, 4));
        break;
    case CODES_4: code = masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15); break;
    case CODES_5:
        code = masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15);
        code = vorrq_u8(code, masked_bits(at + 256, j, 4, 16));
        break;
    case CODES_6:
        code = masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15);
        code = vorrq_u8(code, masked_bits(at + 256 + 64 * (j / 4), 2 * (j % 4), 4, 48));
        break;
    case CODES_BOOK:
    case CODES_BOOK_16:
        return vqtbl1q_s8(book, masked_bits(at + 64 * (j / 2), 4 * (j % 2), 0, 15));
    }
    return vreinterpretq_s8_u8(code);
}

NIB_INLINE int8x16_t load_book(const nib__layout *layout)
{
    return layout->table == NULL ? vdupq_n_s8(0) : vld1q_s8(layout->table);
}

NIB_INLINE float32x4_t load_f16(const void *p)
{
    uint16x4_t bits = vld1_u16((const uint16_t *)p);
    return vcvt_f32_f16(vreinterpret_f16_u16(bits));
}

NIB_INLINE float32x4_t load_bf16(const void *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)p), 16));
}

/* Four signed or unsigned bytes as float32. */
NIB_INLINE float32x4_t load_i8(const void *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}

NIB_INLINE float32x4_t load_u8(const void *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

/* Four lanes, all or the first `count` of them. */
NIB_INLINE void store_first(float *dst, float32x4_t value, uint32_t count)
{
    if (count >= 4) {
        vst1q_f32(dst, value);
        return;
    }
    float lanes[4];
    vst1q_f32(lanes, value);
    memcpy(dst, lanes, count * sizeof *lanes);
}

NIB_INLINE float32x4_t load_first(const float *src, uint32_t count)
{
    if (count >= 4) return vld1q_f32(src);
    float lanes[4] = {0};
    memcpy(lanes, src, count * sizeof *lanes);
    return vld1q_f32(lanes);
}

/* All scales of a panel as float32, s[k / scale_group][16], and mins m likewise where the layout
 * has them; else m is not touched. */
void nib__expand_scales_neon(const nib__layout *layout, const uint8_t *panel, uint32_t k, float *s,
                             float *m);

/* Rows of 16-bit activations without dot product: [scale, 64 bytes][int16 q: per 4 k in the order
 * k0 k2 k1 k3][int32 sum: k/16]. */
typedef struct row_q16 {
    const int16_t *q;
    const int32_t *sum;
    float scale;
} row_q16;

size_t nib__row_q16_bytes_neon(uint32_t k);
void nib__row_q16_round_neon(const float *x, uint32_t k, void *row);
row_q16 nib__row_q16_view_neon(const void *row, uint32_t k);

/* Rows of int8 activations with a scale per 32 k: one plane for all groups, and a second one, what
 * rounding left over, for the few groups with large values: they make most of the error. A plane is
 * [int8 q: k][float scale: k/32][int32 sum16: k/16], sum16 being that of q over 16 k; a row is
 * [plane][second plane, only its first groups used][count][uint32 groups: k/32]. Each part is
 * padded to 64 bytes. */
typedef struct row_g32 {
    const int8_t *q;
    const float *scale;
    const int32_t *sum16;
} row_g32;

typedef struct row_g32_rest {
    row_g32 plane;          /* group i belongs to groups[i] of the weights */
    const uint32_t *groups; /* [count], ascending */
    uint32_t count;
} row_g32_rest;

size_t nib__row_g32_bytes_neon(uint32_t k);
void nib__row_g32_round_neon(const float *x, uint32_t k, void *row);
void nib__row_g32_view_neon(const void *row, uint32_t k, row_g32 *plane, row_g32_rest *rest);

/* out[16] = (sums + sum over scale groups of m * xsum) * scale, the first n of them; sum16 is
 * [k/16]. */
void nib__finish_row_neon(const nib__layout *layout, uint32_t k, const float *m,
                          const int32_t *sum16, float scale, const float *sums, uint32_t n,
                          float *out);

extern const nib__matmul nib__decode_coded_neon, nib__decode_coded_dotprod;
extern const nib__matmul nib__prefill_coded_dotprod, nib__prefill_coded_i8mm;
extern const nib__matmul nib__matmul_float_neon;
extern const nib__matmul nib__int8_neon, nib__int8_dotprod, nib__int8_i8mm;

void nib__elementwise_init_neon(nib__kernels *table);
void nib__vocab_init_neon(nib__kernels *table);
void nib__activate_init_neon(nib__kernels *table);
void nib__attention_neon(const nib__attention *a);
size_t nib__attention_scratch_neon(uint32_t dim);

#endif
