/* SPDX-License-Identifier: MIT
 * Beam search: all beams are rows of one pass over the weights, and look at the same source.
 *
 * Each beam has a KV cache, a place; the first place is the session's own cache, behind its stream,
 * which is the prompt; the others get a copy of it. When beams fork, the first branch of a beam
 * stays in its place; another takes a place whose beam died out, and copies of the cache only what
 * lies behind the tokens that both have in common: a few positions. */
#include "decode/beam.h"

#include <string.h>

#include "base/clock.h"
#include "decode/beam_rank.h"
#include "decode/complete.h"

enum { NOWHERE = NIB__MAX_BEAMS };

typedef struct place {
    const nib__kv *kv;
    nib__kv own;  /* all but the first */
    int32_t *ids; /* [max_tokens] of its beam, behind the prompt */
    uint32_t n;   /* of them in the cache */
} place;

typedef struct beam {
    uint32_t place;
    float score; /* sum of log probabilities */
} beam;

struct nib__search {
    nib_allocator mem;
    nib_beam_options options; /* max_tokens: what the context has room for, at most */
    nib__rules rules;
    nib__ends ends;
    uint8_t *block; /* memory behind ids, logits and act */
    nib__activations act;
    float *logits; /* [n_beams][n_vocab] */
    place places[NIB__MAX_BEAMS];
    beam beams[NIB__MAX_BEAMS];
    uint32_t n_beams, length; /* alive; tokens that each has */
    uint32_t n_prompt, full;  /* whether the context is the limit */
    uint32_t copied;          /* layers of the prompt, of all places together */
    nib__hypotheses found;

    /* The pass in progress. */
    nib__pass pass;
    uint32_t active;
    uint64_t pass_ns;
    int32_t pass_ids[NIB__MAX_BEAMS];
    nib__row_place pass_places[NIB__MAX_BEAMS];

    uint32_t searched, done, reported;
    char *text; /* [text_cap] texts of the results, one behind the other */
    size_t text_len, text_cap, ends_at[NIB__MAX_BEAMS];
};

/* ---- life ------------------------------------------------------------------------------------ */

nib_status nib__beam_check(const nib_beam_options *o, uint32_t n_vocab, nib_error *err)
{
    const double most = 10;
    if (o->n_beams == 0 || o->n_beams > NIB__MAX_BEAMS) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "n_beams: expected 1 to %d, got %u",
                         (int)NIB__MAX_BEAMS, o->n_beams);
    }
    if (o->n_results == 0 || o->n_results > o->n_beams) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "n_results: expected 1 to %u, the beams, got %u",
                         o->n_beams, o->n_results);
    }
    if (o->max_tokens == 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "max_tokens: expected 1 or more, got 0");
    if (!(o->length_penalty >= -most && o->length_penalty <= most))
        return nib__fail(err, NIB_ERR_ARGUMENT, "length_penalty: expected -10 to 10");
    if (o->early_stopping > NIB_BEAM_STOP_NEVER) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "early_stopping: expected 0 to 2, got %u",
                         o->early_stopping);
    }
    if (o->n_end_ids > NIB__MAX_END_IDS || (o->n_end_ids != 0 && o->end_ids == NULL)) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "end_ids: expected at most %d ids, got %u",
                         (int)NIB__MAX_END_IDS, o->n_end_ids);
    }
    double penalty = o->repetition_penalty;
    if (penalty != 0 && !(penalty >= 1e-3 && penalty <= 1e3))
        return nib__fail(err, NIB_ERR_ARGUMENT, "repetition_penalty: expected 0.001 to 1000, or 0");
    if (o->rules > NIB_BEAM_RULES_OPTIONS || o->reserved != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "rules: expected 0 or 1, and reserved 0");
    if (o->min_tokens > o->max_tokens) {
        return nib__fail(err, NIB_ERR_ARGUMENT,
                         "min_tokens: expected at most %u, max_tokens, got %u", o->max_tokens,
                         o->min_tokens);
    }
    if (o->first_id >= (int64_t)n_vocab || o->last_id >= (int64_t)n_vocab) {
        return nib__fail(err, NIB_ERR_ARGUMENT,
                         "first_id, last_id: expected less than %u, got %d, %d", n_vocab,
                         (int)o->first_id, (int)o->last_id);
    }
    for (uint32_t i = 0; i < o->n_end_ids; i++) {
        if (o->end_ids[i] >= 0 && (uint32_t)o->end_ids[i] < n_vocab) continue;
        return nib__fail(err, NIB_ERR_ARGUMENT, "end_ids[%u]: expected an id of 0 to %u, got %d", i,
                         n_vocab - 1, (int)o->end_ids[i]);
    }
    return NIB_OK;
}

