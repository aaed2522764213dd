/* SPDX-License-Identifier: MIT
 * One stream of tokens: memory, edits that keep the cache of what did not change, and evaluation in
 * passes that can be interrupted. */
#include "decode/session.h"

#include <string.h>

#include "base/clock.h"
#include "decode/beam.h"
#include "decode/complete.h"
#include "decode/prompt.h"

enum {
    DEFAULT_CTX = 4096,
    DEFAULT_BATCH = 512,
    MAX_THREADS = 256,
    FIRST_ROWS = 128, /* of a pass with a time budget, before anything was measured */
    LEAST_ROWS = 64   /* fewer would unpack the weights too often */
};

/* ---- options and memory ---------------------------------------------------------------------- */

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

nib_status nib__check_threads(uint32_t n_threads, const nib_parallel *parallel, nib_error *err)
{
    if (parallel != NULL && parallel->run == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "parallel: expected a function, got NULL");
    if (parallel != NULL) n_threads = parallel->n_threads;
    if (n_threads <= MAX_THREADS) return NIB_OK;
    return nib__fail(err, NIB_ERR_ARGUMENT, "n_threads: expected at most %d, got %u",
                     (int)MAX_THREADS, n_threads);
}

nib_status nib__check_weights(const nib_model *model, nib_error *err)
{
    if (model->layers != NULL) return NIB_OK;
    return nib__fail(err, NIB_ERR_STATE,
                     "the model was opened for inspection only: it has no weights");
}

nib_status nib__session_resolve(const nib_model *model, const nib_session_options *options,
                                nib_session_options *resolved, nib_error *err)
{
    nib_session_options o = {.struct_size = sizeof o};
    if (options != NULL) o = *options;
    uint32_t trained = model->config.n_ctx_train, most = nib__model_max_positions(model);
    if (o.n_ctx == 0) o.n_ctx = trained == 0 ? DEFAULT_CTX : smaller(trained, DEFAULT_CTX);
    if (o.n_ctx > most) {
        return nib__fail(err, NIB_ERR_ARGUMENT,
                         "n_ctx: expected at most %u, the positions of the model, got %u", most,
                         o.n_ctx);
    }
    if (o.kv_type != NIB_KV_F16 && o.kv_type != NIB_KV_Q8) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "kv_type: expected 0 (f16) or 1 (q8), got %u",
                         o.kv_type);
    }
    if (o.reserved != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "reserved: expected 0, got %u", o.reserved);
    if (o.parallel != NULL) o.n_threads = o.parallel->n_threads;
    if (o.n_threads == 0) o.n_threads = 1;
    nib_status status = nib__check_threads(o.n_threads, o.parallel, err);
    if (status != NIB_OK) return status;
    if (o.n_batch == 0) o.n_batch = DEFAULT_BATCH;
    o.n_batch = smaller(o.n_batch, o.n_ctx);
    *resolved = o;
    return NIB_OK;
}

/* One block: | tokens | logits | scratch of every slot | activations |; sizes only if base is NULL.
 */
static void carve(nib_session *s, const nib_model *model, nib__arena *arena)
{
    s->tokens = nib__arena_take(arena, s->options.n_ctx, sizeof *s->tokens);
    s->logits = nib__arena_take(arena, model->config.n_vocab, sizeof *s->logits);
    s->exec.scratch = nib__arena_take(arena, s->exec.n_slots, s->exec.slot_bytes);
    s->source.ids = nib__arena_take(arena, s->source.capacity, sizeof *s->source.ids);
    nib__arena encoder = *arena; /* works at other times */
    nib__activations_carve(arena, model, s->options.n_batch, &s->act);
    nib__encoding_carve(&s->source, &encoder);
    if (encoder.used > arena->used) arena->used = encoder.used;
    arena->overflow = arena->overflow || encoder.overflow;
}

/* An encoder alone has no stream. */
static uint32_t cache_positions(const nib_session *s, const nib_model *model)
{
    return model->config.both_ways ? 1 : s->options.n_ctx;
}

size_t nib__session_slot_bytes(const nib_model *model)
{
    size_t own = nib__exec_slot_bytes(model);
    size_t encoder = model->encoder != NULL ? nib__exec_slot_bytes(model->encoder) : 0;
    return encoder > own ? encoder : own;
}

