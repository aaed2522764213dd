/* SPDX-License-Identifier: MIT
 * Operations on single rows with NEON. */
#include <math.h>

#include "kernels/arm/exp_neon.h"
#include "kernels/ref/ref.h"

static void rmsnorm(const float *x, const float *w, uint32_t n, float eps, float *out)
{
    /* Eight partial sums keep the rounding error of long rows small. */
    float32x4_t a = vdupq_n_f32(0.0f), b = a;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float32x4_t v = vld1q_f32(x + i), u = vld1q_f32(x + i + 4);
        a = vfmaq_f32(a, v, v);
        b = vfmaq_f32(b, u, u);
    }
    for (; i < n; i += 4) {
        float32x4_t v = load_first(x + i, n - i);
        a = vfmaq_f32(a, v, v);
    }
    float factor = 1.0f / sqrtf(vaddvq_f32(vaddq_f32(a, b)) / (float)n + eps);
    for (i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_n_f32(load_first(x + i, n - i), factor);
        store_first(out + i, vmulq_f32(v, load_first(w + i, n - i)), n - i);
    }
}

static void layernorm(const float *x, const float *w, const float *b, uint32_t n, float eps,
                      float *out)
{
    const float32x4_t lane = {0, 1, 2, 3};
    float32x4_t sum = vdupq_n_f32(0.0f), squares = sum;
    for (uint32_t i = 0; i < n; i += 4) sum = vaddq_f32(sum, load_first(x + i, n - i));
    const float32x4_t mean = vdupq_n_f32(vaddvq_f32(sum) / (float)n);
    for (uint32_t i = 0; i < n; i += 4) {
        float32x4_t d = vsubq_f32(load_first(x + i, n - i), mean);
        if (n - i < 4) { /* lanes behind the end must not count as -mean */
            uint32x4_t inside = vcltq_f32(lane, vdupq_n_f32((float)(n - i)));
            d = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(d), inside));
        }
        squares = vfmaq_f32(squares, d, d);
    }
    float scale = 1.0f / sqrtf(vaddvq_f32(squares) / (float)n + eps);
    for (uint32_t i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_n_f32(vsubq_f32(load_first(x + i, n - i), mean), scale);
        v = vmulq_f32(v, load_first(w + i, n - i));
        if (b != NULL) v = vaddq_f32(v, load_first(b + i, n - i));
        store_first(out + i, v, n - i);
    }
}

static void add(const float *x, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i += 4) {
        store_first(y + i, vaddq_f32(load_first(x + i, n - i), load_first(y + i, n - i)), n - i);
    }
}

static void rope(float *head, const float *cos_sin, uint32_t n_rot, int32_t interleaved)
{
    uint32_t half = n_rot / 2, i = 0;
    for (; i + 4 <= half; i += 4) {
        float32x4x2_t cs = vld2q_f32(cos_sin + 2 * i), pair;
        if (interleaved) {
            pair = vld2q_f32(head + 2 * i);
        } else {
            pair.val[0] = vld1q_f32(head + i);
            pair.val[1] = vld1q_f32(head + half + i);
        }
        float32x4_t x = pair.val[0], y = pair.val[1];
        pair.val[0] = vfmsq_f32(vmulq_f32(x, cs.val[0]), y, cs.val[1]);
        pair.val[1] = vfmaq_f32(vmulq_f32(x, cs.val[1]), y, cs.val[0]);
        if (interleaved) {
            vst2q_f32(head + 2 * i, pair);
        } else {
            vst1q_f32(head + i, pair.val[0]);
            vst1q_f32(head + half + i, pair.val[1]);
        }
    }
    for (; i < half; i++) {
        float *a = head + (interleaved ? 2 * i : i), *b = interleaved ? a + 1 : a + half;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], x = *a, y = *b;
        *a = x * c - y * s;
        *b = x * s + y * c;
    }
}

/* Two passes: the largest number, then the first place that holds it. */
static uint32_t argmax(const float *x, uint32_t n)
{
    float32x4_t max = vdupq_n_f32(-INFINITY);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) max = vmaxnmq_f32(max, vld1q_f32(x + i)); /* skips NaN */
    float top = vmaxnmvq_f32(max);
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    for (i = 0; i + 4 <= n; i += 4) {
        uint32x4_t equal = vceqq_f32(vld1q_f32(x + i), vdupq_n_f32(top));
        if (vmaxvq_u32(equal) == 0) continue;
        while (x[i] != top) i++;
        return i;
    }
    for (; i < n; i++) {
        if (x[i] == top) return i;
    }
    return 0; /* all NaN */
}

void nib__elementwise_init_neon(nib__kernels *table)
{
    table->rmsnorm = rmsnorm;
    table->layernorm = layernorm;
    table->add = add;
    table->rope = rope;
    table->argmax = argmax;
}
