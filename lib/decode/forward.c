/* SPDX-License-Identifier: MIT
 * The transformer, as in the papers (Vaswani et al. 2017, Touvron et al. 2023):
 *
 *     x = embedding[ids] (+ positions)
 *     for each layer:
 *         h = norm(x);  q, k, v = Wq h, Wk h, Wv h;  rotate q, k;  store k, v
 *         x = x + Wo attention(q, all k, all v)
 *         h = norm(x);  x = x + Wdown (f(Wgate h) * Wup h)    or x + Wdown f(Wup h)
 *     logits = Whead norm(x)
 *
 * with biases wherever a model has them. Blocks in parallel (GPT-J, GPT-NeoX) take both norms of
 * the x before either block; post-norm models norm the sum instead (nib__norm_order). What a model
 * needs is in its configuration and in which of its weights are there; no step knows an
 * architecture.
 *
 * Decoders over an encoder have a second attention in between, over keys and values that were made
 * of the encoder's result (encode.c); encoders see all rows of the pass.
 *
 * Every line is one or a few steps, and every step is one parallel region over pieces of work. */
#include "decode/forward.h"

#include <string.h>

#include "base/clock.h"

enum layer_step {
    EMBED,        /* first layer only: x = embedding[ids] */
    WORD_ROUND,   /* embeddings of another width (OPT 350M), rounded; x has positions only */
    WORD_IN,      /* delta = linear(embeddings) */
    ATTN_NORM,    /* x += delta of the layer before; h = norm(x), rounded */
    QKV,          /* q, k, v = linear(h) */
    STORE,        /* rotate q and k; k, v -> cache */
    ATTEND,       /* attn = attention(q, cache) */
    ATTN_ROUND,   /* attn, rounded */
    OUT,          /* delta = Wo attn */
    CROSS_NORM,   /* decoders over an encoder: x += delta; h = norm(x), rounded */
    CROSS_Q,      /* q = linear(h) */
    CROSS_ATTEND, /* attn = attention(q, the encoder's keys) */
    CROSS_ROUND,  /* attn, rounded */
    CROSS_OUT,    /* delta = Wo attn */
    FFN_NORM,     /* x += delta; h = norm(x), rounded */
    GATE_UP,      /* gate, up = linear(h) */
    ACTIVATE,     /* f(gate) * up, or f(up), rounded */
    DOWN,         /* delta = Wdown of it */
    LAYER_STEPS
};

/* The two in between only where the head has another width. */
enum head_step { HEAD_NORM, WORD_OUT, HEAD_ROUND, HEAD, HEAD_STEPS };

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
    const uint32_t widths[] = {c->n_embd, c->n_head * c->head_dim, c->n_ff, c->n_word};
    size_t rounded[NIB__WEIGHT_KINDS] = {0};
    for (uint32_t kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        for (int i = 0; i < 4 && (model->kinds >> kind & 1u) != 0; i++) {
            size_t row = nib__input_row_bytes(&model->kernels, kind, widths[i]);
            rounded[kind] = row > rounded[kind] ? row : rounded[kind];
        }
    }
    a->n_batch = n_batch;
    a->x = nib__arena_take(arena, n, c->n_embd * sizeof(float));
    a->delta = nib__arena_take(arena, n, c->n_embd * sizeof(float));
    a->cos_sin = nib__arena_take(arena, n, c->n_rot * sizeof(float));
    a->cos_sin_local = a->cos_sin;
    if (c->rope_base_local != 0)
        a->cos_sin_local = nib__arena_take(arena, n, c->n_rot * sizeof(float));
    for (uint32_t kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        a->rounded[kind] = nib__arena_take(arena, n, rounded[kind]);
    }
    nib__arena mlp = *arena, word = *arena;
    a->q = nib__arena_take(arena, n, n_q * sizeof(float));
    a->k = nib__arena_take(arena, n, n_kv * sizeof(float));
    a->v = nib__arena_take(arena, n, n_kv * sizeof(float));
    a->attn = nib__arena_take(arena, n, n_q * sizeof(float));
    a->gate = nib__arena_take(&mlp, n, c->n_ff * sizeof(float));
    a->up = nib__arena_take(&mlp, n, c->n_ff * sizeof(float));
    a->word = a->x;
    if (model->word_in.w.layout != NULL)
        a->word = nib__arena_take(&word, n, c->n_word * sizeof(float));
    if (mlp.used > arena->used) arena->used = mlp.used;
    if (word.used > arena->used) arena->used = word.used;
    arena->overflow = arena->overflow || mlp.overflow || word.overflow;
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
    if (pass->places == NULL)
        return nib__model_check_ids(model, pass->ids, pass->n, pass->pos0, err);
    nib_status status = NIB_OK;
    for (uint32_t i = 0; i < pass->n && status == NIB_OK; i++)
        status = nib__model_check_ids(model, pass->ids + i, 1, pass->places[i].pos, err);
    return status;
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

