/* SPDX-License-Identifier: MIT
 * Tokenizer files of a Hugging Face folder, by the first byte of the input.
 *   '{'  all of it is a tokenizer.json
 *   else the rest holds vocab.json, merges.txt and tokenizer_config.json, parted by a byte 00 */
#include <stdint.h>
#include <string.h>

#include "token_folder.h"
#include "token_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILE = 1 << 20 };

static size_t split(const uint8_t *data, size_t size, token_file files[3])
{
    static const char *const NAMES[3] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    size_t n = 0;
    while (n < 3) {
        const uint8_t *stop = size != 0 ? memchr(data, 0, size) : NULL;
        size_t len = stop != NULL ? (size_t)(stop - data) : size;
        files[n] = (token_file){NAMES[n], data, len};
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
    token_file files[3] = {{"tokenizer.json", data, size}};
    if (size == 0 || size > MAX_FILE) return 0;
    size_t n = data[0] == '{' ? 1 : split(data + 1, size - 1, files);
    if (tokenizer_from_memory(NULL, files, n, &t, NULL) != NIB_OK) return 0;
    token_use(t);
    nib__tokenizer_free(t);
    return 0;
}
