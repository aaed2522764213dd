/* SPDX-License-Identifier: MIT
 * Rounded rows of activations and expanded scales of panels for the ARM kernels. */
#include "base/half.h"
#include "kernels/arm/neon.h"
#include "kernels/ref/ref.h"

size_t nib__row_q16_bytes_neon(uint32_t k)
{
    return NIB_ALIGN + nib__align_up((size_t)k * 2, NIB_ALIGN) +
           nib__align_up(k / 16 * sizeof(int32_t), NIB_ALIGN);
}

row_q16 nib__row_q16_view_neon(const void *row, uint32_t k)
{
    const uint8_t *base = row;
    const uint8_t *sum = base + NIB_ALIGN + nib__align_up((size_t)k * 2, NIB_ALIGN);
    row_q16 view = {(const int16_t *)(const void *)(base + NIB_ALIGN),
                    (const int32_t *)(const void *)sum, *(const float *)(const void *)base};
    return view;
}

void nib__row_q16_round_neon(const float *x, uint32_t k, void *row)
{
    static const uint8_t place[4] = {0, 2, 1, 3}; /* k0 k2 k1 k3 */
    uint8_t *base = row;
    int16_t *q = (int16_t *)(void *)(base + NIB_ALIGN);
    int32_t *sum = (int32_t *)(void *)(base + NIB_ALIGN + nib__align_up((size_t)k * 2, NIB_ALIGN));
    float to, scale = nib__row16_scale(nib__max_magnitude_bits(x, k), &to);
    memcpy(base, &scale, sizeof scale);
    for (uint32_t i = 0; i < k; i += 16) {
        int32x4_t total = vdupq_n_s32(0);
        for (uint32_t j = i; j < i + 16; j += 4) {
            int32x4_t v = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + j), to));
            if (to == 0.0f) v = vdupq_n_s32(0);
            int16_t four[4];
            vst1_s16(four, vmovn_s32(v));
            for (uint32_t t = 0; t < 4; t++) q[j + place[t]] = four[t];
            total = vaddq_s32(total, v);
        }
        sum[i / 16] = vaddvq_s32(total);
    }
}

static size_t plane_bytes(uint32_t k)
{
    return nib__align_up(k, NIB_ALIGN) + nib__align_up(k / 32 * sizeof(float), NIB_ALIGN) +
           nib__align_up(k / 16 * sizeof(int32_t), NIB_ALIGN);
}

size_t nib__row_g32_bytes_neon(uint32_t k)
{
    return 2 * plane_bytes(k) + NIB_ALIGN + nib__align_up(k / 32 * sizeof(uint32_t), NIB_ALIGN);
}

static row_g32 view_plane(const uint8_t *base, uint32_t k)
{
    const uint8_t *scale = base + nib__align_up(k, NIB_ALIGN);
    const uint8_t *sum = scale + nib__align_up(k / 32 * sizeof(float), NIB_ALIGN);
    row_g32 view = {(const int8_t *)base, (const float *)(const void *)scale,
                    (const int32_t *)(const void *)sum};
    return view;
}

void nib__row_g32_view_neon(const void *row, uint32_t k, row_g32 *all, row_g32_rest *rest)
{
    const uint8_t *base = row, *tail = base + 2 * plane_bytes(k);
    *all = view_plane(base, k);
    rest->plane = view_plane(base + plane_bytes(k), k);
    rest->groups = (const uint32_t *)(const void *)(tail + NIB_ALIGN);
    memcpy(&rest->count, tail, sizeof rest->count);
}

/* Sixteen values to int8; returns the sum. left[16], where not NULL: what rounding leaves. */
static int32_t round_16(const float *x, float to, float scale, int8_t *q, float *left)
{
    int32x4_t total = vdupq_n_s32(0);
    for (uint32_t j = 0; j < 16; j += 4) {
        float32x4_t values = vld1q_f32(x + j);
        int32x4_t v = vcvtnq_s32_f32(vmulq_n_f32(values, to));
        if (to == 0.0f) v = vdupq_n_s32(0);
        total = vaddq_s32(total, v);
        if (left != NULL) vst1q_f32(left + j, vfmsq_n_f32(values, vcvtq_f32_s32(v), scale));
        int16x4_t half = vmovn_s32(v);
        int8x8_t bytes = vmovn_s16(vcombine_s16(half, half));
        int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
        memcpy(q + j, &four, sizeof four);
    }
    return vaddvq_s32(total);
}

