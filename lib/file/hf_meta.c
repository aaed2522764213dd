/* SPDX-License-Identifier: MIT
 * config.json and generation_config.json behind the typed getters. Arrays of numbers, strings and
 * booleans are encoded once, as GGUF has them, so that nib__array reads both. */
#include <float.h>
#include <string.h>

#include "file/gguf.h"
#include "file/hf.h"

static const char GENERATION[] = "generation_config.";

/* ---- lookup ---- */

/* The field that a dotted key names, or NIB__JSON_NONE. */
static nib__json_value find_in(const nib__json *json, const char *key)
{
    nib__json_value at = 0;
    while (at != NIB__JSON_NONE) {
        const char *dot = strchr(key, '.');
        size_t len = dot != NULL ? (size_t)(dot - key) : strlen(key), n;
        nib__json_value member = NIB__JSON_NONE;
        if (nib__json_type_of(json, at) == NIB__JSON_OBJECT) member = nib__json_first(json, at);
        for (; member != NIB__JSON_NONE; member = nib__json_next(json, member)) {
            const char *name = nib__json_key(json, member, &n);
            if (n == len && memcmp(name, key, n) == 0) break;
        }
        at = member;
        if (dot == NULL) break;
        key = dot + 1;
    }
    return at;
}

typedef struct field {
    const nib__hf_config *config;
    nib__json_value value;
    const char *key; /* in its file */
} field;

/* false: there is no such field, or it is null. */
static bool find(const nib__hf *hf, const char *key, field *f)
{
    size_t n = sizeof GENERATION - 1;
    bool generation = strncmp(key, GENERATION, n) == 0;
    f->config = generation ? &hf->generation : &hf->config;
    f->key = generation ? key + n : key;
    f->value = NIB__JSON_NONE;
    if (f->config->json == NULL) return false;
    f->value = find_in(f->config->json, f->key);
    return nib__json_type_of(f->config->json, f->value) != NIB__JSON_NULL;
}

