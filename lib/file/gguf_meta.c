/* SPDX-License-Identifier: MIT
 * Typed getters over the key/value pairs of a GGUF file. The parser has checked every extent, so
 * these only decide whether a value fits what the caller asks for. Extents are taken from where the
 * parser found the end of a value, never read again: the file may change under the mapping. */
#include <float.h>
#include <string.h>

#include "base/bytes.h"
#include "file/gguf.h"
#include "file/source_private.h"

/* ---- messages ---- */

nib__shown nib__show(const char *name, size_t len)
{
    nib__shown shown;
    size_t room = sizeof shown.text - 4, n = len < room ? len : room;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        shown.text[i] = c >= 0x20 && c < 0x7f ? name[i] : '?';
    }
    strcpy(shown.text + n, len > n ? "..." : "");
    return shown;
}

nib_status nib__gguf_fail(const nib__gguf *gguf, nib_error *err, nib_status code, uint64_t offset,
                          const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    nib__text_v(message, sizeof message, format, args);
    va_end(args);
    if (offset == NIB_NO_OFFSET)
        return nib__fail_file(err, code, offset, gguf->path, "%s", message);
    return nib__fail_file(err, code, offset, gguf->path, "byte %llu: %s",
                          (unsigned long long)offset, message);
}

static const struct {
    const char *name;
    size_t size;
} types[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
             {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
             {"u64", 8}, {"i64", 8}, {"f64", 8}};
enum { N_TYPES = sizeof types / sizeof types[0] };

size_t nib__gguf_type_size(uint32_t type)
{
    return type < N_TYPES ? types[type].size : 0;
}

const char *nib__gguf_type_name(uint32_t type)
{
    return type < N_TYPES ? types[type].name : "unknown";
}

/* ---- lookup ---- */

const nib__gguf_key *nib__gguf_find(const nib__gguf *gguf, const char *key)
{
    size_t len = strlen(key), low = 0, high = gguf->n_keys;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const nib__gguf_key *at = &gguf->keys[gguf->keys_sorted[middle]];
        int order = memcmp(key, nib__gguf_key_name(at), len < at->name_len ? len : at->name_len);
        if (order == 0) order = (len > at->name_len) - (len < at->name_len);
        if (order == 0) return at;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static nib_status wrong_type(const nib__gguf *gguf, const nib__gguf_key *key, const char *expected,
                             nib_error *err)
{
    nib__shown name = nib__show_key(key);
    return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(key->value - gguf->map.data),
                          "key %s: expected %s, got %s", name.text, expected,
                          nib__gguf_type_name(key->type));
}

/* ---- numbers ---- */

/* The value of an integer key as sign and magnitude's two's complement; false: another type. */
static bool read_integer(const nib__gguf_key *key, uint64_t *bits, bool *negative)
{
    int64_t value;
    switch (key->type) {
    case NIB__META_U8: value = *key->value; break;
    case NIB__META_I8: value = (int8_t)*key->value; break;
    case NIB__META_U16: value = nib__le16(key->value); break;
    case NIB__META_I16: value = (int16_t)nib__le16(key->value); break;
    case NIB__META_U32: value = nib__le32(key->value); break;
    case NIB__META_I32: value = (int32_t)nib__le32(key->value); break;
    case NIB__META_I64: value = (int64_t)nib__le64(key->value); break;
    case NIB__META_U64:
        *bits = nib__le64(key->value);
        *negative = false;
        return true;
    default: return false;
    }
    *bits = (uint64_t)value;
    *negative = value < 0;
    return true;
}

int32_t nib__gguf_i64(const nib__gguf *gguf, const char *key, int64_t min, int64_t max,
                      int64_t *value, nib_error *err)
{
    const nib__gguf_key *found = nib__gguf_find(gguf, key);
    if (found == NULL) return NIB__ABSENT;
    uint64_t bits;
    bool negative;
    if (!read_integer(found, &bits, &negative)) return wrong_type(gguf, found, "an integer", err);
    if ((!negative && bits > INT64_MAX) || (int64_t)bits < min || (int64_t)bits > max) {
        uint64_t magnitude = negative ? 0 - bits : bits;
        nib__shown name = nib__show(key, strlen(key));
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(found->value - gguf->map.data),
                              "key %s: expected %lld to %lld, got %s%llu", name.text,
                              (long long)min, (long long)max, negative ? "-" : "",
                              (unsigned long long)magnitude);
    }
    *value = (int64_t)bits;
    return NIB_OK;
}

int32_t nib__meta_u32(const nib__source *s, const char *key, uint32_t *value, nib_error *err)
{
    int64_t wide;
    int32_t status = s->hf != NULL
                         ? nib__hf_i64(s->hf, key, 0, UINT32_MAX, &wide, err)
                         : nib__gguf_i64(nib__source_meta(s), key, 0, UINT32_MAX, &wide, err);
    if (status == NIB_OK) *value = (uint32_t)wide;
    return status;
}

