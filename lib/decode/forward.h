/* SPDX-License-Identifier: MIT
 * The transformer: token ids in, logits out, one page. A pass can be interrupted between any two
 * pieces of work and taken up again, so that a caller with a time budget never waits for a whole
 * pass. The results do not depend on where it was interrupted. */
#ifndef NIB_DECODE_FORWARD_H
#define NIB_DECODE_FORWARD_H

#include "nn/nn.h"

/* Working memory of one session, carved from one block; shapes for up to n_batch rows. q, k, v and
 * attn share their memory with gate and up, and with word, which live at other times. */
typedef struct nib__activations {
    uint32_t n_batch;
    float *x;                /* [n_batch][n_embd] residual stream */
    float *delta;            /* [n_batch][n_embd] what a block adds to it */
    float *q;                /* [n_batch][n_head * head_dim] */
    float *k, *v;            /* [n_batch][n_head_kv * head_dim] */
    float *attn;             /* [n_batch][n_head * head_dim] */
    float *gate, *up;        /* [n_batch][n_ff] */
    float *word;             /* [n_batch][n_word], of models whose embeddings are mapped */
    float *cos_sin;          /* [n_batch][n_rot/2][2] */
    float *cos_sin_local;    /* the same for layers with a window of models with two bases */
    uint8_t *rounded[NIB__WEIGHT_KINDS]; /* rounded rows of the widest input, per kind of weights */
} nib__activations;

enum {
    NIB__LOGITS_LAST = 0,
    NIB__LOGITS_ALL = 1,
    NIB__LOGITS_NONE = 2,
    NIB__HIDDEN = 3 /* no logits: the last norm's result stays in activations.x, all rows */
};

/* A pass over rows of consecutive positions, or, with `places`, over at most 16 rows of different
 * streams, whose results are the same as if each were alone; of an encoder, over all rows it has,
 * with a cache of one layer. The caller fills the first part and leaves the second
 * alone; `layer` counts the layers done. */
typedef struct nib__pass {
    const int32_t *ids;  /* [n] */
    uint32_t n, pos0;    /* rows, and position of the first */
    uint32_t all_logits; /* NIB__LOGITS_* */
    float *logits;       /* [n or 1][n_vocab] */
    bool joint;          /* every row sees all of them; pos0 is 0 */
    const nib__row_place *places; /* [n], in the place of pos0 and of kv; needs NIB__LOGITS_ALL */
    const nib__kv *cross; /* decoders over an encoder: what it made, all layers, and of how many */
    uint32_t n_cross;     /* tokens */
    const nib__row_place *cross_places; /* [n] or NULL: the last key each row sees of a source of its
                                           own, in the place of cross and n_cross; needs places */

    uint32_t layer; /* n_layer: only the head is left */
    uint32_t step;  /* of the layer, or of the head */
    uint32_t piece; /* pieces done of an interrupted step */
} nib__pass;

/* Takes the buffers from the arena; shapes for n_batch rows. Returns arena->used. */
size_t nib__activations_carve(nib__arena *arena, const nib_model *model, uint32_t n_batch,
                              nib__activations *a);

/* Starts a pass; checks ids and file. Keys and values go to kv at positions pos0 .. pos0 + n - 1.
 */
nib_status nib__pass_begin(nib__pass *pass, const nib_model *model, nib__activations *a,
                           nib_error *err);

/* Runs until the pass is done (*done = 1) or `deadline_ns` of nib__now_ns() has passed (0: no
 * deadline); at least one piece of work per call. NIB_ERR_CANCELLED: the pass cannot be continued,
 * but everything stored before it is as it was. */
nib_status nib__pass_run(nib__pass *pass, const nib_model *model, nib__exec *exec, nib__kv *kv,
                         nib__activations *a, uint64_t deadline_ns, int32_t *done, nib_error *err);

#endif
