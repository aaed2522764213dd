/* SPDX-License-Identifier: MIT
 * Embedding rows, read where they lie in the file: a pass needs a few of them, and packing all
 * would double the memory they take. */
#include "model/model.h"

nib_status nib__model_check_ids(const nib_model *model, const int32_t *ids, size_t n,
                                nib_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && (uint32_t)ids[i] < model->config.n_vocab) continue;
        return nib__fail(err, NIB_ERR_ARGUMENT, "token %zu: expected an id in 0..%u, got %d", i,
                         model->config.n_vocab - 1, ids[i]);
    }
    return nib__source_check(model->source, err);
}

void nib__model_embed(const nib_model *model, const int32_t *ids, size_t n, float *out)
{
    const nib__tensor *t = model->embedding;
    size_t width = model->config.n_embd;
    size_t row_bytes = width / t->format->block * t->format->block_bytes;
    for (size_t i = 0; i < n; i++) {
        t->format->decode(t->data + (size_t)ids[i] * row_bytes, out + i * width, width);
    }
}