/* `delta_norm` and `norm` as in nib__norm_rows; `outputs` are the maps that read the result. */
static nib_status norm_step(const forward *f, nib__affine delta_norm, nib__affine norm,
                            nib__norm_order order, const nib__output *outputs, uint32_t n_outputs)
{
    const nib__config *c = &f->model->config;
    bool first = f->pass->layer == 0 && f->pass->step == ATTN_NORM && /* nothing to add yet */
                 f->model->word_in.w.layout == NULL;
    nib__input input = input_of(f, c->n_embd);
    nib__norm_rows job = {
        .x = from_row(f, f->a->x, c->n_embd),
        .delta = first ? NULL : from_row(f, f->a->delta, c->n_embd),
        .delta_norm = delta_norm,
        .norm = norm,
        .order = order,
        .kind = c->norm,
        .eps = c->norm_eps,
        .input = &input,
        .outputs = outputs,
        .n_outputs = n_outputs,
    };
    return nib__norm_run(f->exec, &job);
}

/* Before a layer's attention, or before the head: the MLP of the layer before is added. */
static nib_status first_norm(const forward *f, nib__affine norm, const nib__output *outputs,
                             uint32_t n_outputs)
{
    const nib_model *m = f->model;
    const nib__layer *before = f->pass->layer > 0 ? &m->layers[f->pass->layer - 1] : NULL;
    nib__affine delta_norm = before != NULL ? before->ffn_post_norm : (nib__affine){NULL, NULL};
    if (m->config.residual != NIB__RESIDUAL_POST)
        return norm_step(f, delta_norm, norm, NIB__NORM_OF_SUM, outputs, n_outputs);
    norm = before != NULL ? before->ffn_norm : m->embd_norm;
    return norm_step(f, delta_norm, norm, NIB__NORM_INTO_STREAM, outputs, n_outputs);
}

/* Before attention over an encoder: attention over the stream itself is added. */
static nib_status cross_norm(const forward *f, const nib__layer *l, const nib__output *output)
{
    const nib__affine none = {NULL, NULL};
    if (f->model->config.residual == NIB__RESIDUAL_POST)
        return norm_step(f, none, l->attn_norm, NIB__NORM_INTO_STREAM, output, 1);
    return norm_step(f, none, l->cross_norm, NIB__NORM_OF_SUM, output, 1);
}

/* Before a layer's MLP: attention is added. */
static nib_status second_norm(const forward *f, const nib__layer *l, const nib__output *outputs,
                              uint32_t n_outputs)
{
    nib__residual residual = f->model->config.residual;
    nib__affine norm = l->ffn_norm.w != NULL ? l->ffn_norm : l->attn_norm;
    nib__norm_order order = NIB__NORM_OF_SUM;
    if (residual == NIB__RESIDUAL_PARALLEL) order = NIB__NORM_BEFORE_SUM;
    if (residual == NIB__RESIDUAL_POST) {
        order = NIB__NORM_INTO_STREAM;
        norm = f->model->config.cross ? l->cross_norm : l->attn_norm;
    }
    return norm_step(f, l->attn_post_norm, norm, order, outputs, n_outputs);
}

