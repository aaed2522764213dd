/* SPDX-License-Identifier: MIT
 * exp and log for sampling: those of C libraries differ in the last bit between versions and CPUs,
 * and a seed must give the same text everywhere. */
#ifndef NIB_DECODE_EXP_LOG_H
#define NIB_DECODE_EXP_LOG_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x for -700 <= x <= 0, relative error below 1e-15: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor in r.
 * Adding 1.5 * 2^52 rounds to an integer, which then lies in the low bits: no branch and no
 * conversion, so that compilers can compute several at once. */
static inline double nib__exp_in_range(double x)
{
    double shifted = x * 1.4426950408889634 + 0x1.8p52, n = shifted - 0x1.8p52;
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double r2 = r * r, r4 = r2 * r2;
    double p0 = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    double p1 = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    double p2 = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
    double value = p0 + r4 * (p1 + r4 * p2), power;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}

/* The same, but below -700, and for NaN, it is e^-700. */
static inline double nib__exp_of(double x)
{
    return nib__exp_in_range(x > -700.0 ? x : -700.0);
}

/* ln x for finite x > 0: x = m 2^e with m near 1, ln m = 2 artanh((m - 1) / (m + 1)). */
static inline double nib__log_of(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double z = (m - 1) / (m + 1), z2 = z * z, sum = 0;
    for (int k = 23; k >= 1; k -= 2) sum = sum * z2 + 1.0 / k;
    return (double)e * 0x1.62e42fefa39efp-1 + 2 * z * sum;
}

#endif
