/* SPDX-License-Identifier: MIT
 * Tokenizer files of a Hugging Face folder, by the first byte of the input.
 *   '{'  all of it is a tokenizer.json
 *   'T'  the rest holds the files of `modern`, parted by a byte 00
 *   else those of `old` */
#include <stdint.h>
#include <string.h>

#include "token_folder.h"
#include "token_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILE = 1 << 20, MAX_FILES = 7 };

static const char *const modern[] = {"tokenizer.json",
                                     "tokenizer_config.json",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "generation_config.json",
                                     "config.json",
                                     NULL};
static const char *const old[] = {"vocab.json",
                                  "merges.txt",
                                  "tokenizer_config.json",
                                  "special_tokens_map.json",
                                  "added_tokens.json",
                                  "generation_config.json",
                                  "config.json",
                                  NULL};

/* Cuts the input into files with these names; how many there are. */
static size_t split(const uint8_t *data, size_t size, const char *const *names,
                    token_file files[MAX_FILES])
{
    size_t n = 0;
    while (names[n] != NULL) {
        const uint8_t *stop = size != 0 ? memchr(data, 0, size) : NULL;
        size_t len = stop != NULL ? (size_t)(stop - data) : size;
        files[n] = (token_file){names[n], data, len};
        n++;
        if (stop == NULL) break;
        data += len + 1;
        size -= len + 1;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nib__tokenizer *t = NULL;
    token_file files[MAX_FILES] = {{"tokenizer.json", data, size}};
    if (size == 0 || size > MAX_FILE) return 0;
    size_t n = 1;
    if (data[0] != '{') n = split(data + 1, size - 1, data[0] == 'T' ? modern : old, files);
    if (tokenizer_from_memory(NULL, files, n, &t, NULL) != NIB_OK) return 0;
    token_use(t);
    nib__tokenizer_free(t);
    return 0;
}