/* Fills in what carve reads and measures. */
static nib_status measure(nib_session *s, const nib_model *model, size_t *block, size_t *total,
                          nib_error *err)
{
    nib__arena arena = {NULL, 0, false};
    uint32_t kv_type = nib__kv_type(model, s->options.kv_type);
    nib__encoding_init(&s->source, model, s->options.n_ctx);
    s->exec.slot_bytes = nib__session_slot_bytes(model);
    carve(s, model, &arena);
    size_t kv = nib__kv_bytes(&model->config, cache_positions(s, model), kv_type);
    size_t source_kv = nib__encoding_cache_bytes(&s->source, kv_type);
    if (arena.overflow || kv == SIZE_MAX || source_kv == SIZE_MAX ||
        !nib__add(arena.used, kv, total) || !nib__add(*total, source_kv, total) ||
        !nib__add(*total, sizeof *s, total)) {
        return nib__fail(err, NIB_ERR_MEMORY,
                         "a session with n_ctx %u and n_batch %u is larger "
                         "than the address space",
                         s->options.n_ctx, s->options.n_batch);
    }
    *block = arena.used;
    return NIB_OK;
}

nib_status nib__session_size(const nib_model *model, const nib_session_options *options,
                             uint64_t *bytes, nib_error *err)
{
    nib_session s = {.options = *options};
    if (model->config.n_layer == 0)
        return nib__fail(err, NIB_ERR_STATE, "the file holds a tokenizer only");
    s.exec.n_slots = options->n_threads;
    size_t block, total;
    nib_status status = measure(&s, model, &block, &total, err);
    if (status == NIB_OK) *bytes = total;
    return status;
}

