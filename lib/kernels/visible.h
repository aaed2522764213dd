/* SPDX-License-Identifier: MIT
 * Which keys a row of attention sees, and what their distance adds to their scores (Raffel et al.
 * 2020, section 2.1); the same for every instruction set. */
#ifndef NIB_KERNELS_VISIBLE_H
#define NIB_KERNELS_VISIBLE_H

#include <string.h>

#include "kernels/kernels.h"

/* The row at `pos` sees keys [first, end). */
static inline uint32_t nib__first_key(const nib__attention *a, uint32_t pos)
{
    return a->window != 0 && pos >= a->window ? pos - a->window + 1 : 0;
}

static inline uint32_t nib__end_key(const nib__attention *a, uint32_t pos)
{
    return a->n_keys != 0 ? a->n_keys : pos + 1;
}

/* `value` cut to [0, most]. */
static inline uint32_t nib__cut(int64_t value, uint32_t most)
{
    return value < 0 ? 0 : value > most ? most : (uint32_t)value;
}

/* Biases of keys key0 .. key0 + n - 1 for head h of the group and the row at pos: far before it all
 * the same, then as the table has them, far behind it all the same. */
static inline void nib__key_biases(const nib__attention *a, uint32_t h, uint32_t pos, uint32_t key0,
                                   uint32_t n, float *out)
{
    int64_t reach = a->bias_reach, distance = (int64_t)key0 - pos; /* of the first key */
    const float *table = a->bias + (size_t)h * (2 * a->bias_reach + 1) + a->bias_reach;
    uint32_t near = nib__cut(-reach - distance, n), far = nib__cut(reach + 1 - distance, n);
    for (uint32_t i = 0; i < near; i++) out[i] = table[-reach];
    if (near < far) memcpy(out + near, table + (distance + near), (far - near) * sizeof *out);
    for (uint32_t i = far; i < n; i++) out[i] = table[reach];
}

#endif
