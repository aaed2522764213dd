/* SPDX-License-Identifier: MIT
 * The directory of a GGUF file under construction, in memory: first all keys, then all tensors. */
#ifndef NIB_FILE_GGUF_WRITE_H
#define NIB_FILE_GGUF_WRITE_H

#include "file/source.h"

typedef struct nib__gguf_out {
    nib_allocator mem;
    uint8_t *data;              /* [len] */
    size_t len, cap;
    uint64_t n_keys, n_tensors;
    bool no_memory;             /* something is missing; nib__gguf_out_end reports it */
} nib__gguf_out;

void nib__gguf_out_begin(nib__gguf_out *out, const nib_allocator *mem);
void nib__gguf_out_free(nib__gguf_out *out);

void nib__gguf_out_u32(nib__gguf_out *out, const char *key, uint32_t value);
/* Returns the offset of the value, so that it can be changed later. */
size_t nib__gguf_out_u64(nib__gguf_out *out, const char *key, uint64_t value);
/* An array of i32 or u32. */
void nib__gguf_out_words(nib__gguf_out *out, const char *key, nib__meta_type type,
                         const uint32_t *words, size_t count);
/* All keys of a GGUF file as they are, but those that describe its layout: general.alignment,
 * split.* and nibble.*. */
void nib__gguf_out_copy_keys(nib__gguf_out *out, const nib__source *source);

/* `offset` counts from the start of the data section. */
void nib__gguf_out_tensor(nib__gguf_out *out, const char *name, uint32_t type, uint32_t n_dims,
                          const uint64_t *ne, uint64_t offset);

/* Pads to `alignment` and writes the counts: out->data is whole. MEMORY if anything did not fit. */
nib_status nib__gguf_out_end(nib__gguf_out *out, size_t alignment, nib_error *err);

#endif
