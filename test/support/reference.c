/* SPDX-License-Identifier: MIT
 * Reads the .ref files of test/fixtures. */
#include "reference.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "fixture.h"

reference reference_read(const char *name)
{
    size_t size;
    uint8_t *file = fixture_read(name, &size);
    reference ref = {0};
    if (size >= 12) {
        ref.n_tokens = nib__le32(file);
        ref.n_vocab = nib__le32(file + 4);
        ref.n_rows = nib__le32(file + 8);
    }
    size_t n_logits = (size_t)ref.n_rows * ref.n_vocab;
    size_t plain = 12 + 4 * (ref.n_tokens + ref.n_rows + n_logits);
    if (size > plain + 4) ref.n_greedy = nib__le32(file + plain);
    size_t all = ref.n_greedy == 0 ? plain : plain + 4 + 4 * (size_t)ref.n_greedy;
    if (n_logits == 0 || size != all) {
        fprintf(stderr, "%s is not a reference\n", name);
        exit(1);
    }
    ref.ids = malloc(ref.n_tokens * sizeof *ref.ids);
    ref.positions = malloc(ref.n_rows * sizeof *ref.positions);
    ref.logits = malloc(n_logits * sizeof *ref.logits);
    const uint8_t *at = file + 12;
    for (uint32_t i = 0; i < ref.n_tokens; i++, at += 4) ref.ids[i] = nib__le32(at);
    for (uint32_t i = 0; i < ref.n_rows; i++, at += 4) ref.positions[i] = nib__le32(at);
    for (size_t i = 0; i < n_logits; i++, at += 4) ref.logits[i] = nib__lef32(at);
    ref.greedy = malloc((ref.n_greedy + 1) * sizeof *ref.greedy);
    at += 4;
    for (uint32_t i = 0; i < ref.n_greedy; i++, at += 4) ref.greedy[i] = nib__le32(at);
    free(file);
    return ref;
}

void reference_free(reference *ref)
{
    free(ref->ids);
    free(ref->positions);
    free(ref->logits);
    free(ref->greedy);
    *ref = (reference){0};
}
