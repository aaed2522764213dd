/* SPDX-License-Identifier: MIT
 * JSON (RFC 8259) from untrusted text, as one flat array of values. No recursion: nesting is bounded
 * and kept in memory. Python's NaN, Infinity and -Infinity are numbers too, because its json module
 * writes them into configurations. */
#ifndef NIB_BASE_JSON_H
#define NIB_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

enum {
    NIB__JSON_MAX_DEPTH = 64,
    NIB__JSON_NONE = -1 /* no such value */
};

typedef enum nib__json_type {
    NIB__JSON_NULL,
    NIB__JSON_FALSE,
    NIB__JSON_TRUE,
    NIB__JSON_NUMBER,
    NIB__JSON_STRING,
    NIB__JSON_ARRAY,
    NIB__JSON_OBJECT
} nib__json_type;

typedef struct nib__json nib__json;

/* Parses text[size]; everything needed is copied. `what` (a path) starts every message, which names
 * the line and column. FORMAT: a rule is broken, a key is there twice in one object, bad UTF-8, an
 * unpaired surrogate escape, or anything but white space behind the value. LIMIT: nested too deeply.
 */
nib_status nib__json_parse(const nib_allocator *mem, const char *what, const char *text,
                           size_t size, nib__json **json, nib_error *err);
void nib__json_free(nib__json *json); /* NULL is a no-op */

/* Values are indices; 0 is the whole document. Every getter takes NIB__JSON_NONE and values of
 * another type, and answers with "none". */
typedef int32_t nib__json_value;

nib__json_type nib__json_type_of(const nib__json *j, nib__json_value v); /* NONE: NIB__JSON_NULL */
uint32_t nib__json_count(const nib__json *j, nib__json_value v); /* members, or elements */
/* Member of an object by key: linear in its members. */
nib__json_value nib__json_get(const nib__json *j, nib__json_value object, const char *key);
/* Elements of an array, or members of an object, in the order of the text; NONE at the end. */
nib__json_value nib__json_first(const nib__json *j, nib__json_value v);
nib__json_value nib__json_next(const nib__json *j, nib__json_value v);
/* Key of a member; string value. Decoded UTF-8 (may hold NUL), valid as long as the document;
 * {NULL, 0} for what is none. Also NUL terminated behind its length. */
const char *nib__json_key(const nib__json *j, nib__json_value member, size_t *len);
const char *nib__json_string(const nib__json *j, nib__json_value v, size_t *len);
bool nib__json_equals(const nib__json *j, nib__json_value v, const char *text); /* string value */
/* false, and *value untouched, if it is not a number; or, for _integer, not written as an integer
 * (1e3 and 2.0 are not) or beyond int64. _number rounds correctly; 1e999 is an infinity. */
bool nib__json_number(const nib__json *j, nib__json_value v, double *value);
bool nib__json_integer(const nib__json *j, nib__json_value v, int64_t *value);

#endif
