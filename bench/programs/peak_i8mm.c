/* SPDX-License-Identifier: MIT
 * Peak of the int8 matrix product SMMLA. */
#include <arm_neon.h>

#include "kernels/simd.h"
#include "peak.h"

enum { CHAINS = 16 };

double peak_int8_i8mm(uint64_t steps)
{
    int32x4_t acc[CHAINS];
    int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(2);
    NIB_UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = vdupq_n_s32(0);
    for (uint64_t s = 0; s < steps; s++) {
        NIB_UNROLL for (int i = 0; i < CHAINS; i++)
        {
            acc[i] = vmmlaq_s32(acc[i], a, b);
            __asm__ volatile("" : "+w"(acc[i]));
        }
    }
    return (double)steps * CHAINS * 32 * 2;
}
