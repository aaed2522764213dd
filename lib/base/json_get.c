/* SPDX-License-Identifier: MIT
 * Access to the values of a JSON document. */
#include <math.h>
#include <string.h>

#include "base/decimal.h"
#include "base/json_private.h"

/* NULL if there is no such value. */
static const nib__json_node *node_at(const nib__json *j, nib__json_value v)
{
    return j != NULL && v >= 0 && (size_t)v < j->n ? &j->nodes[v] : NULL;
}

nib__json_type nib__json_type_of(const nib__json *j, nib__json_value v)
{
    const nib__json_node *n = node_at(j, v);
    return n != NULL ? (nib__json_type)n->type : NIB__JSON_NULL;
}

uint32_t nib__json_count(const nib__json *j, nib__json_value v)
{
    nib__json_type type = nib__json_type_of(j, v);
    return type == NIB__JSON_ARRAY || type == NIB__JSON_OBJECT ? j->nodes[v].size : 0;
}

nib__json_value nib__json_first(const nib__json *j, nib__json_value v)
{
    if (nib__json_count(j, v) == 0) return NIB__JSON_NONE;
    return v + (j->nodes[v].type == NIB__JSON_OBJECT ? 2 : 1); /* behind the key */
}

nib__json_value nib__json_next(const nib__json *j, nib__json_value v)
{
    const nib__json_node *n = node_at(j, v);
    return n != NULL && n->next != 0 ? (nib__json_value)n->next : NIB__JSON_NONE;
}

const char *nib__json_key(const nib__json *j, nib__json_value member, size_t *len)
{
    const nib__json_node *n = node_at(j, member);
    bool has = n != NULL && n->member;
    *len = has ? n[-1].size : 0;
    return has ? j->text + n[-1].at : NULL;
}

const char *nib__json_string(const nib__json *j, nib__json_value v, size_t *len)
{
    bool has = nib__json_type_of(j, v) == NIB__JSON_STRING;
    *len = has ? j->nodes[v].size : 0;
    return has ? j->text + j->nodes[v].at : NULL;
}

bool nib__json_equals(const nib__json *j, nib__json_value v, const char *text)
{
    size_t len;
    const char *value = nib__json_string(j, v, &len);
    return value != NULL && strlen(text) == len && memcmp(value, text, len) == 0;
}

nib__json_value nib__json_get(const nib__json *j, nib__json_value object, const char *key)
{
    if (nib__json_type_of(j, object) != NIB__JSON_OBJECT) return NIB__JSON_NONE;
    size_t len = strlen(key);
    nib__json_value v = nib__json_first(j, object);
    for (; v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        const nib__json_node *name = &j->nodes[v - 1];
        if (name->size == len && memcmp(j->text + name->at, key, len) == 0) return v;
    }
    return NIB__JSON_NONE;
}

bool nib__json_number(const nib__json *j, nib__json_value v, double *value)
{
    if (nib__json_type_of(j, v) != NIB__JSON_NUMBER) return false;
    const char *text = j->text + j->nodes[v].at;
    if (text[0] == 'N')
        *value = NAN;
    else if (text[0] == 'I')
        *value = INFINITY;
    else if (text[0] == '-' && text[1] == 'I')
        *value = -INFINITY;
    else
        *value = nib__decimal(text, j->nodes[v].size);
    return true;
}

bool nib__json_integer(const nib__json *j, nib__json_value v, int64_t *value)
{
    if (nib__json_type_of(j, v) != NIB__JSON_NUMBER) return false;
    const char *text = j->text + j->nodes[v].at, *end = text + j->nodes[v].size;
    bool negative = *text == '-';
    uint64_t magnitude = 0, limit = (uint64_t)INT64_MAX + negative;
    for (text += negative; text < end; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (magnitude > (limit - digit) / 10) return false;
        magnitude = magnitude * 10 + digit;
    }
    *value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}
