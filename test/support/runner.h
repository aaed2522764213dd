/* SPDX-License-Identifier: MIT
 * A model with everything a forward pass needs, for tests below the level of sessions. */
#ifndef TEST_SUPPORT_RUNNER_H
#define TEST_SUPPORT_RUNNER_H

#include "decode/forward.h"

typedef struct runner_options {
    uint32_t n_threads; /* 0: 1 */
    uint32_t precision, kv_type;
    const char *isa; /* NULL: the best of this CPU */
    const nib_parallel *host;
} runner_options;

enum { RUNNER_CONTEXT = 512, RUNNER_BATCH = 128 };

typedef struct runner {
    nib_model *model;
    nib__pool *pool;
    nib__exec exec;
    nib__kv kv;
    nib__activations act;
    uint8_t *block;
    atomic_int cancel;
    uint64_t budget_ns; /* of one call of nib__pass_run; 0: none */
    uint64_t n_calls;   /* of nib__pass_run */
} runner;

/* Opens a model file relative to test/, or ends the test with the message of the failure. The KV
 * cache and the working memory start filled with NaN. */
void runner_open(runner *r, const char *name, const runner_options *options);
void runner_close(runner *r);

/* Evaluates ids at positions pos0 .. in passes of up to `chunk` rows; logits[n][n_vocab] of all of
 * them, or of the last one if `last` is set. Returns the status of the pass that failed. */
nib_status runner_eval(runner *r, const int32_t *ids, uint32_t n, uint32_t pos0, uint32_t chunk,
                       int last, float *logits);

#endif
