/* SPDX-License-Identifier: MIT
 * Buffered writing to a temporary file that is renamed when it is whole. Where the file system can,
 * it has no name until then, so that nothing is left of it when the process is killed. */
#define _GNU_SOURCE
#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"

enum { ATTEMPTS = 100 };

static const char ending[] = ".XXXXXX", own_files[] = "/proc/self/fd";

static nib_status cannot_write(const nib__outfile *file, uint64_t offset, int error, nib_error *err)
{
    return nib__fail_at(err, NIB_ERR_IO, offset, "%s: cannot write: %s (errno %d)", file->path,
                        nib__errno_str(error), error);
}

/* A name beside the last one, of six letters; another attempt gives other letters. */
static void choose_name(nib__outfile *file, unsigned attempt)
{
    uint64_t bits = nib__now_ns() ^ (uint64_t)getpid() << 32 ^ (uint64_t)attempt << 20;
    size_t len = strlen(file->path);
    memcpy(file->temporary, file->path, len);
    memcpy(file->temporary + len, ending, sizeof ending);
    for (size_t i = len + 1; file->temporary[i] != '\0'; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        file->temporary[i] = (char)('a' + (bits >> 33) % 26);
    }
}

/* The folder of `path`, which `to` has room for. */
static void folder_of(const char *path, char *to)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(to, len == 0 ? "." : path, len == 0 ? 1 : len);
    to[len == 0 ? 1 : len] = '\0';
}

static void open_unnamed(nib__outfile *file, uint32_t mode)
{
#ifdef O_TMPFILE
    if (!nib__map_is_directory(own_files)) return; /* then it could not get a name */
    folder_of(file->path, file->temporary);
    file->fd = open(file->temporary, O_RDWR | O_TMPFILE | O_CLOEXEC, mode);
#else
    (void)file, (void)mode;
#endif
}

/* One attempt after another until a name is free. */
static void open_named(nib__outfile *file, uint32_t mode)
{
    for (unsigned attempt = 0; attempt < ATTEMPTS && file->fd < 0; attempt++) {
        choose_name(file, attempt);
        file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file->fd < 0 && errno != EEXIST && errno != EINTR) break;
    }
    file->named = file->fd >= 0;
}

nib_status nib__outfile_open(nib__outfile *file, const nib_allocator *mem, const char *path,
                             uint32_t mode, size_t cap, nib_error *err)
{
    size_t len = strlen(path);
    *file = (nib__outfile){.mem = *mem, .path = path, .cap = cap, .fd = -1};
    file->buffer = nib__alloc_raw(mem, cap, 1);
    file->temporary = nib__alloc_raw(mem, len + sizeof ending + 1, 1);
    if (file->buffer == NULL || file->temporary == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for writing", path);
    open_unnamed(file, mode);
    if (file->fd < 0) open_named(file, mode);
    if (file->fd < 0)
        return nib__fail(err, NIB_ERR_IO, "%s: cannot create a file beside it: %s (errno %d)", path,
                         nib__errno_str(errno), errno);
    return NIB_OK;
}

/* `at` < 0: at the end of what was written. */
static nib_status write_all(nib__outfile *file, const uint8_t *data, size_t size, int64_t at,
                            nib_error *err)
{
    uint64_t start = at < 0 ? file->offset : (uint64_t)at;
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(file->fd, data + done, size - done, (off_t)(start + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return cannot_write(file, start + done, n == 0 ? ENOSPC : errno, err);
        done += (size_t)n;
    }
    if (at < 0) file->offset += size;
    return NIB_OK;
}

static nib_status flush(nib__outfile *file, nib_error *err)
{
    nib_status status = write_all(file, file->buffer, file->n, -1, err);
    if (status == NIB_OK) file->n = 0;
    return status;
}

nib_status nib__outfile_put(nib__outfile *file, const void *data, size_t size, nib_error *err)
{
    const uint8_t *p = data;
    while (size != 0) {
        size_t n = file->cap - file->n < size ? file->cap - file->n : size;
        memcpy(file->buffer + file->n, p, n);
        file->n += n;
        p += n;
        size -= n;
        if (file->n < file->cap) continue;
        nib_status status = flush(file, err);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

nib_status nib__outfile_patch(nib__outfile *file, uint64_t offset, const void *data, size_t size,
                              nib_error *err)
{
    nib_status status = flush(file, err);
    return status == NIB_OK ? write_all(file, data, size, (int64_t)offset, err) : status;
}

static int sync_retry(int fd)
{
    int result;
    do result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result;
}

/* Makes the new name durable. Some file systems cannot sync a directory, which is no failure. The
 * memory of the temporary name, which is no longer needed, holds the directory's. */
static nib_status sync_directory(nib__outfile *file, nib_error *err)
{
    folder_of(file->path, file->temporary);
    int fd = open(file->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    nib__free(&file->mem, file->temporary);
    file->temporary = NULL;
    if (fd < 0) return NIB_OK;
    int failed = sync_retry(fd) != 0 && errno == EIO;
    close(fd);
    return failed ? nib__fail(err, NIB_ERR_IO, "%s: cannot sync the directory", file->path)
                  : NIB_OK;
}

/* Gives the file the temporary name that the one which is renamed must have. */
static nib_status give_name(nib__outfile *file, nib_error *err)
{
    char descriptor[sizeof own_files + 16];
    nib__text(descriptor, sizeof descriptor, "%s/%d", own_files, file->fd);
    int result = -1;
    for (unsigned attempt = 0; attempt < ATTEMPTS && result != 0; attempt++) {
        choose_name(file, attempt);
        result = linkat(AT_FDCWD, descriptor, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW);
        if (result != 0 && errno != EEXIST) break;
    }
    if (result != 0)
        return nib__fail(err, NIB_ERR_IO, "%s: cannot name a file beside it: %s (errno %d)",
                         file->path, nib__errno_str(errno), errno);
    file->named = true;
    return NIB_OK;
}

nib_status nib__outfile_commit(nib__outfile *file, nib_error *err)
{
    nib_status status = flush(file, err);
    if (status == NIB_OK && sync_retry(file->fd) != 0)
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot sync: %s (errno %d)", file->path,
                           nib__errno_str(errno), errno);
    if (status == NIB_OK && !file->named) status = give_name(file, err);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0 && status == NIB_OK && errno != EINTR)
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot close: %s (errno %d)", file->path,
                           nib__errno_str(errno), errno);
    if (status == NIB_OK && rename(file->temporary, file->path) != 0)
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot rename: %s (errno %d)", file->path,
                           nib__errno_str(errno), errno);
    if (status != NIB_OK) return status;
    file->named = false;
    return sync_directory(file, err);
}

void nib__outfile_close(nib__outfile *file)
{
    if (file->fd >= 0) close(file->fd);
    if (file->named) (void)unlink(file->temporary);
    nib__free(&file->mem, file->temporary);
    nib__free(&file->mem, file->buffer);
    *file = (nib__outfile){.fd = -1};
}
