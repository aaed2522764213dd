/* SPDX-License-Identifier: MIT
 * Models of test/fixtures and sessions on them. Failures end the test. */
#ifndef TEST_SUPPORT_FIXTURE_MODEL_H
#define TEST_SUPPORT_FIXTURE_MODEL_H

#include "nibble.h"

/* name: as "seq2seq/t5_plain". options NULL: the defaults. */
nib_model *fixture_model(const char *name, const nib_model_options *options);

nib_session *fixture_session(nib_model *model, uint32_t n_ctx, uint32_t n_threads,
                             uint32_t kv_type);

#endif