/* 32 values with the largest magnitude `bits` into group g of the plane at base. */
static void round_group(const float *x, uint32_t bits, uint8_t *base, uint32_t k, uint32_t g,
                        float *left)
{
    float *scales = (float *)(void *)(base + nib__align_up(k, NIB_ALIGN));
    int32_t *sum =
        (int32_t *)(void *)((uint8_t *)scales + nib__align_up(k / 32 * sizeof(float), NIB_ALIGN));
    int8_t *q = (int8_t *)base + 32 * (size_t)g;
    float top = nib__f32_of_bits(bits), to = 0.0f, scale = 0.0f;
    if (bits >= 0x7f800000u) { /* infinite or NaN: results must show it */
        scale = nib__f32_of_bits(0x7fc00000u);
    } else if (top >= 0x1p-100f) {
        to = 127.0f / top;
        scale = top / 127.0f;
    }
    scales[g] = scale;
    sum[2 * g] = round_16(x, to, scale, q, left);
    sum[2 * g + 1] = round_16(x + 16, to, scale, q + 16, left == NULL ? NULL : left + 16);
}

/* Which groups get a second plane: as with AVX2, where the reason and the gain are told. */
static const double large_factor = 2.0;

void nib__row_g32_round_neon(const float *x, uint32_t k, void *row)
{
    uint8_t *base = row, *tail = base + 2 * plane_bytes(k);
    uint32_t *groups = (uint32_t *)(void *)(tail + NIB_ALIGN), count = 0, n = k / 32;
    double total = 0;
    for (uint32_t g = 0; g < n; g++) {
        double top = (double)nib__f32_of_bits(nib__max_magnitude_bits(x + 32 * (size_t)g, 32));
        total += top * top;
    }
    double limit = total / n * large_factor; /* NaN where a value is: then no group is above it */
    for (uint32_t g = 0; g < n; g++) {
        const float *from = x + 32 * (size_t)g;
        float left[32];
        uint32_t bits = nib__max_magnitude_bits(from, 32);
        double top = (double)nib__f32_of_bits(bits);
        bool large = top * top > limit && bits < 0x7f800000u;
        round_group(from, bits, base, k, g, large ? left : NULL);
        if (!large) continue;
        round_group(left, nib__max_magnitude_bits(left, 32), base + plane_bytes(k), k, count, NULL);
        groups[count++] = g;
    }
    memcpy(tail, &count, sizeof count);
}

/* Four lanes of the scales of one entry of the scale area. */
static void expand_entry(const nib__layout *layout, const uint8_t *entry, uint32_t h, float *s,
                         float *m)
{
    uint32_t parts = layout->block / layout->scale_group;
    float32x4_t d =
        layout->format == NIB__MXFP4 ? load_bf16(entry + 2 * h) : load_f16(entry + 2 * h);
    d = vmulq_n_f32(d, layout->unit);
    float32x4_t dmin = vdupq_n_f32(0.0f);
    if (layout->has_min) dmin = load_f16(entry + 32 + 2 * h);
    if (layout->block == 32) {
        vst1q_f32(s, d);
        if (layout->has_min) vst1q_f32(m, dmin);
        return;
    }
    for (uint32_t i = 0; i < parts; i++) {
        if (layout->has_min) {
            const uint8_t *at = entry + 64 + 32 * i + h;
            vst1q_f32(s + 16 * i, vmulq_f32(d, load_u8(at)));
            vst1q_f32(m + 16 * i, vnegq_f32(vmulq_f32(dmin, load_u8(at + 16))));
        } else {
            vst1q_f32(s + 16 * i, vmulq_f32(d, load_i8(entry + 32 + 16 * i + h)));
        }
    }
}

void nib__expand_scales_neon(const nib__layout *layout, const uint8_t *panel, uint32_t k, float *s,
                             float *m)
{
    size_t step = (size_t)layout->block / layout->scale_group * NIB__PANEL;
    for (uint32_t b = 0; b < k / layout->block; b++, s += step, m += step) {
        const uint8_t *entry = panel + (size_t)b * layout->scale_bytes;
        for (uint32_t h = 0; h < NIB__PANEL; h += 4) expand_entry(layout, entry, h, s + h, m + h);
    }
}

void nib__finish_row_neon(const nib__layout *layout, uint32_t k, const float *m,
                          const int32_t *sum16, float scale, const float *sums, uint32_t n,
                          float *out)
{
    for (uint32_t h = 0; h < n; h += 4) {
        float32x4_t acc = vdupq_n_f32(0.0f);
        if (layout->has_min) {
            uint32_t step = layout->scale_group / 16u;
            const float *at = m + h;
            for (uint32_t i = 0; i < k / 16; i += step, at += NIB__PANEL) {
                int32_t total = step == 2 ? sum16[i] + sum16[i + 1] : sum16[i];
                acc = vfmaq_n_f32(acc, vld1q_f32(at), (float)total);
            }
        }
        acc = vmulq_n_f32(vaddq_f32(vld1q_f32(sums + h), acc), scale);
        store_first(out + h, acc, n - h);
    }
}
