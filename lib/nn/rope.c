/* SPDX-License-Identifier: MIT
 * Angles of rotary position embeddings (Su et al. 2021): pair i of a head at position p is turned
 * by p * inv[i]. Computed once per pass and shared by all layers and heads. */
#include <math.h>

#include "nn/nn.h"

void nib__rope_rows(const nib_model *model, uint32_t pos0, uint32_t m, float *cos_sin)
{
    uint32_t pairs = model->config.n_rot / 2;
    double magnitude = (double)model->config.rope_attn_factor;
    for (uint32_t row = 0; row < m; row++) {
        for (uint32_t i = 0; i < pairs; i++) {
            /* double: in float32 an angle of 10,000 would be off by 1/2000 */
            double angle = (double)(pos0 + row) * (double)model->rope_inv[i];
            *cos_sin++ = (float)(cos(angle) * magnitude);
            *cos_sin++ = (float)(sin(angle) * magnitude);
        }
    }
}
