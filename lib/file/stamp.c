/* SPDX-License-Identifier: MIT
 * The state of the files that a source was read from. */
#define _GNU_SOURCE
#include "file/stamp.h"

#include <limits.h>
#include <stdlib.h> /* realpath */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "file/packed.h"
#include "file/source_private.h"

static bool add_file(nib__hash *hash, const nib__gguf *file)
{
    struct stat st;
    if (file->map.fd < 0 || fstat(file->map.fd, &st) != 0) return false;
    const uint64_t facts[] = {
        (uint64_t)st.st_dev,          (uint64_t)st.st_ino,          (uint64_t)st.st_size,
        (uint64_t)st.st_mtim.tv_sec,  (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_ctim.tv_sec,
        (uint64_t)st.st_ctim.tv_nsec,
    };
    size_t header = file->data_start < file->map.size ? file->data_start : file->map.size;
    nib__hash_add(hash, facts, sizeof facts);
    nib__hash_add(hash, file->map.data, header);
    return true;
}

bool nib__stamp_read(const nib__source *source, nib__stamp *stamp)
{
    char path[PATH_MAX];
    nib__hash hash;
    if (source->n_parts == 0 || nib__source_repacked(source)) return false;
    nib__hash_init(&hash, 0);
    for (size_t p = 0; p < source->n_parts; p++) {
        if (!add_file(&hash, &source->parts[p])) return false;
    }
    if (realpath(source->parts[0].path, path) == NULL) return false;
    stamp->place = nib__hash64(path, strlen(path));
    stamp->state = nib__hash_value(&hash);
    if (stamp->state == 0) stamp->state = 1;
    return true;
}

bool nib__stamp_fits(const nib__source *repacked, uint64_t state)
{
    struct stat st;
    if (!nib__source_repacked(repacked) || repacked->n_parts != 1) return false;
    const nib__gguf *file = &repacked->parts[0];
    const nib__gguf_key *key = nib__gguf_find(file, NIB__PACKED_SOURCE);
    if (key == NULL || key->type != NIB__META_U64 || nib__le64(key->value) != state) return false;
    if (file->map.fd < 0 || fstat(file->map.fd, &st) != 0) return false;
    return st.st_uid == geteuid() || st.st_uid == 0;
}
