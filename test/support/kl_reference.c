/* SPDX-License-Identifier: MIT
 * Reference distributions: file layout and Kullback-Leibler divergence. */
#include "support/kl_reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { FIXED_BITS = 16, LOGPROB_UNITS = 2048, HEADER = 24 };

static uint8_t *read_all(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    uint8_t *data = NULL;
    if (fseek(file, 0, SEEK_END) == 0 && ftell(file) > 0) {
        *size = (size_t)ftell(file);
        rewind(file);
        data = malloc(*size);
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    fclose(file);
    return data;
}

static size_t full_row_bytes(const nib_kl_reference *ref)
{
    return 8 + 3 * (size_t)ref->n_vocab;
}

bool nib_kl_open(nib_kl_reference *ref, const char *path)
{
    size_t size = 0;
    memset(ref, 0, sizeof *ref);
    ref->file = read_all(path, &size);
    if (ref->file == NULL || size < HEADER || memcmp(ref->file, "NIBREF1", 8) != 0) {
        fprintf(stderr, "%s: missing or not a reference file\n", path);
        nib_kl_close(ref);
        return false;
    }
    const uint8_t *p = ref->file + 8;
    ref->n_vocab = nib__le32(p), ref->n_texts = nib__le32(p + 4);
    ref->n_top = nib__le32(p + 8), ref->n_full = nib__le32(p + 12);
    ref->position_bytes = (size_t)ref->n_top * (ref->n_vocab > 65536 ? 5 : 4);
    size_t at = HEADER, n_positions = 0;
    bool good = ref->n_texts <= NIB_KL_MAX_TEXTS;
    for (uint32_t t = 0; good && t < ref->n_texts; t++) {
        good = at + 4 <= size;
        if (!good) break;
        ref->texts[t].n_tokens = nib__le32(ref->file + at);
        ref->texts[t].ids = (const int32_t *)(const void *)(ref->file + at + 4);
        at += 4 + 4 * (size_t)ref->texts[t].n_tokens;
        n_positions += ref->texts[t].n_tokens;
        good = at <= size;
    }
    for (uint32_t t = 0; good && t < ref->n_texts; t++) {
        ref->texts[t].positions = ref->file + at;
        at += ref->texts[t].n_tokens * ref->position_bytes;
    }
    ref->full = ref->file + at;
    if (!good || at + ref->n_full * full_row_bytes(ref) != size) {
        fprintf(stderr, "%s: expected %zu positions in another number of bytes than %zu\n", path,
                n_positions, size);
        nib_kl_close(ref);
        return false;
    }
    return true;
}

void nib_kl_close(nib_kl_reference *ref)
{
    free(ref->file);
    memset(ref, 0, sizeof *ref);
}

/* Most likely ids of one position and their probabilities, which with *rest sum to one. */
static void read_position(const nib_kl_reference *ref, const uint8_t *position, uint32_t *ids,
                          double *p, double *rest)
{
    const uint8_t *low = position, *high = low + 2 * (size_t)ref->n_top;
    bool wide = ref->n_vocab > 65536;
    const uint8_t *value = wide ? high + ref->n_top : high;
    double sum = 0;
    for (uint32_t i = 0; i < ref->n_top; i++) {
        ids[i] = nib__le16(low + 2 * i) | (wide ? (uint32_t)high[i] << 16 : 0);
        p[i] = exp(-(double)nib__le16(value + 2 * i) / LOGPROB_UNITS);
        sum += p[i];
    }
    *rest = 1 - sum;
    if (*rest < 1e-7) { /* below the rounding of the file: all mass is in the list */
        *rest = 0;
        for (uint32_t i = 0; i < ref->n_top; i++) p[i] /= sum;
    }
}

double nib_kl_distance(const nib_kl_reference *ref, uint32_t text, uint32_t position,
                       const float *logits, bool *same_top)
{
    enum { MOST = 1024 };
    uint32_t ids[MOST];
    double p[MOST], rest, top_mass = 0, kl = 0, total = 0;
    if (ref->n_top > MOST) return NAN;
    read_position(ref, ref->texts[text].positions + position * ref->position_bytes, ids, p, &rest);

    uint32_t best = 0;
    for (uint32_t i = 1; i < ref->n_vocab; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    *same_top = best == ids[0];
    for (uint32_t i = 0; i < ref->n_vocab; i++) total += exp((double)logits[i] - logits[best]);
    double log_total = log(total) + logits[best];
    for (uint32_t i = 0; i < ref->n_top; i++) {
        double log_q = logits[ids[i]] - log_total;
        kl += p[i] * (log(p[i]) - log_q);
        top_mass += exp(log_q);
    }
    if (rest > 0) kl += rest * (log(rest) - log(fmax(1 - top_mass, 1e-12)));
    return kl;
}

double nib_kl_full_row(const nib_kl_reference *ref, uint32_t i, uint32_t *text, uint32_t *position,
                       const float *logits)
{
    const uint8_t *row = ref->full + i * full_row_bytes(ref);
    *text = nib__le32(row);
    *position = nib__le32(row + 4);
    double worst = 0;
    for (uint32_t v = 0; logits != NULL && v < ref->n_vocab; v++) {
        const uint8_t *b = row + 8 + 3 * (size_t)v;
        /* 24-bit two's complement, moved to the top of 32 bits and shifted back */
        int32_t fixed =
            (int32_t)((uint32_t)b[0] << 8 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 24);
        double reference = (double)fixed / (1 << 8) / (1 << FIXED_BITS);
        worst = fmax(worst, fabs(reference - (double)logits[v]));
        if (isnan(logits[v])) return INFINITY;
    }
    return worst;
}
