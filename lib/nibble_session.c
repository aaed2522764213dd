/* SPDX-License-Identifier: MIT
 * Public functions about sessions and completions: check arguments, call one stage, translate
 * status. Every call that evaluates is one begin/end pair of the thread pool. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "decode/beam.h"
#include "decode/begin.h"
#include "decode/complete.h"

static nib_status null_argument(nib_error *err, const char *function)
{
    return nib__fail(err, NIB_ERR_ARGUMENT, "%s: an argument is NULL", function);
}

/* ---- life ------------------------------------------------------------------------------------ */

static const nib_session_options default_options = {.struct_size = sizeof(nib_session_options)};

void nib_session_options_init(nib_session_options *options, size_t size)
{
    nib__options_init(options, size, &default_options, sizeof default_options);
}

static nib_status resolve(const nib_model *model, const nib_session_options *given,
                          nib_session_options *o, nib_error *err)
{
    nib_session_options full = default_options;
    nib_status status = NIB_OK;
    if (given != NULL)
        status = nib__options_read(&full, sizeof full, given, "nib_session_options", err);
    if (status != NIB_OK) return status;
    const nib_allocator *mem = full.allocator;
    if (mem != NULL && (mem->alloc == NULL || mem->free == NULL))
        return nib__fail(err, NIB_ERR_ARGUMENT, "allocator: expected two functions, got NULL");
    return nib__session_resolve(model, &full, o, err);
}

nib_status nib_session_memory(const nib_model *model, const nib_session_options *options,
                              uint64_t *bytes, nib_error *err)
{
    nib_session_options o;
    if (model == NULL || bytes == NULL) return null_argument(err, "nib_session_memory");
    nib_status status = resolve(model, options, &o, err);
    return status == NIB_OK ? nib__session_size(model, &o, bytes, err) : status;
}

nib_status nib_session_new(nib_model *model, const nib_session_options *options,
                           nib_session **session, nib_error *err)
{
    nib_session_options o;
    if (model == NULL || session == NULL) return null_argument(err, "nib_session_new");
    nib_status status = resolve(model, options, &o, err);
    return status == NIB_OK ? nib__session_new(model, &o, session, err) : status;
}

void nib_session_free(nib_session *session)
{
    nib__session_free(session);
}

nib_status nib_session_fork(const nib_session *session, nib_session **fork, nib_error *err)
{
    if (session == NULL || fork == NULL) return null_argument(err, "nib_session_fork");
    return nib__session_fork(session, fork, err);
}

/* ---- the stream ------------------------------------------------------------------------------ */

nib_status nib_session_set_tokens(nib_session *session, const int32_t *ids, size_t n_ids,
                                  size_t *reused, nib_error *err)
{
    if (session == NULL || (ids == NULL && n_ids != 0))
        return null_argument(err, "nib_session_set_tokens");
    uint32_t kept;
    nib_status status = nib__session_set(session, ids, n_ids, &kept, err);
    if (status == NIB_OK && reused != NULL) *reused = kept;
    return status;
}

nib_status nib_session_append(nib_session *session, const int32_t *ids, size_t n_ids,
                              nib_error *err)
{
    if (session == NULL || (ids == NULL && n_ids != 0))
        return null_argument(err, "nib_session_append");
    nib_status status = nib__session_append(session, ids, n_ids, err);
    if (status == NIB_OK) nib__complete_end(session);
    return status;
}

nib_status nib_session_truncate(nib_session *session, size_t n_tokens, nib_error *err)
{
    if (session == NULL) return null_argument(err, "nib_session_truncate");
    if (n_tokens > session->n_tokens) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "n_tokens: expected at most %u, got %zu",
                         session->n_tokens, n_tokens);
    }
    nib__session_cut(session, (uint32_t)n_tokens);
    nib__complete_end(session);
    return NIB_OK;
}

