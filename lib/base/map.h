/* SPDX-License-Identifier: MIT
 * Read-only file mapping that notices when the file changed underneath. */
#ifndef NIB_BASE_MAP_H
#define NIB_BASE_MAP_H

#include "base/mem.h"

typedef struct nib__map {
    const uint8_t *data;
    size_t size;
    int fd;               /* -1 for memory of the caller */
    int64_t mtime_ns;
    uint64_t inode;
} nib__map;

/* Maps a regular file privately, read only. The descriptor stays open for nib__map_check. */
nib_status nib__map_open(const char *path, nib__map *map, nib_error *err);

/* The same, or NIB__NO_FILE and no message if there is no file of that name. */
enum { NIB__NO_FILE = 1 };
int32_t nib__map_open_if(const char *path, nib__map *map, nib_error *err);

bool nib__map_is_directory(const char *path);

/* Memory of the caller dressed as a mapping. */
nib__map nib__map_memory(const void *data, size_t size);

/* NIB_ERR_IO if the file's size or modification time is no longer what was mapped: reading on could
 * raise SIGBUS in the host. Costs one fstat. */
nib_status nib__map_check(const nib__map *map, nib_error *err);

/* Tells the system that [offset, offset+size) will not be read again soon, so that it does not
 * count as resident memory. Its neighbours go with it, for the system maps whole blocks of pages when
 * one of their bytes is read; what is read again comes back from the file. Advice only. */
void nib__map_drop(const nib__map *map, size_t offset, size_t size);

/* [offset, offset+size) is about to be read from one end to the other: its pages are entered into the
 * page tables at once, which takes less time than a fault for every few of them. Advice only. */
void nib__map_need(const nib__map *map, size_t offset, size_t size);

/* From now on only a few bytes here and there are read: nothing stays resident, and no huge page
 * becomes so for the sake of one of its bytes. Advice only. */
void nib__map_rest(const nib__map *map);

/* The mapping is going to be streamed through again and again: use huge pages where the file system
 * can. Advice only. */
void nib__map_stream(const nib__map *map);

void nib__map_close(nib__map *map);

#endif
