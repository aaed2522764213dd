/* SPDX-License-Identifier: MIT
 * Many sessions in one step: a pass over one row of each reads the weights once for all of them.
 * Prompts are evaluated session by session, on the batch's threads. */
#ifndef NIB_DECODE_BATCH_H
#define NIB_DECODE_BATCH_H

#include "decode/session.h"

struct nib_batch {
    nib_allocator mem;
    nib_model *model; /* one reference */
    nib_parallel parallel;
    nib__exec exec;
    nib__activations act;
    uint8_t *block; /* memory behind logits, scratch and act */
    uint32_t max_rows;
    float *logits; /* [max_rows][n_vocab] */
    atomic_int cancel;

    /* The pass in progress, or the last one. */
    nib__pass pass;
    uint32_t active;
    uint64_t mark, pass_ns;
    nib_session *members[NIB__DECODE_ROWS];
    int32_t ids[NIB__DECODE_ROWS];
    nib__row_place places[NIB__DECODE_ROWS];
    nib__row_place sources[NIB__DECODE_ROWS]; /* what each looks at, of an encoder-decoder */
    size_t turn; /* the session that is looked at first, so that none starves */
    bool rows_first; /* or prompts; changes whenever the time did not suffice for both */
    bool worked;     /* in this step */
};

/* What one step works on; arrays of n >= 1. */
typedef struct nib__batch_call {
    nib_session *const *sessions;
    size_t n;
    uint64_t deadline_ns; /* 0: until each session has something to report */
    nib_status *statuses;
    nib_error *errors; /* or NULL */
} nib__batch_call;

/* `options` is complete. */
nib_status nib__batch_new(nib_model *model, const nib_batch_options *options, nib_batch **batch,
                          nib_error *err);
void nib__batch_free(nib_batch *b); /* NULL is a no-op */

/* Works on all sessions; afterwards statuses[i] says how it went with each, and each has a report of
 * what it brought. A failure of the call itself leaves no session worse than before. */
nib_status nib__batch_step(nib_batch *b, const nib__batch_call *call, nib_error *err);

#endif