nib_status nib__session_new(nib_model *model, const nib_session_options *o, nib_session **session,
                            nib_error *err)
{
    nib_status status = nib__check_weights(model, err);
    if (status != NIB_OK) return status;
    nib_allocator mem = o->allocator != NULL ? *o->allocator : model->mem;
    nib_session *s = nib__alloc(&mem, 1, sizeof *s);
    if (s == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a session");
    s->mem = mem;
    s->options = *o;
    s->options.allocator = NULL;
    s->model = nib__model_retain(model);
    if (o->parallel != NULL) {
        s->parallel = *o->parallel;
        s->options.parallel = &s->parallel;
    }
    atomic_init(&s->cancel, 0);
    s->joint_mark = nib__prompt_mode(model, "<encoder-decoder>");
    s->joint_end = nib__tokenizer_special(model->tokenizer, NIB_TOKEN_EOS);
    s->exec.kernels = &model->kernels;
    s->exec.cancel = &s->cancel;
    size_t block, total;
    status = nib__pool_new(&s->mem, o->n_threads, s->options.parallel, &s->exec.pool, err);
    if (status != NIB_OK) goto fail;
    s->exec.n_slots = nib__pool_threads(s->exec.pool);
    status = measure(s, model, &block, &total, err);
    if (status != NIB_OK) goto fail;
    /* Not zeroed: a short prompt touches little of it. */
    s->block = nib__alloc_raw(&s->mem, block, 1);
    if (s->block == NULL) {
        status = nib__fail(err, NIB_ERR_MEMORY, "out of memory for a session (%zu bytes)", block);
        goto fail;
    }
    nib__arena arena = {s->block, 0, false};
    carve(s, model, &arena);
    uint32_t kv_type = nib__kv_type(model, o->kv_type);
    status = nib__kv_init(&s->kv, &s->mem, &model->config, cache_positions(s, model), kv_type, err);
    if (status == NIB_OK) status = nib__encoding_open(&s->source, &s->mem, kv_type, err);
    if (status != NIB_OK) goto fail;
    s->stats.n_threads = s->exec.n_slots;
    s->stats.memory_bytes = total;
    *session = s;
    return NIB_OK;
fail:
    nib__session_free(s);
    return status;
}

void nib__session_free(nib_session *s)
{
    if (s == NULL) return;
    nib__complete_end(s);
    nib__kv_free(&s->kv);
    nib__encoding_close(&s->source);
    nib__free(&s->mem, s->block);
    nib__pool_free(s->exec.pool);
    nib__model_release(s->model);
    nib_allocator mem = s->mem;
    nib__free(&mem, s);
}

/* ---- fork ------------------------------------------------------------------------------------ */

nib_status nib__session_fork(const nib_session *s, nib_session **out, nib_error *err)
{
    nib_session_options options = s->options;
    options.allocator = &s->mem;
    nib_session *fork;
    nib_status status = nib__session_new(s->model, &options, &fork, err);
    if (status != NIB_OK) return status;
    memcpy(fork->tokens, s->tokens, s->n_tokens * sizeof *s->tokens);
    memcpy(fork->logits, s->logits, s->logits_valid ? s->model->config.n_vocab * sizeof(float) : 0);
    nib__kv_copy(&fork->kv, &s->kv, 0, s->n_evaluated);
    if (s->source.n != 0) memcpy(fork->source.ids, s->source.ids, s->source.n * sizeof(int32_t));
    if (s->source.done && s->source.decoder != NULL)
        nib__kv_copy(&fork->source.cross, &s->source.cross, 0, s->source.n);
    fork->source.n = s->source.n;
    fork->source.done = s->source.done;
    fork->n_tokens = s->n_tokens;
    fork->n_evaluated = s->n_evaluated;
    fork->logits_valid = s->logits_valid;
    fork->row_ns = s->row_ns;
    *out = fork;
    return NIB_OK;
}

/* ---- edits ----------------------------------------------------------------------------------- */

uint32_t nib__session_joint(const nib_session *s)
{
    uint32_t n = 3;
    if (s->joint_mark < 0 || s->n_tokens < 2 || s->tokens[1] != s->joint_mark) return 0;
    while (n < s->n_tokens && s->tokens[n] != s->joint_end) n++;
    return smaller(n + 1, s->n_tokens);
}

static void cut(nib_session *s, uint32_t n_tokens)
{
    if (n_tokens >= s->n_tokens) return;
    uint32_t valid = n_tokens < nib__session_joint(s) ? 0 : n_tokens;
    if (s->pass_active && s->pass.pos0 + s->pass.n > valid) s->pass_active = 0;
    if (s->n_evaluated > valid) {
        s->n_evaluated = valid;
        s->logits_valid = 0;
    }
    s->batch_mark = 0;
    s->n_tokens = n_tokens;
}

void nib__session_cut(nib_session *s, uint32_t n_tokens)
{
    if (n_tokens < s->n_tokens) nib__search_end(s);
    cut(s, n_tokens);
}

static nib_status check_ids(const nib_session *s, const int32_t *ids, size_t n, size_t room,
                            nib_error *err)
{
    if (n > room) {
        return nib__fail(err, NIB_ERR_LIMIT,
                         "%zu tokens do not fit: the context holds %u, %zu are "
                         "free",
                         n, s->options.n_ctx, room);
    }
    uint32_t n_vocab = s->model->config.n_vocab;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab) {
            return nib__fail(err, NIB_ERR_ARGUMENT, "token %zu: expected an id of 0 to %u, got %d",
                             i, n_vocab - 1, (int)ids[i]);
        }
    }
    return NIB_OK;
}

nib_status nib__session_append(nib_session *s, const int32_t *ids, size_t n, nib_error *err)
{
    nib_status status = check_ids(s, ids, n, s->options.n_ctx - s->n_tokens, err);
    if (status != NIB_OK || n == 0) return status;
    memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
    s->n_tokens += (uint32_t)n;
    nib__search_end(s); /* not before: ids may be what it found */
    return NIB_OK;
}

nib_status nib__session_set(nib_session *s, const int32_t *ids, size_t n, uint32_t *reused,
                            nib_error *err)
{
    nib_status status = check_ids(s, ids, n, s->options.n_ctx, err);
    if (status != NIB_OK) return status;
    uint32_t common = 0;
    while (common < n && common < s->n_tokens && ids[common] == s->tokens[common]) common++;
    cut(s, common);
    if (n > common) memmove(s->tokens + common, ids + common, (n - common) * sizeof *ids);
    s->n_tokens = (uint32_t)n;
    nib__complete_end(s); /* of another stream; not before: ids may be what it found */
    *reused = s->n_evaluated;
    s->stats.n_reused += *reused;
    return NIB_OK;
}

