/* SPDX-License-Identifier: MIT
 * Prompt healing: a prompt that ends inside a word ends in tokens that training never put there,
 * and models continue it badly. So the last word is left out of the prompt, and the completion is
 * made to begin with it, in whatever tokens the model likes best; the caller sees only what
 * follows. */
#ifndef NIB_DECODE_HEAL_H
#define NIB_DECODE_HEAL_H

#include "token/token.h"

enum { NIB__HEAL_MAX = 64 };

/* How many bytes of the end of `line` should be left out: the unfinished word with one character
 * before it, or the punctuation or blanks it ends with; 0 if that is longer than NIB__HEAL_MAX. */
size_t nib__heal_length(nib_text line);

typedef struct nib__heal {
    char text[NIB__HEAL_MAX]; /* what the completion must begin with */
    uint32_t len;
    uint32_t drawn;       /* bytes of it covered by tokens */
    uint32_t skipped;     /* bytes of it taken off the text for the caller */
    nib_logit_bias *bias; /* [n_vocab + n_user] for the draw in progress; NULL: len is 0 */
} nib__heal;

nib_status nib__heal_init(nib__heal *heal, const nib_allocator *mem, nib_text text,
                          uint32_t n_vocab, size_t n_user, nib_error *err);
void nib__heal_free(nib__heal *heal, const nib_allocator *mem);

/* Fills heal->bias with the caller's entries and a ban of every token that neither begins with the
 * rest of the text nor is the beginning of it; gives their number. If that leaves no token, the
 * rest of the text is given up, and the number is n_user. */
size_t nib__heal_bias(nib__heal *heal, const nib__tokenizer *t, uint32_t n_vocab,
                      const nib_logit_bias *user, size_t n_user);

static inline int32_t nib__heal_pending(const nib__heal *heal)
{
    return heal->drawn < heal->len;
}

/* A token was drawn while pending. */
void nib__heal_take(nib__heal *heal, nib__str token);

/* How many of `len` new bytes of text the caller must not see. */
size_t nib__heal_skip(const nib__heal *heal, size_t len);

#endif
