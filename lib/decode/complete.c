/* SPDX-License-Identifier: MIT
 * The completion loop. A token is drawn, turned into bytes and run through the stop rules before
 * anything is changed, so that after a failure (no memory, cancelled) the same step can be taken
 * again and gives the same token. */
#include "decode/complete.h"

#include <string.h>

#include "base/clock.h"
#include "decode/beam.h"
#include "decode/fim_trim.h"
#include "decode/heal.h"
#include "decode/sample.h"
#include "decode/stop.h"

struct nib__completion {
    nib_allocator mem;
    nib_complete_options options; /* bias points to `bias`; stops are with `stop` */
    nib_logit_bias *bias;         /* [n_bias] the caller's */
    size_t n_bias;
    nib__sampler sampler;
    nib__stop stop;
    nib_detok detok;
    nib__heal heal;
    const char *sentinels; /* end tokens of their own, or NULL */
    char *piece;           /* [piece_cap] text of one token */
    size_t piece_cap;
    uint32_t n_prompt; /* tokens of the stream that were there before */
    uint32_t n_drawn;
    uint64_t time_ns; /* when max_time_ms is over; 0: never */
    uint32_t done, reason;

    /* What was not reported yet. */
    char *text; /* [text_cap] */
    size_t text_len, text_cap;
    nib_logprob *tokens; /* [tokens_cap] */
    nib_logprob *top;    /* [tokens_cap][n_logprobs] */
    size_t n_tokens, tokens_cap, top_cap;
    uint32_t reported; /* the above was handed out: the next step starts afresh */
};

/* ---- life ------------------------------------------------------------------------------------ */

static nib_status allocate(nib__completion *c, const nib_model *model,
                           const nib_complete_options *o, nib_text healed, nib_error *err)
{
    uint32_t n_vocab = model->config.n_vocab;
    c->piece_cap = nib__tokenizer_max_bytes(model->tokenizer) + 8;
    c->piece = nib__alloc_raw(&c->mem, c->piece_cap, 1);
    bool enough = c->piece != NULL;
    if (o->n_bias != 0) {
        c->bias = nib__alloc_raw(&c->mem, o->n_bias, sizeof *c->bias);
        enough = enough && c->bias != NULL;
    }
    if (nib__sampler_needs_memory(o) || healed.len != 0) {
        c->sampler.candidates = nib__alloc_raw(&c->mem, n_vocab, sizeof *c->sampler.candidates);
        c->sampler.scores = nib__alloc_raw(&c->mem, n_vocab, sizeof *c->sampler.scores);
        c->sampler.ids = nib__alloc_raw(&c->mem, n_vocab, sizeof *c->sampler.ids);
        c->sampler.maxima = nib__alloc_raw(&c->mem, n_vocab / NIB__MAXIMA_RUN + (size_t)1,
                                           sizeof *c->sampler.maxima);
        enough = enough && c->sampler.candidates != NULL && c->sampler.scores != NULL &&
                 c->sampler.ids != NULL && c->sampler.maxima != NULL;
    }
    if (!enough) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a completion");
    if (o->n_bias != 0) memcpy(c->bias, o->bias, o->n_bias * sizeof *c->bias);
    return nib__heal_init(&c->heal, &c->mem, healed, n_vocab, o->n_bias, err);
}

