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

/* Raffel et al. 2020, section 2.1: half of the buckets are for a distance each, the other half for
 * ranges that grow with the logarithm of the distance up to rel_reach. In float32, as the models
 * were trained: at the edges of ranges double would choose another bucket. */
static uint32_t bucket_of(const nib__config *c, int64_t distance)
{
    uint32_t buckets = c->rel_buckets, first = 0;
    if (c->both_ways) {
        buckets /= 2;
        first = distance > 0 ? buckets : 0; /* keys behind the row */
    } else if (distance > 0) {
        distance = 0;
    }
    uint32_t n = (uint32_t)(distance < 0 ? -distance : distance), exact = buckets / 2;
    if (n < exact) return first + n;
    float range = logf((float)n / (float)exact) / (float)log((double)c->rel_reach / (double)exact) *
                  (float)(buckets - exact);
    uint32_t bucket = exact + (uint32_t)range;
    return first + (bucket < buckets ? bucket : buckets - 1);
}

void nib__relative_bias(const nib__config *c, const float *rel_bias, float *table)
{
    int64_t reach = c->rel_reach;
    for (uint32_t h = 0; h < c->n_head; h++) {
        for (int64_t distance = -reach; distance <= reach; distance++) {
            *table++ = rel_bias[(size_t)bucket_of(c, distance) * c->n_head + h];
        }
    }
}
