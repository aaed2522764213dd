/* SPDX-License-Identifier: MIT
 * GELU (Hendrycks and Gimpel 2016) for float32, the algorithm that each instruction set writes once.
 *
 * With the error function: x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2, where for z = |x| / sqrt 2
 *     erfc(z) = (a1 t + a2 t^2 + ... + a5 t^5) exp(-z^2), t = 1 / (1 + p z)
 * (Abramowitz and Stegun 7.1.26, off by at most 1.5e-7), and Phi(x) is half of erfc(z) for negative
 * x, 1 minus that for others.
 *
 * With tanh: x / 2 (1 + tanh u) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3). */
#ifndef NIB_KERNELS_GELU_H
#define NIB_KERNELS_GELU_H

#include "kernels/exp.h"

#define NIB__GELU_SQRT_HALF 0.70710678118654752f
#define NIB__GELU_P 0.3275911f
#define NIB__GELU_A1 0.254829592f
#define NIB__GELU_A2 (-0.284496736f)
#define NIB__GELU_A3 1.421413741f
#define NIB__GELU_A4 (-1.453152027f)
#define NIB__GELU_A5 1.061405429f
#define NIB__GELU_MINUS_2C (-1.5957691216057308f) /* -2 sqrt(2 / pi) */
#define NIB__GELU_CUBE 0.044715f

static inline float nib__gelu(float x)
{
    float z = (x < 0.0f ? -x : x) * NIB__GELU_SQRT_HALF;
    float t = 1.0f / (1.0f + NIB__GELU_P * z);
    float p = NIB__GELU_A5;
    p = p * t + NIB__GELU_A4;
    p = p * t + NIB__GELU_A3;
    p = p * t + NIB__GELU_A2;
    p = p * t + NIB__GELU_A1;
    float half = 0.5f * p * t * nib__exp(-z * z);
    return x * (x < 0.0f ? half : 1.0f - half);
}

static inline float nib__gelu_tanh(float x)
{
    float u = x + NIB__GELU_CUBE * x * x * x;
    return x / (1.0f + nib__exp(NIB__GELU_MINUS_2C * u));
}

#endif
