/* SPDX-License-Identifier: MIT
 * When a completion ends. Bytes go in as they are decoded; what can no longer become part of a stop
 * comes out. The result does not depend on how the bytes were split into pieces.
 *
 *   stop strings   the text ends before the one whose last byte comes first (then the longest)
 *   single line    ends before the first newline that follows a non-blank character
 *   indentation    ends before the newline above a non-blank line indented by less than n (spaces
 *                  and tabs count 1 each; the line of the cursor does not count)
 *   suffix         ends before a whole line equal to the first non-blank line of the suffix, and
 *                  before a copy of the suffix's beginning up to its 8th non-blank byte
 *   echo           text that the model writes behind the middle: ends before its beginning up to the
 *                  16th non-blank byte; of a shorter one before all of it, where an end token follows
 *   time           ends before the first newline that comes after past_deadline was set */
#ifndef NIB_DECODE_STOP_H
#define NIB_DECODE_STOP_H

#include "base/mem.h"

/* One string to look for, with the table of Knuth, Morris and Pratt. */
typedef struct nib__stop_pattern {
    const char *text;        /* [len] */
    size_t len;
    size_t *borders;         /* [len] longest proper border of text[0 .. i] */
    size_t matched;          /* length of the longest prefix that ends at the last byte seen */
    uint32_t reason;         /* NIB_STOP_STRING or NIB_STOP_SUFFIX */
    uint32_t line;           /* 1: a whole line "\n...\n", which the end of the text completes too */
    uint32_t last;           /* 1: only at the end of the text, if an end token follows */
} nib__stop_pattern;

typedef struct nib__stop {
    nib_allocator mem;
    nib__stop_pattern *patterns; /* [n_patterns]; texts and tables follow in the same block */
    uint32_t n_patterns;
    uint32_t single_line, stop_indent;
    uint32_t past_deadline;  /* set by the caller, between two pushes */
    uint32_t reason;         /* NIB_STOP_*, once it stopped */
    char *buffer;            /* [cap]; bytes held back start at `released` */
    size_t len, cap, released;
    size_t indent_from;      /* newline above a line whose indentation is being read, or SIZE_MAX */
    uint32_t indent;
    uint32_t seen_text;      /* a non-blank character has been produced */
} nib__stop;

/* Copies what it needs of the options and of the texts. ARGUMENT if a stop string is empty. */
nib_status nib__stop_init(nib__stop *stop, const nib_allocator *mem,
                          const nib_complete_options *options, nib_text suffix, nib_text echo,
                          nib_error *err);

/* Adds bytes; then *text and *text_len name what may be shown now (valid until the next call). With
 * `final`, a NIB_STOP_* why these are the last, everything held back is released. After reason is
 * set, nothing more comes out. On failure (MEMORY) nothing has changed. */
nib_status nib__stop_push(nib__stop *stop, const char *bytes, size_t len, uint32_t final,
                          const char **text, size_t *text_len, nib_error *err);
void nib__stop_free(nib__stop *stop);

#endif
