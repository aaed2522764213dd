/* SPDX-License-Identifier: MIT
 * Buffers between two unreadable pages. */
#define _GNU_SOURCE
#include "guard.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t body_bytes(size_t size)
{
    size_t page = page_size();
    return (size + page - 1) / page * page;
}

static size_t rounded(size_t size)
{
    return size == 0 ? 64 : (size + 63) / 64 * 64;
}

void *guard_alloc(size_t size)
{
    size_t page = page_size(), body = body_bytes(rounded(size));
    uint8_t *base = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* an empty buffer has no page to open; the emulator refuses a length of 0 */
    if (base == MAP_FAILED ||
        (body != 0 && mprotect(base + page, body, PROT_READ | PROT_WRITE) != 0)) {
        perror("guard_alloc");
        exit(1);
    }
    return base + page + body - rounded(size);
}

void guard_free(void *ptr, size_t size)
{
    if (ptr == NULL) return;
    size_t page = page_size(), body = body_bytes(rounded(size));
    uint8_t *end = (uint8_t *)ptr + rounded(size);
    munmap(end - body - page, body + 2 * page);
}
