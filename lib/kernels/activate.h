/* SPDX-License-Identifier: MIT
 * The activations of a vector level, from its `apply`, which the including file defines before:
 *     apply(act, x, up, n, out)    out[n] = act(x) * up, or act(x) if up is NULL
 * inlined, so that each function is compiled for one activation. */
static void silu(const float *x, const float *up, uint32_t n, float *out)
{
    apply(NIB__ACT_SILU, x, up, n, out);
}

static void gelu(const float *x, const float *up, uint32_t n, float *out)
{
    apply(NIB__ACT_GELU, x, up, n, out);
}

static void gelu_tanh(const float *x, const float *up, uint32_t n, float *out)
{
    apply(NIB__ACT_GELU_TANH, x, up, n, out);
}

static void relu(const float *x, const float *up, uint32_t n, float *out)
{
    apply(NIB__ACT_RELU, x, up, n, out);
}

static void set_activations(nib__kernels *table)
{
    table->activate[NIB__ACT_SILU] = silu;
    table->activate[NIB__ACT_GELU] = gelu;
    table->activate[NIB__ACT_GELU_TANH] = gelu_tanh;
    table->activate[NIB__ACT_RELU] = relu;
}