static nib_status embed_step(const forward *f)
{
    const nib__embed_rows embed = {
        .model = f->model,
        .ids = f->pass->ids,
        .m = f->m,
        .pos0 = f->pass->pos0,
        .places = f->pass->places,
        .x = f->a->x,
        .word = f->a->word,
        .cos_sin = f->a->cos_sin,
        .cos_sin_local = f->a->cos_sin_local,
    };
    return nib__embed_run(f->exec, &embed);
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
    const nib__output up_gate[] = {
        {&l->up, from_row(f, a->up, n_ff), n_ff},
        {&l->gate, from_row(f, a->gate, n_ff), n_ff},
    };
    bool gated = l->gate.w.layout != NULL;
    float *inner = up_gate[gated].y;
    const float *factor = gated ? up_gate[0].y : NULL;
    const nib__output down = {&l->down, from_row(f, a->delta, n_embd), n_embd};
    const nib__attention_rows attention = {
        .config = c,
        .kv = f->kv,
        .layer = c->both_ways ? 0 : f->pass->layer,
        .m = f->m,
        .pos0 = f->pass->pos0 + f->row,
        .places = f->pass->places,
        .window = l->window,
        .n_keys = c->both_ways || f->pass->joint ? f->pass->n : 0,
        .bias = f->model->rel_table,
        .bias_reach = c->rel_reach,
        .scale = l->attn_scale,
        .eps = c->norm_eps,
        .q_norm = l->q_norm,
        .k_norm = l->k_norm,
        .q = from_row(f, a->q, n_q),
        .k = from_row(f, a->k, n_kv),
        .v = from_row(f, a->v, n_kv),
        .cos_sin = from_row(f, l->rope_local ? a->cos_sin_local : a->cos_sin, c->n_rot),
        .out = from_row(f, a->attn, n_q),
        .exact = f->stored,
    };
    const nib__output word_in = {&f->model->word_in, out.y, n_embd};
    nib__input word = input_of(f, c->n_word);
    const nib__output cross_q = {&l->cross_q, attention.q, n_q};
    const nib__output cross_out = {&l->cross_o, out.y, n_embd};
    nib__attention_rows cross = attention;
    cross.kv = f->pass->cross;
    cross.places = f->pass->cross_places;
    cross.n_keys = cross.places == NULL ? f->pass->n_cross : 0;
    cross.window = 0;
    cross.bias = NULL;
    nib__input wide = input_of(f, n_embd), heads = input_of(f, n_q), narrow = input_of(f, n_ff);
    bool fused = nib__gated_fits(f->exec, &wide, &l->gate, &l->up, &l->down);
    /* Then the rounded rows take the place of gate, which are larger. */
    uint8_t *between = (uint8_t *)a->gate;
    for (uint32_t i = 0; fused && i < NIB__WEIGHT_KINDS; i++) narrow.rows[i] = between;

    switch ((enum layer_step)f->pass->step) {
    case EMBED: return embed_step(f);
    case WORD_ROUND: return nib__round_run(f->exec, a->word, &word, &word_in, 1);
    case WORD_IN: return nib__linear_run(f->exec, &word, &word_in, 1);
    case ATTN_NORM: return first_norm(f, l->attn_norm, qkv, 3);
    case QKV: return nib__linear_run(f->exec, &wide, qkv, 3);
    case STORE: return nib__attention_store(f->exec, &attention);
    case ATTEND: return nib__attention_run(f->exec, &attention);
    case ATTN_ROUND: return nib__round_run(f->exec, attention.out, &heads, &out, 1);
    case OUT: return nib__linear_run(f->exec, &heads, &out, 1);
    case CROSS_NORM: return cross_norm(f, l, &cross_q);
    case CROSS_Q: return nib__linear_run(f->exec, &wide, &cross_q, 1);
    case CROSS_ATTEND: return nib__attention_run(f->exec, &cross);
    case CROSS_ROUND: return nib__round_run(f->exec, cross.out, &heads, &cross_out, 1);
    case CROSS_OUT: return nib__linear_run(f->exec, &heads, &cross_out, 1);
    case FFN_NORM: return second_norm(f, l, up_gate, 1 + gated);
    case GATE_UP:
        if (fused) return nib__gated_run(f->exec, &wide, &l->gate, &l->up, c->act, between);
        return nib__linear_run(f->exec, &wide, up_gate, 1 + gated);
    case ACTIVATE:
        if (fused) return NIB_OK;
        return nib__activate_run(f->exec, c->act, inner, factor, &narrow, &down);
    case DOWN: return nib__linear_run(f->exec, &narrow, &down, 1);
    case LAYER_STEPS: break;
    }
    return NIB_OK;
}

/* What an encoder gives: the last norm stays in x. */
static nib_status hidden_step(const forward *f)
{
    const nib_model *m = f->model;
    nib__affine last = m->layers[m->config.n_layer - 1].ffn_norm;
    bool post = m->config.residual == NIB__RESIDUAL_POST;
    return norm_step(f, (nib__affine){NULL, NULL}, post ? last : m->out_norm, NIB__NORM_INTO_STREAM,
                     NULL, 0);
}

