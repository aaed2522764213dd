/* SPDX-License-Identifier: MIT
 * Read-only file mapping. */
#define _GNU_SOURCE
#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

static int64_t mtime_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* O_NONBLOCK: a named pipe must be refused, not waited for. */
static int open_to_read(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* `fd`: what open_to_read gave. */
static nib_status map_descriptor(int fd, const char *path, nib__map *map, nib_error *err)
{
    struct stat st;
    nib_status status;
    if (fd < 0) {
        return nib__fail(err, NIB_ERR_IO, "%s: cannot open: %s (errno %d)", path,
                         nib__errno_str(errno), errno);
    }
    if (fstat(fd, &st) != 0) {
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot stat: errno %d", path, errno);
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        status = nib__fail(err, NIB_ERR_IO, "%s: expected a regular file, got %s", path,
                           S_ISDIR(st.st_mode) ? "a directory" : "something else");
        goto fail;
    }
    if (st.st_size <= 0) {
        status = nib__fail(err, NIB_ERR_FORMAT, "%s: the file is empty", path);
        goto fail;
    }
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot map %lld bytes: %s (errno %d)", path,
                           (long long)st.st_size, nib__errno_str(errno), errno);
        goto fail;
    }
    *map = (nib__map){data, (size_t)st.st_size, fd, mtime_of(&st), (uint64_t)st.st_ino};
    return NIB_OK;
fail:
    close(fd);
    return status;
}

nib_status nib__map_open(const char *path, nib__map *map, nib_error *err)
{
    return map_descriptor(open_to_read(path), path, map, err);
}

int32_t nib__map_open_if(const char *path, nib__map *map, nib_error *err)
{
    int fd = open_to_read(path);
    if (fd < 0 && errno == ENOENT) return NIB__NO_FILE;
    return map_descriptor(fd, path, map, err);
}

bool nib__map_is_directory(const char *path)
{
    struct stat st;
    int fd = open_to_read(path);
    if (fd < 0) return false;
    bool is = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    close(fd);
    return is;
}

nib__map nib__map_memory(const void *data, size_t size)
{
    return (nib__map){data, size, -1, 0, 0};
}

nib_status nib__map_check(const nib__map *map, nib_error *err)
{
    struct stat st;
    if (map->fd < 0) return NIB_OK;
    if (fstat(map->fd, &st) != 0 || (uint64_t)st.st_size != map->size ||
        mtime_of(&st) != map->mtime_ns) {
        return nib__fail(err, NIB_ERR_IO,
                         "the model file was changed while it was open "
                         "(expected %zu bytes, modification time unchanged)",
                         map->size);
    }
    return NIB_OK;
}

/* For all blocks of `step` bytes (a power of two, whole pages) that the range touches. */
static void advise(const nib__map *map, size_t offset, size_t size, size_t step, int advice)
{
    if (map->fd < 0 || map->data == NULL) return;
    size_t first = offset & ~(step - 1), last = nib__align_up(offset + size, step);
    if (last > map->size) last = map->size; /* the system rounds up to a page */
    if (last > first) (void)madvise((void *)(uintptr_t)(map->data + first), last - first, advice);
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void nib__map_drop(const nib__map *map, size_t offset, size_t size)
{
    /* The mapping is private and never written, so dropped pages are read again from the file. */
    advise(map, offset, size, HUGE_PAGE, MADV_DONTNEED);
}

void nib__map_need(const nib__map *map, size_t offset, size_t size)
{
#ifdef MADV_POPULATE_READ
    advise(map, offset, size, page_size(), MADV_POPULATE_READ);
#else
    (void)map, (void)offset, (void)size;
#endif
}

void nib__map_rest(const nib__map *map)
{
    nib__map_drop(map, 0, map->size);
#ifdef MADV_NOHUGEPAGE
    advise(map, 0, map->size, page_size(), MADV_NOHUGEPAGE);
#endif
}

void nib__map_stream(const nib__map *map)
{
#ifdef MADV_HUGEPAGE
    advise(map, 0, map->size, page_size(), MADV_HUGEPAGE);
#else
    (void)map;
#endif
}

void nib__map_close(nib__map *map)
{
    if (map->fd >= 0) {
        munmap((void *)(uintptr_t)map->data, map->size);
        close(map->fd);
    }
    *map = (nib__map){NULL, 0, -1, 0, 0};
}
