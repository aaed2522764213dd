/* SPDX-License-Identifier: MIT
 * A growing list of token ids. */
#include "base/mem.h"
#include "token/token.h"

nib__ids nib__ids_make(const nib_allocator *mem)
{
    return (nib__ids){nib__allocator(mem), NULL, 0, 0};
}

int32_t nib__ids_push(nib__ids *ids, int32_t id)
{
    if (ids->count == ids->cap &&
        !nib__grow(&ids->mem, (void **)&ids->items, &ids->cap, ids->count + 1, sizeof *ids->items))
        return 0;
    ids->items[ids->count++] = id;
    return 1;
}

void nib__ids_free(nib__ids *ids)
{
    nib__free(&ids->mem, ids->items);
    ids->items = NULL;
    ids->count = ids->cap = 0;
}
