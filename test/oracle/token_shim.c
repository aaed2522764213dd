/* SPDX-License-Identifier: MIT
 * The tokenizer of a folder for Python's ctypes, without a model: compare_hf_tokenizer.py builds it
 * into a shared object together with libnibble.a. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/regex.h"
#include "token_folder.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void *shim_open(const char *path, char *message, size_t cap)
{
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    if (tokenizer_from_folder(NULL, path, &t, &err) != NIB_OK)
        snprintf(message, cap, "%s", err.text);
    return t;
}

EXPORT void shim_close(void *t)
{
    nib__tokenizer_free(t);
}

EXPORT const char *shim_name(const void *t)
{
    return nib__tokenizer_name(t);
}

EXPORT int shim_special(const void *t, unsigned which)
{
    return nib__tokenizer_special(t, which);
}

EXPORT int shim_is_end(const void *t, int id)
{
    return nib__tokenizer_is_end(t, id);
}

/* Number of ids, or -1; up to cap of them in `out`. */
EXPORT long shim_encode(const void *t, const char *text, size_t len, unsigned flags, int *out,
                        size_t cap)
{
    nib__ids ids = nib__ids_make(NULL);
    nib_error err = {0};
    long n = -1;
    if (nib__tokenize(t, text, len, flags, &ids, &err) == NIB_OK) {
        n = (long)ids.count;
        if (ids.count != 0)
            memcpy(out, ids.items, (ids.count < cap ? ids.count : cap) * sizeof *out);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    nib__ids_free(&ids);
    return n;
}

EXPORT long shim_decode(const void *t, const int *ids, size_t n, unsigned flags, char *out,
                        size_t cap)
{
    size_t len = 0;
    nib_error err = {0};
    if (nib__detokenize(t, ids, n, flags, out, cap, &len, &err) != NIB_OK) return -1;
    return (long)len;
}

/* The same, id by id. */
EXPORT long shim_stream(const void *t, const int *ids, size_t n, char *out, size_t cap)
{
    nib_detok state = {0};
    nib_error err = {0};
    size_t total = 0;
    for (size_t i = 0; i <= n; i++) {
        size_t len = 0;
        if (nib__detok_push(t, &state, i < n ? ids[i] : -1, out + total, cap - total, &len, &err) !=
            NIB_OK)
            return -1;
        total += len;
    }
    return (long)total;
}

/* Matches of a regular expression as pairs of begin and end, up to cap numbers of them; how many
 * numbers, -1: refused, with a message, -2: given up. */
EXPORT long shim_matches(const char *pattern, size_t n, const char *text, size_t len, long *out,
                         size_t cap, char *message, size_t message_cap)
{
    const nib_allocator mem = nib__allocator(NULL);
    nib__regex *regex;
    nib_error err = {0};
    if (nib__regex_make(&mem, "regex", (nib__str){pattern, n}, &regex, &err) != NIB_OK) {
        snprintf(message, message_cap, "%s", err.text);
        return -1;
    }
    nib__regex_walk walk = nib__regex_start(regex, text, len);
    size_t count = 0, begin, stop;
    for (; nib__regex_next(&walk, &begin, &stop); count += 2)
        if (count + 2 <= cap) {
            out[count] = (long)begin;
            out[count + 1] = (long)stop;
        }
    nib__regex_free(&mem, regex);
    return walk.work == 0 ? -2 : (long)count;
}
