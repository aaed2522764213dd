/* SPDX-License-Identifier: MIT
 * Reader of test/accuracy/<model>.ref (made by test/oracle/make_reference.py, which describes the
 * layout) and the distance between its distributions and logits of ours. */
#ifndef NIB_TEST_SUPPORT_KL_REFERENCE_H
#define NIB_TEST_SUPPORT_KL_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NIB_KL_MAX_TEXTS = 16 };

typedef struct nib_kl_text {
    uint32_t n_tokens;
    const int32_t *ids;       /* [n_tokens] */
    const uint8_t *positions; /* [n_tokens][position_bytes] */
} nib_kl_text;

typedef struct nib_kl_reference {
    uint8_t *file;
    uint32_t n_vocab, n_texts, n_top, n_full;
    size_t position_bytes;
    nib_kl_text texts[NIB_KL_MAX_TEXTS];
    const uint8_t *full; /* [n_full] x { u32 text, u32 position, i24 logits[n_vocab] } */
} nib_kl_reference;

/* false, with a message on stderr, if the file is missing or damaged. */
bool nib_kl_open(nib_kl_reference *ref, const char *path);
void nib_kl_close(nib_kl_reference *ref);

/* KL(reference || softmax(logits)) after token `position`, in nats, over the n_top most likely ids
 * and one bucket for the rest; *same_top: whether both have the same most likely id. */
double nib_kl_distance(const nib_kl_reference *ref, uint32_t text, uint32_t position,
                       const float *logits, bool *same_top);

/* Row i of the complete rows: where it is, and the largest |reference - logits| over the vocabulary
 * (logits may be NULL to ask only where). */
double nib_kl_full_row(const nib_kl_reference *ref, uint32_t i, uint32_t *text, uint32_t *position,
                       const float *logits);

#endif
