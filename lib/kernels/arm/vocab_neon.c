/* SPDX-License-Identifier: MIT
 * Passes over the logits of a whole vocabulary with NEON; the bits of vocab_ref.c. */
#include <math.h>

#include "kernels/arm/exp_neon.h"
#include "kernels/ref/ref.h"

enum { LANES = 16, RUN = 64 };

/* Four terms; lanes from `count` on are 0. NaN counts as the smallest exponent. */
NIB_INLINE float32x4_t term(const float *x, uint32_t count, float max, float scale)
{
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    float32x4_t v = vmulq_n_f32(vsubq_f32(load_first(x, count), vdupq_n_f32(max)), scale);
    v = exp_128(vmaxnmq_f32(v, vdupq_n_f32(NIB__EXP_MIN)));
    if (count >= 4) return v;
    uint32x4_t real = vcltq_u32(vld1q_u32(lanes), vdupq_n_u32(count));
    return vreinterpretq_f32_u32(vandq_u32(real, vreinterpretq_u32_f32(v)));
}

static double sum_exp(const float *x, uint32_t n, float max, float scale)
{
    double total[LANES] = {0};
    for (uint32_t from = 0; from < n;) {
        uint32_t end = n - from < LANES * RUN ? n : from + LANES * RUN;
        float32x4_t sum[4];
        for (int j = 0; j < 4; j++) sum[j] = vdupq_n_f32(0.0f);
        for (; end - from >= LANES; from += LANES) {
            for (int j = 0; j < 4; j++)
                sum[j] = vaddq_f32(sum[j], term(x + from + 4 * j, 4, max, scale));
        }
        for (uint32_t j = 0; from < end; j++) {
            uint32_t count = end - from < 4 ? end - from : 4;
            sum[j] = vaddq_f32(sum[j], term(x + from, count, max, scale));
            from += count;
        }
        for (int j = 0; j < 4; j++) {
            float lanes[4];
            vst1q_f32(lanes, sum[j]);
            for (int i = 0; i < 4; i++) total[4 * j + i] += (double)lanes[i];
        }
    }
    return nib__reduce_lanes(total);
}

static uint32_t filter_above(const float *x, uint32_t n, float above, int32_t *ids)
{
    const float32x4_t limit = vdupq_n_f32(above);
    uint32_t found = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
        uint32x4_t over = vcgtq_f32(vld1q_f32(x + i), limit);
        for (uint32_t j = 4; j < 16; j += 4)
            over = vorrq_u32(over, vcgtq_f32(vld1q_f32(x + i + j), limit));
        if (vmaxvq_u32(over) == 0) continue;
        for (uint32_t j = i; j < i + 16; j++) {
            if (x[j] > above) ids[found++] = (int32_t)j;
        }
    }
    for (; i < n; i++) {
        if (x[i] > above) ids[found++] = (int32_t)i;
    }
    return found;
}

static void run_maxima(const float *x, uint32_t n, float *out)
{
    for (uint32_t from = 0; from < n; from += NIB__MAXIMA_RUN) {
        uint32_t end = n - from < NIB__MAXIMA_RUN ? n : from + NIB__MAXIMA_RUN, i = from;
        float32x4_t top = vdupq_n_f32(-INFINITY);
        for (; end - i >= 4; i += 4) top = vmaxnmq_f32(top, vld1q_f32(x + i)); /* skips NaN */
        float best = vmaxnmvq_f32(top);
        for (; i < end; i++) best = x[i] > best ? x[i] : best;
        *out++ = best;
    }
}

void nib__vocab_init_neon(nib__kernels *table)
{
    table->sum_exp = sum_exp;
    table->filter_above = filter_above;
    table->run_maxima = run_maxima;
}
