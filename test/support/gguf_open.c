/* SPDX-License-Identifier: MIT
 * GGUF files of tests, opened from memory. */
#include "gguf_open.h"

#include "test.h"

#include "fault_alloc.h"
#include "file/source.h"
#include "gguf_walk.h"

nib_status gguf_open_exactly(const uint8_t *file, size_t size, nib_error *err)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    uint8_t *exact = malloc(size);
    memcpy(exact, file, size);
    nib__source *s = NULL;
    nib_status status = nib__source_open_memory(&fa.mem, exact, size, &s, err);
    if (status == NIB_OK)
        gguf_walk(s);
    else
        assert_null(s);
    nib__source_close(s);
    assert_int_equal(fa.live_blocks, 0);
    /* Keys take 28 bytes for 14 of the file, tensors 92 for 37; each block may round up to 64. */
    assert_true(fa.peak_bytes <= 3 * size + 1024);
    free(exact);
    fault_alloc_done(&fa);
    return status;
}