int32_t nib__meta_i64(const nib__source *s, const char *key, int64_t *value, nib_error *err)
{
    if (s->hf != NULL) return nib__hf_i64(s->hf, key, INT64_MIN, INT64_MAX, value, err);
    return nib__gguf_i64(nib__source_meta(s), key, INT64_MIN, INT64_MAX, value, err);
}

int32_t nib__meta_f32(const nib__source *s, const char *key, float *value, nib_error *err)
{
    if (s->hf != NULL) return nib__hf_f32(s->hf, key, value, err);
    const nib__gguf *gguf = nib__source_meta(s);
    const nib__gguf_key *found = nib__gguf_find(gguf, key);
    if (found == NULL) return NIB__ABSENT;
    if (found->type == NIB__META_F32) {
        *value = nib__lef32(found->value);
        return NIB_OK;
    }
    if (found->type != NIB__META_F64) return wrong_type(gguf, found, "f32 or f64", err);
    double wide = nib__lef64(found->value);
    /* Infinity and NaN are values of both types; a large finite number is not one of f32. */
    if ((wide > (double)FLT_MAX && wide <= DBL_MAX) ||
        (wide < -(double)FLT_MAX && wide >= -DBL_MAX))
        return wrong_type(gguf, found, "a number within the range of f32", err);
    *value = (float)wide;
    return NIB_OK;
}

int32_t nib__meta_bool(const nib__source *s, const char *key, int32_t *value, nib_error *err)
{
    if (s->hf != NULL) return nib__hf_bool(s->hf, key, value, err);
    const nib__gguf *gguf = nib__source_meta(s);
    const nib__gguf_key *found = nib__gguf_find(gguf, key);
    if (found == NULL) return NIB__ABSENT;
    if (found->type != NIB__META_BOOL) return wrong_type(gguf, found, "bool", err);
    if (*found->value > 1) return wrong_type(gguf, found, "a bool of 0 or 1", err);
    *value = *found->value;
    return NIB_OK;
}

/* ---- strings and arrays ---- */

int32_t nib__meta_str(const nib__source *s, const char *key, nib__str *value, nib_error *err)
{
    if (s->hf != NULL) return nib__hf_str(s->hf, key, value, err);
    const nib__gguf *gguf = nib__source_meta(s);
    const nib__gguf_key *found = nib__gguf_find(gguf, key);
    if (found == NULL) return NIB__ABSENT;
    if (found->type != NIB__META_STRING) return wrong_type(gguf, found, "string", err);
    const char *text = (const char *)found->value + 8;
    *value = (nib__str){text, (size_t)((const char *)nib__gguf_value_end(found) - text)};
    return NIB_OK;
}

int32_t nib__meta_array(const nib__source *s, const char *key, nib__meta_type type,
                        nib__array *value, nib_error *err)
{
    if (s->hf != NULL) return nib__hf_get_array(s->hf, key, type, value, err);
    const nib__gguf *gguf = nib__source_meta(s);
    const nib__gguf_key *found = nib__gguf_find(gguf, key);
    if (found == NULL) return NIB__ABSENT;
    if (found->type != NIB__META_ARRAY) return wrong_type(gguf, found, "array", err);
    uint32_t element = nib__le32(found->value);
    bool same_bits = (type == NIB__META_U32 && element == NIB__META_I32) ||
                     (type == NIB__META_I32 && element == NIB__META_U32);
    if (element != (uint32_t)type && !same_bits) {
        nib__shown name = nib__show(key, strlen(key));
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(found->value - gguf->map.data),
                              "key %s: expected an array of %s, got one of %s", name.text,
                              nib__gguf_type_name(type), nib__gguf_type_name(element));
    }
    const uint8_t *data = found->value + 12;
    size_t size = (size_t)(nib__gguf_value_end(found) - data), width = nib__gguf_type_size(element);
    uint64_t count = width != 0 ? size / width : nib__le64(found->value + 4);
    *value = (nib__array){(nib__meta_type)element, count, data, size};
    return NIB_OK;
}

int32_t nib__meta_type_of(const nib__source *s, const char *key)
{
    if (s->hf != NULL) return nib__hf_type_of(s->hf, key);
    const nib__gguf_key *found = nib__gguf_find(nib__source_meta(s), key);
    return found != NULL ? (int32_t)found->type : -1;
}

uint32_t nib__array_u32(const nib__array *a, uint64_t i)
{
    bool has = i < a->count && (a->type == NIB__META_U32 || a->type == NIB__META_I32);
    return has ? nib__le32(a->data + 4 * i) : 0;
}

float nib__array_f32(const nib__array *a, uint64_t i)
{
    return i < a->count && a->type == NIB__META_F32 ? nib__lef32(a->data + 4 * i) : 0.0f;
}

int32_t nib__array_next_str(const nib__array *a, size_t *at, nib__str *value)
{
    if (a->type != NIB__META_STRING || *at > a->size || a->size - *at < 8) return 0;
    uint64_t len = nib__le64(a->data + *at);
    if (len > a->size - *at - 8) return 0; /* only if *at is not what the last call left */
    *value = (nib__str){(const char *)a->data + *at + 8, (size_t)len};
    *at += 8 + (size_t)len;
    return 1;
}
