/* SPDX-License-Identifier: MIT
 * Models of test/fixtures, sessions on them, and what transformers computes with the same weights.
 * Names are as "seq2seq/t5_plain". Failures end the test. */
#ifndef TEST_SUPPORT_FIXTURE_MODEL_H
#define TEST_SUPPORT_FIXTURE_MODEL_H

#include "nibble.h"
#include "reference.h"

/* options NULL: the defaults. */
nib_model *fixture_model(const char *name, const nib_model_options *options);

nib_session *fixture_session(nib_model *model, uint32_t n_ctx, uint32_t n_threads,
                             uint32_t kv_type);

/* The file NAME.ref beside the model. */
reference fixture_reference(const char *name);

/* Logits [n_tokens][n_vocab] after each of the reference's ids, which are appended to the stream;
 * from malloc. flags: NIB_EVAL_*. */
float *fixture_logits(nib_session *session, const reference *ref, uint32_t flags);

/* The largest of logits[n_vocab], evaluated, and so on, must be the reference's greedy tokens. */
void assert_greedy(nib_session *session, const reference *ref, const float *logits,
                   const char *name);

/* The same where `id` comes first. */
void assert_greedy_after(nib_session *session, const reference *ref, int32_t id, const char *name);

#endif
