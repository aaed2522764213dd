/* SPDX-License-Identifier: MIT
 * A JSON document back to text. */
#include "json_walk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct out {
    char *text;
    size_t len, cap;
} out;

static void require(bool condition)
{
    if (!condition) abort();
}

static void put(out *o, const char *text, size_t len)
{
    if (o->len + len + 1 > o->cap) {
        o->cap = 2 * (o->len + len + 1);
        o->text = realloc(o->text, o->cap);
        require(o->text != NULL);
    }
    memcpy(o->text + o->len, text, len);
    o->len += len;
    o->text[o->len] = '\0';
}

static void put_string(out *o, const char *text, size_t len)
{
    require(text[len] == '\0');
    put(o, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        char escape[8];
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20)
            put(o, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        else if (c == '"' || c == '\\')
            put(o, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", c));
        else
            put(o, text + i, 1);
    }
    put(o, "\"", 1);
}

static void put_number(out *o, const nib__json *j, nib__json_value v)
{
    double number;
    int64_t integer;
    char text[40];
    require(nib__json_number(j, v, &number));
    if (nib__json_integer(j, v, &integer)) {
        require((double)integer == number);
        put(o, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)integer));
    } else if (isnan(number)) {
        put(o, "NaN", 3);
    } else if (isinf(number)) {
        put(o, number < 0 ? "-Infinity" : "Infinity", number < 0 ? 9 : 8);
    } else {
        snprintf(text, sizeof text, "%.17g", number);
        if (strpbrk(text, ".e") == NULL) strcat(text, "e0"); /* an integer that int64 cannot hold */
        put(o, text, strlen(text));
    }
}

/* Not recursive: what is open is on a stack that the limit of nesting bounds. */
char *json_text(const nib__json *j, size_t *len)
{
    static const char *const words[] = {"null", "false", "true"};
    out o = {0};
    nib__json_value open[NIB__JSON_MAX_DEPTH], v = 0;
    uint32_t left[NIB__JSON_MAX_DEPTH], depth = 0;
    for (;;) {
        size_t n;
        const char *key = nib__json_key(j, v, &n);
        bool member = depth > 0 && nib__json_type_of(j, open[depth - 1]) == NIB__JSON_OBJECT;
        require((key != NULL) == member);
        if (member) {
            put_string(&o, key, n);
            put(&o, ":", 1);
        }
        nib__json_type type = nib__json_type_of(j, v);
        const char *text = nib__json_string(j, v, &n);
        require((text != NULL) == (type == NIB__JSON_STRING));
        if (type <= NIB__JSON_TRUE) put(&o, words[type], strlen(words[type]));
        if (type == NIB__JSON_NUMBER) put_number(&o, j, v);
        if (type == NIB__JSON_STRING) put_string(&o, text, n);
        nib__json_value next = nib__json_first(j, v);
        if (type >= NIB__JSON_ARRAY) {
            put(&o, type == NIB__JSON_ARRAY ? "[" : "{", 1);
            require(depth < NIB__JSON_MAX_DEPTH);
            left[depth] = nib__json_count(j, v);
            open[depth++] = v;
        } else {
            require(next == NIB__JSON_NONE && nib__json_count(j, v) == 0);
            next = nib__json_next(j, v);
        }
        while (depth > 0 && next == NIB__JSON_NONE) {
            nib__json_value closed = open[--depth];
            require(left[depth] == 0);
            put(&o, nib__json_type_of(j, closed) == NIB__JSON_ARRAY ? "]" : "}", 1);
            next = depth > 0 ? nib__json_next(j, closed) : NIB__JSON_NONE;
        }
        if (depth == 0) break;
        if (left[depth - 1] != nib__json_count(j, open[depth - 1])) put(&o, ",", 1);
        left[depth - 1]--;
        v = next;
    }
    *len = o.len;
    return o.text;
}
