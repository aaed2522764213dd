/* SPDX-License-Identifier: MIT
 * Attention in scalar C. Keys are visited in blocks of 64 positions aligned to position 0; over the
 * blocks runs the online softmax of Milakov and Gimelshein (arXiv 1805.02867): running maximum,
 * running sum, and an accumulator rescaled whenever the maximum grows. */
#include <math.h>

#include "base/half.h"
#include "kernels/exp.h"
#include "kernels/ref/ref.h"
#include "kernels/visible.h"

enum { BLOCK = 64 };

static float key_at(const nib__kv_head *kv, uint32_t pos, uint32_t i)
{
    size_t at = ((size_t)(pos / 16) * kv->dim + i) * 16 + pos % 16;
    if (kv->type == NIB_KV_Q8) return (float)((const int8_t *)kv->k)[at];
    if (kv->type == NIB__KV_F32) return ((const float *)kv->k)[at];
    return nib__f32_of_f16(((const uint16_t *)kv->k)[at]);
}

static float value_at(const nib__kv_head *kv, uint32_t pos, uint32_t i)
{
    size_t at = (size_t)pos * kv->dim + i;
    if (kv->type == NIB_KV_Q8) return (float)((const int8_t *)kv->v)[at];
    if (kv->type == NIB__KV_F32) return ((const float *)kv->v)[at];
    return nib__f32_of_f16(((const uint16_t *)kv->v)[at]);
}

/* Scores of positions [from, to) for head h at position row; returns their maximum. */
static float block_scores(const nib__attention *a, uint32_t h, const float *q, uint32_t row,
                          uint32_t from, uint32_t to, float *scores)
{
    float max = -INFINITY, bias[BLOCK] = {0};
    if (a->bias != NULL) nib__key_biases(a, h, row, from, to - from, bias);
    for (uint32_t pos = from; pos < to; pos++) {
        float dot = 0.0f;
        for (uint32_t i = 0; i < a->kv.dim; i++) dot += q[i] * key_at(&a->kv, pos, i);
        if (a->kv.type == NIB_KV_Q8) dot *= a->kv.k_scale[pos];
        scores[pos - from] = dot * a->scale + bias[pos - from];
        if (!(scores[pos - from] <= max)) max = scores[pos - from]; /* NaN spreads */
    }
    return max;
}

/* Query head h of the group at position pos; acc[dim] is scratch. */
static void attend(const nib__attention *a, uint32_t h, const float *q, uint32_t pos, float *acc,
                   float *out)
{
    uint32_t dim = a->kv.dim, end = nib__end_key(a, pos);
    float top = -INFINITY, sum = 0.0f, scores[BLOCK];
    for (uint32_t i = 0; i < dim; i++) acc[i] = 0.0f;
    for (uint32_t from = nib__first_key(a, pos); from < end;) {
        uint32_t to = (from / BLOCK + 1) * BLOCK;
        if (to > end) to = end;
        float max = block_scores(a, h, q, pos, from, to, scores);
        if (!(max <= top)) {
            float shrink = top == -INFINITY ? 0.0f : nib__exp(top - max);
            sum *= shrink;
            for (uint32_t i = 0; i < dim; i++) acc[i] *= shrink;
            top = max;
        }
        for (uint32_t p = from; p < to; p++) {
            float weight = nib__exp(scores[p - from] - top);
            sum += weight;
            if (a->kv.type == NIB_KV_Q8) weight *= a->kv.v_scale[p];
            for (uint32_t i = 0; i < dim; i++) acc[i] += weight * value_at(&a->kv, p, i);
        }
        from = to;
    }
    for (uint32_t i = 0; i < dim; i++) out[i] = acc[i] / sum;
}

static void attention(const nib__attention *a)
{
    for (uint32_t row = 0; row < a->n_rows; row++) {
        for (uint32_t h = 0; h < a->n_group; h++) {
            size_t head = (size_t)h * a->kv.dim;
            attend(a, h, a->q + row * a->q_stride + head, a->pos0 + row, a->scratch,
                   a->out + row * a->out_stride + head);
        }
    }
}

static size_t attention_scratch(uint32_t dim)
{
    return nib__align_up(dim * sizeof(float), NIB_ALIGN);
}

void nib__attention_init_ref(nib__kernels *table)
{
    table->attention = attention;
    table->attention_scratch = attention_scratch;
}
