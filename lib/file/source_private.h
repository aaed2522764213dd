/* SPDX-License-Identifier: MIT
 * What a source is made of, for the files of this stage. */
#ifndef NIB_FILE_SOURCE_PRIVATE_H
#define NIB_FILE_SOURCE_PRIVATE_H

#include "file/gguf.h"

struct nib__source {
    nib_allocator mem;
    nib__gguf *parts; /* [n_parts], in the order of split.no; the first holds the metadata */
    size_t n_parts, cap_parts;
    nib__tensor *tensors; /* [n_tensors], parts one after the other; owned here if n_parts > 1 */
    uint32_t *by_name;    /* [n_tensors] indices, by name */
    size_t n_tensors;
};

static inline const nib__gguf *nib__source_meta(const nib__source *s)
{
    return &s->parts[0];
}

#endif