nib_status nib_session_tokens(const nib_session *session, const int32_t **ids, size_t *n_ids,
                              size_t *n_evaluated)
{
    if (session == NULL || ids == NULL || n_ids == NULL) return NIB_ERR_ARGUMENT;
    *ids = session->tokens;
    *n_ids = session->n_tokens;
    if (n_evaluated != NULL) *n_evaluated = session->n_evaluated;
    return NIB_OK;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

nib_status nib_session_eval(nib_session *session, nib_error *err)
{
    if (session == NULL) return null_argument(err, "nib_session_eval");
    nib__pool_begin(session->exec.pool);
    nib_status status = nib__session_advance(session, 0, err);
    nib__pool_end(session->exec.pool);
    return status;
}

nib_status nib_session_eval_logits(nib_session *session, const int32_t *ids, size_t n_ids,
                                   uint32_t flags, float *logits, nib_error *err)
{
    if (session == NULL || (n_ids != 0 && (ids == NULL || logits == NULL)))
        return null_argument(err, "nib_session_eval_logits");
    if ((flags & ~(uint32_t)NIB_EVAL_STEPWISE) != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "flags: unknown bits in %x", flags);
    nib__pool_begin(session->exec.pool);
    uint32_t rows = flags & NIB_EVAL_STEPWISE ? 1 : session->options.n_batch;
    nib_status status = nib__session_eval_logits(session, ids, n_ids, rows, logits, err);
    nib__pool_end(session->exec.pool);
    nib__complete_end(session);
    return status;
}

nib_status nib_session_set_source(nib_session *session, const int32_t *ids, size_t n_ids,
                                  nib_error *err)
{
    if (session == NULL || (n_ids != 0 && ids == NULL))
        return null_argument(err, "nib_session_set_source");
    nib_status status = nib__session_set_source(session, ids, n_ids, err);
    if (status == NIB_OK) nib__complete_end(session); /* also if it is the same source */
    return status;
}

nib_status nib_session_embed(nib_session *session, const int32_t *ids, size_t n_ids, uint32_t flags,
                             float *out, nib_error *err)
{
    if (session == NULL || ids == NULL || out == NULL)
        return null_argument(err, "nib_session_embed");
    if ((flags & ~(uint32_t)NIB_EMBED_MEAN) != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "flags: unknown bits in %x", flags);
    nib__pool_begin(session->exec.pool);
    nib_status status = nib__session_embed(session, ids, n_ids, flags, out, err);
    nib__pool_end(session->exec.pool);
    return status;
}

nib_status nib_session_logits(const nib_session *session, const float **logits, size_t *n_vocab,
                              nib_error *err)
{
    if (session == NULL || logits == NULL) return null_argument(err, "nib_session_logits");
    if (session->n_tokens == 0 || !nib__session_ready(session)) {
        return nib__fail(err, NIB_ERR_STATE, "no logits: %u of %u tokens are evaluated",
                         session->n_evaluated, session->n_tokens);
    }
    *logits = session->logits;
    if (n_vocab != NULL) *n_vocab = session->model->config.n_vocab;
    return NIB_OK;
}

void nib_session_cancel(nib_session *session)
{
    if (session != NULL) atomic_store(&session->cancel, 1);
}

nib_status nib_session_save(const nib_session *session, const char *path, nib_error *err)
{
    if (session == NULL || path == NULL) return null_argument(err, "nib_session_save");
    return nib__session_save(session, path, err);
}

nib_status nib_session_load(nib_session *session, const char *path, nib_error *err)
{
    if (session == NULL || path == NULL) return null_argument(err, "nib_session_load");
    return nib__session_load(session, path, err);
}

nib_status nib_session_get_stats(const nib_session *session, nib_session_stats *stats)
{
    if (session == NULL || stats == NULL) return NIB_ERR_ARGUMENT;
    return nib__options_write(stats, &session->stats, sizeof session->stats, "nib_session_stats",
                              NULL);
}

/* ---- completion ------------------------------------------------------------------------------ */

static const nib_complete_options default_complete = {
    .struct_size = sizeof(nib_complete_options),
    .max_tokens = 128,
    .top_p = 1.0f,
    .typical_p = 1.0f,
    .repeat_penalty = 1.0f,
    .penalty_window = 64,
};

void nib_complete_options_init(nib_complete_options *options, size_t size)
{
    nib__options_init(options, size, &default_complete, sizeof default_complete);
}

static nib_status read_options(const nib_complete_options *given, nib_complete_options *o,
                               nib_error *err)
{
    *o = default_complete;
    if (given == NULL) return NIB_OK;
    return nib__options_read(o, sizeof *o, given, "nib_complete_options", err);
}

nib_status nib_complete_begin(nib_session *session, const char *prompt, size_t len,
                              const nib_complete_options *options, nib_error *err)
{
    nib_complete_options o;
    if (session == NULL || (prompt == NULL && len != 0))
        return null_argument(err, "nib_complete_begin");
    nib_status status = read_options(options, &o, err);
    return status == NIB_OK ? nib__begin_prompt(session, prompt, len, &o, err) : status;
}

nib_status nib_complete_begin_tokens(nib_session *session, const nib_complete_options *options,
                                     nib_error *err)
{
    nib_complete_options o;
    if (session == NULL) return null_argument(err, "nib_complete_begin_tokens");
    nib_status status = read_options(options, &o, err);
    return status == NIB_OK ? nib__begin_tokens(session, &o, err) : status;
}

nib_status nib_fim_begin(nib_session *session, const nib_fim *fim,
                         const nib_complete_options *options, nib_error *err)
{
    nib_complete_options o;
    nib_fim full;
    if (session == NULL || fim == NULL) return null_argument(err, "nib_fim_begin");
    nib_fim_init(&full, sizeof full);
    nib_status status = nib__options_read(&full, sizeof full, fim, "nib_fim", err);
    if (status == NIB_OK) status = read_options(options, &o, err);
    if (status != NIB_OK) return status;
    return nib__begin_fim(session, &full, &o, err);
}

/* Without a completion: evaluates what is pending. */
static nib_status advance_step(nib_session *s, uint64_t deadline_ns, nib_step *step, nib_error *err)
{
    nib_status status = nib__session_advance(s, deadline_ns, err);
    if (status != NIB_OK) return status;
    *step = (nib_step){.struct_size = sizeof *step,
                       .done = (uint32_t)nib__session_ready(s),
                       .n_left = s->n_tokens - s->n_evaluated,
                       .text = ""};
    return NIB_OK;
}

static nib_status work(nib_session *s, uint64_t deadline_ns, nib_step *step, nib_error *err)
{
    if (s->completion != NULL) return nib__complete_step(s, deadline_ns, step, err);
    if (s->search == NULL) return advance_step(s, deadline_ns, step, err);
    nib_status status;
    do status = nib__search_advance(s, deadline_ns, err);
    while (status == NIB_OK && !nib__search_done(s) && deadline_ns != 0 &&
           nib__now_ns() < deadline_ns);
    if (status == NIB_OK) nib__search_report(s, step);
    return status;
}

nib_status nib_session_step(nib_session *session, uint64_t budget_us, nib_step *step,
                            nib_error *err)
{
    if (session == NULL || step == NULL) return null_argument(err, "nib_session_step");
    if (!nib__size_plausible(step->struct_size)) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_step: struct_size: expected %zu, got %u",
                         sizeof *step, step->struct_size);
    }
    uint64_t deadline = nib__deadline(budget_us);
    nib_step full;
    nib__pool_begin(session->exec.pool);
    nib_status status = work(session, deadline, &full, err);
    nib__pool_end(session->exec.pool);
    return status == NIB_OK ? nib__options_write(step, &full, sizeof full, "nib_step", err)
                            : status;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Appends what fits, cut before a code point that does not; bytes that are none are cut anywhere.
 */
