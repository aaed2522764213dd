/* SPDX-License-Identifier: MIT
 * Public functions about batches: check arguments, call one stage, translate status. */
#include "base/clock.h"
#include "base/options.h"
#include "decode/batch.h"
#include "decode/beam.h"
#include "decode/complete.h"

static const nib_batch_options default_options = {.struct_size = sizeof(nib_batch_options)};

void nib_batch_options_init(nib_batch_options *options, size_t size)
{
    nib__options_init(options, size, &default_options, sizeof default_options);
}

nib_status nib_batch_new(nib_model *model, const nib_batch_options *options, nib_batch **batch,
                         nib_error *err)
{
    nib_batch_options o = default_options;
    if (model == NULL || batch == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_batch_new: an argument is NULL");
    nib_status status = NIB_OK;
    if (options != NULL)
        status = nib__options_read(&o, sizeof o, options, "nib_batch_options", err);
    if (status != NIB_OK) return status;
    if (o.allocator != NULL && (o.allocator->alloc == NULL || o.allocator->free == NULL))
        return nib__fail(err, NIB_ERR_ARGUMENT, "allocator: expected two functions, got NULL");
    return nib__batch_new(model, &o, batch, err);
}

void nib_batch_free(nib_batch *batch)
{
    nib__batch_free(batch);
}

void nib_batch_cancel(nib_batch *batch)
{
    if (batch != NULL) atomic_store(&batch->cancel, 1);
}

static nib_status check_sessions(const nib_batch *b, nib_session *const *sessions, size_t n,
                                 nib_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (sessions[i] == NULL || sessions[i]->model != b->model) {
            return nib__fail(err, NIB_ERR_ARGUMENT,
                             "session %zu: expected a session of the batch's model", i);
        }
        for (size_t j = 0; j < i; j++) {
            if (sessions[j] != sessions[i]) continue;
            return nib__fail(err, NIB_ERR_ARGUMENT, "session %zu is also session %zu", i, j);
        }
    }
    return NIB_OK;
}

static void report(nib_session *s, nib_step *step)
{
    if (s->completion != NULL) {
        nib__complete_report(s, step);
        return;
    }
    if (s->search != NULL) {
        nib__search_report(s, step);
        return;
    }
    *step = (nib_step){.struct_size = sizeof *step,
                       .done = (uint32_t)nib__session_ready(s),
                       .n_left = s->n_tokens - s->n_evaluated,
                       .text = ""};
}

/* Element i of an array whose elements have the caller's size. */
static nib_step *step_at(nib_step *steps, uint32_t size, size_t i)
{
    return (nib_step *)(void *)((uint8_t *)steps + i * size);
}

nib_status nib_batch_step(nib_batch *batch, nib_session *const *sessions, size_t n,
                          uint64_t budget_us, nib_step *steps, nib_status *statuses,
                          nib_error *errors, nib_error *err)
{
    if (batch == NULL || (n != 0 && (sessions == NULL || steps == NULL || statuses == NULL)))
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_batch_step: an argument is NULL");
    if (n == 0) return NIB_OK;
    uint32_t size = steps->struct_size;
    if (!nib__size_plausible(size)) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_step: struct_size: expected %zu, got %u",
                         sizeof *steps, size);
    }
    nib_status status = check_sessions(batch, sessions, n, err);
    if (status != NIB_OK) return status;
    nib__batch_call call = {.sessions = sessions,
                            .n = n,
                            .deadline_ns = nib__deadline(budget_us),
                            .statuses = statuses,
                            .errors = errors};
    nib__pool_begin(batch->exec.pool);
    status = nib__batch_step(batch, &call, err);
    nib__pool_end(batch->exec.pool);
    for (size_t i = 0; i < n && status == NIB_OK; i++) {
        nib_step full;
        nib_step *step = step_at(steps, size, i);
        step->struct_size = size;
        if (statuses[i] != NIB_OK) continue;
        report(sessions[i], &full);
        status = nib__options_write(step, &full, sizeof full, "nib_step", err);
    }
    return status;
}
