/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a config.json, whose fields are asked for in every type. */
#include <stdlib.h>
#include <string.h>

#include "fault_alloc.h"
#include "gguf_walk.h"
#include "hf_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_once(const uint8_t *data, size_t size, size_t fail_at)
{
    static const uint8_t empty[] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    fault_alloc fa;
    fault_alloc_init(&fa);
    fa.fail_at = fail_at;
    nib__source *source = NULL;
    nib_error err = {0};
    nib_status status = hf_from_memory(&fa.mem, HF_SAFETENSORS, empty, sizeof empty,
                                       (const char *)data, size, &source, &err);
    if (status == NIB_OK)
        gguf_walk(source);
    else if (source != NULL || err.code != status || err.text[0] == '\0')
        abort();
    if (fa.failed != 0 && status != NIB_ERR_MEMORY) abort();
    nib__source_close(source);
    if (fa.live_blocks != 0) abort();
    fault_alloc_done(&fa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_once(data, size, 0);
    read_once(data, size, 1 + size % 24);
    return 0;
}
