/* SPDX-License-Identifier: MIT
 * Tokenizers for tests: from a file, and from the small BPE vocabulary of test/fixtures/token with
 * any pre-tokenizer named in it. */
#ifndef TEST_SUPPORT_TOKENIZER_FILES_H
#define TEST_SUPPORT_TOKENIZER_FILES_H

#include "token/token.h"

/* A copy of a GGUF file with one more string key in front, from malloc. */
uint8_t *gguf_with_key(const uint8_t *file, size_t size, const char *key, const char *value,
                       size_t *new_size);

/* The tokenizer of a GGUF file in memory. */
nib_status tokenizer_from_bytes(const nib_allocator *mem, const uint8_t *file, size_t size,
                                nib__tokenizer **t, nib_error *err);
/* Of a file; the test fails if it cannot be opened. */
nib__tokenizer *tokenizer_open(const char *path);
/* test/fixtures/token/NAME.gguf; for "bpe/PRE" bpe.gguf with that pre-tokenizer. */
nib__tokenizer *tokenizer_small(const char *name);

#endif
