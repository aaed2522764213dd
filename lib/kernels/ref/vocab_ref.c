/* SPDX-License-Identifier: MIT
 * Passes over the logits of a whole vocabulary in scalar C. Every level gives the same bits: a seed
 * must give the same text everywhere. */
#include <math.h>

#include "kernels/exp.h"
#include "kernels/ref/ref.h"

enum { LANES = 16, RUN = 64 }; /* RUN vectors are summed in float32, then go into a double */

/* e^x for x <= 0, the steps of exp_256 and exp_128; NaN counts as the smallest x. */
static float exp_fma(float x)
{
    if (!(x > NIB__EXP_MIN)) x = NIB__EXP_MIN;
    float n = rintf(x * NIB__EXP_LOG2E);
    float r = fmaf(-n, NIB__EXP_LN2_HIGH, x);
    r = fmaf(-n, NIB__EXP_LN2_LOW, r);
    float p = NIB__EXP_P0;
    p = fmaf(p, r, NIB__EXP_P1);
    p = fmaf(p, r, NIB__EXP_P2);
    p = fmaf(p, r, NIB__EXP_P3);
    p = fmaf(p, r, NIB__EXP_P4);
    p = fmaf(p, r, NIB__EXP_P5);
    p = fmaf(p, r * r, r + 1.0f);
    return p * nib__f32_of_bits((uint32_t)((int32_t)n + 127) << 23);
}

double nib__reduce_lanes(double sum[16])
{
    for (int step = LANES / 2; step > 0; step /= 2) {
        for (int j = 0; j < step; j++) sum[j] += sum[j + step];
    }
    return sum[0];
}

static double sum_exp(const float *x, uint32_t n, float max, float scale)
{
    double total[LANES] = {0};
    for (uint32_t from = 0; from < n;) {
        uint32_t end = n - from < LANES * RUN ? n : from + LANES * RUN;
        float sum[LANES] = {0};
        for (; from < end; from++) sum[from % LANES] += exp_fma((x[from] - max) * scale);
        for (int j = 0; j < LANES; j++) total[j] += (double)sum[j];
    }
    return nib__reduce_lanes(total);
}

uint32_t nib__filter_above_ref(const float *x, uint32_t n, float above, int32_t *ids)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] > above) ids[found++] = (int32_t)i;
    }
    return found;
}

static void run_maxima(const float *x, uint32_t n, float *out)
{
    for (uint32_t from = 0; from < n; from += NIB__MAXIMA_RUN) {
        uint32_t end = n - from < NIB__MAXIMA_RUN ? n : from + NIB__MAXIMA_RUN;
        float top = -INFINITY;
        for (uint32_t i = from; i < end; i++) top = x[i] > top ? x[i] : top;
        *out++ = top;
    }
}

void nib__vocab_init_ref(nib__kernels *table)
{
    table->argmax = nib__argmax_ref;
    table->sum_exp = sum_exp;
    table->filter_above = nib__filter_above_ref;
    table->run_maxima = run_maxima;
}
