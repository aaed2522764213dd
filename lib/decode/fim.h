/* SPDX-License-Identifier: MIT
 * Fill-in-the-middle prompts: (prefix, suffix, other files) -> the token sequence a family of
 * models was trained on. */
#ifndef NIB_DECODE_FIM_H
#define NIB_DECODE_FIM_H

#include "token/token.h"

/* NIB_FIM_* recognised from the special tokens of the vocabulary. `pair`: architecture of an
 * encoder-decoder; NULL: a decoder alone. */
uint32_t nib__fim_detect(const nib__tokenizer *t, const char *pair);

/* Appends the prompt to ids. With NIB_FIM_LAYOUT_LINE_LAST the text of the cursor's line that
 * precedes the cursor, less its indentation, stands behind the middle marker; then, unless `held`
 * is NULL, *held bytes of the end of the prefix are left out, for healing (heal.h). */
nib_status nib__fim_build(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                          uint32_t max_tokens, size_t *held, nib__ids *ids, nib_error *err);

/* For an encoder-decoder. The caller makes and frees the lists. */
typedef struct nib__fim_pair {
    nib__ids source;       /* for the encoder: what nib__fim_build makes */
    nib__ids target;       /* what the decoder's text begins with, behind its start token */
    nib__ids echo;         /* what the decoder writes behind the middle; empty: an end */
    const char *sentinels; /* a token whose text begins so ends the middle; NULL: none does */
    int32_t start;         /* in the place of the model's start token; -1: it stays */
} nib__fim_pair;

nib_status nib__fim_build_pair(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                               uint32_t max_tokens, size_t *held, nib__fim_pair *pair,
                               nib_error *err);

#endif