/* One block: | ids of each place | ids of each hypothesis | logits | activations |. */
static void carve(nib__search *b, const nib_model *model, nib__arena *arena)
{
    uint32_t n = b->options.n_beams;
    size_t list = b->options.max_tokens;
    for (uint32_t i = 0; i < n; i++) {
        b->places[i].ids = nib__arena_take(arena, list, sizeof(int32_t));
    }
    for (uint32_t i = 0; i <= n; i++) {
        b->found.list[i].ids = nib__arena_take(arena, list, sizeof(int32_t));
    }
    b->logits = nib__arena_take(arena, n, model->config.n_vocab * sizeof(float));
    nib__activations_carve(arena, model, n, &b->act);
}

static void free_search(nib__search *b)
{
    if (b == NULL) return;
    nib_allocator mem = b->mem;
    for (uint32_t i = 1; i < NIB__MAX_BEAMS; i++) nib__kv_free(&b->places[i].own);
    nib__free(&mem, b->block);
    nib__free(&mem, b->text);
    nib__free(&mem, b);
}

static nib_status allocate(nib__search *b, const nib_session *s, nib_error *err)
{
    nib__arena arena = {NULL, 0, false};
    carve(b, s->model, &arena);
    if (!arena.overflow) b->block = nib__alloc_raw(&b->mem, arena.used, 1);
    if (b->block == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for beam search");
    arena = (nib__arena){b->block, 0, false};
    carve(b, s->model, &arena);
    b->places[0].kv = &s->kv;
    nib_status status = NIB_OK;
    for (uint32_t i = 1; i < b->options.n_beams && status == NIB_OK; i++) {
        place *p = &b->places[i];
        p->kv = &p->own;
        status = nib__kv_init(&p->own, &b->mem, &s->model->config,
                              b->n_prompt + b->options.max_tokens, s->kv.type, err);
    }
    return status;
}

/* max_tokens, or what the context has room for. */
static nib_status find_room(const nib_session *s, uint32_t *max_tokens, nib_error *err)
{
    uint32_t room = s->options.n_ctx - s->n_tokens;
    if (s->n_tokens == 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "beam search: there is no token to begin with");
    if (room == 0) {
        return nib__fail(err, NIB_ERR_LIMIT, "beam search: the stream fills the context of %u",
                         s->options.n_ctx);
    }
    if (*max_tokens > room) *max_tokens = room;
    return NIB_OK;
}

nib_status nib__search_size(const nib_session *s, const nib_beam_options *o, uint64_t *bytes,
                            nib_error *err)
{
    nib__search b = {.options = *o};
    nib__arena arena = {NULL, 0, false};
    nib_status status = find_room(s, &b.options.max_tokens, err);
    if (status != NIB_OK) return status;
    carve(&b, s->model, &arena);
    uint32_t n_ctx = s->n_tokens + b.options.max_tokens;
    size_t kv = nib__kv_bytes(&s->model->config, n_ctx, s->kv.type), all;
    if (arena.overflow || kv == SIZE_MAX || !nib__mul(kv, o->n_beams - 1, &all) ||
        !nib__add(all, nib__align_up(arena.used, NIB_ALIGN), &all) ||
        !nib__add(all, nib__align_up(sizeof b, NIB_ALIGN), &all))
        return nib__fail(err, NIB_ERR_LIMIT, "beam search: larger than the address space");
    *bytes = all;
    return NIB_OK;
}

nib_status nib__search_begin(nib_session *s, const nib_beam_options *o, nib_error *err)
{
    uint32_t max_tokens = o->max_tokens;
    nib_status status = find_room(s, &max_tokens, err);
    if (status != NIB_OK) return status;
    nib__search *b = nib__alloc(&s->mem, 1, sizeof *b);
    if (b == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for beam search");
    b->mem = s->mem;
    b->options = *o;
    b->options.end_ids = NULL; /* the caller's */
    b->full = o->max_tokens > max_tokens;
    b->options.max_tokens = max_tokens;
    b->ends = (nib__ends){.tokenizer = s->model->tokenizer, .n = o->n_end_ids};
    if (o->n_end_ids != 0) memcpy(b->ends.ids, o->end_ids, o->n_end_ids * sizeof *o->end_ids);
    b->found.options = &b->options;
    b->n_prompt = s->n_tokens;
    b->n_beams = 1;
    status = nib__rules_read(&b->rules, &b->options, s->model, b->n_prompt, err);
    if (status == NIB_OK) status = allocate(b, s, err);
    if (status != NIB_OK) {
        free_search(b);
        return status;
    }
    nib__complete_end(s);
    s->search = b;
    return NIB_OK;
}

void nib__search_end(nib_session *s)
{
    free_search(s->search);
    s->search = NULL;
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void copy_layer(void *arg, uint32_t i, void *scratch)
{
    nib__search *b = arg;
    const nib__kv *from = b->places[0].kv;
    (void)scratch;
    nib__kv_copy_layer(b->places[1 + i / from->n_layer].kv, from, i % from->n_layer, 0,
                       b->n_prompt);
}

/* NIB_OK once every place has the prompt; NIB__PARTIAL if the deadline came first. */
static nib_status copy_prompt(nib__search *b, nib__exec *exec, uint64_t deadline_ns)
{
    uint32_t n = (b->options.n_beams - 1) * b->places[0].kv->n_layer;
    if (b->copied == n) return NIB_OK;
    exec->deadline_ns = deadline_ns;
    exec->first = b->copied;
    nib_status status = nib__exec_run(exec, n, copy_layer, b);
    b->copied = status == NIB_OK ? n : exec->first;
    exec->first = 0;
    return status;
}

/* Makes place `to` a copy of `from`, whose beam has n tokens in the cache. */
static void copy_place(nib__search *b, place *to, const place *from, uint32_t n)
{
    uint32_t common = 0;
    while (common < n && common < to->n && to->ids[common] == from->ids[common]) common++;
    nib__kv_copy(to->kv, from->kv, b->n_prompt + common, b->n_prompt + n);
    memcpy(to->ids, from->ids, n * sizeof *to->ids);
    to->n = n;
}

/* The branches become the beams. */
static void fork_beams(nib__search *b, const nib__branch *branches, uint32_t n)
{
    beam next[NIB__MAX_BEAMS];
    bool taken[NIB__MAX_BEAMS] = {false};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = b->beams[branches[i].from].place;
        next[i] = (beam){taken[at] ? NOWHERE : at, branches[i].score};
        taken[at] = true;
    }
    for (uint32_t i = 0, free = 0; i < n; i++) {
        if (next[i].place != NOWHERE) continue;
        while (taken[free]) free++; /* there are as many places as branches */
        taken[free] = true;
        next[i].place = free;
        copy_place(b, &b->places[free], &b->places[b->beams[branches[i].from].place], b->length);
    }
    for (uint32_t i = 0; i < n; i++) b->places[next[i].place].ids[b->length] = branches[i].id;
    memcpy(b->beams, next, n * sizeof *next);
    b->n_beams = n;
    b->length++;
}

static void add_branch(nib__search *b, const nib__branch *branch, bool ended)
{
    const int32_t *ids = b->places[b->beams[branch->from].place].ids;
    nib__hypotheses_add(&b->found, ids, b->length, branch->id, ended, branch->score);
}

/* Every beam is evaluated; b->logits[n_beams][n_vocab] are after the last token of each. */
static void branch_out(nib__search *b, const nib_session *s)
{
    size_t n_vocab = s->model->config.n_vocab;
    nib__ranking r = {.n_beams = b->options.n_beams};
    for (uint32_t i = 0; i < b->n_beams; i++) {
        const nib__stem stem = {
            .text = {s->tokens, b->places[b->beams[i].place].ids, b->n_prompt, b->length},
            .score = b->beams[i].score,
            .logits = b->logits + i * n_vocab,
            .n_vocab = (uint32_t)n_vocab,
        };
        nib__ranking_add(&r, s->exec.kernels, &b->ends, &b->rules, &stem, i);
    }
    for (uint32_t i = 0; i < r.n_all; i++) {
        if (nib__ends_text(&b->ends, r.all[i].id)) add_branch(b, &r.all[i], true);
    }
    bool done = r.n_all == 0 || nib__hypotheses_done(&b->found, r.all[0].score, b->length + 1);
    if (!done && r.n_open != 0 && b->length + 1 < b->options.max_tokens) {
        fork_beams(b, r.open, r.n_open);
        return;
    }
    for (uint32_t i = 0; i < r.n_open && !done; i++) add_branch(b, &r.open[i], false);
    nib__hypotheses_sort(&b->found);
    b->searched = 1;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

static nib_status start_pass(nib__search *b, const nib_session *s, nib_error *err)
{
    uint32_t pos = b->n_prompt + b->length - 1;
    for (uint32_t i = 0; i < b->n_beams; i++) {
        const place *p = &b->places[b->beams[i].place];
        b->pass_ids[i] = p->ids[b->length - 1];
        b->pass_places[i] = (nib__row_place){p->kv, pos};
    }
    b->pass = (nib__pass){.ids = b->pass_ids,
                          .n = b->n_beams,
                          .all_logits = NIB__LOGITS_ALL,
                          .logits = b->logits,
                          .places = b->pass_places,
                          .cross = &s->source.cross,
                          .n_cross = s->source.n};
    b->pass_ns = 0;
    nib_status status = nib__pass_begin(&b->pass, s->model, &b->act, err);
    b->active = status == NIB_OK;
    return status;
}

/* Evaluates the last token of every beam; done when the pass is not active any more. */
static nib_status run_pass(nib__search *b, nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    int32_t done = 0;
    uint64_t start = nib__now_ns();
    nib_status status = NIB_OK;
    if (!b->active) status = start_pass(b, s, err);
    if (status == NIB_OK)
        status =
            nib__pass_run(&b->pass, s->model, &s->exec, NULL, &b->act, deadline_ns, &done, err);
    b->pass_ns += nib__now_ns() - start;
    b->active = status == NIB_OK && !done;
    if (status == NIB_ERR_CANCELLED) (void)atomic_exchange(&s->cancel, 0);
    if (status != NIB_OK || !done) return status;
    for (uint32_t i = 0; i < b->n_beams; i++) b->places[b->beams[i].place].n = b->length;
    s->stats.n_decode += b->n_beams;
    s->stats.decode_ns += b->pass_ns;
    return NIB_OK;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static nib_status append_text(nib__search *b, const nib__tokenizer *t, nib_detok *detok, int32_t id,
                              nib_error *err)
{
    void *text = b->text;
    size_t piece = nib__tokenizer_max_bytes(t) + 8, len = 0;
    bool enough = nib__grow(&b->mem, &text, &b->text_cap, b->text_len + piece, 1);
    b->text = text;
    if (!enough) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the texts of beams");
    nib_status status =
        nib__detok_push(t, detok, id, b->text + b->text_len, b->text_cap - b->text_len, &len, err);
    if (status == NIB_OK) b->text_len += len;
    return status;
}

/* Can be repeated after a failure. */
static nib_status write_texts(nib__search *b, const nib_session *s, nib_error *err)
{
    b->text_len = 0;
    for (uint32_t i = 0; i < b->found.n && i < b->options.n_results; i++) {
        const nib__hypothesis *h = &b->found.list[i];
        nib_detok detok = nib__complete_detok(s);
        nib_status status = NIB_OK;
        for (uint32_t k = 0; k <= h->n && status == NIB_OK; k++)
            status = append_text(b, s->model->tokenizer, &detok, k < h->n ? h->ids[k] : -1, err);
        if (status != NIB_OK) return status;
        b->ends_at[i] = b->text_len;
    }
    b->done = 1;
    return NIB_OK;
}

/* ---- one step -------------------------------------------------------------------------------- */

/* The prompt is evaluated, and the first token of every beam chosen. */
static nib_status first_token(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    nib__search *b = s->search;
    nib_status status = nib__session_advance(s, deadline_ns, err);
    if (status != NIB_OK || !nib__session_ready(s)) return status;
    status = copy_prompt(b, &s->exec, deadline_ns);
    if (status == NIB__PARTIAL) return NIB_OK;
    if (status == NIB_ERR_CANCELLED) (void)atomic_exchange(&s->cancel, 0);
    if (status != NIB_OK) return nib__fail(err, status, "the evaluation was cancelled");
    memcpy(b->logits, s->logits, s->model->config.n_vocab * sizeof *b->logits);
    branch_out(b, s);
    return NIB_OK;
}

/* One token more for every beam, unless the deadline comes first. */
static nib_status next_token(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    nib__search *b = s->search;
    nib_status status = nib__session_check_cancel(s, err);
    if (status != NIB_OK) b->active = 0;
    if (status == NIB_OK) status = run_pass(b, s, deadline_ns, err);
    if (status == NIB_OK && !b->active) branch_out(b, s);
    return status;
}

nib_status nib__search_advance(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    nib__search *b = s->search;
    nib_status status = NIB_OK;
    if (!b->searched) {
        status =
            b->length == 0 ? first_token(s, deadline_ns, err) : next_token(s, deadline_ns, err);
    }
    return status == NIB_OK && b->searched && !b->done ? write_texts(b, s, err) : status;
}

bool nib__search_done(const nib_session *s)
{
    return s->search->done != 0;
}

void nib__search_report(nib_session *s, nib_step *step)
{
    nib__search *b = s->search;
    bool tell = b->done && !b->reported && b->found.n != 0;
    *step = (nib_step){.struct_size = sizeof *step,
                       .done = b->done,
                       .n_left = s->n_tokens - s->n_evaluated,
                       .text = tell ? b->text : "",
                       .text_len = tell ? b->ends_at[0] : 0};
    if (b->done) {
        step->stop_reason = b->full ? NIB_STOP_CONTEXT : NIB_STOP_LENGTH;
        if (b->found.n != 0 && b->found.list[0].ended) step->stop_reason = NIB_STOP_END_TOKEN;
    }
    b->reported = b->done;
}

nib_status nib__search_result(const nib_session *s, uint32_t i, nib_beam_result *result,
                              nib_error *err)
{
    const nib__search *b = s->search;
    if (b == NULL || !b->done)
        return nib__fail(err, NIB_ERR_STATE, "there is no beam search that is done");
    uint32_t n = b->found.n < b->options.n_results ? b->found.n : b->options.n_results;
    if (i >= n) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "result %u: beam search found %u", i, n);
    }
    const nib__hypothesis *h = &b->found.list[i];
    size_t start = i > 0 ? b->ends_at[i - 1] : 0;
    *result = (nib_beam_result){.struct_size = sizeof *result,
                                .n_results = n,
                                .ids = h->ids,
                                .n_ids = h->n,
                                .text = b->text + start,
                                .text_len = b->ends_at[i] - start,
                                .score = h->score,
                                .ended = h->ended};
    return NIB_OK;
}
