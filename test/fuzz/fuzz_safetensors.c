/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a safetensors file, read, used and read again with an allocation that
 * fails. Tensors that share a byte, or memory out of proportion to the file, are broken too. */
#include <stdlib.h>

#include "fault_alloc.h"
#include "gguf_walk.h"
#include "hf_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_apart(const nib__source *s)
{
    size_t n = nib__source_tensor_count(s);
    for (size_t i = 0; i < n && n < 200; i++) {
        const nib__tensor *a = nib__source_tensor_at(s, i);
        for (size_t j = 0; j < i; j++) {
            const nib__tensor *b = nib__source_tensor_at(s, j);
            if (a->data < b->data + b->size && b->data < a->data + a->size) abort();
        }
    }
}

static void read_once(const uint8_t *data, size_t size, size_t fail_at)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    fa.fail_at = fail_at;
    nib__source *source = NULL;
    nib_error err = {0};
    nib_status status = hf_from_memory(&fa.mem, HF_SAFETENSORS, data, size, NULL, 0, &source, &err);
    if (status == NIB_OK) {
        gguf_walk(source);
        check_apart(source);
    } else if (source != NULL || err.code != status || err.text[0] == '\0') {
        abort();
    }
    if (fa.failed != 0 && status != NIB_ERR_MEMORY) abort();
    nib__source_close(source);
    /* 9 bytes of text for a value of 12 bytes that grows by doubling */
    if (fa.live_blocks != 0 || fa.peak_bytes > 20 * size + 4096) abort();
    fault_alloc_done(&fa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_once(data, size, 0);
    read_once(data, size, 1 + size % 18);
    return 0;
}
