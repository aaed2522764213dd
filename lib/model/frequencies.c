/* SPDX-License-Identifier: MIT
 * Inverse frequencies of rotary position embeddings, with the ways to stretch them over a longer
 * context. Computed in double and rounded once: float32 is what the models were trained with. */
#include <math.h>

#include "model/arch.h"

/* The (fractional) pair that turns `turns` times within the original context. */
static double pair_of_turns(const nib__config *c, double turns)
{
    const double two_pi = 6.283185307179586;
    return (double)c->n_rot * log((double)c->rope_ctx_orig / (turns * two_pi)) /
           (2 * log((double)c->rope_base));
}

/* YaRN (Peng et al. 2023, section 3.2): pairs that turn often keep their frequency, slow ones are
 * interpolated, a linear ramp lies between. 1: keep, 0: interpolate. */
static double yarn_keep(const nib__config *c, uint32_t pair)
{
    double low = floor(pair_of_turns(c, (double)c->rope_beta_fast));
    double high = ceil(pair_of_turns(c, (double)c->rope_beta_slow));
    low = low > 0 ? low : 0;
    high = high < c->n_rot - 1 ? high : c->n_rot - 1;
    double width = high - low > 0.001 ? high - low : 0.001;
    double ramp = ((double)pair - low) / width;
    return 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
}

/* Llama 3.1: waves shorter than the original context divided by high_freq are kept, longer ones
 * than it divided by low_freq are stretched, between them the share changes evenly with the turns.
 */
static double llama3_keep(const nib__config *c, double frequency)
{
    double turns = (double)c->rope_ctx_orig * frequency / 6.283185307179586;
    double low = (double)c->rope_low_freq, high = (double)c->rope_high_freq;
    double ramp = (turns - low) / (high - low);
    return ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
}

void nib__rope_frequencies(const nib__config *c, const float *divisors, float *inv)
{
    for (uint32_t i = 0; i < c->n_rot / 2; i++) {
        double plain = pow((double)c->rope_base, -2.0 * i / c->n_rot);
        if (divisors != NULL) plain /= (double)divisors[i]; /* llama3: factors come with the file */
        double stretched = plain / (double)c->rope_factor;
        double keep = 0;
        if (c->rope_scaling == NIB__ROPE_YARN) keep = yarn_keep(c, i);
        if (c->rope_scaling == NIB__ROPE_LLAMA3) keep = llama3_keep(c, plain);
        inv[i] = (float)(stretched * (1 - keep) + plain * keep);
    }
}

void nib__rope_plain(uint32_t n_rot, float base, float *inv)
{
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        inv[i] = (float)pow((double)base, -2.0 * i / n_rot);
    }
}
