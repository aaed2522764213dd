/* SPDX-License-Identifier: MIT
 * Decimal text to double, rounded to nearest even on every input. libc's strtod obeys the locale of
 * the host. */
#ifndef NIB_BASE_DECIMAL_H
#define NIB_BASE_DECIMAL_H

#include <stddef.h>

/* text[len] is a JSON number: -? digits (. digits)? ([eE] [+-]? digits)?, checked by the caller.
 * Too large gives an infinity, too small a zero, of its sign. */
double nib__decimal(const char *text, size_t len);

#endif
