/* SPDX-License-Identifier: MIT
 * Fill-in-the-middle prompts: (prefix, suffix, other files) -> the token sequence a family of models
 * was trained on. */
#ifndef NIB_DECODE_FIM_H
#define NIB_DECODE_FIM_H

#include "token/token.h"

/* NIB_FIM_* recognised from the special tokens of the vocabulary. */
uint32_t nib__fim_detect(const nib__tokenizer *t);

/* Appends the prompt to ids. With NIB_FIM_LAYOUT_LINE_LAST the text of the cursor's line that
 * precedes the cursor stands behind the middle marker. */
nib_status nib__fim_build(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                          uint32_t max_tokens, nib__ids *ids, nib_error *err);

#endif
