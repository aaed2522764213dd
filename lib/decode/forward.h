/* SPDX-License-Identifier: MIT
 * The transformer: token ids in, logits out, one page. A pass can be interrupted between layers and
 * taken up again, so that a caller with a time budget never waits for a whole pass. */
#ifndef NIB_DECODE_FORWARD_H
#define NIB_DECODE_FORWARD_H

#include "nn/nn.h"

/* Working memory of one session, carved from one block; shapes for up to n_batch rows. */
typedef struct nib__activations {
    uint32_t n_batch;
    float *x;        /* [n_batch][n_embd] residual stream */
    float *norm;     /* [n_batch][n_embd] */
    float *q;        /* [n_batch][n_head * head_dim] */
    float *k, *v;    /* [n_batch][n_head_kv * head_dim] */
    float *attn;     /* [n_batch][n_head * head_dim] */
    float *gate, *up;/* [n_batch][n_ff] */
    float *cos_sin;  /* [n_batch][n_rot/2][2] */
    uint8_t *coded, *floats; /* rounded rows of the widest input */
} nib__activations;

/* A pass over rows of consecutive positions. layer counts the layers done; n_layer means that only
 * the head is left. */
typedef struct nib__pass {
    const int32_t *ids;   /* [n] */
    uint32_t n, pos0;     /* rows, and position of the first */
    uint32_t layer;
    uint32_t head_done;   /* panels of the output head finished */
    uint32_t all_logits;  /* 1: logits of every row, else of the last row only, 2: none */
    float *logits;        /* [n or 1][n_vocab] */
} nib__pass;

size_t nib__activations_carve(nib__arena *arena, const nib_model *model, uint32_t n_batch,
                              nib__activations *a);

/* Starts a pass: embeds the ids. Keys and values go to kv at positions pos0 .. pos0 + n - 1. */
nib_status nib__pass_begin(nib__pass *pass, const nib_model *model, nib__activations *a,
                           nib_error *err);

/* Runs layers until the pass is done (*done = 1) or `deadline_ns` of nib__now_ns() has passed
 * (0: no deadline); at least one layer, or one slice of the head, per call. */
nib_status nib__pass_run(nib__pass *pass, const nib_model *model, nib__exec *exec, nib__kv *kv,
                         nib__activations *a, uint64_t deadline_ns, int32_t *done, nib_error *err);

#endif