void nib__session_push(nib_session *s, int32_t id)
{
    s->tokens[s->n_tokens++] = id;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

int32_t nib__session_ready(const nib_session *s)
{
    return s->n_evaluated == s->n_tokens && (s->logits_valid || s->n_tokens == 0);
}

/* Rows of the next pass over `left` rows, at most `most`. A short tail would be computed by the
 * decode kernels and a long one by the prefill kernels; so that the cut into passes does not show
 * in the result, no pass leaves a tail of 1 to 16 rows (unless `most` is smaller than 34). */
static uint32_t pass_rows(uint32_t left, uint32_t most)
{
    const uint32_t tail = NIB__DECODE_ROWS + 1;
    if (most >= left) return left;
    return left - most < tail && left >= 2 * tail ? left - tail : most;
}

/* With a deadline a pass takes about eight budgets: an interrupted pass goes on, also over edits
 * behind it, but a cancelled one is lost. */
static uint32_t choose_rows(const nib_session *s, uint64_t deadline_ns)
{
    uint32_t left = s->n_tokens - s->n_evaluated, rows = s->options.n_batch;
    if (deadline_ns != 0) {
        uint64_t now = nib__now_ns();
        double budget = deadline_ns > now ? (double)(deadline_ns - now) : 0;
        double fit = s->row_ns > 0 ? 8 * budget / s->row_ns : FIRST_ROWS;
        uint32_t wanted = fit > (double)rows ? rows : (uint32_t)fit;
        rows = smaller(rows, wanted > LEAST_ROWS ? wanted : LEAST_ROWS);
    }
    return pass_rows(left, rows);
}

/* Whether the next pass is over the tokens that see each other; what was evaluated of them while
 * they were fewer counts for nothing. */
static nib_status choose_joint(nib_session *s, uint32_t *rows, bool *joint, nib_error *err)
{
    uint32_t n = nib__session_joint(s);
    *joint = s->n_evaluated < n;
    if (!*joint) return NIB_OK;
    s->n_evaluated = 0;
    *rows = n;
    if (n <= s->options.n_batch) return NIB_OK;
    return nib__fail(err, NIB_ERR_LIMIT,
                     "tokens of a source see each other: expected at most n_batch, %u, got %u",
                     s->options.n_batch, n);
}

static nib_status start_pass(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    uint32_t n = choose_rows(s, deadline_ns);
    bool joint;
    nib_status status = choose_joint(s, &n, &joint, err);
    if (status != NIB_OK) return status;
    int last = s->n_evaluated + n == s->n_tokens;
    s->pass = (nib__pass){.ids = s->tokens + s->n_evaluated,
                          .n = n,
                          .joint = joint,
                          .pos0 = s->n_evaluated,
                          .all_logits = last ? NIB__LOGITS_LAST : NIB__LOGITS_NONE,
                          .logits = s->logits,
                          .cross = &s->source.cross,
                          .n_cross = s->source.n};
    s->pass_ns = 0;
    s->batch_mark = 0;
    status = nib__pass_begin(&s->pass, s->model, &s->act, err);
    if (status == NIB_OK) s->pass_active = 1;
    return status;
}

/* Counts a finished pass. */
static void account(nib_session *s, const nib__pass *pass, uint64_t ns)
{
    if (pass->n == 1) {
        s->stats.n_decode++;
        s->stats.decode_ns += ns;
        return;
    }
    s->stats.n_prefill += pass->n;
    s->stats.prefill_ns += ns;
    if (pass->n > NIB__DECODE_ROWS) {
        double row = (double)ns / pass->n;
        s->row_ns = s->row_ns > 0 ? (s->row_ns + row) / 2 : row;
    }
}

static nib_status run_pass(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    int32_t done = 0;
    uint64_t start = nib__now_ns();
    nib_status status =
        nib__pass_run(&s->pass, s->model, &s->exec, &s->kv, &s->act, deadline_ns, &done, err);
    s->pass_ns += nib__now_ns() - start;
    /* The head overwrites the logits of the token before. */
    if (s->pass.all_logits == NIB__LOGITS_LAST && s->pass.layer >= s->model->config.n_layer)
        s->logits_valid = 0;
    s->pass_active = status == NIB_OK && !done;
    if (status != NIB_OK || !done) return status;
    s->n_evaluated += s->pass.n;
    s->logits_valid = s->pass.all_logits == NIB__LOGITS_LAST;
    account(s, &s->pass, s->pass_ns);
    return NIB_OK;
}

nib_status nib__session_check_cancel(nib_session *s, nib_error *err)
{
    if (atomic_exchange(&s->cancel, 0) == 0) return NIB_OK;
    s->pass_active = 0;
    return nib__fail(err, NIB_ERR_CANCELLED, "cancelled");
}

nib_status nib__session_advance(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    for (;;) {
        nib_status status = nib__session_check_cancel(s, err);
        if (status != NIB_OK || nib__session_ready(s)) return status;
        /* Cut back to tokens that are all in the cache: only the last one's logits are missing. */
        if (s->n_evaluated == s->n_tokens) s->n_evaluated--;
        if (nib__source_missing(s)) status = nib__source_encode(s, deadline_ns, err);
        if (status == NIB_OK && nib__source_missing(s)) return NIB_OK;
        if (status == NIB_OK && !s->pass_active) status = start_pass(s, deadline_ns, err);
        if (status == NIB_OK) status = run_pass(s, deadline_ns, err);
        if (status == NIB_ERR_CANCELLED) (void)atomic_exchange(&s->cancel, 0);
        if (status != NIB_OK) return status;
        if (deadline_ns != 0 && nib__now_ns() >= deadline_ns) return NIB_OK;
    }
}

int32_t nib__session_one_pending(const nib_session *s)
{
    if (s->pass_active || nib__session_ready(s) || nib__source_missing(s)) return 0;
    if (s->n_evaluated < nib__session_joint(s)) return 0;
    return s->n_tokens - s->n_evaluated <= 1; /* 0: only the logits are missing */
}

void nib__session_take_row(nib_session *s, const float *logits, uint64_t ns)
{
    memcpy(s->logits, logits, s->model->config.n_vocab * sizeof *logits);
    s->n_evaluated = s->n_tokens;
    s->logits_valid = 1;
    s->batch_mark = 0;
    s->stats.n_decode++;
    s->stats.decode_ns += ns;
}

nib_status nib__session_eval_logits(nib_session *s, const int32_t *ids, size_t n, uint32_t rows,
                                    float *logits, nib_error *err)
{
    size_t n_vocab = s->model->config.n_vocab;
    nib_status status = NIB_OK;
    /* Logits of what is there already are of no use to rows that follow. */
    if (n == 0 || s->n_evaluated < s->n_tokens) status = nib__session_advance(s, 0, err);
    if (status != NIB_OK || n == 0) return status;
    uint32_t before = s->n_tokens;
    uint32_t valid = s->logits_valid;
    if (status == NIB_OK && nib__source_missing(s)) status = nib__source_encode(s, 0, err);
    if (status == NIB_OK) status = nib__session_append(s, ids, n, err);
    if (status == NIB_OK && before != 0 && before < nib__session_joint(s))
        status = nib__fail(err, NIB_ERR_STATE,
                           "tokens of a source, which see each other, have their "
                           "logits only if all are given at once");
    while (status == NIB_OK && s->n_evaluated < s->n_tokens) {
        uint32_t n_rows = pass_rows(s->n_tokens - s->n_evaluated, rows);
        bool joint;
        status = choose_joint(s, &n_rows, &joint, err);
        if (status != NIB_OK) break;
        s->pass = (nib__pass){.ids = s->tokens + s->n_evaluated,
                              .n = n_rows,
                              .joint = joint,
                              .pos0 = s->n_evaluated,
                              .all_logits = NIB__LOGITS_ALL,
                              .logits = logits + (s->n_evaluated - before) * n_vocab,
                              .cross = &s->source.cross,
                              .n_cross = s->source.n};
        s->pass_ns = 0;
        s->batch_mark = 0;
        status = nib__session_check_cancel(s, err);
        if (status == NIB_OK) status = nib__pass_begin(&s->pass, s->model, &s->act, err);
        if (status == NIB_OK) status = run_pass(s, 0, err);
    }
    if (status == NIB_OK) {
        memcpy(s->logits, logits + (n - 1) * n_vocab, n_vocab * sizeof *logits);
        s->logits_valid = 1;
        return NIB_OK;
    }
    if (status == NIB_ERR_CANCELLED) (void)atomic_exchange(&s->cancel, 0);
    nib__session_cut(s, before);
    s->logits_valid = valid && s->n_evaluated == before; /* they were not touched */
    return status;
}
