/* SPDX-License-Identifier: MIT
 * Reads the .ref files of test/fixtures. */
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "fixture.h"

/* A count and its numbers; nothing at the end of the file. */
static uint32_t *read_list(const uint8_t **at, const uint8_t *end, uint32_t *n)
{
    *n = end - *at >= 4 ? nib__le32(*at) : 0;
    if (end - *at >= 4) *at += 4;
    if ((size_t)(end - *at) < 4 * (size_t)*n) *n = 0;
    uint32_t *list = malloc((*n + 1) * sizeof *list);
    for (uint32_t i = 0; i < *n; i++, *at += 4) list[i] = nib__le32(*at);
    return list;
}

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
    if (n_logits == 0 || size < plain) {
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
    ref.greedy = read_list(&at, file + size, &ref.n_greedy);
    ref.source = read_list(&at, file + size, &ref.n_source);
    ref.beam = read_list(&at, file + size, &ref.n_beam);
    if (at != file + size) {
        fprintf(stderr, "%s: %zu bytes too many\n", name, (size_t)(file + size - at));
        exit(1);
    }
    free(file);
    return ref;
}

void reference_free(reference *ref)
{
    free(ref->ids);
    free(ref->positions);
    free(ref->logits);
    free(ref->greedy);
    free(ref->source);
    free(ref->beam);
    *ref = (reference){0};
}

double reference_distance(const reference *ref, const float *got)
{
    double worst = 0, magnitude = 0;
    if (ref->n_rows != ref->n_tokens) return NAN;
    for (size_t i = 0; i < (size_t)ref->n_tokens * ref->n_vocab; i++) {
        double d = fabs((double)got[i] - (double)ref->logits[i]);
        if (!(d <= worst)) worst = d; /* NaN counts as worst */
        if (fabs((double)ref->logits[i]) > magnitude) magnitude = fabs((double)ref->logits[i]);
    }
    return worst / magnitude;
}

uint32_t reference_largest(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}
