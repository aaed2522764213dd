/* SPDX-License-Identifier: MIT
 * Structs that start with struct_size and grow at their end: exchanged with callers that were
 * compiled with an older or newer header. */
#ifndef NIB_BASE_OPTIONS_H
#define NIB_BASE_OPTIONS_H

#include <stdbool.h>

#include "base/status.h"

/* A size that a caller can mean: at most a page, and no field of 8 bytes cut in two. */
bool nib__size_plausible(size_t size);

/* Replaces the beginning of *to (`size` bytes, filled with defaults) by what the caller set, reading
 * no more than from->struct_size bytes. What a newer caller set beyond `size` must be zero, that is
 * unused (the rule of Linux's openat2); else ARGUMENT. */
nib_status nib__options_read(void *to, size_t size, const void *from, const char *what,
                             nib_error *err);

/* Writes *from (`size` bytes) over the caller's struct, no further than its struct_size, which stays
 * as it is; what the caller has beyond `size` becomes zero. */
nib_status nib__options_write(void *to, const void *from, size_t size, const char *what,
                              nib_error *err);

/* The same for a struct whose struct_size is not set yet: writes `to_size` bytes and sets it. An
 * implausible size sets struct_size to 0 (if there is room), which every later call refuses. */
void nib__options_init(void *to, size_t to_size, const void *from, size_t size);

#endif
