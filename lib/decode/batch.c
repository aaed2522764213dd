/* SPDX-License-Identifier: MIT
 * Steps of many sessions. Sessions with one pending token, which is what generating is about, share
 * a pass, at most 16 of them: the decode strategy gives each row the bits it would have alone.
 * Everything else about a session (prompt, sampler, stop rules, errors) stays its own.
 *
 * An interrupted pass goes on in a later step, if all its members come along unchanged; else it is
 * forgotten, and their tokens are evaluated again. */
#include "decode/batch.h"

#include <string.h>

#include "base/clock.h"
#include "decode/beam.h"
#include "decode/complete.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void carve(nib_batch *b, const nib_model *model, nib__arena *arena)
{
    b->logits = nib__arena_take(arena, b->max_rows, model->config.n_vocab * sizeof *b->logits);
    b->exec.scratch = nib__arena_take(arena, b->exec.n_slots, b->exec.slot_bytes);
    nib__activations_carve(arena, model, b->max_rows, &b->act);
}

static nib_status check_options(const nib_batch_options *o, nib_error *err)
{
    if (o->max_rows > NIB__DECODE_ROWS) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "max_rows: expected at most %d, got %u",
                         (int)NIB__DECODE_ROWS, o->max_rows);
    }
    if (o->reserved != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "reserved: expected 0, got %u", o->reserved);
    return nib__check_threads(o->n_threads, o->parallel, err);
}

nib_status nib__batch_new(nib_model *model, const nib_batch_options *o, nib_batch **batch,
                          nib_error *err)
{
    nib_status status = check_options(o, err);
    if (status == NIB_OK) status = nib__check_weights(model, err);
    if (status != NIB_OK) return status;
    if (model->config.both_ways) {
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "architecture %s gives hidden states: there is nothing to step",
                         model->config.arch);
    }
    nib_allocator mem = o->allocator != NULL ? *o->allocator : model->mem;
    nib_batch *b = nib__alloc(&mem, 1, sizeof *b);
    if (b == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a batch");
    b->mem = mem;
    b->model = nib__model_retain(model);
    b->max_rows = o->max_rows != 0 ? o->max_rows : NIB__DECODE_ROWS;
    if (o->parallel != NULL) b->parallel = *o->parallel;
    atomic_init(&b->cancel, 0);
    b->exec.kernels = &model->kernels;
    b->exec.cancel = &b->cancel;
    status = nib__pool_new(&b->mem, o->n_threads, o->parallel != NULL ? &b->parallel : NULL,
                           &b->exec.pool, err);
    nib__arena arena = {NULL, 0, false};
    if (status == NIB_OK) {
        b->exec.n_slots = nib__pool_threads(b->exec.pool);
        b->exec.slot_bytes = nib__session_slot_bytes(model);
        carve(b, model, &arena);
        b->block = arena.overflow ? NULL : nib__alloc_raw(&b->mem, arena.used, 1);
        if (b->block == NULL) status = nib__fail(err, NIB_ERR_MEMORY, "out of memory for a batch");
    }
    if (status != NIB_OK) {
        nib__batch_free(b);
        return status;
    }
    arena = (nib__arena){b->block, 0, false};
    carve(b, model, &arena);
    *batch = b;
    return NIB_OK;
}

void nib__batch_free(nib_batch *b)
{
    if (b == NULL) return;
    nib_allocator mem = b->mem;
    nib__free(&mem, b->block);
    nib__pool_free(b->exec.pool);
    nib__model_release(b->model);
    nib__free(&mem, b);
}

/* ---- the shared pass ------------------------------------------------------------------------- */

static bool late(const nib__batch_call *call)
{
    return call->deadline_ns != 0 && nib__now_ns() >= call->deadline_ns;
}

static nib_error *error_of(const nib__batch_call *call, size_t i)
{
    return call->errors != NULL ? &call->errors[i] : NULL;
}

/* Whether every member is among the sessions of this call, in good order, and as it was. Members
 * are only compared until they are found: they may have been freed since. */
