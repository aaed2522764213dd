/* SPDX-License-Identifier: MIT
 * Bytes that grow at the end. */
#ifndef NIB_TOKEN_BUFFER_H
#define NIB_TOKEN_BUFFER_H

#include <string.h>

#include "base/mem.h"

typedef struct nib__buffer {
    const nib_allocator *mem;
    char *data; /* the owner frees it */
    size_t len, cap;
} nib__buffer;

/* false, and nothing changed, if memory is short. */
static inline bool nib__buffer_add(nib__buffer *b, const char *text, size_t len)
{
    size_t need;
    if (len == 0) return true;
    if (!nib__add(b->len, len, &need) || !nib__grow(b->mem, (void **)&b->data, &b->cap, need, 1))
        return false;
    memcpy(b->data + b->len, text, len);
    b->len = need;
    return true;
}

#endif