static nib_status field_fail(const field *f, nib_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static nib_status field_fail(const field *f, nib_error *err, const char *format, ...)
{
    char message[120];
    va_list args;
    va_start(args, format);
    nib__text_v(message, sizeof message, format, args);
    va_end(args);
    return nib__fail_file(err, NIB_ERR_FORMAT, NIB_NO_OFFSET, f->config->path, "%s: %s", f->key,
                          message);
}

static nib_status wrong_type(const field *f, const char *expected, nib_error *err)
{
    static const char *const names[] = {"null",     "false",    "true",     "a number",
                                        "a string", "an array", "an object"};
    nib__json_type type = nib__json_type_of(f->config->json, f->value);
    if (type == NIB__JSON_STRING) {
        size_t len;
        const char *text = nib__json_string(f->config->json, f->value, &len);
        nib__shown shown = nib__show(text, len < 40 ? len : 40);
        return field_fail(f, err, "expected %s, got \"%s\"", expected, shown.text);
    }
    return field_fail(f, err, "expected %s, got %s", expected, names[type]);
}

/* ---- getters ---- */

int32_t nib__hf_i64(const nib__hf *hf, const char *key, int64_t min, int64_t max, int64_t *value,
                    nib_error *err)
{
    field f;
    int64_t wide;
    double number;
    if (!find(hf, key, &f)) return NIB__ABSENT;
    if (!nib__json_number(f.config->json, f.value, &number))
        return wrong_type(&f, "an integer", err);
    if (!nib__json_integer(f.config->json, f.value, &wide))
        return field_fail(&f, err, "expected an integer of at most 64 bits, got another number");
    if (wide < min || wide > max) {
        return field_fail(&f, err, "expected %lld to %lld, got %lld", (long long)min,
                          (long long)max, (long long)wide);
    }
    *value = wide;
    return NIB_OK;
}

/* Infinity and NaN are values of f32 too; a large finite number is not. */
static bool fits_f32(double wide)
{
    return !((wide > (double)FLT_MAX && wide <= DBL_MAX) ||
             (wide < -(double)FLT_MAX && wide >= -DBL_MAX));
}

int32_t nib__hf_f32(const nib__hf *hf, const char *key, float *value, nib_error *err)
{
    field f;
    double wide;
    if (!find(hf, key, &f)) return NIB__ABSENT;
    if (!nib__json_number(f.config->json, f.value, &wide)) return wrong_type(&f, "a number", err);
    if (!fits_f32(wide)) return field_fail(&f, err, "expected a number within the range of f32");
    *value = (float)wide;
    return NIB_OK;
}

int32_t nib__hf_bool(const nib__hf *hf, const char *key, int32_t *value, nib_error *err)
{
    field f;
    if (!find(hf, key, &f)) return NIB__ABSENT;
    nib__json_type type = nib__json_type_of(f.config->json, f.value);
    if (type != NIB__JSON_TRUE && type != NIB__JSON_FALSE)
        return wrong_type(&f, "true or false", err);
    *value = type == NIB__JSON_TRUE;
    return NIB_OK;
}

int32_t nib__hf_str(const nib__hf *hf, const char *key, nib__str *value, nib_error *err)
{
    field f;
    size_t len;
    if (!find(hf, key, &f)) return NIB__ABSENT;
    const char *text = nib__json_string(f.config->json, f.value, &len);
    if (text == NULL) return wrong_type(&f, "a string", err);
    *value = (nib__str){text, len};
    return NIB_OK;
}

int32_t nib__hf_get_array(const nib__hf *hf, const char *key, nib__meta_type type,
                          nib__array *value, nib_error *err)
{
    field f;
    if (!find(hf, key, &f)) return NIB__ABSENT;
    if (nib__json_type_of(f.config->json, f.value) != NIB__JSON_ARRAY)
        return wrong_type(&f, "an array", err);
    for (size_t i = 0; i < f.config->n_arrays; i++) {
        const nib__hf_array *a = &f.config->arrays[i];
        bool same_bits = (type == NIB__META_U32 && a->type == NIB__META_I32) ||
                         (type == NIB__META_I32 && a->type == NIB__META_U32);
        if (a->value != f.value || (a->type != type && !same_bits && a->count != 0)) continue;
        *value = (nib__array){a->count != 0 ? a->type : type, a->count,
                              a->size != 0 ? f.config->bytes + a->at : NULL, a->size};
        return NIB_OK;
    }
    return field_fail(&f, err, "expected an array of %s only", nib__gguf_type_name(type));
}

int32_t nib__hf_type_of(const nib__hf *hf, const char *key)
{
    field f;
    int64_t integer;
    if (!find(hf, key, &f)) return f.value != NIB__JSON_NONE ? NIB__META_NULL : -1;
    switch (nib__json_type_of(f.config->json, f.value)) {
    case NIB__JSON_TRUE:
    case NIB__JSON_FALSE: return NIB__META_BOOL;
    case NIB__JSON_STRING: return NIB__META_STRING;
    case NIB__JSON_ARRAY: return NIB__META_ARRAY;
    case NIB__JSON_OBJECT: return NIB__META_OBJECT;
    default:
        return nib__json_integer(f.config->json, f.value, &integer) ? NIB__META_I64 : NIB__META_F64;
    }
}

/* ---- arrays ---- */

/* What all elements of an array are. */
typedef struct elements {
    bool i32, u32, f32, text, flags;
} elements;

static elements look_at(const nib__json *j, nib__json_value array)
{
    elements all = {true, true, true, true, true};
    nib__json_value v = nib__json_first(j, array);
    for (; v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        int64_t integer = 0;
        double number = 0;
        nib__json_type type = nib__json_type_of(j, v);
        bool whole = nib__json_integer(j, v, &integer);
        all.i32 = all.i32 && whole && integer >= INT32_MIN && integer <= INT32_MAX;
        all.u32 = all.u32 && whole && integer >= 0 && integer <= UINT32_MAX;
        all.f32 = all.f32 && nib__json_number(j, v, &number) && fits_f32(number);
        all.text = all.text && type == NIB__JSON_STRING;
        all.flags = all.flags && (type == NIB__JSON_TRUE || type == NIB__JSON_FALSE);
    }
    return all;
}

static bool put(const nib__hf *hf, nib__hf_config *c, const void *bytes, size_t size)
{
    size_t need;
    void *grown = c->bytes;
    bool fits =
        nib__add(c->n_bytes, size, &need) && nib__grow(&hf->mem, &grown, &c->cap_bytes, need, 1);
    c->bytes = grown;
    if (!fits) return false;
    if (size != 0) memcpy(c->bytes + c->n_bytes, bytes, size);
    c->n_bytes = need;
    return true;
}

/* Little endian, n bytes. */
static bool put_bits(const nib__hf *hf, nib__hf_config *c, uint64_t bits, size_t n)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(bits >> 8 * i);
    return put(hf, c, bytes, n);
}