static bool can_resume(const nib_batch *b, const nib__batch_call *call)
{
    uint32_t found = 0;
    for (size_t i = 0; i < call->n; i++) {
        const nib_session *s = call->sessions[i];
        for (uint32_t m = 0; m < b->pass.n; m++) {
            if (b->members[m] != s) continue;
            found += call->statuses[i] == NIB_OK && s->batch_mark == b->mark &&
                     nib__session_one_pending(s) && s->n_tokens - 1 == b->places[m].pos &&
                     s->tokens[s->n_tokens - 1] == b->ids[m];
        }
    }
    return found == b->pass.n;
}

/* Takes up to max_rows sessions with one pending token, beginning with number b->turn. */
static nib_status start_pass(nib_batch *b, const nib__batch_call *call, nib_error *err)
{
    uint32_t n = 0;
    size_t last = b->turn;
    for (size_t k = 0; k < call->n && n < b->max_rows; k++) {
        size_t i = (b->turn + k) % call->n;
        nib_session *s = call->sessions[i];
        if (call->statuses[i] != NIB_OK || !nib__session_one_pending(s)) continue;
        b->members[n] = s;
        b->ids[n] = s->tokens[s->n_tokens - 1];
        b->places[n] = (nib__row_place){&s->kv, s->n_tokens - 1};
        b->sources[n] = (nib__row_place){&s->source.cross, s->source.n - 1};
        n++;
        last = i;
    }
    b->pass = (nib__pass){.ids = b->ids,
                          .n = n,
                          .all_logits = NIB__LOGITS_ALL,
                          .logits = b->logits,
                          .places = b->places,
                          .cross_places = b->sources};
    b->pass_ns = 0;
    if (n == 0) return NIB_OK;
    nib_status status = nib__pass_begin(&b->pass, b->model, &b->act, err);
    if (status != NIB_OK) return status;
    uint64_t now = nib__now_ns(); /* another number than in any pass before, and not 0 */
    b->mark = now > b->mark ? now : b->mark + 1;
    for (uint32_t m = 0; m < n; m++) b->members[m]->batch_mark = b->mark;
    b->turn = (last + 1) % call->n;
    b->active = 1;
    return NIB_OK;
}

static void hand_out(void *arg, uint32_t m)
{
    nib_batch *b = arg;
    const float *logits = b->logits + (size_t)m * b->model->config.n_vocab;
    nib__session_take_row(b->members[m], logits, b->pass_ns / b->pass.n);
}

/* Runs the pass in progress; hands out its rows when it is done. */
static nib_status run_pass(nib_batch *b, const nib__batch_call *call, nib_error *err)
{
    int32_t done = 0;
    uint64_t start = nib__now_ns();
    nib_status status =
        nib__pass_run(&b->pass, b->model, &b->exec, NULL, &b->act, call->deadline_ns, &done, err);
    b->pass_ns += nib__now_ns() - start;
    b->active = status == NIB_OK && !done;
    if (status != NIB_OK || !done) return status;
    nib__pool_run(b->exec.pool, b->pass.n, hand_out, b); /* half a megabyte each */
    return NIB_OK;
}

/* Evaluates one token of each session that has just one pending. */
static nib_status evaluate_rows(nib_batch *b, const nib__batch_call *call, nib_error *err)
{
    size_t waiting = 0;
    for (size_t i = 0; i < call->n; i++) {
        waiting += call->statuses[i] == NIB_OK && nib__session_one_pending(call->sessions[i]) != 0;
    }
    for (size_t done = 0; done < waiting; done += b->pass.n) {
        nib_status status = NIB_OK;
        if (!b->active || !can_resume(b, call)) status = start_pass(b, call, err);
        if (status != NIB_OK || b->pass.n == 0) return status;
        status = run_pass(b, call, err);
        b->worked = true;
        if (status != NIB_OK || b->active || late(call)) return status;
    }
    return NIB_OK;
}

/* ---- one session ----------------------------------------------------------------------------- */

