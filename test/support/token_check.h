/* SPDX-License-Identifier: MIT
 * What tests of tokenizers ask of one; a test fails where the answer is wrong. */
#ifndef NIB_TEST_SUPPORT_TOKEN_CHECK_H
#define NIB_TEST_SUPPORT_TOKEN_CHECK_H

#include "token/token.h"

/* The tokenizer of test/fixtures/hf_tokenizers/NAME. */
nib__tokenizer *tokenizer_hf(const char *name);

/* That the ids stand for exactly this text. */
void assert_stand_for(const nib__tokenizer *t, const nib__ids *ids, const char *text, size_t len);

/* Tokenizes a text with memory of `mem`; no ids may be left by a failure. Frees the tokenizer. */
nib_status tokenize_and_free(nib__tokenizer *t, const nib_allocator *mem, const char *text,
                             size_t len, nib_error *err);

#endif