static bool put_element(const nib__hf *hf, nib__hf_config *c, nib__json_value v,
                        nib__meta_type type)
{
    int64_t integer = 0;
    double number = 0;
    size_t len;
    const char *text;
    switch (type) {
    case NIB__META_STRING:
        text = nib__json_string(c->json, v, &len);
        return put_bits(hf, c, len, 8) && put(hf, c, text, len);
    case NIB__META_BOOL: return put_bits(hf, c, nib__json_type_of(c->json, v) == NIB__JSON_TRUE, 1);
    case NIB__META_F32: {
        (void)nib__json_number(c->json, v, &number);
        float value = (float)number;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        return put_bits(hf, c, bits, 4);
    }
    default:
        (void)nib__json_integer(c->json, v, &integer);
        return put_bits(hf, c, (uint64_t)integer, 4);
    }
}

static bool encode(const nib__hf *hf, nib__hf_config *c, nib__json_value array, nib__meta_type type)
{
    void *arrays = c->arrays;
    bool grown = nib__grow(&hf->mem, &arrays, &c->cap_arrays, c->n_arrays + 1, sizeof *c->arrays);
    c->arrays = arrays;
    if (!grown) return false;
    size_t at = c->n_bytes;
    nib__json_value v = nib__json_first(c->json, array);
    for (; v != NIB__JSON_NONE; v = nib__json_next(c->json, v)) {
        if (!put_element(hf, c, v, type)) return false;
    }
    c->arrays[c->n_arrays++] =
        (nib__hf_array){array, type, nib__json_count(c->json, array), at, c->n_bytes - at};
    return true;
}

/* Integers are numbers too: such an array is there as both. */
static bool encode_array(const nib__hf *hf, nib__hf_config *c, nib__json_value array)
{
    elements all = look_at(c->json, array);
    if (all.text) return encode(hf, c, array, NIB__META_STRING);
    if (all.flags) return encode(hf, c, array, NIB__META_BOOL);
    if (all.i32 && !encode(hf, c, array, NIB__META_I32)) return false;
    if (!all.i32 && all.u32 && !encode(hf, c, array, NIB__META_U32)) return false;
    return !all.f32 || encode(hf, c, array, NIB__META_F32);
}

/* Visits every array of the document, in its order. */
static bool encode_arrays(const nib__hf *hf, nib__hf_config *c)
{
    nib__json_value open[NIB__JSON_MAX_DEPTH], v = 0;
    size_t depth = 0;
    while (v != NIB__JSON_NONE) {
        if (nib__json_type_of(c->json, v) == NIB__JSON_ARRAY && !encode_array(hf, c, v))
            return false;
        nib__json_value first = nib__json_first(c->json, v);
        if (first != NIB__JSON_NONE && depth < NIB__JSON_MAX_DEPTH) {
            open[depth++] = v;
            v = first;
            continue;
        }
        v = nib__json_next(c->json, v);
        while (v == NIB__JSON_NONE && depth > 0) v = nib__json_next(c->json, open[--depth]);
    }
    return true;
}

/* ---- reading the file ---- */

nib_status nib__hf_config_parse(const nib__hf *hf, nib__hf_config *c, const char *text, size_t size,
                                nib_error *err)
{
    if (size > NIB__HF_MAX_CONFIG) {
        return nib__fail_file(err, NIB_ERR_LIMIT, NIB_NO_OFFSET, c->path,
                              "expected at most %d bytes, got %zu", NIB__HF_MAX_CONFIG, size);
    }
    nib_status status = nib__json_parse(&hf->mem, c->path, text, size, &c->json, err);
    if (status != NIB_OK) return status;
    if (nib__json_type_of(c->json, 0) != NIB__JSON_OBJECT)
        return nib__fail_file(err, NIB_ERR_FORMAT, NIB_NO_OFFSET, c->path, "expected an object");
    if (encode_arrays(hf, c)) return NIB_OK;
    return nib__fail_file(err, NIB_ERR_MEMORY, NIB_NO_OFFSET, c->path, "out of memory");
}

int32_t nib__hf_config_open(const nib__hf *hf, const char *name, nib__hf_config *config,
                            nib_error *err)
{
    nib__map map;
    int32_t status = nib__hf_path(hf, name, strlen(name), &config->path, err);
    if (status == NIB_OK) status = nib__map_open_if(config->path, &map, err);
    if (status == NIB__NO_FILE) return NIB__ABSENT;
    if (status != NIB_OK) return status;
    status = nib__hf_config_parse(hf, config, (const char *)map.data, map.size, err);
    nib__map_close(&map);
    return status;
}

void nib__hf_config_free(const nib__hf *hf, nib__hf_config *config)
{
    nib__json_free(config->json);
    nib__free(&hf->mem, config->path);
    nib__free(&hf->mem, config->arrays);
    nib__free(&hf->mem, config->bytes);
    *config = (nib__hf_config){.path = NULL};
}
