/* SPDX-License-Identifier: MIT
 * Operations on single rows in scalar C: normalisation, rotation, cache, argmax. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/ref/ref.h"

static void rmsnorm(const float *x, const float *w, uint32_t n, float eps, float *out)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    float factor = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (uint32_t i = 0; i < n; i++) out[i] = x[i] * factor * w[i];
}

static void layernorm(const float *x, const float *w, const float *b, uint32_t n, float eps,
                      float *out)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i];
    double mean = sum / n;
    for (uint32_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double factor = 1.0 / sqrt(squares / n + (double)eps);
    for (uint32_t i = 0; i < n; i++) {
        float y = (float)(((double)x[i] - mean) * factor) * w[i];
        out[i] = b != NULL ? y + b[i] : y;
    }
}

static void add(const float *x, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i++) y[i] += x[i];
}

static void rope(float *head, const float *cos_sin, uint32_t n_rot, int32_t interleaved)
{
    uint32_t half = n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        float *a = head + (interleaved ? 2 * i : i);
        float *b = interleaved ? a + 1 : a + half;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], x = *a, y = *b;
        *a = x * c - y * s;
        *b = x * s + y * c;
    }
}

/* One vector into a q8 cache: element i goes to dst[i * step]; returns the scale. */
static float store_q8(const float *x, uint32_t dim, int8_t *dst, size_t step)
{
    float max = nib__f32_of_bits(nib__max_magnitude_bits(x, dim));
    float to = max > 0x1p-100f ? 127.0f / max : 0.0f;
    for (uint32_t i = 0; i < dim; i++) {
        float scaled = x[i] * to;
        dst[i * step] = scaled == scaled ? (int8_t)lrintf(scaled) : 0;
    }
    return max / 127.0f; /* NaN or infinite if an element is: attention then gives NaN */
}

void nib__kv_store_ref(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v)
{
    uint32_t dim = kv->dim;
    size_t key = (size_t)(pos / 16) * 16 * dim + pos % 16, value = (size_t)pos * dim;
    if (kv->type == NIB_KV_Q8) {
        kv->k_scale[pos] = store_q8(k, dim, (int8_t *)kv->k + key, 16);
        kv->v_scale[pos] = store_q8(v, dim, (int8_t *)kv->v + value, 1);
        return;
    }
    if (kv->type == NIB__KV_F32) {
        for (uint32_t i = 0; i < dim; i++) ((float *)kv->k)[key + (size_t)i * 16] = k[i];
        memcpy((float *)kv->v + value, v, dim * sizeof(float));
        return;
    }
    uint16_t *keys = (uint16_t *)kv->k + key, *values = (uint16_t *)kv->v + value;
    for (uint32_t i = 0; i < dim; i++) {
        keys[(size_t)i * 16] = nib__f16_of_f32(k[i]);
        values[i] = nib__f16_of_f32(v[i]);
    }
}

uint32_t nib__argmax_ref(const float *x, uint32_t n)
{
    uint32_t best = 0;
    float top = -INFINITY;
    bool found = false;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] > top || (!found && x[i] == x[i])) {
            found = true;
            top = x[i];
            best = i;
        }
    }
    return best;
}

void nib__elementwise_init_ref(nib__kernels *table)
{
    table->rmsnorm = rmsnorm;
    table->layernorm = layernorm;
    table->add = add;
    table->rope = rope;
    table->kv_store = nib__kv_store_ref;
}
