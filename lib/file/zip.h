/* SPDX-License-Identifier: MIT
 * The entries of a zip archive in memory, stored ones only. Names are looked up, never used as
 * paths. */
#ifndef NIB_FILE_ZIP_H
#define NIB_FILE_ZIP_H

#include "file/hf.h"

enum { NIB__ZIP_MAX_ENTRIES = 1 << 20 };

typedef struct nib__zip_entry {
    const char *name; /* in the archive, not NUL terminated */
    size_t name_len;
    size_t start;        /* where its local header begins in the file */
    const uint8_t *data; /* [size], inside the file, shared with no other entry */
    size_t size;
} nib__zip_entry;

typedef struct nib__zip {
    const nib__shard *shard;
    nib_allocator mem;
    nib__zip_entry *entries; /* [n], in the order of the directory */
    uint32_t *by_name;       /* [n] */
    size_t n;
} nib__zip;

/* Reads the directory of a mapped file. On failure, too, nib__zip_free releases what was allocated.
 * CRCs are not checked: it would read every byte of the weights, and PyTorch can be told to leave
 * them out. */
nib_status nib__zip_open(const nib_allocator *mem, const nib__shard *shard, nib__zip *zip,
                         nib_error *err);
void nib__zip_free(nib__zip *zip);

/* The entry PREFIX NAME (one after the other), or NULL. */
const nib__zip_entry *nib__zip_find(const nib__zip *zip, const char *prefix, size_t prefix_len,
                                    const char *name, size_t name_len);

#endif
