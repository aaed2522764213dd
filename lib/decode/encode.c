/* SPDX-License-Identifier: MIT
 * Encoding a source: one pass of the encoder over all its tokens, then for every layer of the
 * decoder keys and values of the result (Vaswani et al. 2017, section 3.2.3). */
#include "decode/encode.h"

#include <string.h>

#include "base/clock.h"

enum cross_step { ROUND, KEYS_VALUES, STORE, CROSS_STEPS };

void nib__encoding_init(nib__encoding *e, const nib_model *model, uint32_t n_ctx)
{
    *e = (nib__encoding){.encoder = model->config.both_ways ? model : model->encoder};
    if (e->encoder == NULL) return;
    uint32_t most = nib__model_max_positions(e->encoder);
    e->decoder = model->encoder != NULL ? model : NULL;
    e->capacity = n_ctx < most ? n_ctx : most;
}

static size_t keys_of(const nib_model *model)
{
    return (size_t)model->config.n_head_kv * model->config.head_dim;
}

void nib__encoding_carve(nib__encoding *e, nib__arena *arena)
{
    if (e->encoder == NULL) return;
    nib__activations_carve(arena, e->encoder, e->capacity, &e->act);
    if (e->decoder == NULL) return;
    e->k = nib__arena_take(arena, e->capacity, keys_of(e->decoder) * sizeof(float));
    e->v = nib__arena_take(arena, e->capacity, keys_of(e->decoder) * sizeof(float));
}

static nib__config one_layer(const nib_model *model)
{
    nib__config c = model->config;
    c.n_layer = 1;
    return c;
}

size_t nib__encoding_cache_bytes(const nib__encoding *e, uint32_t kv_type)
{
    if (e->encoder == NULL) return 0;
    nib__config one = one_layer(e->encoder);
    size_t own = nib__kv_bytes(&one, e->capacity, kv_type), cross = 0, sum;
    if (e->decoder != NULL) cross = nib__kv_bytes(&e->decoder->config, e->capacity, kv_type);
    bool fits = own != SIZE_MAX && cross != SIZE_MAX && nib__add(own, cross, &sum);
    return fits ? sum : SIZE_MAX;
}

nib_status nib__encoding_open(nib__encoding *e, const nib_allocator *mem, uint32_t kv_type,
                              nib_error *err)
{
    if (e->encoder == NULL) return NIB_OK;
    nib__config one = one_layer(e->encoder);
    nib_status status = nib__kv_init(&e->own, mem, &one, e->capacity, kv_type, err);
    if (status != NIB_OK || e->decoder == NULL) return status;
    return nib__kv_init(&e->cross, mem, &e->decoder->config, e->capacity, kv_type, err);
}

void nib__encoding_close(nib__encoding *e)
{
    nib__kv_free(&e->own);
    nib__kv_free(&e->cross);
}

nib_status nib__encoding_set(nib__encoding *e, const int32_t *ids, size_t n, nib_error *err)
{
    if (n == 0 || n > e->capacity) {
        return nib__fail(err, n == 0 ? NIB_ERR_ARGUMENT : NIB_ERR_LIMIT,
                         "source: expected 1..%u tokens, got %zu", e->capacity, n);
    }
    nib_status status = nib__model_check_ids(e->encoder, ids, n, 0, err);
    if (status != NIB_OK) return status;
    memcpy(e->ids, ids, n * sizeof *ids);
    e->n = (uint32_t)n;
    e->active = e->done = false;
    return NIB_OK;
}

static nib_status begin(nib__encoding *e, nib_error *err)
{
    e->pass = (nib__pass){.ids = e->ids, .n = e->n, .all_logits = NIB__HIDDEN};
    e->layer = e->step = e->piece = 0;
    return nib__pass_begin(&e->pass, e->encoder, &e->act, err);
}

/* One step of keys and values for layer e->layer. */
static nib_status cross_step(const nib__encoding *e, nib__exec *exec)
{
    const nib_model *m = e->decoder;
    const nib__layer *l = &m->layers[e->layer];
    const nib__output maps[] = {{&l->cross_k, e->k, keys_of(m)}, {&l->cross_v, e->v, keys_of(m)}};
    nib__input input = {.m = e->n, .k = m->config.n_embd};
    memcpy(input.rows, e->act.rounded, sizeof input.rows);
    const nib__attention_rows rows = {
        .config = &m->config,
        .kv = &e->cross,
        .layer = e->layer,
        .m = e->n,
        .k = e->k,
        .v = e->v,
        .cos_sin = e->act.cos_sin, /* of no dimension: no model rotates these keys */
    };
    switch ((enum cross_step)e->step) {
    case ROUND: return nib__round_run(exec, e->act.x, &input, maps, 2);
    case KEYS_VALUES: return nib__linear_run(exec, &input, maps, 2);
    case STORE: return nib__attention_store(exec, &rows);
    case CROSS_STEPS: break;
    }
    return NIB_OK;
}

nib_status nib__encoding_run(nib__encoding *e, nib__exec *exec, uint64_t deadline_ns,
                             nib_error *err)
{
    int32_t encoded = e->active && e->pass.layer == e->encoder->config.n_layer && e->pass.step > 0;
    nib_status status = e->active ? NIB_OK : begin(e, err);
    e->active = status == NIB_OK;
    exec->deadline_ns = deadline_ns;
    if (status == NIB_OK && !encoded)
        status =
            nib__pass_run(&e->pass, e->encoder, exec, &e->own, &e->act, deadline_ns, &encoded, err);
    uint32_t n_layer = e->decoder != NULL ? e->decoder->config.n_layer : 0;
    while (status == NIB_OK && encoded && e->layer < n_layer) {
        exec->first = e->piece;
        status = cross_step(e, exec);
        e->piece = exec->first;
        exec->first = 0;
        if (status == NIB__PARTIAL) return NIB_OK;
        if (status != NIB_OK) status = nib__fail(err, status, "the evaluation was cancelled");
        e->step++;
        if (e->step == CROSS_STEPS) {
            e->step = 0;
            e->layer++;
        }
        /* After a step, never before: a call that comes late must not do nothing. */
        if (deadline_ns != 0 && e->layer < n_layer && nib__now_ns() >= deadline_ns) break;
    }
    if (status != NIB_OK) e->active = false;
    e->done = status == NIB_OK && encoded && e->layer == n_layer;
    return status;
}
