/* SPDX-License-Identifier: MIT
 * Repacked files: GGUF files whose matrices already lie in the panels of lib/kernels, so that they
 * are used where they are. docs/formats.md describes them; gguf_packed.c reads what is here,
 * model/repack.c writes it. */
#ifndef NIB_FILE_PACKED_H
#define NIB_FILE_PACKED_H

#include "file/gguf.h"

/* A packed tensor is declared as I8 of one dimension, so that other programs can list it; what it
 * holds is told by three arrays with an element per tensor, in file order. Tensors with type -1 are
 * what they are declared as. */
#define NIB__PACKED_LAYOUT "nibble.layout"             /* u32: NIB__LAYOUT_VERSION of the writer */
#define NIB__PACKED_DIRECTORY "nibble.hash.directory"  /* u64: XXH64 of all bytes before the data,
                                                          this value taken as 0 */
#define NIB__PACKED_DATA "nibble.hash.data"            /* u64: XXH64 of the data section */
#define NIB__PACKED_IDENTITY "nibble.identity"         /* u64: nib_model.identity of the original */
#define NIB__PACKED_SOURCE "nibble.source"             /* u64, in a cache: state of the original's files
                                                          (stamp.h) */
#define NIB__PACKED_TYPES "nibble.tensor.types"        /* i32[n_tensors] format, or -1 */
#define NIB__PACKED_ROWS "nibble.tensor.rows"          /* u32[n_tensors] */
#define NIB__PACKED_COLUMNS "nibble.tensor.columns"    /* u32[n_tensors] */

enum {
    NIB__PACKED_GGUF_TYPE = 24, /* I8 */
    NIB__PACKED_ALIGNMENT = 4096 /* a page, and whole cache lines */
};

/* After the keys: is this such a file, and of our version? */
nib_status nib__packed_begin(nib__gguf *gguf, nib_error *err);
/* After the tensors were placed: checks the directory and gives packed tensors their meaning. */
nib_status nib__packed_finish(nib__gguf *gguf, nib_error *err);

/* The hash of the directory as it should be; `at` is the offset of the value to be taken as 0. */
uint64_t nib__packed_directory_hash(const uint8_t *file, size_t size, size_t at);

/* FORMAT if the data section is not what was written. UNSUPPORTED if the file has no hash. */
nib_status nib__packed_verify(const nib__gguf *gguf, nib_error *err);

#endif
