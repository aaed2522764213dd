/* SPDX-License-Identifier: MIT
 * Uses a tokenizer of unknown origin, for fuzz targets and tests; aborts where something is wrong. */
#ifndef TEST_SUPPORT_TOKEN_USE_H
#define TEST_SUPPORT_TOKEN_USE_H

#include <stdbool.h>

#include "token/token.h"

/* Encodes a text, decodes at once and as a stream, which must agree; exact: with the text, too.
 * Returns whether it could be encoded. */
bool token_use_text(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags,
                    bool exact);

/* Encodes runs of the letter a with a vocabulary whose id i is i + 1 of them: nothing is lost. */
void token_use_letters(const nib__tokenizer *t);

/* token_use_text with a text that has everything in it, and every token by itself. */
void token_use(const nib__tokenizer *t);

#endif
