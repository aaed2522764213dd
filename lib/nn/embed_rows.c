/* SPDX-License-Identifier: MIT
 * Where a pass starts: embedding rows, and the angles of rotary position embeddings (Su et al.
 * 2021): pair i of a head at position p is turned by p * inv[i]. The angles are computed once per
 * pass and shared by all layers and heads. */
#include <math.h>

#include "nn/nn.h"

typedef struct embed_job {
    const nib__embed_rows *rows;
    uint32_t step; /* rows per piece */
} embed_job;

static void angles(const nib__config *c, const float *inv, size_t pos, float *cos_sin)
{
    double magnitude = (double)c->rope_attn_factor;
    for (uint32_t i = 0; i < c->n_rot / 2; i++) {
        /* double: in float32 an angle of 10,000 would be off by 1/2000 */
        double angle = (double)pos * (double)inv[i];
        cos_sin[2 * i] = (float)(cos(angle) * magnitude);
        cos_sin[2 * i + 1] = (float)(sin(angle) * magnitude);
    }
}

/* RoBERTa counts the tokens that are not padding, as fairseq does. */
static size_t position_of(const nib__embed_rows *r, uint32_t row)
{
    const nib__config *c = &r->model->config;
    if (r->places != NULL) return r->places[row].pos;
    if (!c->both_ways || c->pad_id < 0) return r->pos0 + row;
    if (r->ids[row] == c->pad_id) return NIB__NO_POSITION;
    size_t pos = 0;
    for (uint32_t i = 0; i < row; i++) pos += r->ids[i] != c->pad_id;
    return pos;
}

static void embed_piece(void *arg, uint32_t i, void *scratch)
{
    const embed_job *job = arg;
    const nib__embed_rows *r = job->rows;
    const nib__config *c = &r->model->config;
    uint32_t first = i * job->step;
    uint32_t end = r->m - first < job->step ? r->m : first + job->step;
    for (uint32_t row = first; row < end; row++) {
        size_t at = (size_t)row * c->n_rot;
        size_t pos = position_of(r, row);
        nib__model_embed(r->model, r->ids[row], pos, scratch, r->word + (size_t)row * c->n_word,
                         r->x + (size_t)row * c->n_embd);
        angles(c, r->model->rope_inv, pos, r->cos_sin + at);
        if (r->model->rope_inv_local == NULL) continue;
        angles(c, r->model->rope_inv_local, pos, r->cos_sin_local + at);
    }
}

nib_status nib__embed_run(nib__exec *exec, const nib__embed_rows *rows)
{
    const nib__config *c = &rows->model->config;
    size_t cost = 8 * (size_t)c->n_embd + 200 * (size_t)c->n_rot; /* decoding; cos and sin */
    embed_job job = {rows, nib__exec_rows(exec, rows->m, cost)};
    return nib__exec_run(exec, (rows->m + job.step - 1) / job.step, embed_piece, &job);
}
