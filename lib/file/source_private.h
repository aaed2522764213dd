/* SPDX-License-Identifier: MIT
 * What a source is made of, for the files of this stage. It is either GGUF (parts) or a Hugging Face
 * directory (hf). */
#ifndef NIB_FILE_SOURCE_PRIVATE_H
#define NIB_FILE_SOURCE_PRIVATE_H

#include "file/gguf.h"
#include "file/hf.h"

struct nib__source {
    nib_allocator mem;
    nib__gguf *parts; /* [n_parts], in the order of split.no; the first holds the metadata */
    size_t n_parts, cap_parts;
    nib__hf *hf;          /* NULL: GGUF */
    nib__tensor *tensors; /* [n_tensors], files one after the other; a single GGUF's own, else owned
                             here */
    uint32_t *by_name;    /* [n_tensors] indices, by name */
    size_t n_tensors, cap_tensors;
};

static inline const nib__gguf *nib__source_meta(const nib__source *s)
{
    return &s->parts[0];
}

/* Fill parts or hf, and tensors. On failure, too, nib__source_close releases what was allocated. The
 * first takes over the mapping. */
nib_status nib__gguf_open(nib__source *source, const nib__map *map, const char *path,
                          nib_error *err);
nib_status nib__hf_open(nib__source *source, const char *path, nib_error *err);

/* Makes by_name and refuses names that appear twice; does nothing the second time. */
nib_status nib__source_index(nib__source *source, nib_error *err);

/* Room for `count` more tensors behind source->tensors[n_tensors]; the caller counts them. */
nib_status nib__source_reserve(nib__source *source, size_t count, nib_error *err);

#endif