static nib_status head_step(const forward *f)
{
    const nib_model *m = f->model;
    const nib__output head = {&m->head, f->pass->logits, m->config.n_vocab};
    const nib__output word_out = {&m->word_out, from_row(f, f->a->word, m->config.n_word),
                                  m->config.n_word};
    bool mapped = m->word_out.w.layout != NULL;
    nib__input wide = input_of(f, m->config.n_embd), word = input_of(f, m->config.n_word);
    if (f->pass->all_logits == NIB__HIDDEN) return hidden_step(f);
    switch ((enum head_step)f->pass->step) {
    case HEAD_NORM: return first_norm(f, m->out_norm, mapped ? &word_out : &head, 1);
    case WORD_OUT: return nib__linear_run(f->exec, &wide, &word_out, 1);
    case HEAD_ROUND: return nib__round_run(f->exec, word_out.y, &word, &head, 1);
    case HEAD: return nib__linear_run(f->exec, &word, &head, 1);
    case HEAD_STEPS: break;
    }
    return NIB_OK;
}

/* While one row passes, threads that wait may fetch the weights of the map after this step. Until
 * it is reached the steps in between leave that as it is. */
static void look_ahead(const forward *f)
{
    const nib__pass *p = f->pass;
    const uint32_t n_layer = f->model->config.n_layer;
    const nib__layer *l = &f->model->layers[p->layer];
    if (f->m != 1) return;
    switch ((enum layer_step)p->step) {
    case QKV: nib__linear_ahead(f->exec, &l->o); break;
    case OUT: nib__linear_ahead(f->exec, f->model->config.cross ? &l->cross_q : &l->up); break;
    case CROSS_Q: nib__linear_ahead(f->exec, &l->cross_o); break;
    case CROSS_OUT: nib__linear_ahead(f->exec, &l->up); break;
    case GATE_UP: nib__linear_ahead(f->exec, &l->down); break;
    case DOWN:
        nib__linear_ahead(f->exec, p->layer + 1 < n_layer ? &l[1].q : &f->model->head);
        break;
    default: break;
    }
}

/* ---- the loop ---- */

/* The keys and values of the last layer are the last thing that rows without logits are good for.
 */
static void choose_rows(forward *f)
{
    const nib__pass *p = f->pass;
    uint32_t last = f->model->config.n_layer - 1;
    bool stored = p->layer > last || (p->layer == last && p->step > STORE);
    stored = stored && p->all_logits != NIB__HIDDEN;
    f->stored = stored;
    f->row = stored && p->all_logits != NIB__LOGITS_ALL ? p->n - 1 : 0;
    f->m = p->n - f->row;
}

static bool finished(const forward *f)
{
    const nib__pass *p = f->pass;
    uint32_t n_layer = f->model->config.n_layer;
    if (p->all_logits == NIB__LOGITS_NONE) return p->layer == n_layer - 1 && p->step > STORE;
    return p->layer == n_layer && p->step == (p->all_logits == NIB__HIDDEN ? HEAD : HEAD_STEPS);
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
        if (in_layers) look_ahead(&f);
        nib_status status = in_layers ? layer_step(&f) : head_step(&f);
        pass->piece = exec->first;
        exec->first = 0;
        if (status == NIB__PARTIAL) return NIB_OK;
        if (status != NIB_OK) return nib__fail(err, status, "the evaluation was cancelled");
        pass->step++;
        bool mapped = model->word_in.w.layout != NULL;
        if (in_layers && pass->step == WORD_ROUND && !mapped) pass->step = ATTN_NORM;
        if (in_layers && pass->step == CROSS_NORM && !model->config.cross) pass->step = FFN_NORM;
        if (!in_layers && pass->step == WORD_OUT && !mapped) pass->step = HEAD;
        if (in_layers && pass->step == LAYER_STEPS) {
            pass->layer++;
            pass->step = pass->layer < model->config.n_layer ? ATTN_NORM : HEAD_NORM;
        }
        if (deadline_ns != 0 && !finished(&f) && nib__now_ns() >= deadline_ns) return NIB_OK;
    }
    *done = 1;
    return NIB_OK;
}
