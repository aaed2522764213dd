/* SPDX-License-Identifier: MIT
 * safetensors: bytes of a mapping -> checked tensors.
 *
 *   u64 n   a JSON object of n bytes, padded with spaces   data
 *   {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {..}}
 *
 * Offsets count from the end of the header. As the format demands, the regions of the tensors must
 * fill the data without overlap and without holes, so that no byte of the file has two meanings. */
#include <string.h>

#include "base/bytes.h"
#include "base/sort.h"
#include "file/source_private.h"

/* Where a tensor lies in the data; kept for those without elements, too. */
typedef struct span {
    size_t begin, end;
    nib__json_value entry;
} span;

typedef struct reader {
    nib__source *source;
    nib__shard *shard;
    uint32_t part;
    nib__json *json;
    const uint8_t *data; /* [data_size] what offsets count into */
    size_t data_size;
    span *spans; /* [n] */
    uint32_t *order;
    size_t n;
    nib_error *err;
} reader;

static nib__shown name_of(const reader *r, nib__json_value entry)
{
    size_t len;
    const char *name = nib__json_key(r->json, entry, &len);
    return nib__show(name, len);
}

/* ---- header ---- */

static nib_status parse_header(reader *r)
{
    const nib__map *map = &r->shard->map;
    static const char lfs[] = "version https://git-lfs";
    if (map->size >= sizeof lfs - 1 && memcmp(map->data, lfs, sizeof lfs - 1) == 0) {
        return nib__shard_fail(
            r->shard, r->err, NIB_ERR_FORMAT,
            "expected safetensors, got a Git LFS pointer; fetch the file itself");
    }
    if (map->size < 9) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "expected safetensors, the file ends at %zu bytes", map->size);
    }
    uint64_t size = nib__le64(map->data);
    if (map->data[8] != '{') {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "expected safetensors, whose byte 8 is '{'");
    }
    if (size > map->size - 8) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "a header of %llu bytes declared, but %zu are left",
                               (unsigned long long)size, map->size - 8);
    }
    if (size > NIB__HF_MAX_HEADER) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_LIMIT,
                               "expected a header of at most %d bytes, got %llu",
                               NIB__HF_MAX_HEADER, (unsigned long long)size);
    }
    r->data = map->data + 8 + size;
    r->data_size = map->size - 8 - (size_t)size;
    return nib__json_parse(&r->source->mem, r->shard->path, (const char *)map->data + 8,
                           (size_t)size, &r->json, r->err);
}

/* Texts by name; nobody needs them here, but a file is right or it is not. */
static nib_status check_metadata(const reader *r, nib__json_value metadata)
{
    bool good = nib__json_type_of(r->json, metadata) == NIB__JSON_OBJECT;
    nib__json_value v = good ? nib__json_first(r->json, metadata) : NIB__JSON_NONE;
    for (; v != NIB__JSON_NONE; v = nib__json_next(r->json, v))
        good = good && nib__json_type_of(r->json, v) == NIB__JSON_STRING;
    if (good) return NIB_OK;
    return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                           "__metadata__: expected an object of strings");
}

/* ---- one tensor ---- */

/* An element of an array as a size; false: it is no integer of 0 or more. */
static bool size_at(const nib__json *json, nib__json_value v, size_t *size)
{
    int64_t integer;
    if (!nib__json_integer(json, v, &integer) || integer < 0 || (uint64_t)integer > SIZE_MAX)
        return false;
    *size = (size_t)integer;
    return true;
}

static nib_status bad_entry(const reader *r, nib__json_value entry, const char *what)
{
    nib__shown name = name_of(r, entry);
    return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT, "tensor %s: %s", name.text, what);
}

static nib_status parse_shape(const reader *r, nib__json_value entry,
                              const nib__format_info *format, nib__tensor *t)
{
    nib__json_value array = nib__json_get(r->json, entry, "shape");
    if (nib__json_type_of(r->json, array) != NIB__JSON_ARRAY)
        return bad_entry(r, entry, "shape: expected an array");
    size_t shape[NIB__MAX_DIMS], n = nib__json_count(r->json, array);
    if (n > NIB__MAX_DIMS) {
        nib__shown name = name_of(r, entry);
        return nib__shard_fail(r->shard, r->err, NIB_ERR_UNSUPPORTED,
                               "tensor %s: shape: expected at most %d dimensions, got %zu",
                               name.text, NIB__MAX_DIMS, n);
    }
    nib__json_value v = nib__json_first(r->json, array);
    for (size_t i = 0; i < n; i++, v = nib__json_next(r->json, v)) {
        if (!size_at(r->json, v, &shape[i]))
            return bad_entry(r, entry, "shape: expected integers of 0 or more");
    }
    if (nib__tensor_set_shape(t, format, shape, n)) return NIB_OK;
    return bad_entry(r, entry, "shape: the product does not fit 64 bits");
}

