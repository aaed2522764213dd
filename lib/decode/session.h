/* SPDX-License-Identifier: MIT
 * A session: one stream of tokens, its KV cache, and the pass in progress. */
#ifndef NIB_DECODE_SESSION_H
#define NIB_DECODE_SESSION_H

#include "decode/forward.h"

typedef struct nib__completion nib__completion; /* complete.c */

struct nib_session {
    nib_allocator mem;
    nib_model *model;             /* one reference */
    nib_session_options options;  /* as resolved: no zeros left */
    nib__exec exec;
    nib__kv kv;
    nib__activations act;
    uint8_t *block;               /* memory behind act, logits and tokens */
    int32_t *tokens;              /* [n_ctx] */
    uint32_t n_tokens;            /* length of the stream */
    uint32_t n_evaluated;         /* of them in the KV cache */
    float *logits;                /* [n_vocab] after token n_evaluated - 1 */
    uint32_t logits_valid;
    nib__pass pass;               /* in progress while pass_active */
    uint32_t pass_active;
    atomic_int cancel;
    nib__completion *completion;  /* NULL: none */
    nib_session_stats stats;
};

/* Evaluates pending tokens until all are in the cache, or the deadline (nib__now_ns; 0: none)
 * passed. Returns NIB_OK in both cases: compare n_evaluated with n_tokens. CANCELLED clears the
 * flag and leaves the cache valid up to the last finished pass. */
nib_status nib__session_advance(nib_session *s, uint64_t deadline_ns, nib_error *err);

/* Appends one token, checked by the caller against n_ctx. */
void nib__session_push(nib_session *s, int32_t id);

#endif