/* A prompt is evaluated, or a beam search goes on, on the batch's threads, with the session's own
 * cancel flag. */
static nib_status advance(nib_batch *b, nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    nib__exec own = s->exec;
    s->exec.pool = b->exec.pool;
    s->exec.scratch = b->exec.scratch;
    s->exec.n_slots = b->exec.n_slots;
    s->exec.cancel_all = &b->cancel;
    nib_status status = s->search != NULL ? nib__search_advance(s, deadline_ns, err)
                                          : nib__session_advance(s, deadline_ns, err);
    s->exec.pool = own.pool;
    s->exec.scratch = own.scratch;
    s->exec.n_slots = own.n_slots;
    s->exec.cancel_all = NULL;
    return status;
}

static bool finished(const nib_session *s)
{
    if (s->search != NULL) return nib__search_done(s);
    return s->completion != NULL ? nib__complete_done(s) != 0 : nib__session_ready(s) != 0;
}

/* Prompts, beam searches, and whatever else is longer than one token. */
static nib_status evaluate_prompts(nib_batch *b, const nib__batch_call *call, nib_error *err)
{
    for (size_t k = 0; k < call->n; k++) {
        size_t i = (b->turn + k) % call->n;
        nib_session *s = call->sessions[i];
        if (call->statuses[i] != NIB_OK || finished(s) || nib__session_one_pending(s)) continue;
        if (s->search == NULL && nib__session_ready(s)) continue;
        call->statuses[i] = advance(b, s, call->deadline_ns, error_of(call, i));
        b->worked = true;
        if (atomic_load_explicit(&b->cancel, memory_order_relaxed) != 0)
            return nib__fail(err, NIB_ERR_CANCELLED, "cancelled");
        if (late(call)) return NIB_OK;
    }
    return NIB_OK;
}

static void draw_tokens(const nib__batch_call *call)
{
    for (size_t i = 0; i < call->n; i++) {
        nib_session *s = call->sessions[i];
        if (call->statuses[i] != NIB_OK || finished(s) || !nib__session_ready(s)) continue;
        if (s->search != NULL) continue;
        call->statuses[i] = nib__complete_draw(s, error_of(call, i));
    }
}

static void check_cancels(const nib__batch_call *call)
{
    for (size_t i = 0; i < call->n; i++) {
        if (call->statuses[i] == NIB_OK)
            call->statuses[i] = nib__session_check_cancel(call->sessions[i], error_of(call, i));
    }
}

static bool all_finished(const nib__batch_call *call)
{
    for (size_t i = 0; i < call->n; i++) {
        if (call->statuses[i] == NIB_OK && !finished(call->sessions[i])) return false;
    }
    return true;
}

/* At least one piece of work is done, whatever the time. */
static nib_status evaluate(nib_batch *b, const nib__batch_call *call, nib_error *err)
{
    bool rows = b->rows_first;
    nib_status status = rows ? evaluate_rows(b, call, err) : evaluate_prompts(b, call, err);
    if (status == NIB_OK && (!late(call) || !b->worked))
        status = rows ? evaluate_prompts(b, call, err) : evaluate_rows(b, call, err);
    if (late(call)) b->rows_first = !rows;
    return status;
}

nib_status nib__batch_step(nib_batch *b, const nib__batch_call *call, nib_error *err)
{
    nib_status status = NIB_OK;
    for (size_t i = 0; i < call->n; i++) {
        call->statuses[i] = NIB_OK;
        if (call->sessions[i]->completion != NULL) nib__complete_open(call->sessions[i]);
    }
    b->turn %= call->n;
    b->worked = false;
    check_cancels(call);
    while (status == NIB_OK && !all_finished(call)) {
        status = evaluate(b, call, err);
        check_cancels(call);
        if (status == NIB_OK) draw_tokens(call);
        if (call->deadline_ns == 0 || late(call)) break;
    }
    if (atomic_exchange(&b->cancel, 0) != 0 && status == NIB_OK)
        status = nib__fail(err, NIB_ERR_CANCELLED, "cancelled");
    return status;
}
