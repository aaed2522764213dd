/* SPDX-License-Identifier: MIT
 * GGUF files of tests, opened from memory. */
#ifndef NIB_TEST_SUPPORT_GGUF_OPEN_H
#define NIB_TEST_SUPPORT_GGUF_OPEN_H

#include <stddef.h>
#include <stdint.h>

#include "nibble.h"

/* Opens bytes that were moved to a block of exactly their size, so that a read past the end is
 * caught where a sanitizer or valgrind watches; walks what was opened and closes it. The test fails
 * where memory was leaked, or taken beyond a few times the size. */
nib_status gguf_open_exactly(const uint8_t *file, size_t size, nib_error *err);

#endif
