/* SPDX-License-Identifier: MIT
 * Writing a file so that under its own name there is always a whole one: the bytes go to a temporary
 * file beside it, are synced, and only then renamed. */
#ifndef NIB_BASE_OUTFILE_H
#define NIB_BASE_OUTFILE_H

#include "base/mem.h"

typedef struct nib__outfile {
    nib_allocator mem;
    const char *path;  /* of the caller, who keeps it; for messages and the last rename */
    char *temporary;   /* memory for its name */
    bool named;        /* it has that name, which is to be removed */
    uint8_t *buffer;   /* [cap] */
    size_t cap;
    int fd;
    size_t n;          /* bytes in the buffer */
    uint64_t offset;   /* bytes of the file before them */
} nib__outfile;

/* Creates the temporary file with access rights `mode`, less the umask, and without a name where the
 * file system can; and a buffer of `cap` bytes: the file is written in pieces of that size, at
 * multiples of it. Whatever comes back, nib__outfile_close may be called. */
nib_status nib__outfile_open(nib__outfile *file, const nib_allocator *mem, const char *path,
                             uint32_t mode, size_t cap, nib_error *err);

/* Appends. */
nib_status nib__outfile_put(nib__outfile *file, const void *data, size_t size, nib_error *err);

/* Overwrites bytes that were already appended. */
nib_status nib__outfile_patch(nib__outfile *file, uint64_t offset, const void *data, size_t size,
                              nib_error *err);

/* Bytes appended so far. */
static inline uint64_t nib__outfile_size(const nib__outfile *file)
{
    return file->offset + file->n;
}

/* Syncs and renames. Until this succeeds nothing is seen under `path`. */
nib_status nib__outfile_commit(nib__outfile *file, nib_error *err);

/* Frees memory and removes what was not committed. */
void nib__outfile_close(nib__outfile *file);

#endif
