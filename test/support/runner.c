/* SPDX-License-Identifier: MIT
 * A model with everything a forward pass needs. */
#include "runner.h"

#include "test.h"

#include "base/clock.h"
#include "fixture.h"

static const nib_allocator *heap(void)
{
    static nib_allocator mem;
    mem = nib__allocator(NULL);
    return &mem;
}

void runner_open(runner *r, const char *name, const runner_options *options)
{
    nib_error err = {0};
    nib__source *source = NULL;
    *r = (runner){.block = NULL};
    uint32_t threads = options->n_threads == 0 ? 1 : options->n_threads;
    nib_model_options model_options = {
        .struct_size = sizeof model_options,
        .n_threads = threads,
        .precision = options->precision,
        .isa = options->isa,
    };
    assert_ok(nib__source_open(heap(), fixture_path(name), &source, &err), err);
    assert_ok(nib__model_open(source, &model_options, &r->model, &err), err);
    assert_ok(nib__pool_new(heap(), threads, options->host, &r->pool, &err), err);
    atomic_init(&r->cancel, 0);
    r->exec = (nib__exec){
        .kernels = &r->model->kernels,
        .pool = r->pool,
        .cancel = &r->cancel,
        .slot_bytes = nib__exec_slot_bytes(r->model),
        .n_slots = nib__pool_threads(r->pool),
    };
    r->exec.scratch = nib__alloc(heap(), r->exec.n_slots, r->exec.slot_bytes);
    assert_non_null(r->exec.scratch);
    uint32_t type = nib__kv_type(r->model, options->kv_type);
    assert_ok(nib__kv_init(&r->kv, heap(), &r->model->config, RUNNER_CONTEXT, type, &err), err);
    memset(r->kv.data, 0xff, nib__kv_bytes(&r->model->config, RUNNER_CONTEXT, type));
    nib__arena arena = {.base = NULL};
    size_t size = nib__activations_carve(&arena, r->model, RUNNER_BATCH, &r->act);
    r->block = nib__alloc_raw(heap(), size, 1);
    assert_non_null(r->block);
    memset(r->block, 0xff, size);
    arena = (nib__arena){.base = r->block};
    assert_int_equal(nib__activations_carve(&arena, r->model, RUNNER_BATCH, &r->act), size);
}

void runner_close(runner *r)
{
    nib__free(heap(), r->block);
    nib__free(heap(), r->exec.scratch);
    nib__kv_free(&r->kv);
    nib__pool_free(r->pool);
    nib__model_release(r->model);
}

static nib_status run_pass(runner *r, nib__pass *pass)
{
    nib_error err = {0};
    int32_t done = 0;
    nib_status status = nib__pass_begin(pass, r->model, &r->act, &err);
    while (status == NIB_OK && !done) {
        uint64_t deadline = r->budget_ns != 0 ? nib__now_ns() + r->budget_ns : 0;
        status = nib__pass_run(pass, r->model, &r->exec, &r->kv, &r->act, deadline, &done, &err);
        r->n_calls++;
    }
    return status;
}

nib_status runner_eval(runner *r, const int32_t *ids, uint32_t n, uint32_t pos0, uint32_t chunk,
                       int last, float *logits)
{
    nib_status status = NIB_OK;
    nib__pool_begin(r->pool);
    for (uint32_t at = 0; at < n && status == NIB_OK; at += chunk) {
        uint32_t rows = n - at < chunk ? n - at : chunk;
        bool is_last = at + rows == n;
        nib__pass pass = {
            .ids = ids + at,
            .n = rows,
            .pos0 = pos0 + at,
            .all_logits = !last     ? NIB__LOGITS_ALL
                          : is_last ? NIB__LOGITS_LAST
                                    : NIB__LOGITS_NONE,
            .logits = last ? logits : logits + (size_t)at * r->model->config.n_vocab,
        };
        status = run_pass(r, &pass);
    }
    nib__pool_end(r->pool);
    return status;
}
