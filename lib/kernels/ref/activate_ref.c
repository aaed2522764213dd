/* SPDX-License-Identifier: MIT
 * Activations of an MLP in scalar C, alone or times a second row. */
#include "kernels/gelu.h"
#include "kernels/ref/ref.h"

static void silu(const float *x, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++) {
        float y = x[i] / (1.0f + nib__exp(-x[i]));
        out[i] = up != NULL ? y * up[i] : y;
    }
}

static void gelu(const float *x, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++) {
        float y = nib__gelu(x[i]);
        out[i] = up != NULL ? y * up[i] : y;
    }
}

static void gelu_tanh(const float *x, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++) {
        float y = nib__gelu_tanh(x[i]);
        out[i] = up != NULL ? y * up[i] : y;
    }
}

static void relu(const float *x, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++) {
        float y = x[i] <= 0.0f ? 0.0f : x[i]; /* NaN stays */
        out[i] = up != NULL ? y * up[i] : y;
    }
}

void nib__activate_init_ref(nib__kernels *table)
{
    table->activate[NIB__ACT_SILU] = silu;
    table->activate[NIB__ACT_GELU] = gelu;
    table->activate[NIB__ACT_GELU_TANH] = gelu_tanh;
    table->activate[NIB__ACT_RELU] = relu;
}
