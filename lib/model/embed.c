/* SPDX-License-Identifier: MIT
 * Embedding rows, read where they lie in the file: a pass needs a few of them, and packing all
 * would double the memory they take. Where the head is the embedding, packed without a loss, they
 * come from its panels instead. Positions that are added to them. */
#include <math.h>
#include <string.h>

#include "kernels/panel.h"
#include "model/model.h"

uint32_t nib__model_max_positions(const nib_model *model)
{
    const nib__config *c = &model->config;
    if (c->rope_scaling == NIB__ROPE_DYNAMIC) return c->n_ctx_train;
    return c->positions == NIB__POS_LEARNED ? c->n_pos - c->pos_offset : INT32_MAX;
}

nib_status nib__model_check_ids(const nib_model *model, const int32_t *ids, size_t n, size_t pos0,
                                nib_error *err)
{
    uint32_t most = nib__model_max_positions(model);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && (uint32_t)ids[i] < model->config.n_vocab) continue;
        return nib__fail(err, NIB_ERR_ARGUMENT, "token %zu: expected an id in 0..%u, got %d", i,
                         model->config.n_vocab - 1, ids[i]);
    }
    if (pos0 > most || n > most - pos0) {
        return nib__fail(err, NIB_ERR_LIMIT, "position %zu: the model has %u positions",
                         pos0 + n - 1, most);
    }
    return nib__source_check(model->source, err);
}

static void read_row(const nib__tensor *t, size_t row, size_t width, float *out)
{
    size_t row_bytes = width / t->format->block * t->format->block_bytes;
    t->format->decode(t->data + row * row_bytes, out, width);
}

static void add_row(const nib__tensor *t, size_t row, uint32_t width, float *scratch, float *out)
{
    read_row(t, row, width, scratch);
    for (uint32_t i = 0; i < width; i++) out[i] += scratch[i];
}

/* Vaswani et al. 2017, section 3.5, in the arrangement of tensor2tensor and fairseq: dimension i of
 * the first half has the sine, of the second the cosine of pos / 10000^(i / (half - 1)). */
static void add_sinusoid(double pos, uint32_t n, float *x)
{
    uint32_t half = n / 2;
    double step = half > 1 ? log(10000.0) / (half - 1) : 0;
    for (uint32_t i = 0; i < half; i++) {
        double angle = pos * exp(-step * i);
        x[i] += (float)sin(angle);
        x[half + i] += (float)cos(angle);
    }
}

void nib__model_embed(const nib_model *model, int32_t id, size_t pos, float *scratch, float *word,
                      float *out)
{
    const nib__config *c = &model->config;
    bool mapped = model->word_in.w.layout != NULL;
    if (!mapped) word = out;
    if (model->embedding_panels.data != NULL)
        nib__panel_row(&model->embedding_panels, (uint32_t)id, word);
    else
        read_row(model->embedding, (size_t)id, c->n_word, word);
    for (uint32_t i = 0; i < c->n_word && c->embd_scale != 1; i++) word[i] *= c->embd_scale;
    if (mapped) memset(out, 0, c->n_embd * sizeof *out);
    pos += c->pos_offset; /* NIB__NO_POSITION: the row before the first */
    if (c->positions == NIB__POS_LEARNED)
        add_row(model->positions, pos, c->n_embd, scratch, out);
    else if (c->positions == NIB__POS_SINUSOIDAL && pos != (size_t)c->pad_id)
        add_sinusoid((double)pos, c->n_embd, out);
    if (c->n_types != 0) /* every token is of the first type */
        add_row(model->types, 0, c->n_embd, scratch, out);
}
