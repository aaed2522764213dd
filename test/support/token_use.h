/* SPDX-License-Identifier: MIT
 * Uses a tokenizer of unknown origin in every way, for fuzz targets. */
#ifndef TEST_SUPPORT_TOKEN_USE_H
#define TEST_SUPPORT_TOKEN_USE_H

#include "token/token.h"

/* Encodes a text with everything in it, decodes at once and as a stream; aborts where they differ. */
void token_use(const nib__tokenizer *t);

#endif
