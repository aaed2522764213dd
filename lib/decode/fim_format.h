/* SPDX-License-Identifier: MIT
 * How each family of models wants its fill-in-the-middle prompts: the order of the parts, and the
 * markers between them. */
#ifndef NIB_DECODE_FIM_FORMAT_H
#define NIB_DECODE_FIM_FORMAT_H

#include "token/token.h"

/* How other files and paths are written. */
enum {
    NIB__FILES_AS_TEXT,  /* "# path\ncontent\n" as part of the prefix */
    NIB__FILES_MARKED,   /* <file>path\ncontent\n, before the prefix marker; <repo>name\n first */
    NIB__FILES_UNSPACED, /* <repo>name<file>path\ncontent<file>, path of this file inside the prefix */
    NIB__FILES_ENDED     /* path\ncontent<file> before the prefix marker */
};

enum { NIB__FIM_NAMES = 3 };

/* `order`: b begin-of-text if the model wants it, h header with other files, p s m the markers,
 * e end-of-text, x the extra marker, i path of this file where it stands inside the prefix, P text
 * before the cursor (less the typed part of its line, if there is an L), S text after the cursor,
 * L the typed part of the cursor's line after its indentation, f F what the tokenizer puts before
 * and behind every text. Of an encoder-decoder `order` is the source, and `target` what the
 * decoder's text begins with. */
typedef struct nib__fim_format {
    uint32_t family;
    const char *arch; /* part of an encoder-decoder's architecture; NULL: a decoder alone */
    uint32_t files;
    const char *order, *target;
    const char *prefix[NIB__FIM_NAMES], *suffix[NIB__FIM_NAMES]; /* spellings, first match */
    const char *middle[NIB__FIM_NAMES];
    const char *extra;       /* x */
    const char *repo, *file; /* required for FILES_MARKED and later, except where optional_files */
    uint32_t optional_files; /* 1: the format is recognised without repo and file markers */
    const char *sentinels;   /* every token that begins so is a marker, and ends the middle */
    uint32_t echo;           /* 1: the decoder writes what follows the cursor, too */
} nib__fim_format;

/* The ids that the markers have in one vocabulary; -1: none. */
typedef struct nib__fim_ids {
    int32_t prefix, suffix, middle, extra, repo, file;
} nib__fim_ids;

/* NULL: the vocabulary has not all markers of such a family. */
const nib__fim_format *nib__fim_find(const nib__tokenizer *t, uint32_t family, nib__fim_ids *ids);

#endif
