/* SPDX-License-Identifier: MIT
 * Tokenizers out of a folder with tokenizer.json and the like, and out of bytes with a name. */
#ifndef TEST_SUPPORT_TOKEN_FOLDER_H
#define TEST_SUPPORT_TOKEN_FOLDER_H

#include "token/token.h"

typedef struct token_file {
    const char *name;
    const void *data;
    size_t size;
} token_file;

/* Files in memory. */
nib_status tokenizer_from_memory(const nib_allocator *mem, const token_file *files, size_t n,
                                 nib__tokenizer **t, nib_error *err);
/* Files of a folder. */
nib_status tokenizer_from_folder(const nib_allocator *mem, const char *path, nib__tokenizer **t,
                                 nib_error *err);

#endif
