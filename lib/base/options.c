/* SPDX-License-Identifier: MIT
 * Structs with a struct_size. */
#include "base/options.h"

#include <string.h>

enum { LARGEST = 4096 };

bool nib__size_plausible(size_t size)
{
    return size >= 8 && size <= LARGEST && size % 8 == 0;
}

static uint32_t size_of(const void *options)
{
    uint32_t size;
    memcpy(&size, options, sizeof size);
    return size;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

nib_status nib__options_read(void *to, size_t size, const void *from, const char *what,
                             nib_error *err)
{
    size_t given = size_of(from);
    if (!nib__size_plausible(given)) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "%s: struct_size: expected %zu, got %zu", what,
                         size, given);
    }
    const unsigned char *bytes = from;
    for (size_t i = size; i < given; i++) {
        if (bytes[i] == 0) continue;
        return nib__fail(err, NIB_ERR_ARGUMENT,
                         "%s: uses an option at byte %zu that this version does not have", what, i);
    }
    memcpy(to, from, smaller(size, given));
    uint32_t own = (uint32_t)size;
    memcpy(to, &own, sizeof own);
    return NIB_OK;
}

nib_status nib__options_write(void *to, const void *from, size_t size, const char *what,
                              nib_error *err)
{
    uint32_t given = size_of(to);
    if (!nib__size_plausible(given)) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "%s: struct_size: expected %zu, got %u", what, size,
                         given);
    }
    nib__options_init(to, given, from, size);
    return NIB_OK;
}

void nib__options_init(void *to, size_t to_size, const void *from, size_t size)
{
    uint32_t given = nib__size_plausible(to_size) ? (uint32_t)to_size : 0;
    if (to == NULL || to_size < sizeof given) return;
    if (given != 0) {
        memset(to, 0, to_size);
        memcpy(to, from, smaller(size, to_size));
    }
    memcpy(to, &given, sizeof given);
}
