/* SPDX-License-Identifier: MIT
 * exp of four float32 with NEON; the algorithm of kernels/exp.h with fused multiply-adds. */
#ifndef NIB_KERNELS_ARM_EXP_NEON_H
#define NIB_KERNELS_ARM_EXP_NEON_H

#include "kernels/arm/neon.h"
#include "kernels/exp.h"

NIB_INLINE float32x4_t exp_128(float32x4_t x)
{
    /* vmax and vmin give NaN where an operand is NaN, so NaN goes through. */
    x = vmaxq_f32(x, vdupq_n_f32(NIB__EXP_MIN));
    x = vminq_f32(x, vdupq_n_f32(NIB__EXP_MAX));
    float32x4_t n = vrndnq_f32(vmulq_n_f32(x, NIB__EXP_LOG2E));
    float32x4_t r = vfmsq_n_f32(x, n, NIB__EXP_LN2_HIGH);
    r = vfmsq_n_f32(r, n, NIB__EXP_LN2_LOW);
    float32x4_t p = vdupq_n_f32(NIB__EXP_P0);
    p = vfmaq_f32(vdupq_n_f32(NIB__EXP_P1), p, r);
    p = vfmaq_f32(vdupq_n_f32(NIB__EXP_P2), p, r);
    p = vfmaq_f32(vdupq_n_f32(NIB__EXP_P3), p, r);
    p = vfmaq_f32(vdupq_n_f32(NIB__EXP_P4), p, r);
    p = vfmaq_f32(vdupq_n_f32(NIB__EXP_P5), p, r);
    p = vfmaq_f32(vaddq_f32(r, vdupq_n_f32(1.0f)), p, vmulq_f32(r, r));
    int32x4_t power = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(power, 23)));
}

#endif
