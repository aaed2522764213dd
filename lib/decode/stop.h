/* SPDX-License-Identifier: MIT
 * When a completion ends. Bytes go in as they are decoded; what can no longer become part of a stop
 * comes out. Works at any split of the bytes into pieces. */
#ifndef NIB_DECODE_STOP_H
#define NIB_DECODE_STOP_H

#include "base/mem.h"

typedef struct nib__stop {
    const nib_allocator *mem;
    const nib_complete_options *options;
    nib_text suffix;         /* text after the cursor, for stop_suffix */
    char *buffer;            /* bytes held back and not yet released start at `released` */
    size_t len, cap, released;
    uint32_t reason;         /* NIB_STOP_*, once it stopped */
    /* line state, of bytes already examined */
    size_t examined, line_start;
    uint32_t seen_text;      /* a non-blank character has been produced */
    uint32_t past_deadline;
} nib__stop;

/* Adds bytes; then *text and *text_len name what may be shown now (valid until the next call). With
 * `final` everything held back is released. After reason is set, nothing more comes out. */
nib_status nib__stop_push(nib__stop *stop, const char *bytes, size_t len, int32_t final,
                          const char **text, size_t *text_len, nib_error *err);
void nib__stop_free(nib__stop *stop);

#endif