static size_t append_text(char *to, size_t used, size_t cap, const char *text, size_t len)
{
    if (len > cap - used) {
        size_t lead = len = cap - used;
        while (lead > 0 && len - lead < 3 && is_continuation(text[lead])) lead--;
        if (!is_continuation(text[lead])) len = lead;
    }
    if (len != 0) memcpy(to + used, text, len);
    return len;
}

nib_status nib_complete(nib_session *session, const char *prompt, size_t len,
                        const nib_complete_options *options, char *text, size_t cap,
                        size_t *text_len, nib_error *err)
{
    if (session == NULL || text_len == NULL || (prompt == NULL && len != 0) ||
        (text == NULL && cap != 0))
        return null_argument(err, "nib_complete");
    nib_status status = nib_complete_begin(session, prompt, len, options, err);
    if (status != NIB_OK) return status;
    nib_step step = {.done = 0};
    size_t used = 0;
    nib__pool_begin(session->exec.pool);
    while (status == NIB_OK && !step.done) {
        status = nib__complete_step(session, 0, &step, err);
        if (status != NIB_OK) break;
        size_t n = append_text(text, used, cap, step.text, step.text_len);
        used += n;
        if (n < step.text_len)
            status = nib__fail(err, NIB_ERR_LIMIT, "the text does not fit %zu bytes", cap);
    }
    nib__pool_end(session->exec.pool);
    nib__complete_end(session);
    if (status == NIB_OK || status == NIB_ERR_LIMIT) *text_len = used;
    return status;
}
