/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a repacked model. The checksum of its directory is made to fit first,
 * as a hostile file's would, so that what lies behind it is reached. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "file/packed.h"
#include "model_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 32 << 20 };

/* Parses with the checksum as it is; where the directory ends is known even if that fails. */
static void forge(uint8_t *data, size_t size)
{
    nib__gguf gguf = {.mem = nib__allocator(NULL), .map = nib__map_memory(data, size)};
    gguf.path = nib__strndup(&gguf.mem, "", 0);
    if (gguf.path == NULL) return;
    (void)nib__gguf_parse(&gguf, NULL);
    if (gguf.packed && gguf.data_start != 0 && gguf.keys_sorted != NULL) {
        const nib__gguf_key *key = nib__gguf_find(&gguf, NIB__PACKED_DIRECTORY);
        size_t end = gguf.data_start < size ? gguf.data_start : size;
        if (key != NULL && key->type == NIB__META_U64) {
            size_t at = (size_t)(key->value - data);
            nib__put_le64(data + at, nib__packed_directory_hash(data, end, at));
        }
    }
    nib__gguf_free(&gguf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL) return 0;
    memcpy(copy, data, size);
    forge(copy, size);
    (void)model_use(copy, size, MAX_BYTES, 0);
    (void)model_use(copy, size, MAX_BYTES, 1 + size % 64);
    free(copy);
    return 0;
}
