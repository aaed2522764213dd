/* SPDX-License-Identifier: MIT
 * Errors inside the library: a status code travels up, its message is written once, where the cause
 * is known, into the caller's nib_error. printf is not used: the library references no stdio. */
#ifndef NIB_BASE_STATUS_H
#define NIB_BASE_STATUS_H

#include <stdarg.h>

#include "nibble.h"

#define NIB_NO_OFFSET UINT64_MAX

/* Formats into err (may be NULL) and returns `code`, so that callers can `return nib__fail(...)`.
 * Understands %s %.*s %c %d %u %ld %lu %lld %llu %zu %x %llx %%; longer text is cut.
 * The precision of %.*s is the exact number of bytes: the string may hold NUL. What is not printable
 * UTF-8 (names from hostile files) is shown as '?'. */
nib_status nib__fail(nib_error *err, nib_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the byte offset in a file at which the problem was found. */
nib_status nib__fail_at(nib_error *err, nib_status code, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "PATH: MESSAGE", of a path that is cut, for directories must not fill the message. offset as in
 * nib__fail_at, or NIB_NO_OFFSET. */
nib_status nib__fail_file(nib_error *err, nib_status code, uint64_t offset, const char *path,
                          const char *format, ...) __attribute__((format(printf, 5, 6)));
nib_status nib__fail_file_v(nib_error *err, nib_status code, uint64_t offset, const char *path,
                            const char *format, va_list args);

/* The end of a path, as messages show it. */
const char *nib__path_tail(const char *path);

/* What errno says of a file. */
const char *nib__errno_str(int error);

/* Formats into buffer[cap]; always terminates; returns the length written. */
size_t nib__text(char *buffer, size_t cap, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t nib__text_v(char *buffer, size_t cap, const char *format, va_list args);

#endif
