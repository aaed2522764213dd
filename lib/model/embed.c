/* SPDX-License-Identifier: MIT
 * Embedding rows, read where they lie in the file: a pass needs a few of them, and packing all
 * would double the memory they take. */
#include "model/model.h"

nib_status nib__model_embed(const nib_model *model, const int32_t *ids, size_t n, float *out,
                            nib_error *err)
{
    const nib__tensor *t = model->embedding;
    size_t width = model->config.n_embd;
    size_t row_bytes = width / t->format->block * t->format->block_bytes;
    nib_status status = nib__source_check(model->source, err);
    if (status != NIB_OK) return status;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= model->config.n_vocab) {
            return nib__fail(err, NIB_ERR_ARGUMENT, "token %zu: expected an id in 0..%u, got %d", i,
                             model->config.n_vocab - 1, ids[i]);
        }
        t->format->decode(t->data + (size_t)ids[i] * row_bytes, out + i * width, width);
    }
    return NIB_OK;
}
