/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a pytorch_model.bin, or, where they begin as a pickle does (0x80), the
 * pickle of one. Read, used, and read again with an allocation that fails. */
#include <stdlib.h>

#include "fault_alloc.h"
#include "gguf_walk.h"
#include "hf_memory.h"
#include "zip_writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_once(const uint8_t *data, size_t size, size_t fail_at)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    fa.fail_at = fail_at;
    nib__source *source = NULL;
    nib_error err = {0};
    nib_status status = hf_from_memory(&fa.mem, HF_TORCH, data, size, NULL, 0, &source, &err);
    if (status == NIB_OK) {
        gguf_walk(source);
        size_t n = nib__source_tensor_count(source);
        for (size_t i = 0; i < n; i++) {
            const nib__tensor *t = nib__source_tensor_at(source, i);
            bool inside = t->data >= data && t->size <= size && t->data <= data + size - t->size;
            if (t->copied ? t->size > size : !inside) abort();
        }
    } else if (source != NULL || err.code != status || err.text[0] == '\0') {
        abort();
    }
    if (fa.failed != 0 && status != NIB_ERR_MEMORY) abort();
    nib__source_close(source);
    /* A memo index of 5 bytes may make a memo of half as many values as the pickle has bytes. */
    if (fa.live_blocks != 0 || fa.peak_bytes > 100 * size + 8192) abort();
    fault_alloc_done(&fa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *file = NULL;
    if (size > 0 && data[0] == 0x80) data = file = zip_checkpoint(data, size, &size);
    read_once(data, size, 0);
    read_once(data, size, 1 + size % 26);
    free(file);
    return 0;
}