static nib_status parse_tensor(const reader *r, nib__json_value entry, nib__tensor *t, span *where)
{
    if (nib__json_type_of(r->json, entry) != NIB__JSON_OBJECT)
        return bad_entry(r, entry, "expected an object");
    size_t len;
    const char *dtype = nib__json_string(r->json, nib__json_get(r->json, entry, "dtype"), &len);
    if (dtype == NULL) return bad_entry(r, entry, "dtype: expected a string");
    const nib__format_info *format = nib__dtype_find(dtype, len);
    if (format == NULL) {
        nib__shown name = name_of(r, entry), shown = nib__show(dtype, len < 20 ? len : 20);
        return nib__shard_fail(r->shard, r->err, NIB_ERR_UNSUPPORTED,
                               "tensor %s: unknown dtype \"%s\"", name.text, shown.text);
    }
    nib_status status = parse_shape(r, entry, format, t);
    if (status != NIB_OK) return status;

    nib__json_value offsets = nib__json_get(r->json, entry, "data_offsets");
    nib__json_value first = NIB__JSON_NONE;
    if (nib__json_type_of(r->json, offsets) == NIB__JSON_ARRAY &&
        nib__json_count(r->json, offsets) == 2)
        first = nib__json_first(r->json, offsets);
    if (!size_at(r->json, first, &where->begin) ||
        !size_at(r->json, nib__json_next(r->json, first), &where->end))
        return bad_entry(r, entry, "data_offsets: expected two integers of 0 or more");
    if (where->begin > where->end || where->end > r->data_size) {
        nib__shown name = name_of(r, entry);
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "tensor %s: data_offsets: %zu to %zu do not lie in the %zu bytes of "
                               "data",
                               name.text, where->begin, where->end, r->data_size);
    }
    if (where->end - where->begin != t->size) {
        nib__shown name = name_of(r, entry);
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "tensor %s: data_offsets: expected %zu bytes for its shape and "
                               "dtype %s, got %zu",
                               name.text, t->size, format->name, where->end - where->begin);
    }
    where->entry = entry;
    t->data = r->data + where->begin;
    t->part = r->part;
    return NIB_OK;
}

/* ---- all tensors ---- */

/* Names go behind one another into one block of the shard. */
static nib_status parse_tensors(reader *r)
{
    size_t names = 0, len;
    nib__json_value metadata = nib__json_get(r->json, 0, "__metadata__");
    nib__json_value v = nib__json_first(r->json, 0);
    for (; v != NIB__JSON_NONE; v = nib__json_next(r->json, v)) {
        const char *name = nib__json_key(r->json, v, &len);
        if (v == metadata) continue;
        if (len == 0 || strlen(name) != len)
            return bad_entry(r, v, "expected a name of 1 byte or more, without NUL");
        names += len + 1; /* below the size of the header */
        r->n++;
    }
    if (metadata != NIB__JSON_NONE) {
        nib_status status = check_metadata(r, metadata);
        if (status != NIB_OK) return status;
    }
    if (r->n > NIB__HF_MAX_TENSORS - r->source->n_tensors) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_LIMIT, "expected at most %d tensors",
                               NIB__HF_MAX_TENSORS);
    }
    if (r->n == 0) return NIB_OK;
    const nib_allocator *mem = &r->source->mem;
    nib_status status = nib__source_reserve(r->source, r->n, r->err);
    if (status != NIB_OK) return status;
    char *name = r->shard->names = nib__alloc_raw(mem, names, 1);
    r->spans = nib__alloc_raw(mem, r->n, sizeof *r->spans);
    r->order = nib__alloc_raw(mem, r->n, sizeof *r->order);
    if (name == NULL || r->spans == NULL || r->order == NULL)
        return nib__shard_fail(r->shard, r->err, NIB_ERR_MEMORY, "out of memory for %zu tensors",
                               r->n);
    size_t i = 0;
    for (v = nib__json_first(r->json, 0); v != NIB__JSON_NONE; v = nib__json_next(r->json, v)) {
        if (v == metadata) continue;
        nib__tensor tensor = {0};
        status = parse_tensor(r, v, &tensor, &r->spans[i++]);
        if (status != NIB_OK) return status;
        if (tensor.size == 0) {
            r->source->hf->n_empty++;
            continue;
        }
        tensor.name = name;
        const char *text = nib__json_key(r->json, v, &len);
        memcpy(name, text, len + 1);
        name += len + 1;
        r->source->tensors[r->source->n_tensors++] = tensor;
    }
    return NIB_OK;
}

static int compare_spans(const void *ctx, uint32_t a, uint32_t b)
{
    const span *x = (const span *)ctx + a, *y = (const span *)ctx + b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Each region begins where the one before it ends, and the last ends with the file. */
static nib_status check_tiling(const reader *r)
{
    for (uint32_t i = 0; i < r->n; i++) r->order[i] = i;
    nib__sort_index(r->order, r->n, compare_spans, r->spans);
    size_t at = 0;
    for (size_t i = 0; i < r->n; i++) {
        const span *s = &r->spans[r->order[i]];
        if (s->begin == at) {
            at = s->end;
            continue;
        }
        nib__shown name = name_of(r, s->entry);
        if (s->begin > at) {
            return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                                   "%zu bytes of data before tensor %s belong to no tensor",
                                   s->begin - at, name.text);
        }
        nib__shown other = name_of(r, r->spans[r->order[i - 1]].entry);
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "tensors %s and %s share bytes of data", other.text, name.text);
    }
    if (at == r->data_size) return NIB_OK;
    return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                           "%zu bytes behind the last tensor belong to no tensor",
                           r->data_size - at);
}

nib_status nib__safetensors_read(nib__source *source, uint32_t part, nib_error *err)
{
    reader r = {.source = source, .shard = &source->hf->shards[part], .part = part, .err = err};
    nib_status status = parse_header(&r);
    if (status == NIB_OK) status = parse_tensors(&r);
    if (status == NIB_OK) status = check_tiling(&r);
    nib__free(&source->mem, r.spans);
    nib__free(&source->mem, r.order);
    nib__json_free(r.json);
    return status;
}
