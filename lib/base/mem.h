/* SPDX-License-Identifier: MIT
 * Memory: the caller's allocator behind overflow-checked sizes, growing vectors, and an arena. */
#ifndef NIB_BASE_MEM_H
#define NIB_BASE_MEM_H

#include <stdbool.h>

#include "base/status.h"

enum { NIB_ALIGN = 64 }; /* one cache line and one AVX-512 register */

/* The default allocator when `custom` is NULL. Large blocks are aligned for huge pages. */
nib_allocator nib__allocator(const nib_allocator *custom);

/* count * size bytes, zeroed, 64-byte aligned; NULL on overflow, failure or a size of 0. */
void *nib__alloc(const nib_allocator *mem, size_t count, size_t size);
/* The same without zeroing. */
void *nib__alloc_raw(const nib_allocator *mem, size_t count, size_t size);
void nib__free(const nib_allocator *mem, void *ptr);

/* This block is going to be filled little by little: no huge pages, which would make all of it
 * resident at once. Advice only; nothing is done to memory of a caller's allocator. */
void nib__mem_sparse(const nib_allocator *mem, void *ptr, size_t size);

/* NUL-terminated copy of text[len]. */
char *nib__strndup(const nib_allocator *mem, const char *text, size_t len);

/* Grows *items (elements of `size` bytes, *cap of them) so that at least `need` fit, by doubling.
 * false, and nothing changed, if memory is short. */
bool nib__grow(const nib_allocator *mem, void **items, size_t *cap, size_t need, size_t size);

static inline bool nib__mul(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline bool nib__add(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

/* Next multiple of `step` (a power of two); the caller has checked that it fits. */
static inline size_t nib__align_up(size_t value, size_t step)
{
    return (value + step - 1) & ~(step - 1);
}

/* A block carved into aligned pieces: measure with base == NULL, allocate `used`, carve again. */
typedef struct nib__arena {
    uint8_t *base;
    size_t used;
    bool overflow; /* a size did not fit; stays set */
} nib__arena;

void *nib__arena_take(nib__arena *arena, size_t count, size_t size);

#endif
