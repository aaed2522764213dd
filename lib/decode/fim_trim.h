/* SPDX-License-Identifier: MIT
 * User text -> token ids for a prompt with a budget: the text is cut at line starts, and markers in
 * it stay plain text. */
#ifndef NIB_DECODE_FIM_TRIM_H
#define NIB_DECODE_FIM_TRIM_H

#include "token/token.h"

/* Ids that user text must never turn into. */
typedef struct nib__markers {
    int32_t ids[12];
    uint32_t count;
    const char *stem; /* and every token whose text begins so; NULL: no more */
} nib__markers;

/* What the tokenizing of one piece of user text needs besides the text. */
typedef struct nib__plain {
    const nib__tokenizer *tokenizer;
    const nib__markers *markers;
    int32_t continuation; /* 1: no SentencePiece-style space in front */
} nib__plain;

/* Whether the token's text, also a marker's, begins with `stem`; NULL: none does. */
bool nib__begins_with(const nib__tokenizer *t, int32_t id, const char *stem);

/* Appends the ids of all of `text`, none of which is a marker. UNSUPPORTED if the text has a byte
 * that alone is a marker (ByT5). */
nib_status nib__plain_ids(const nib__plain *plain, nib_text text, nib__ids *ids, nib_error *err);

/* Appends at most `budget` ids of the end of `text`: all of it, or what follows the earliest line
 * start that fits, among every 16th of the text (fewer lines apart for small budgets). The cut thus
 * stays where it is while lines are added at the end, and so does the KV cache behind it. Where not
 * even the last line fits, its last `budget` ids. */
nib_status nib__plain_tail(const nib__plain *plain, nib_text text, size_t budget, nib__ids *ids,
                           nib_error *err);

/* The same for the beginning of `text`. */
nib_status nib__plain_head(const nib__plain *plain, nib_text text, size_t budget, nib__ids *ids,
                           nib_error *err);

#endif
