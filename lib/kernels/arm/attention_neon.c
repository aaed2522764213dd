/* SPDX-License-Identifier: MIT
 * Attention with NEON: the vectors and the micro-kernel of attention_tile.h, up to 4 queries by 16
 * lanes. */
#include "kernels/arm/exp_neon.h"
#include "kernels/arm/neon.h"

enum { LANES = 4, ROWS = 4 /* queries per micro-kernel */ };
typedef float32x4_t floats;
typedef uint32x4_t lanes;

NIB_INLINE floats v_set(float x)
{
    return vdupq_n_f32(x);
}

NIB_INLINE floats v_load(const float *p)
{
    return vld1q_f32(p);
}

NIB_INLINE void v_store(float *p, floats v)
{
    vst1q_f32(p, v);
}

NIB_INLINE floats v_add(floats a, floats b)
{
    return vaddq_f32(a, b);
}

NIB_INLINE floats v_sub(floats a, floats b)
{
    return vsubq_f32(a, b);
}

NIB_INLINE floats v_mul(floats a, floats b)
{
    return vmulq_f32(a, b);
}

NIB_INLINE floats v_max(floats a, floats b)
{
    return vmaxq_f32(a, b);
}

NIB_INLINE floats v_exp(floats x)
{
    return exp_128(x);
}

NIB_INLINE floats v_where(lanes mask, floats v)
{
    return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(v)));
}

NIB_INLINE floats v_choose(lanes mask, floats yes, floats no)
{
    return vbslq_f32(mask, yes, no);
}

NIB_INLINE float v_first(floats v)
{
    return vgetq_lane_f32(v, 0);
}

NIB_INLINE float v_largest(floats v)
{
    return vmaxvq_f32(v);
}

NIB_INLINE float v_total(floats v)
{
    return vaddvq_f32(v);
}

/* Lanes of keys key, key + 1, ... that lie in [low, high). */
NIB_INLINE lanes visible(uint32_t key, uint32_t low, uint32_t high)
{
    static const uint32_t numbers[4] = {0, 1, 2, 3};
    uint32x4_t at = vaddq_u32(vdupq_n_u32(key), vld1q_u32(numbers));
    return vandq_u32(vcgeq_u32(at, vdupq_n_u32(low)), vcltq_u32(at, vdupq_n_u32(high)));
}

NIB_INLINE floats load_cached(uint32_t type, const void *base, size_t i)
{
    if (type == NIB__KV_F32) return vld1q_f32((const float *)base + i);
    if (type == NIB_KV_Q8) return load_i8((const int8_t *)base + i);
    return load_f16((const uint16_t *)base + i);
}

/* c[rows][ldc], 16 lanes = c * factor + sum over n of a[rows][lda] x b[n][ldb]; factor NULL: 0. */
NIB_INLINE void micro(int rows, uint32_t n, const float *a, size_t lda, const float *b, size_t ldb,
                      const float *factor, float *c, size_t ldc)
{
    float32x4_t acc[ROWS][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            acc[r][h] = vdupq_n_f32(0.0f);
            if (factor == NULL) continue;
            acc[r][h] = vmulq_n_f32(vld1q_f32(c + (size_t)r * ldc + 4 * h), factor[r]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const float32x4_t part = vld1q_f32(b + i * ldb + 4 * h);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                acc[r][h] = vfmaq_n_f32(acc[r][h], part, a[(size_t)r * lda + i]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) vst1q_f32(c + (size_t)r * ldc + 4 * h, acc[r][h]);
    }
}

static void micro_rows(uint32_t rows, uint32_t n, const float *a, size_t lda, const float *b,
                       size_t ldb, const float *factor, float *c, size_t ldc)
{
    switch (rows) {
    case 4: micro(4, n, a, lda, b, ldb, factor, c, ldc); break;
    case 3: micro(3, n, a, lda, b, ldb, factor, c, ldc); break;
    case 2: micro(2, n, a, lda, b, ldb, factor, c, ldc); break;
    default: micro(1, n, a, lda, b, ldb, factor, c, ldc); break;
    }
}

static uint32_t next_rows(uint32_t left)
{
    return left >= 4 ? 4 : left;
}

#include "kernels/attention_tile.h"

size_t nib__attention_scratch_neon(uint32_t dim)
{
    return tile_bytes(dim);
}

void nib__attention_neon(const nib__attention *a)
{
    attend(a);
}