nib_status nib__completion_new(const nib_session *s, const nib_complete_options *o,
                               const nib__around *around, nib__completion **completion,
                               nib_error *err)
{
    const nib_model *model = s->model;
    nib_status status = nib__sampler_check(o, model->config.n_vocab, err);
    if (status != NIB_OK) return status;
    if (o->stop_suffix && around->suffix.len == 0) {
        return nib__fail(err, NIB_ERR_ARGUMENT,
                         "stop_suffix: expected a fill-in-the-middle prompt with a suffix");
    }
    nib__completion *c = nib__alloc(&s->mem, 1, sizeof *c);
    if (c == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a completion");
    c->mem = s->mem;
    status = allocate(c, model, o, around->healed, err);
    if (status == NIB_OK)
        status = nib__stop_init(&c->stop, &c->mem, o, around->suffix, around->echo, err);
    if (status != NIB_OK) {
        nib__completion_free(c);
        return status;
    }
    c->options = *o;
    c->options.bias = c->bias;
    c->n_bias = o->n_bias;
    c->sentinels = around->sentinels;
    c->detok.n_seen = around->inside;
    c->options.stops = NULL; /* the caller's; copied by nib__stop_init */
    c->options.n_stops = 0;
    c->sampler.options = &c->options;
    c->sampler.kernels = &model->kernels;
    c->sampler.n_vocab = model->config.n_vocab;
    if (o->max_time_ms != 0) c->time_ns = nib__now_ns() + (uint64_t)o->max_time_ms * 1000000;
    *completion = c;
    return NIB_OK;
}

void nib__completion_free(nib__completion *c)
{
    if (c == NULL) return;
    nib_allocator mem = c->mem;
    nib__stop_free(&c->stop);
    nib__heal_free(&c->heal, &mem);
    nib__free(&mem, c->bias);
    nib__free(&mem, c->piece);
    nib__free(&mem, c->sampler.candidates);
    nib__free(&mem, c->sampler.scores);
    nib__free(&mem, c->sampler.ids);
    nib__free(&mem, c->sampler.maxima);
    nib__free(&mem, c->text);
    nib__free(&mem, c->tokens);
    nib__free(&mem, c->top);
    nib__free(&mem, c);
}

void nib__complete_attach(nib_session *s, nib__completion *c)
{
    nib__complete_end(s);
    s->completion = c;
    c->n_prompt = s->n_tokens;
    if (c->detok.n_seen == 0) c->detok = nib__complete_detok(s);
}

nib_detok nib__complete_detok(const nib_session *s)
{
    /* Where the text continues other text, a SentencePiece tokenizer must not drop its leading
     * space; behind nothing but markers, as of an encoder-decoder's target, it starts a text. */
    for (uint32_t i = s->n_tokens; i-- > 0;)
        if (!nib__tokenizer_is_control(s->model->tokenizer, s->tokens[i]))
            return (nib_detok){.n_seen = 1};
    return (nib_detok){0};
}

void nib__complete_end(nib_session *s)
{
    nib__completion_free(s->completion);
    s->completion = NULL;
    nib__search_end(s);
}

/* ---- one token ------------------------------------------------------------------------------- */

/* Room for one more token in the report, and for its text and all that was held back. */
static nib_status make_room(nib__completion *c, nib_error *err)
{
    size_t held = c->stop.len - c->stop.released, need;
    void *text = c->text, *tokens = c->tokens, *top = c->top;
    bool enough = nib__add(c->text_len, held, &need) && nib__add(need, c->piece_cap, &need) &&
                  nib__grow(&c->mem, &text, &c->text_cap, need, 1);
    c->text = text;
    enough =
        enough && nib__grow(&c->mem, &tokens, &c->tokens_cap, c->n_tokens + 1, sizeof *c->tokens);
    c->tokens = tokens;
    if (c->options.n_logprobs != 0) {
        enough = enough && nib__grow(&c->mem, &top, &c->top_cap,
                                     (c->n_tokens + 1) * c->options.n_logprobs, sizeof *c->top);
        c->top = top;
    }
    return enough ? NIB_OK
                  : nib__fail(err, NIB_ERR_MEMORY, "out of memory for the report of a step");
}

static void report_text(nib__completion *c, const char *text, size_t len)
{
    memcpy(c->text + c->text_len, text, len); /* make_room has made room */
    c->text_len += len;
}

/* Ends for `reason`, unless the text held back turns out to contain a stop. Bytes of an unfinished
 * code point are shown only if nothing can follow them. */
static nib_status finish(nib__completion *c, const nib_model *model, uint32_t reason,
                         nib_error *err)
{
    nib_detok detok = c->detok;
    size_t len = 0, text_len;
    const char *text;
    nib_status status = NIB_OK;
    if (reason == NIB_STOP_END_TOKEN) {
        status = nib__detok_push(model->tokenizer, &detok, -1, c->piece, c->piece_cap, &len, err);
    }
    if (status == NIB_OK)
        status = nib__stop_push(&c->stop, c->piece, len, reason, &text, &text_len, err);
    if (status != NIB_OK) return status;
    report_text(c, text, text_len);
    c->done = 1;
    c->reason = c->stop.reason != NIB_STOP_NONE ? c->stop.reason : reason;
    return NIB_OK;
}

/* Appends the token and what may be shown of its text. */
static nib_status accept(nib_session *s, nib__completion *c, int32_t id, nib_error *err)
{
    nib_detok detok = c->detok;
    const char *text;
    size_t len, text_len;
    nib_status status =
        nib__detok_push(s->model->tokenizer, &detok, id, c->piece, c->piece_cap, &len, err);
    if (status != NIB_OK) return status;
    if (c->time_ns != 0 && nib__now_ns() >= c->time_ns) c->stop.past_deadline = 1;
    size_t skip = nib__heal_skip(&c->heal, len);
    status =
        nib__stop_push(&c->stop, c->piece + skip, len - skip, NIB_STOP_NONE, &text, &text_len, err);
    if (status != NIB_OK) return status;
    c->heal.skipped += (uint32_t)skip;
    c->detok = detok;
    report_text(c, text, text_len);
    nib__session_push(s, id);
    c->n_tokens++;
    if (nib__heal_pending(&c->heal))
        nib__heal_take(&c->heal, nib__token_bytes(s->model->tokenizer, id, 0));
    if (!nib__heal_pending(&c->heal)) c->n_drawn++; /* max_tokens is about new text */
    c->done = c->stop.reason != NIB_STOP_NONE;
    c->reason = c->stop.reason;
    return NIB_OK;
}

static bool is_end(const nib__completion *c, const nib_model *model, int32_t id)
{
    const nib__tokenizer *t = model->tokenizer;
    if ((uint32_t)id >= nib__tokenizer_size(t)) return false;
    return nib__tokenizer_is_end(t, id) || nib__begins_with(t, id, c->sentinels);
}

/* The stream is evaluated: draws the next token, or ends. */
static nib_status next_token(nib_session *s, nib__completion *c, nib_error *err)
{
    nib_status status = make_room(c, err);
    if (status != NIB_OK) return status;
    if (c->n_drawn == c->options.max_tokens) return finish(c, s->model, NIB_STOP_LENGTH, err);
    if (s->n_tokens == s->options.n_ctx) return finish(c, s->model, NIB_STOP_CONTEXT, err);

    uint64_t start = nib__now_ns();
    size_t n_top = c->options.n_logprobs;
    nib_logprob *top = n_top != 0 ? c->top + c->n_tokens * n_top : NULL;
    nib_logprob *token = &c->tokens[c->n_tokens];
    if (nib__heal_pending(&c->heal)) {
        c->options.n_bias =
            nib__heal_bias(&c->heal, s->model->tokenizer, c->sampler.n_vocab, c->bias, c->n_bias);
        c->options.bias = c->heal.bias;
    }
    status =
        nib__sample(&c->sampler, s->logits, s->tokens, s->n_tokens, s->n_tokens, token, top, err);
    c->options.bias = c->bias;
    c->options.n_bias = c->n_bias;
    s->stats.sample_ns += nib__now_ns() - start;
    if (status != NIB_OK) return status;

    if (!c->options.ignore_end && is_end(c, s->model, token->id)) {
        status = finish(c, s->model, NIB_STOP_END_TOKEN, err);
        if (status == NIB_OK) c->n_tokens++; /* reported, but no part of the stream */
        return status;
    }
    status = accept(s, c, token->id, err);
    if (status != NIB_OK || c->done || c->n_drawn < c->options.max_tokens) return status;
    return finish(c, s->model, NIB_STOP_LENGTH, err);
}

/* ---- one step -------------------------------------------------------------------------------- */

static void fill(const nib_session *s, nib__completion *c, nib_step *step)
{
    uint32_t left = c->n_prompt > s->n_evaluated ? c->n_prompt - s->n_evaluated : 0;
    *step = (nib_step){.struct_size = sizeof *step,
                       .done = c->done,
                       .stop_reason = c->done ? c->reason : NIB_STOP_NONE,
                       .n_left = left,
                       .text = c->text_len != 0 ? c->text : "",
                       .text_len = c->text_len,
                       .tokens = c->n_tokens != 0 ? c->tokens : NULL,
                       .n_tokens = c->n_tokens,
                       .top = c->n_tokens != 0 && c->options.n_logprobs != 0 ? c->top : NULL};
    c->reported = 1;
}

void nib__complete_open(nib_session *s)
{
    nib__completion *c = s->completion;
    if (!c->reported) return;
    c->text_len = 0;
    c->n_tokens = 0;
    c->reported = 0;
}

int32_t nib__complete_done(const nib_session *s)
{
    return s->completion->done != 0;
}

nib_status nib__complete_draw(nib_session *s, nib_error *err)
{
    return next_token(s, s->completion, err);
}

void nib__complete_report(nib_session *s, nib_step *step)
{
    fill(s, s->completion, step);
}

nib_status nib__complete_step(nib_session *s, uint64_t deadline_ns, nib_step *step, nib_error *err)
{
    nib__completion *c = s->completion;
    nib__complete_open(s);
    while (!c->done) {
        nib_status status = nib__session_advance(s, deadline_ns, err);
        if (status != NIB_OK) return status;
        if (!nib__session_ready(s)) break;
        status = next_token(s, c, err);
        if (status != NIB_OK) return status;
        if (deadline_ns == 0 || nib__now_ns() >= deadline_ns) break;
    }
    fill(s, c, step);
    return NIB_OK;
}
