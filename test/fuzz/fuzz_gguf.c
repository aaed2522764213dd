/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a GGUF file. It is opened, everything in it is used if it is not
 * refused, and it is opened again with an allocation that fails. Broken are a crash, a leak, a
 * promise of source.h not kept, and memory out of proportion to the file. */
#include <stdlib.h>

#include "fault_alloc.h"
#include "file/source.h"
#include "gguf_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_once(const uint8_t *data, size_t size, size_t fail_at)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    fa.fail_at = fail_at;
    nib__source *source = NULL;
    nib_error err = {0};
    nib_status status = nib__source_open_memory(&fa.mem, data, size, &source, &err);
    if (status == NIB_OK)
        gguf_walk(source);
    else if (source != NULL || err.code != status || err.text[0] == '\0')
        abort();
    if (fa.failed != 0 && status != NIB_ERR_MEMORY) abort();
    nib__source_close(source);
    if (fa.live_blocks != 0 || fa.peak_bytes > 3 * size + 1024) abort();
    fault_alloc_done(&fa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_once(data, size, 0);
    open_once(data, size, 1 + size % 8);
    return 0;
}
