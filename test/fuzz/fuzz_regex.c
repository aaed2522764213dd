/* SPDX-License-Identifier: MIT
 * Fuzz target: a regular expression, a byte 00, and the text it is run over. Matches come in order
 * and lie within the text; the same again gives the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "token/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sum of places, so that two runs can be compared. */
static size_t walk(const nib__regex *r, const char *text, size_t len)
{
    nib__regex_walk w = nib__regex_start(r, text, len);
    size_t sum = 0, last = 0, begin, stop;
    while (nib__regex_next(&w, &begin, &stop)) {
        if (begin < last || stop < begin || stop > len) abort();
        sum = sum * 31 + begin * 7 + stop;
        last = stop;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const nib_allocator mem = nib__allocator(NULL);
    const uint8_t *zero = size != 0 ? memchr(data, 0, size) : NULL;
    size_t n = zero != NULL ? (size_t)(zero - data) : size;
    nib__regex *r = NULL;
    nib_error err = {0};
    if (size == 0) return 0;
    if (nib__regex_make(&mem, "fuzz", (nib__str){(const char *)data, n}, &r, &err) != NIB_OK) {
        if (err.text[0] == '\0') abort();
        return 0;
    }
    const char *text = zero != NULL ? (const char *)zero + 1 : "";
    size_t len = zero != NULL ? size - n - 1 : 0;
    if (walk(r, text, len) != walk(r, text, len)) abort();
    nib__regex_free(&mem, r);
    return 0;
}
