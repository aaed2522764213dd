/* SPDX-License-Identifier: MIT
 * Peak of the 128-bit fused multiply-add. Sixteen registers hide the latency of four units. */
#include <arm_neon.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 16 };

double peak_fma_neon(uint64_t steps)
{
    float32x4_t acc[CHAINS], a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = vdupq_n_f32((float)i);
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = vfmaq_f32(acc[i], a, b);
            __asm__ volatile("" : "+w"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 4 * 2;
}
