/* SPDX-License-Identifier: MIT
 * The .ref files of test/fixtures/tiny and hf: token ids and the logits that transformers computes. */
#ifndef TEST_SUPPORT_REFERENCE_H
#define TEST_SUPPORT_REFERENCE_H

#include <stdint.h>

typedef struct reference {
    uint32_t n_tokens, n_vocab, n_rows;
    uint32_t *ids;       /* [n_tokens] */
    uint32_t *positions; /* [n_rows]: logits are those after the token at that position */
    float *logits;       /* [n_rows][n_vocab] */
    uint32_t n_greedy;   /* 0: the file has none */
    uint32_t *greedy;    /* [n_greedy]: what follows the ids if the largest logit is always taken;
                            encoder-decoders: what follows the first token */
    uint32_t n_source, n_beam; /* encoder-decoders: what is encoded, and what beam search finds */
    uint32_t *source, *beam;
} reference;

/* name: as "fixtures/tiny/qwen2.ref", relative to test/. Ends the test program if it is not there.
 */
reference reference_read(const char *name);
void reference_free(reference *ref);

/* Largest difference of got[n_tokens][n_vocab], relative to the largest number of the reference, which
 * must have a row for every token. */
double reference_distance(const reference *ref, const float *got);

/* Index of the largest of n logits, the first on ties. */
uint32_t reference_largest(const float *logits, uint32_t n);

#endif
