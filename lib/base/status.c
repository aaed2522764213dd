/* SPDX-License-Identifier: MIT
 * Status names and the small formatter behind every error message. */
#include "base/status.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

const char *nib_status_str(nib_status status)
{
    switch (status) {
    case NIB_OK: return "ok";
    case NIB_ERR_ARGUMENT: return "invalid argument";
    case NIB_ERR_MEMORY: return "out of memory";
    case NIB_ERR_CANCELLED: return "cancelled";
    case NIB_ERR_LIMIT: return "limit exceeded";
    case NIB_ERR_STATE: return "not possible in this state";
    case NIB_ERR_THREAD: return "no thread could be started";
    case NIB_ERR_IO: return "input/output";
    case NIB_ERR_FORMAT: return "malformed file";
    case NIB_ERR_UNSUPPORTED: return "unsupported";
    case NIB_ERR_MISMATCH: return "belongs to another model";
    default: return "unknown status";
    }
}

const char *nib__errno_str(int error)
{
    switch (error) {
    case ENOENT: return "no such file";
    case ENOTDIR: return "not a directory";
    case EISDIR: return "is a directory";
    case EACCES:
    case EPERM: return "permission denied";
    case EROFS: return "read-only file system";
    case EMFILE:
    case ENFILE: return "too many open files";
    case ENOMEM: return "out of memory";
    case ENOSPC: return "no space left";
    case EDQUOT: return "disk quota exceeded";
    case EFBIG: return "the file would be too large";
    default: return "system error";
    }
}

typedef struct text_out {
    char *at;
    size_t left; /* room, the terminator apart */
} text_out;

static void put(text_out *out, const char *text, size_t len)
{
    size_t n = len < out->left ? len : out->left;
    memcpy(out->at, text, n);
    out->at += n;
    out->left -= n;
}

static void put_number(text_out *out, uint64_t value, unsigned base, bool negative)
{
    char digits[24];
    size_t n = sizeof digits;
    do {
        digits[--n] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    if (negative) digits[--n] = '-';
    put(out, digits + n, sizeof digits - n);
}

static void put_signed(text_out *out, int64_t value)
{
    put_number(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0);
}

size_t nib__text_v(char *buffer, size_t cap, const char *format, va_list args)
{
    if (cap == 0) return 0;
    text_out out = {buffer, cap - 1};
    for (const char *f = format; *f != '\0'; f++) {
        if (*f != '%') {
            put(&out, f, 1);
            continue;
        }
        f++;
        int precision = -1;
        if (f[0] == '.' && f[1] == '*') {
            precision = va_arg(args, int);
            f += 2;
        }
        int longs = 0;
        for (; *f == 'l' || *f == 'z'; f++) longs += *f == 'z' ? 2 : 1;
        switch (*f) {
        case 's': {
            const char *text = va_arg(args, const char *);
            if (text == NULL) text = "(null)";
            size_t len = precision >= 0 ? (size_t)precision : strlen(text);
            put(&out, text, len);
            break;
        }
        case 'c': {
            char c = (char)va_arg(args, int);
            put(&out, &c, 1);
            break;
        }
        case 'd':
            put_signed(&out, longs >= 2   ? va_arg(args, long long)
                             : longs == 1 ? va_arg(args, long)
                                          : va_arg(args, int));
            break;
        case 'u':
        case 'x':
            put_number(&out,
                       longs >= 2   ? va_arg(args, unsigned long long)
                       : longs == 1 ? va_arg(args, unsigned long)
                                    : va_arg(args, unsigned),
                       *f == 'x' ? 16 : 10, false);
            break;
        default: put(&out, "%", 1); break;
        }
    }
    *out.at = '\0';
    return (size_t)(out.at - buffer);
}

size_t nib__text(char *buffer, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t len = nib__text_v(buffer, cap, format, args);
    va_end(args);
    return len;
}

const char *nib__path_tail(const char *path)
{
    enum { MAX_PATH = 80 };
    size_t len = strlen(path);
    if (len <= MAX_PATH) return path;
    path += len - MAX_PATH;
    while ((*path & 0xc0) == 0x80) path++; /* not into the middle of a UTF-8 character */
    return path;
}

/* Length of the well-formed UTF-8 code point at p[0..left), or 0 (Unicode 15, table 3-7). */
static size_t code_point(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n == 0 || n > left || lead > 0xf4) return 0;
    if ((lead == 0xe0 && p[1] < 0xa0) || (lead == 0xed && p[1] > 0x9f)) return 0;
    if ((lead == 0xf0 && p[1] < 0x90) || (lead == 0xf4 && p[1] > 0x8f)) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    return n;
}

/* Messages quote names and paths that may hold any byte: what is not a printable character of UTF-8
 * becomes '?', so that the message is one line that a terminal or an editor can show. */
static void make_printable(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t *p = (uint8_t *)text + i;
        size_t n = code_point(p, len - i);
        if (n == 0 || *p < 0x20 || *p == 0x7f) *p = '?';
        i += n == 0 ? 1 : n;
    }
}

/* path: NULL if the message names no file. */
static nib_status vfail(nib_error *err, nib_status code, uint64_t offset, const char *path,
                        const char *format, va_list args)
{
    size_t len = 0;
    if (err == NULL) return code;
    err->code = code;
    err->reserved = 0;
    err->offset = offset;
    if (path != NULL) {
        const char *tail = nib__path_tail(path);
        len = nib__text(err->text, sizeof err->text, "%s%s: ", tail == path ? "" : "...", tail);
    }
    len += nib__text_v(err->text + len, sizeof err->text - len, format, args);
    make_printable(err->text, len);
    return code;
}

nib_status nib__fail(nib_error *err, nib_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(err, code, NIB_NO_OFFSET, NULL, format, args);
    va_end(args);
    return code;
}

nib_status nib__fail_at(nib_error *err, nib_status code, uint64_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(err, code, offset, NULL, format, args);
    va_end(args);
    return code;
}

nib_status nib__fail_file(nib_error *err, nib_status code, uint64_t offset, const char *path,
                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(err, code, offset, path, format, args);
    va_end(args);
    return code;
}

nib_status nib__fail_file_v(nib_error *err, nib_status code, uint64_t offset, const char *path,
                            const char *format, va_list args)
{
    return vfail(err, code, offset, path, format, args);
}
