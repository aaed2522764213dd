/* SPDX-License-Identifier: MIT
 * Buffered writing to a temporary file that is renamed when it is whole. */
#define _GNU_SOURCE
#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { ATTEMPTS = 100 };

static const char ending[] = ".XXXXXX";

static nib_status cannot_write(const nib__outfile *file, uint64_t offset, int error, nib_error *err)
{
    const char *why = error == ENOSPC   ? "no space left"
                      : error == EDQUOT ? "disk quota exceeded"
                      : error == EFBIG  ? "the file would be too large"
                                        : "system error";
    return nib__fail_at(err, NIB_ERR_IO, offset, "%s: cannot write: %s (errno %d)", file->path, why,
                        error);
}

/* Puts six letters in the place of the X's; another try gives other letters. */
static void choose_name(char *temporary, size_t len, unsigned attempt)
{
    uint64_t bits = nib__now_ns() ^ (uint64_t)getpid() << 32 ^ (uint64_t)attempt << 20;
    for (size_t i = len + 1; temporary[i] != '\0'; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        temporary[i] = (char)('a' + (bits >> 33) % 26);
    }
}

nib_status nib__outfile_open(nib__outfile *file, const nib_allocator *mem, const char *path,
                             uint32_t mode, size_t cap, nib_error *err)
{
    size_t len = strlen(path);
    *file = (nib__outfile){.mem = *mem, .path = path, .cap = cap, .fd = -1};
    file->buffer = nib__alloc_raw(mem, cap, 1);
    char *temporary = nib__alloc_raw(mem, len + sizeof ending + 1, 1);
    if (file->buffer == NULL || temporary == NULL) {
        nib__free(mem, temporary);
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for writing", path);
    }
    memcpy(temporary, path, len);
    memcpy(temporary + len, ending, sizeof ending);
    for (unsigned attempt = 0; attempt < ATTEMPTS && file->fd < 0; attempt++) {
        choose_name(temporary, len, attempt);
        file->fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file->fd < 0 && errno != EEXIST && errno != EINTR) break;
    }
    if (file->fd < 0) {
        int error = errno;
        nib__free(mem, temporary);
        return nib__fail(err, NIB_ERR_IO, "%s: cannot create a file beside it (errno %d)", path,
                         error);
    }
    file->temporary = temporary;
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
    const char *slash = strrchr(file->path, '/');
    size_t len = slash == NULL ? 0 : slash == file->path ? 1 : (size_t)(slash - file->path);
    memcpy(file->temporary, len == 0 ? "." : file->path, len == 0 ? 1 : len);
    file->temporary[len == 0 ? 1 : len] = '\0';
    int fd = open(file->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    nib__free(&file->mem, file->temporary);
    file->temporary = NULL;
    if (fd < 0) return NIB_OK;
    int failed = sync_retry(fd) != 0 && errno == EIO;
    close(fd);
    return failed ? nib__fail(err, NIB_ERR_IO, "%s: cannot sync the directory", file->path)
                  : NIB_OK;
}

nib_status nib__outfile_commit(nib__outfile *file, nib_error *err)
{
    nib_status status = flush(file, err);
    if (status == NIB_OK && sync_retry(file->fd) != 0)
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot sync (errno %d)", file->path, errno);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0 && status == NIB_OK && errno != EINTR)
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot close (errno %d)", file->path, errno);
    if (status == NIB_OK && rename(file->temporary, file->path) != 0)
        status = nib__fail(err, NIB_ERR_IO, "%s: cannot rename (errno %d)", file->path, errno);
    return status == NIB_OK ? sync_directory(file, err) : status;
}

void nib__outfile_close(nib__outfile *file)
{
    if (file->fd >= 0) close(file->fd);
    if (file->temporary != NULL) (void)unlink(file->temporary);
    nib__free(&file->mem, file->temporary);
    nib__free(&file->mem, file->buffer);
    *file = (nib__outfile){.fd = -1};
}
