/* SPDX-License-Identifier: MIT
 * Memory: default allocator, checked allocation, growing vectors, arena. */
#define _GNU_SOURCE
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

static void *default_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    bool huge = size >= 4 * (size_t)HUGE_PAGE;
    void *ptr = NULL;
    if (posix_memalign(&ptr, huge ? (size_t)HUGE_PAGE : align, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    /* Weights are streamed once per token: fewer TLB misses. Advice only, failure is harmless. */
    if (huge) (void)madvise(ptr, size, MADV_HUGEPAGE);
#endif
    return ptr;
}

static void default_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

nib_allocator nib__allocator(const nib_allocator *custom)
{
    if (custom != NULL) return *custom;
    return (nib_allocator){default_alloc, default_free, NULL};
}

void *nib__alloc_raw(const nib_allocator *mem, size_t count, size_t size)
{
    size_t bytes;
    if (!nib__mul(count, size, &bytes) || bytes == 0 || bytes > PTRDIFF_MAX - NIB_ALIGN)
        return NULL;
    return mem->alloc(mem->user, nib__align_up(bytes, NIB_ALIGN), NIB_ALIGN);
}

void *nib__alloc(const nib_allocator *mem, size_t count, size_t size)
{
    void *ptr = nib__alloc_raw(mem, count, size);
    if (ptr != NULL) memset(ptr, 0, count * size);
    return ptr;
}

void nib__free(const nib_allocator *mem, void *ptr)
{
    if (ptr != NULL) mem->free(mem->user, ptr);
}

void nib__mem_sparse(const nib_allocator *mem, void *ptr, size_t size)
{
#ifdef MADV_NOHUGEPAGE
    /* Only blocks that default_alloc aligned for huge pages: they start on a page, and the C
     * library gives them back to the system as a whole, advice and all. */
    if (mem->alloc != default_alloc || size < 4 * (size_t)HUGE_PAGE) return;
    (void)madvise(ptr, size & ~(size_t)(HUGE_PAGE - 1), MADV_NOHUGEPAGE);
#else
    (void)mem;
    (void)ptr;
    (void)size;
#endif
}

char *nib__strndup(const nib_allocator *mem, const char *text, size_t len)
{
    if (len == SIZE_MAX) return NULL;
    char *copy = nib__alloc_raw(mem, len + 1, 1);
    if (copy == NULL) return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

bool nib__grow(const nib_allocator *mem, void **items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return true;
    size_t next = *cap < 8 ? 8 : *cap;
    while (next < need) {
        if (!nib__mul(next, 2, &next)) return false;
    }
    void *grown = nib__alloc_raw(mem, next, size);
    if (grown == NULL) return false;
    if (*cap != 0) memcpy(grown, *items, *cap * size);
    nib__free(mem, *items);
    *items = grown;
    *cap = next;
    return true;
}

void *nib__arena_take(nib__arena *arena, size_t count, size_t size)
{
    size_t bytes, end;
    if (!nib__mul(count, size, &bytes) || bytes > PTRDIFF_MAX - NIB_ALIGN ||
        !nib__add(arena->used, nib__align_up(bytes, NIB_ALIGN), &end)) {
        arena->overflow = true;
        return NULL;
    }
    void *piece = arena->base != NULL ? arena->base + arena->used : NULL;
    arena->used = end;
    return piece;
}
