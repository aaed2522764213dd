/* SPDX-License-Identifier: MIT
 * The tiny models of test/fixtures/tiny, and sessions on them, for tests. Failures end the test. */
#ifndef TEST_SUPPORT_TINY_MODEL_H
#define TEST_SUPPORT_TINY_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "nibble.h"
#include "rng.h"

enum { TINY_CTX = 192 };

/* test/fixtures/tiny/NAME.gguf; precision: NIB_PRECISION_*. */
nib_model *tiny_open(const char *name, uint32_t precision);
uint32_t tiny_vocab(const nib_model *model);

/* n_ctx is TINY_CTX; 0 for the others: default. */
nib_session *tiny_session(nib_model *model, uint32_t n_threads, uint32_t n_batch, uint32_t kv_type);

/* 0: default. */
nib_batch *tiny_batch(nib_model *model, uint32_t n_threads, uint32_t max_rows);

/* Ids without the tiny models' control tokens. */
void tiny_ids(rng *r, const nib_model *model, int32_t *ids, size_t n);

/* set_tokens and eval; returns how many tokens were reused. */
size_t tiny_eval(nib_session *session, const int32_t *ids, size_t n);

/* The logits of both sessions must be the same bits. */
void assert_same_logits(const nib_session *a, const nib_session *b, const char *what);

/* The logits must be logits[n_vocab], bit by bit. */
void assert_logits(const nib_session *session, const float *logits, const char *what);

#endif
