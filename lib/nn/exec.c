/* SPDX-License-Identifier: MIT
 * Pieces of work on a pool. Every participating thread takes the next piece from one counter until
 * none is left, so at any time exactly the pieces below the counter have been started: after an
 * interruption the work goes on at the counter. */
#include <stdatomic.h>

#include "base/clock.h"
#include "nn/nn.h"

typedef struct region {
    nib__exec *exec;
    void (*task)(void *arg, uint32_t i, void *scratch);
    void *arg;
    uint32_t first, n;
    _Alignas(64) atomic_uint next;
} region;

static bool cancelled(const nib__exec *exec)
{
    const atomic_int *all = exec->cancel_all;
    if (all != NULL && atomic_load_explicit(all, memory_order_relaxed) != 0) return true;
    return exec->cancel != NULL && atomic_load_explicit(exec->cancel, memory_order_relaxed) != 0;
}

static bool stop_here(const region *r)
{
    const nib__exec *exec = r->exec;
    if (cancelled(exec)) return true;
    return exec->deadline_ns != 0 &&
           atomic_load_explicit(&r->next, memory_order_relaxed) > r->first &&
           nib__now_ns() >= exec->deadline_ns;
}

/* One of n_slots tasks of the pool; the number of the task is the number of its slot. */
static void work(void *arg, uint32_t slot)
{
    region *r = arg;
    uint8_t *scratch = r->exec->scratch + slot * r->exec->slot_bytes;
    while (!stop_here(r)) {
        uint32_t i = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
        if (i >= r->n) return;
        r->task(r->arg, i, scratch);
    }
}

nib_status nib__exec_run(nib__exec *exec, uint32_t n,
                         void (*task)(void *arg, uint32_t i, void *scratch), void *arg)
{
    region r = {.exec = exec, .task = task, .arg = arg, .first = exec->first, .n = n};
    uint32_t left = n - r.first;
    exec->first = 0;
    atomic_init(&r.next, r.first);
    if (left > 1 && exec->n_slots > 1)
        nib__pool_run(exec->pool, left < exec->n_slots ? left : exec->n_slots, work, &r);
    /* Nothing is left here unless we were stopped, or the host's pool forgot some of its tasks. */
    work(&r, 0);
    uint32_t next = atomic_load_explicit(&r.next, memory_order_relaxed);
    if (next >= n) return cancelled(exec) ? NIB_ERR_CANCELLED : NIB_OK;
    if (cancelled(exec)) return NIB_ERR_CANCELLED;
    exec->first = next;
    return NIB__PARTIAL;
}

uint32_t nib__exec_rows(const nib__exec *exec, uint32_t m, size_t cost)
{
    enum { WORTH = 24000, MOST = 200000 }; /* operations: about 2 us, and 20..200 us */
    uint32_t pieces = 4 * exec->n_slots;
    if (m * (cost + 1) < WORTH) return m;
    uint32_t rows = (m + pieces - 1) / pieces;
    uint32_t most = (uint32_t)(MOST / (cost + 1)) + 1;
    return rows < most ? rows : most;
}

void nib__exec_learn(nib__exec *exec, uint32_t kind, uint32_t n_pieces, uint64_t start_ns,
                     double macs)
{
    uint32_t threads = exec->n_slots < n_pieces ? exec->n_slots : n_pieces;
    float *rate = &exec->ns_per_mac[kind];
    double ns = (double)(nib__now_ns() - start_ns) * (threads < 1 ? 1 : threads);
    float measured = (float)(ns / macs);
    /* A region during which the system took the CPU away says little: it counts as twice as long.
     */
    if (*rate != 0 && measured > 2 * *rate) measured = 2 * *rate;
    *rate = *rate == 0 ? measured : (*rate + measured) / 2;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t nib__exec_slot_bytes(const nib_model *model)
{
    const nib__kernels *kernels = &model->kernels;
    const nib__config *c = &model->config;
    const uint32_t widths[] = {c->n_embd, c->n_head * c->head_dim, c->n_ff, c->n_word};
    size_t bytes = max_size(c->n_embd, c->n_ff) * sizeof(float); /* one row between two maps */
    bytes = max_size(bytes, kernels->attention_scratch(c->head_dim));
    bytes = max_size(bytes, kernels->attention_prefill_scratch(c->head_dim));
    for (uint32_t kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        if ((model->kinds >> kind & 1u) == 0) continue;
        for (int i = 0; i < 4; i++) {
            const nib__matmul *decode = nib__decode_of(kernels, (nib__weight_kind)kind);
            const nib__matmul *prefill = nib__prefill_of(kernels, (nib__weight_kind)kind);
            bytes = max_size(bytes, decode->scratch_bytes(widths[i]));
            bytes = max_size(bytes, prefill->scratch_bytes(widths[i]));
        }
    }
    return nib__align_up(bytes, NIB_ALIGN);
}
