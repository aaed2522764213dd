/* SPDX-License-Identifier: MIT
 * The transformer, as in the papers (Vaswani et al. 2017, Touvron et al. 2023):
 *
 *     x = embedding[ids]
 *     for each layer:
 *         h = norm(x);  q, k, v = Wq h, Wk h, Wv h;  rotate q, k;  store k, v
 *         x = x + Wo attention(q, all k, all v)
 *         h = norm(x);  x = x + Wdown (silu(Wgate h) * Wup h)
 *     logits = Whead norm(x)
 *
 * Every line is one or a few steps, and every step is one parallel region over pieces of work. */
#include "decode/forward.h"

#include <string.h>

#include "base/clock.h"

enum layer_step {
    EMBED,      /* first layer only: x = embedding[ids] */
    ATTN_NORM,  /* x += delta of the layer before; h = norm(x), rounded */
    QKV,        /* q, k, v = linear(h) */
    STORE,      /* rotate q and k; k, v -> cache */
    ATTEND,     /* attn = attention(q, cache) */
    ATTN_ROUND, /* attn, rounded */
    OUT,        /* delta = Wo attn */
    FFN_NORM,   /* x += delta; h = norm(x), rounded */
    GATE_UP,    /* gate, up = linear(h) */
    ACTIVATE,   /* silu(gate) * up, rounded */
    DOWN,       /* delta = Wdown of it */
    LAYER_STEPS
};

enum head_step { HEAD_NORM, HEAD, HEAD_STEPS };

/* What the steps work on. Rows before `row` are needed no more. */
typedef struct forward {
    nib__pass *pass;
    const nib_model *model;
    nib__exec *exec;
    const nib__kv *kv;
    nib__activations *a;
    uint32_t row, m;
    bool stored; /* keys and values of the last layer are in the cache */
} forward;

size_t nib__activations_carve(nib__arena *arena, const nib_model *model, uint32_t n_batch,
                              nib__activations *a)
{
    const nib__config *c = &model->config;
    size_t n = n_batch, n_q = (size_t)c->n_head * c->head_dim;
    size_t n_kv = (size_t)c->n_head_kv * c->head_dim;
    const uint32_t widths[] = {c->n_embd, c->n_head * c->head_dim, c->n_ff};
    size_t rounded[NIB__WEIGHT_KINDS] = {0};
    for (uint32_t kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        for (int i = 0; i < 3 && (model->kinds >> kind & 1u) != 0; i++) {
            size_t row = nib__input_row_bytes(&model->kernels, kind, widths[i]);
            rounded[kind] = row > rounded[kind] ? row : rounded[kind];
        }
    }
    a->n_batch = n_batch;
    a->x = nib__arena_take(arena, n, c->n_embd * sizeof(float));
    a->delta = nib__arena_take(arena, n, c->n_embd * sizeof(float));
    a->cos_sin = nib__arena_take(arena, n, c->n_rot * sizeof(float));
    for (uint32_t kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        a->rounded[kind] = nib__arena_take(arena, n, rounded[kind]);
    }
    nib__arena mlp = *arena;
    a->q = nib__arena_take(arena, n, n_q * sizeof(float));
    a->k = nib__arena_take(arena, n, n_kv * sizeof(float));
    a->v = nib__arena_take(arena, n, n_kv * sizeof(float));
    a->attn = nib__arena_take(arena, n, n_q * sizeof(float));
    a->gate = nib__arena_take(&mlp, n, c->n_ff * sizeof(float));
    a->up = nib__arena_take(&mlp, n, c->n_ff * sizeof(float));
    if (mlp.used > arena->used) arena->used = mlp.used;
    arena->overflow = arena->overflow || mlp.overflow;
    return arena->used;
}

nib_status nib__pass_begin(nib__pass *pass, const nib_model *model, nib__activations *a,
                           nib_error *err)
{
    pass->layer = 0;
    pass->step = 0;
    pass->piece = 0;
    if (pass->n == 0 || pass->n > a->n_batch) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "rows of a pass: expected 1..%u, got %u",
                         a->n_batch, pass->n);
    }
    return nib__model_check_ids(model, pass->ids, pass->n, err);
}

/* ---- steps ---- */

static nib__input input_of(const forward *f, size_t k)
{
    /* A prompt's last row leaves its companions after that and goes on through the decode strategy;
     * when every row gives logits, each of them does, so that they are what a session would see. */
    nib__input input = {.m = f->m, .k = (uint32_t)k, .exact = f->stored};
    memcpy(input.rows, f->a->rounded, sizeof input.rows);
    return input;
}

/* Row f->row of a buffer with `width` numbers per row. */
static float *from_row(const forward *f, float *buffer, size_t width)
{
    return buffer + f->row * width;
}

static nib_status norm_step(const forward *f, const float *weight, bool add_delta,
                            const nib__output *outputs, uint32_t n_outputs)
{
    size_t n = f->model->config.n_embd;
    nib__input input = input_of(f, n);
    nib__norm_rows job = {
        .x = from_row(f, f->a->x, n),
        .delta = add_delta ? from_row(f, f->a->delta, n) : NULL,
        .weight = weight,
        .eps = f->model->config.norm_eps,
        .input = &input,
        .outputs = outputs,
        .n_outputs = n_outputs,
    };
    return nib__norm_run(f->exec, &job);
}

