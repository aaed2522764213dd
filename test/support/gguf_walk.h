/* SPDX-License-Identifier: MIT
 * Uses everything that an opened source offers: what the fuzz target and the mutation tests do with
 * a file that was not refused. */
#ifndef TEST_SUPPORT_GGUF_WALK_H
#define TEST_SUPPORT_GGUF_WALK_H

#include "file/source.h"

/* Reads every byte of every tensor, decodes the first and last block, looks every name up, and
 * tries every getter on every key that models and tokenizers read. Aborts if a promise of source.h
 * is broken. Returns a checksum, so that no read is optimized away. */
uint64_t gguf_walk(const nib__source *source);

#endif
