/* SPDX-License-Identifier: MIT
 * exp for float32, the algorithm that each instruction set writes once: x = n ln 2 + r with
 * |r| <= ln 2 / 2, a polynomial of degree 6 for exp(r), then a multiplication by 2^n. Below 2 ulp
 * for results that are normal numbers. ln 2 in two parts after Cody and Waite; coefficients: Cephes
 * expf. Arguments are clamped to [-87.33, 88.37], so results lie between 2^-126 and 2.4e38. */
#ifndef NIB_KERNELS_EXP_H
#define NIB_KERNELS_EXP_H

#include <stdint.h>

#include "base/half.h"

#define NIB__EXP_MIN (-87.33f)
#define NIB__EXP_MAX 88.37f
#define NIB__EXP_LOG2E 1.44269504088896341f
#define NIB__EXP_LN2_HIGH 0.693359375f
#define NIB__EXP_LN2_LOW (-2.12194440e-4f)
#define NIB__EXP_P0 1.9875691500e-4f
#define NIB__EXP_P1 1.3981999507e-3f
#define NIB__EXP_P2 8.3334519073e-3f
#define NIB__EXP_P3 4.1665795894e-2f
#define NIB__EXP_P4 1.6666665459e-1f
#define NIB__EXP_P5 5.0000001201e-1f

static inline float nib__exp(float x)
{
    /* Comparisons written so that NaN passes through to the polynomial. */
    if (x < NIB__EXP_MIN) x = NIB__EXP_MIN;
    if (x > NIB__EXP_MAX) x = NIB__EXP_MAX;
    if (x != x) return x;
    float scaled = x * NIB__EXP_LOG2E;
    int32_t n = (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    float r = x - (float)n * NIB__EXP_LN2_HIGH;
    r = r - (float)n * NIB__EXP_LN2_LOW;
    float p = NIB__EXP_P0;
    p = p * r + NIB__EXP_P1;
    p = p * r + NIB__EXP_P2;
    p = p * r + NIB__EXP_P3;
    p = p * r + NIB__EXP_P4;
    p = p * r + NIB__EXP_P5;
    p = p * (r * r) + r + 1.0f;
    return p * nib__f32_of_bits((uint32_t)(n + 127) << 23);
}

#endif
