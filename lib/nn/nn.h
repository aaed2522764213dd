/* SPDX-License-Identifier: MIT
 * Layers over packed weights: they see kernels, a thread pool and a cancel flag; no file, no text. */
#ifndef NIB_NN_NN_H
#define NIB_NN_NN_H

#include "model/model.h"

/* What every layer needs to run; one per session, used by one thread at a time. */
typedef struct nib__exec {
    const nib__kernels *kernels;
    nib__pool *pool;
    atomic_int *cancel;      /* non-zero: stop; looked at before every piece of work */
    uint8_t *scratch;        /* [n_slots][slot_bytes] working memory of kernels */
    size_t slot_bytes;
    uint32_t n_slots;        /* as many as tasks can run at once */
    atomic_uint slot_busy[8];/* bit set: slot taken; 256 slots */
} nib__exec;

/* Runs task(arg, i, scratch) for i in [0, n) on the pool, each with a scratch slot of its own; skips
 * the remaining pieces once cancelled. NIB_ERR_CANCELLED if so. */
nib_status nib__exec_run(nib__exec *exec, uint32_t n,
                         void (*task)(void *arg, uint32_t i, void *scratch), void *arg);

/* Rounded activations of m rows, made once per distinct input and shared by every linear map that
 * reads it (q, k and v; gate and up). A strategy's rows are made when first asked for. */
typedef struct nib__input {
    const float *x;          /* [m][k] */
    uint32_t m, k;
    uint8_t *coded, *floats; /* buffers for the two kinds of weights */
    uint8_t coded_ready, floats_ready;
} nib__input;

/* y_i[m][ldy_i] = x W_i^T + bias_i for all maps in one parallel region. */
typedef struct nib__output {
    const nib__linear *map;
    float *y;
    size_t ldy;
} nib__output;
nib_status nib__linear_run(nib__exec *exec, nib__input *input, const nib__output *outputs,
                           uint32_t n_outputs);

/* Keys and values of all layers for up to `capacity` positions. */
typedef struct nib__kv {
    nib_allocator mem;
    uint32_t n_layer, n_head_kv, head_dim, capacity, type;
    size_t head_bytes;       /* k + v (+ scales) of one head of one layer */
    uint8_t *data;           /* [n_layer][n_head_kv][head_bytes] */
} nib__kv;

nib_status nib__kv_init(nib__kv *kv, const nib_allocator *mem, const nib__config *config,
                        uint32_t capacity, uint32_t type, nib_error *err);
void nib__kv_free(nib__kv *kv);
size_t nib__kv_bytes(const nib__config *config, uint32_t capacity, uint32_t type);
nib__kv_head nib__kv_view(const nib__kv *kv, uint32_t layer, uint32_t head);

#endif
