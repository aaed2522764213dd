/* SPDX-License-Identifier: MIT
 * An allocator for tests. Each block is preceded by its size and alignment. */
#define _GNU_SOURCE
#include "fault_alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct prefix {
    size_t size, offset; /* offset: from the start of the real block to the caller's */
} prefix;

static int refuse(const fault_alloc *fa, size_t size)
{
    return (fa->fail_at != 0 && fa->count == fa->fail_at) ||
           (fa->fail_after != 0 && fa->count > fa->fail_after) ||
           (fa->max_bytes != 0 && size > fa->max_bytes - fa->live_bytes);
}

static void *fault_get(void *user, size_t size, size_t align)
{
    fault_alloc *fa = user;
    uint8_t *ptr = NULL;
    pthread_mutex_lock(&fa->lock);
    fa->count++;
    if (size > fa->largest) fa->largest = size;
    size_t offset = align < sizeof(prefix) ? sizeof(prefix) : align;
    void *block = NULL;
    if (!refuse(fa, size) && size <= SIZE_MAX / 2 &&
        posix_memalign(&block, offset, size + offset) == 0) {
        ptr = (uint8_t *)block + offset;
        prefix p = {size, offset};
        memcpy(ptr - sizeof p, &p, sizeof p);
        memset(ptr, 0xA5, size); /* so that nobody relies on zeroed memory */
        fa->live_blocks++;
        fa->live_bytes += size;
        if (fa->live_bytes > fa->peak_bytes) fa->peak_bytes = fa->live_bytes;
    } else {
        fa->failed++;
    }
    pthread_mutex_unlock(&fa->lock);
    return ptr;
}

static void fault_put(void *user, void *ptr)
{
    fault_alloc *fa = user;
    if (ptr == NULL) return;
    prefix p;
    memcpy(&p, (uint8_t *)ptr - sizeof p, sizeof p);
    pthread_mutex_lock(&fa->lock);
    fa->live_blocks--;
    fa->live_bytes -= p.size;
    pthread_mutex_unlock(&fa->lock);
    memset(ptr, 0x5A, p.size);
    free((uint8_t *)ptr - p.offset);
}

void fault_alloc_init(fault_alloc *fa)
{
    memset(fa, 0, sizeof *fa);
    pthread_mutex_init(&fa->lock, NULL);
    fa->mem = (nib_allocator){fault_get, fault_put, fa};
}

void fault_alloc_done(fault_alloc *fa)
{
    pthread_mutex_destroy(&fa->lock);
}