static nib_status layer_step(const forward *f)
{
    const nib__config *c = &f->model->config;
    const nib__layer *l = &f->model->layers[f->pass->layer];
    const nib__activations *a = f->a;
    size_t n_embd = c->n_embd, n_q = (size_t)c->n_head * c->head_dim;
    size_t n_kv = (size_t)c->n_head_kv * c->head_dim, n_ff = c->n_ff;

    const nib__output qkv[] = {
        {&l->q, from_row(f, a->q, n_q), n_q},
        {&l->k, from_row(f, a->k, n_kv), n_kv},
        {&l->v, from_row(f, a->v, n_kv), n_kv},
    };
    const nib__output out = {&l->o, from_row(f, a->delta, n_embd), n_embd};
    const nib__output gate_up[] = {
        {&l->gate, from_row(f, a->gate, n_ff), n_ff},
        {&l->up, from_row(f, a->up, n_ff), n_ff},
    };
    const nib__output down = {&l->down, from_row(f, a->delta, n_embd), n_embd};
    const nib__attention_rows attention = {
        .config = c,
        .kv = f->kv,
        .layer = f->pass->layer,
        .m = f->m,
        .pos0 = f->pass->pos0 + f->row,
        .q = from_row(f, a->q, n_q),
        .k = from_row(f, a->k, n_kv),
        .v = from_row(f, a->v, n_kv),
        .cos_sin = from_row(f, a->cos_sin, c->n_rot),
        .out = from_row(f, a->attn, n_q),
    };
    nib__input wide = input_of(f, n_embd), heads = input_of(f, n_q), inner = input_of(f, n_ff);

    const nib__embed_rows embed = {
        .model = f->model,
        .ids = f->pass->ids,
        .m = f->m,
        .pos0 = f->pass->pos0,
        .x = a->x,
        .cos_sin = a->cos_sin,
    };

    switch ((enum layer_step)f->pass->step) {
    case EMBED: return nib__embed_run(f->exec, &embed);
    case ATTN_NORM: return norm_step(f, l->attn_norm, f->pass->layer > 0, qkv, 3);
    case QKV: return nib__linear_run(f->exec, &wide, qkv, 3);
    case STORE: return nib__attention_store(f->exec, &attention);
    case ATTEND: return nib__attention_run(f->exec, &attention);
    case ATTN_ROUND: return nib__round_run(f->exec, attention.out, &heads, &out, 1);
    case OUT: return nib__linear_run(f->exec, &heads, &out, 1);
    case FFN_NORM: return norm_step(f, l->ffn_norm, true, gate_up, 2);
    case GATE_UP: return nib__linear_run(f->exec, &wide, gate_up, 2);
    case ACTIVATE: return nib__swiglu_run(f->exec, gate_up[0].y, gate_up[1].y, &inner, &down);
    case DOWN: return nib__linear_run(f->exec, &inner, &down, 1);
    case LAYER_STEPS: break;
    }
    return NIB_OK;
}

static nib_status head_step(const forward *f)
{
    const nib_model *m = f->model;
    const nib__output head = {&m->head, f->pass->logits, m->config.n_vocab};
    nib__input wide = input_of(f, m->config.n_embd);
    if (f->pass->step == HEAD_NORM) return norm_step(f, m->out_norm, true, &head, 1);
    return nib__linear_run(f->exec, &wide, &head, 1);
}

/* ---- the loop ---- */

/* The keys and values of the last layer are the last thing that rows without logits are good for.
 */
static void choose_rows(forward *f)
{
    const nib__pass *p = f->pass;
    uint32_t last = f->model->config.n_layer - 1;
    bool stored = p->layer > last || (p->layer == last && p->step > STORE);
    f->stored = stored;
    f->row = stored && p->all_logits != NIB__LOGITS_ALL ? p->n - 1 : 0;
    f->m = p->n - f->row;
}

static bool finished(const forward *f)
{
    const nib__pass *p = f->pass;
    uint32_t n_layer = f->model->config.n_layer;
    if (p->all_logits == NIB__LOGITS_NONE) return p->layer == n_layer - 1 && p->step > STORE;
    return p->layer == n_layer && p->step == HEAD_STEPS;
}

nib_status nib__pass_run(nib__pass *pass, const nib_model *model, nib__exec *exec, nib__kv *kv,
                         nib__activations *a, uint64_t deadline_ns, int32_t *done, nib_error *err)
{
    forward f = {.pass = pass, .model = model, .exec = exec, .kv = kv, .a = a};
    exec->deadline_ns = deadline_ns;
    *done = 0;
    while (!finished(&f)) {
        bool in_layers = pass->layer < model->config.n_layer;
        choose_rows(&f);
        exec->first = pass->piece;
        nib_status status = in_layers ? layer_step(&f) : head_step(&f);
        pass->piece = exec->first;
        exec->first = 0;
        if (status == NIB__PARTIAL) return NIB_OK;
        if (status != NIB_OK) return nib__fail(err, status, "the evaluation was cancelled");
        pass->step++;
        if (in_layers && pass->step == LAYER_STEPS) {
            pass->layer++;
            pass->step = pass->layer < model->config.n_layer ? ATTN_NORM : HEAD_NORM;
        }
        if (deadline_ns != 0 && !finished(&f) && nib__now_ns() >= deadline_ns) return NIB_OK;
    }
    *done = 1;
    return NIB_OK;
}
