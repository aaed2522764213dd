/* SPDX-License-Identifier: MIT
 * Activations of an MLP with NEON: the formulas of kernels/gelu.h. */
#include "kernels/arm/exp_neon.h"
#include "kernels/gelu.h"

NIB_INLINE float32x4_t silu_4(float32x4_t x)
{
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), exp_128(vnegq_f32(x))));
}

NIB_INLINE float32x4_t gelu_4(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t z = vmulq_n_f32(vabsq_f32(x), NIB__GELU_SQRT_HALF);
    float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, z, NIB__GELU_P));
    float32x4_t p = vdupq_n_f32(NIB__GELU_A5);
    p = vfmaq_f32(vdupq_n_f32(NIB__GELU_A4), p, t);
    p = vfmaq_f32(vdupq_n_f32(NIB__GELU_A3), p, t);
    p = vfmaq_f32(vdupq_n_f32(NIB__GELU_A2), p, t);
    p = vfmaq_f32(vdupq_n_f32(NIB__GELU_A1), p, t);
    float32x4_t e = exp_128(vnegq_f32(vmulq_f32(z, z)));
    float32x4_t half = vmulq_f32(vmulq_n_f32(vmulq_f32(p, t), 0.5f), e);
    return vmulq_f32(x, vbslq_f32(vcltzq_f32(x), half, vsubq_f32(one, half)));
}

NIB_INLINE float32x4_t gelu_tanh_4(float32x4_t x)
{
    float32x4_t u = vfmaq_n_f32(x, vmulq_f32(vmulq_f32(x, x), x), NIB__GELU_CUBE);
    float32x4_t e = exp_128(vmulq_n_f32(u, NIB__GELU_MINUS_2C));
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), e));
}

NIB_INLINE void apply(nib__act act, const float *x, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i += 4) {
        float32x4_t v = load_first(x + i, n - i);
        float32x4_t y = act == NIB__ACT_SILU        ? silu_4(v)
                        : act == NIB__ACT_GELU      ? gelu_4(v)
                        : act == NIB__ACT_GELU_TANH ? gelu_tanh_4(v)
                                                    : vmaxq_f32(v, vdupq_n_f32(0.0f));
        if (up != NULL) y = vmulq_f32(y, load_first(up + i, n - i));
        store_first(out + i, y, n - i);
    }
}

#include "kernels/activate.h"

void nib__activate_init_neon(nib__kernels *table)
{
    set_activations(table);
}
