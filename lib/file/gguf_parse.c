/* SPDX-License-Identifier: MIT
 * GGUF v2 and v3, little endian: bytes of a mapping -> checked keys and tensors. Every length and
 * count comes from an untrusted file: nothing is allocated for a count that the remaining bytes
 * could not hold, and nothing is believed before it was compared with the size of the file.
 *
 *   "GGUF" u32 version  u64 n_tensors  u64 n_keys
 *   n_keys    x { string key; u32 type; value }              string: u64 length, bytes
 *   n_tensors x { string name; u32 n_dims; u64 ne[n_dims]; u32 type; u64 offset }
 *   padding to general.alignment, then the data that the offsets count from */
#include "file/gguf.h"

#include <string.h>

#include "base/bytes.h"
#include "base/sort.h"
#include "file/packed.h"

enum {
    MIN_KEY_BYTES = 8 + 1 + 4 + 1,            /* one-byte key with a one-byte value */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, /* one-byte name, one dimension */
};

static nib_status truncated(const nib__gguf *gguf, nib_error *err, size_t at, const char *what)
{
    return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at, "the file ends (at %zu bytes) inside %s",
                          gguf->map.size, what);
}

/* ---- header ---- */

static bool starts_with(const nib__map *map, const char *text)
{
    size_t len = strlen(text);
    return map->size >= len && memcmp(map->data, text, len) == 0;
}

static nib_status wrong_magic(const nib__gguf *gguf, nib_error *err)
{
    const nib__map *map = &gguf->map;
    if (starts_with(map, "version https://git-lfs")) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, 0,
                              "expected a GGUF file, got a Git LFS pointer; fetch the file itself");
    }
    if (starts_with(map, "tjgg") || starts_with(map, "lmgg") || starts_with(map, "fmgg")) {
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, 0,
                              "expected a GGUF file, got an old GGML file; convert it to GGUF");
    }
    nib__shown got = nib__show((const char *)map->data, map->size < 4 ? map->size : 4);
    return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, 0, "expected \"GGUF\", got \"%s\"", got.text);
}

static nib_status check_version(const nib__gguf *gguf, uint32_t version, nib_error *err)
{
    if (version == 2 || version == 3) return NIB_OK;
    if (version == 1) {
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, 4,
                              "GGUF version 1 is not supported (2 and 3 are); convert it again");
    }
    if (version != 0 && (version & 0xffffu) == 0) { /* small number, bytes reversed */
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, 4,
                              "big-endian GGUF file; only little-endian ones are supported");
    }
    return nib__gguf_fail(gguf, err, version == 0 ? NIB_ERR_FORMAT : NIB_ERR_UNSUPPORTED, 4,
                          "expected GGUF version 2 or 3, got %u", version);
}

/* A count of things that take at least min_bytes each. */
static nib_status check_count(const nib__gguf *gguf, size_t at, uint64_t count, size_t left,
                              size_t min_bytes, uint64_t limit, const char *what, nib_error *err)
{
    if (count > left / min_bytes) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "%llu %s declared, but the %zu bytes left hold at most %zu",
                              (unsigned long long)count, what, left, left / min_bytes);
    }
    if (count > limit) {
        return nib__gguf_fail(gguf, err, NIB_ERR_LIMIT, at, "expected at most %llu %s, got %llu",
                              (unsigned long long)limit, what, (unsigned long long)count);
    }
    return NIB_OK;
}

static nib_status parse_header(nib__gguf *gguf, nib__cursor *c, nib_error *err)
{
    const uint8_t *magic = nib__cursor_take(c, 4);
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0) return wrong_magic(gguf, err);
    uint32_t version = nib__cursor_u32(c);
    if (c->failed) return truncated(gguf, err, 4, "the version");
    nib_status status = check_version(gguf, version, err);
    if (status != NIB_OK) return status;

    uint64_t n_tensors = nib__cursor_u64(c), n_keys = nib__cursor_u64(c);
    if (c->failed) return truncated(gguf, err, 8, "the counts of tensors and keys");
    size_t left = nib__cursor_left(c);
    status = check_count(gguf, 8, n_tensors, left, MIN_TENSOR_BYTES, NIB__GGUF_MAX_TENSORS,
                         "tensors", err);
    if (status != NIB_OK) return status;
    status = check_count(gguf, 16, n_keys, left - (size_t)n_tensors * MIN_TENSOR_BYTES,
                         MIN_KEY_BYTES, NIB__GGUF_MAX_KEYS, "keys", err);
    if (status != NIB_OK) return status;
    gguf->n_tensors = (size_t)n_tensors;
    gguf->n_keys = (size_t)n_keys;
    return NIB_OK;
}

/* ---- keys and values ---- */

/* The name of a key or tensor: 1 to max bytes, none of them NUL. */
static nib_status parse_name(const nib__gguf *gguf, nib__cursor *c, const char *what, size_t max,
                             const char **name, size_t *len, nib_error *err)
{
    size_t at = c->at;
    uint64_t declared = nib__cursor_u64(c);
    if (c->failed) return truncated(gguf, err, at, what);
    if (declared == 0 || declared > max) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "%s: expected a length of 1 to %zu bytes, got %llu", what, max,
                              (unsigned long long)declared);
    }
    const uint8_t *bytes = nib__cursor_take(c, declared);
    if (bytes == NULL) return truncated(gguf, err, at, what);
    if (memchr(bytes, 0, (size_t)declared) != NULL)
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at, "%s contains a NUL byte", what);
    *name = (const char *)bytes;
    *len = (size_t)declared;
    return NIB_OK;
}

static nib_status bad_string(const nib__gguf *gguf, size_t at, uint64_t len, size_t left,
                             const nib__gguf_key *key, nib_error *err)
{
    nib__shown name = nib__show_key(key);
    return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                          "key %s: string of %llu bytes, expected at most %zu", name.text,
                          (unsigned long long)len, left);
}

static nib_status skip_string(const nib__gguf *gguf, nib__cursor *c, const nib__gguf_key *key,
                              nib_error *err)
{
    size_t at = c->at;
    uint64_t len = nib__cursor_u64(c);
    if (c->failed) return truncated(gguf, err, at, "the length of a string");
    size_t left = nib__cursor_left(c), max = NIB__GGUF_MAX_STRING;
    if (len > max || nib__cursor_take(c, len) == NULL)
        return bad_string(gguf, at, len, left < max ? left : max, key, err);
    return NIB_OK;
}

static nib_status skip_array(const nib__gguf *gguf, nib__cursor *c, const nib__gguf_key *key,
                             nib_error *err)
{
    size_t at = c->at;
    nib__shown name = nib__show_key(key);
    uint32_t type = nib__cursor_u32(c);
    uint64_t count = nib__cursor_u64(c);
    if (c->failed) return truncated(gguf, err, at, "the head of an array");
    if (type == NIB__META_ARRAY) {
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, at,
                              "key %s: an array of arrays is not supported", name.text);
    }
    size_t size = type == NIB__META_STRING ? 8 : nib__gguf_type_size(type);
    if (size == 0) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "key %s: expected an array element type of 0 to 12, got %u",
                              name.text, type);
    }
    size_t left = nib__cursor_left(c) / size, max = NIB__GGUF_MAX_STRING;
    if (count > left || count > max) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at + 4,
                              "key %s: array of %llu elements, expected at most %zu", name.text,
                              (unsigned long long)count, left < max ? left : max);
    }
    if (type != NIB__META_STRING) {
        (void)nib__cursor_take(c, count * size); /* fits: checked above */
        return NIB_OK;
    }
    for (uint64_t i = 0; i < count; i++) {
        nib_status status = skip_string(gguf, c, key, err);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

static nib_status parse_key(const nib__gguf *gguf, nib__cursor *c, nib__gguf_key *key,
                            nib_error *err)
{
    const char *text;
    size_t len;
    key->record = c->base + c->at;
    nib_status status = parse_name(gguf, c, "a key", NIB__GGUF_MAX_KEY_LEN, &text, &len, err);
    if (status != NIB_OK) return status;
    key->name_len = (uint32_t)len;
    size_t at = c->at;
    key->type = nib__cursor_u32(c);
    if (c->failed) return truncated(gguf, err, at, "the type of a key");
    key->value = c->base + c->at;
    if (key->type == NIB__META_STRING) return skip_string(gguf, c, key, err);
    if (key->type == NIB__META_ARRAY) return skip_array(gguf, c, key, err);
    size_t size = nib__gguf_type_size(key->type);
    nib__shown name = nib__show_key(key);
    if (size == 0) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "key %s: expected a value type of 0 to 12, got %u", name.text,
                              key->type);
    }
    if (nib__cursor_take(c, size) == NULL) return truncated(gguf, err, at, "the value of a key");
    return NIB_OK;
}

static int compare_keys(const void *ctx, uint32_t a, uint32_t b)
{
    const nib__gguf_key *x = (const nib__gguf_key *)ctx + a, *y = (const nib__gguf_key *)ctx + b;
    size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
    int order = memcmp(nib__gguf_key_name(x), nib__gguf_key_name(y), len);
    return order != 0 ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static nib_status sort_keys(nib__gguf *gguf, nib_error *err)
{
    for (size_t i = 0; i < gguf->n_keys; i++) gguf->keys_sorted[i] = (uint32_t)i;
    nib__sort_index(gguf->keys_sorted, gguf->n_keys, compare_keys, gguf->keys);
    for (size_t i = 1; i < gguf->n_keys; i++) {
        uint32_t a = gguf->keys_sorted[i - 1], b = gguf->keys_sorted[i];
        if (compare_keys(gguf->keys, a, b) != 0) continue;
        const nib__gguf_key *key = &gguf->keys[a > b ? a : b];
        nib__shown name = nib__show_key(key);
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(key->record - gguf->map.data),
                              "key %s appears twice", name.text);
    }
    return NIB_OK;
}

static nib_status parse_keys(nib__gguf *gguf, nib__cursor *c, nib_error *err)
{
    gguf->keys = nib__alloc_raw(&gguf->mem, gguf->n_keys + 1, sizeof *gguf->keys);
    gguf->keys_sorted = nib__alloc_raw(&gguf->mem, gguf->n_keys + 1, sizeof *gguf->keys_sorted);
    if (gguf->keys == NULL || gguf->keys_sorted == NULL) {
        return nib__gguf_fail(gguf, err, NIB_ERR_MEMORY, NIB_NO_OFFSET,
                              "out of memory for %zu keys", gguf->n_keys);
    }
    for (size_t i = 0; i < gguf->n_keys; i++) {
        nib_status status = parse_key(gguf, c, &gguf->keys[i], err);
        if (status != NIB_OK) return status;
    }
    gguf->keys[gguf->n_keys] = (nib__gguf_key){c->base + c->at, NULL, 0, 0};
    return sort_keys(gguf, err);
}

/* ---- tensors ---- */

static nib_status parse_shape(const nib__gguf *gguf, nib__cursor *c, nib__tensor *t,
                              const char *name, nib_error *err)
{
    size_t at = c->at;
    t->n_dims = nib__cursor_u32(c);
    if (c->failed) return truncated(gguf, err, at, "the shape of a tensor");
    if (t->n_dims < 1 || t->n_dims > NIB__MAX_DIMS) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "tensor %s: expected 1 to %d dimensions, got %u", name, NIB__MAX_DIMS,
                              t->n_dims);
    }
    size_t elements = 1;
    for (uint32_t i = 0; i < NIB__MAX_DIMS; i++) {
        t->ne[i] = 1;
        if (i >= t->n_dims) continue;
        at = c->at;
        uint64_t ne = nib__cursor_u64(c);
        if (c->failed) return truncated(gguf, err, at, "the shape of a tensor");
        if (ne == 0 || ne > SIZE_MAX || !nib__mul(elements, (size_t)ne, &elements)) {
            return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                                  "tensor %s: dimension %u of %llu is %s", name, i,
                                  (unsigned long long)ne, ne == 0 ? "empty" : "too large");
        }
        t->ne[i] = (size_t)ne;
    }
    return NIB_OK;
}

/* Type -> format and size in bytes. */
static nib_status parse_type(const nib__gguf *gguf, nib__cursor *c, nib__tensor *t,
                             const char *name, nib_error *err)
{
    size_t at = c->at;
    uint32_t type = nib__cursor_u32(c);
    if (c->failed) return truncated(gguf, err, at, "the type of a tensor");
    t->format = nib__format_find(type);
    if (gguf->packed && type == NIB__PACKED_GGUF_TYPE) {
        t->size = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; /* bytes; the format follows later */
        return NIB_OK;
    }
    if (t->format == NULL) {
        const char *known = nib__format_type_name(type);
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, at,
                              "tensor %s: type %u (%s) is not supported", name, type,
                              known != NULL ? known : "unknown");
    }
    if (t->ne[0] % t->format->block != 0) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "tensor %s: %s needs a row length that is a multiple of %u, got %zu",
                              name, t->format->name, t->format->block, t->ne[0]);
    }
    size_t blocks = t->ne[0] / t->format->block;
    /* The product of ne fits size_t (checked), so that of blocks and rows does as well. */
    blocks *= t->ne[1] * t->ne[2] * t->ne[3];
    if (!nib__mul(blocks, t->format->block_bytes, &t->size)) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "tensor %s: %zu blocks of %u bytes are too large", name, blocks,
                              t->format->block_bytes);
    }
    return NIB_OK;
}

/* t->name and t->data point into the header, at the name and at the offset, until copy_names and
 * place_tensor put the real ones there. */
static nib_status parse_tensor(const nib__gguf *gguf, nib__cursor *c, nib__tensor *t,
                               nib_error *err)
{
    size_t len;
    nib_status status =
        parse_name(gguf, c, "a tensor name", NIB__GGUF_MAX_NAME_LEN, &t->name, &len, err);
    if (status != NIB_OK) return status;
    nib__shown name = nib__show(t->name, len);
    status = parse_shape(gguf, c, t, name.text, err);
    if (status != NIB_OK) return status;
    status = parse_type(gguf, c, t, name.text, err);
    if (status != NIB_OK) return status;
    size_t at = c->at;
    t->data = nib__cursor_take(c, 8);
    t->part = 0;
    t->packed = false;
    t->copied = false;
    if (c->failed) return truncated(gguf, err, at, "the offset of a tensor");
    return NIB_OK;
}

/* Leaves *alignment as it is where the key is absent. */
static nib_status find_alignment(const nib__gguf *gguf, size_t *alignment, nib_error *err)
{
    int64_t value;
    int32_t status = nib__gguf_i64(gguf, "general.alignment", 1, UINT32_MAX, &value, err);
    if (status == NIB__ABSENT) return NIB_OK;
    if (status != NIB_OK) return status;
    if ((value & (value - 1)) != 0) {
        const nib__gguf_key *key = nib__gguf_find(gguf, "general.alignment");
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(key->value - gguf->map.data),
                              "key general.alignment: expected a power of two, got %lld",
                              (long long)value);
    }
    *alignment = (size_t)value;
    return NIB_OK;
}

/* Offset in the data section -> pointer; `start` is where the section begins. */
static nib_status place_tensor(const nib__gguf *gguf, nib__tensor *t, size_t start,
                               size_t alignment, nib_error *err)
{
    size_t at = (size_t)(t->data - gguf->map.data);
    uint64_t offset = nib__le64(t->data);
    nib__shown name = nib__show(t->name, (size_t)nib__le64((const uint8_t *)t->name - 8));
    if (offset % alignment != 0) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "tensor %s: expected an offset that is a multiple of %zu, got %llu",
                              name.text, alignment, (unsigned long long)offset);
    }
    size_t room = start < gguf->map.size ? gguf->map.size - start : 0;
    if (offset > room || t->size > room - offset) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                              "tensor %s: %zu bytes at offset %llu of the data section, which has "
                              "%zu; is the file cut short?",
                              name.text, t->size, (unsigned long long)offset, room);
    }
    t->data = gguf->map.data + start + offset;
    return NIB_OK;
}

static int compare_data(const void *ctx, uint32_t a, uint32_t b)
{
    const nib__tensor *tensors = ctx;
    return (tensors[a].data > tensors[b].data) - (tensors[a].data < tensors[b].data);
}

static nib_status check_overlap(const nib__gguf *gguf, nib_error *err)
{
    uint32_t *order = nib__alloc_raw(&gguf->mem, gguf->n_tensors, sizeof *order);
    if (order == NULL) {
        return nib__gguf_fail(gguf, err, NIB_ERR_MEMORY, NIB_NO_OFFSET,
                              "out of memory for %zu tensors", gguf->n_tensors);
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) order[i] = (uint32_t)i;
    nib__sort_index(order, gguf->n_tensors, compare_data, gguf->tensors);
    nib_status status = NIB_OK;
    for (size_t i = 1; i < gguf->n_tensors && status == NIB_OK; i++) {
        const nib__tensor *a = &gguf->tensors[order[i - 1]], *b = &gguf->tensors[order[i]];
        if ((size_t)(b->data - a->data) >= a->size) continue;
        nib__shown first = nib__show(a->name, strlen(a->name));
        nib__shown second = nib__show(b->name, strlen(b->name));
        status = nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(b->data - gguf->map.data),
                                "the data of tensors %s and %s overlap", first.text, second.text);
    }
    nib__free(&gguf->mem, order);
    return status;
}

/* Names become NUL-terminated copies. */
static nib_status copy_names(nib__gguf *gguf, nib_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++)
        total += (size_t)nib__le64((const uint8_t *)gguf->tensors[i].name - 8) + 1;
    char *at = gguf->names = nib__alloc_raw(&gguf->mem, total, 1);
    if (at == NULL) {
        return nib__gguf_fail(gguf, err, NIB_ERR_MEMORY, NIB_NO_OFFSET,
                              "out of memory for the names of %zu tensors", gguf->n_tensors);
    }
    const char *end = at + total;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        nib__tensor *t = &gguf->tensors[i];
        uint64_t len = nib__le64((const uint8_t *)t->name - 8);
        if (len >= (size_t)(end - at)) { /* somebody is writing to the file right now */
            return nib__gguf_fail(gguf, err, NIB_ERR_IO, NIB_NO_OFFSET,
                                  "the file was changed while it was read");
        }
        memcpy(at, t->name, (size_t)len);
        at[len] = '\0';
        t->name = at;
        at += len + 1;
    }
    return NIB_OK;
}

static nib_status parse_tensors(nib__gguf *gguf, nib__cursor *c, nib_error *err)
{
    gguf->data_start = c->at;
    if (gguf->n_tensors == 0) return NIB_OK; /* a file that holds a tokenizer only */
    size_t alignment = NIB__GGUF_ALIGNMENT;
    nib_status status = find_alignment(gguf, &alignment, err);
    if (status != NIB_OK) return status;
    gguf->tensors = nib__alloc_raw(&gguf->mem, gguf->n_tensors, sizeof *gguf->tensors);
    if (gguf->tensors == NULL) {
        return nib__gguf_fail(gguf, err, NIB_ERR_MEMORY, NIB_NO_OFFSET,
                              "out of memory for %zu tensors", gguf->n_tensors);
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        status = parse_tensor(gguf, c, &gguf->tensors[i], err);
        if (status != NIB_OK) return status;
    }
    /* The header ends inside the file and the alignment is below 2^32: no overflow in 64 bits. */
    size_t start;
    if (!nib__add(c->at, alignment - 1, &start)) return truncated(gguf, err, c->at, "the padding");
    start &= ~(alignment - 1);
    gguf->data_start = start;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        status = place_tensor(gguf, &gguf->tensors[i], start, alignment, err);
        if (status != NIB_OK) return status;
    }
    status = copy_names(gguf, err);
    if (status != NIB_OK) return status;
    return check_overlap(gguf, err);
}

nib_status nib__gguf_parse(nib__gguf *gguf, nib_error *err)
{
    nib__cursor c = {gguf->map.data, gguf->map.size, 0, false};
    nib_status status = parse_header(gguf, &c, err);
    if (status == NIB_OK) status = parse_keys(gguf, &c, err);
    if (status == NIB_OK) status = nib__packed_begin(gguf, err);
    if (status == NIB_OK) status = parse_tensors(gguf, &c, err);
    if (status == NIB_OK && gguf->packed) status = nib__packed_finish(gguf, err);
    return status;
}

void nib__gguf_free(nib__gguf *gguf)
{
    if (gguf->mem.free == NULL) return;
    nib__free(&gguf->mem, gguf->names);
    nib__free(&gguf->mem, gguf->tensors);
    nib__free(&gguf->mem, gguf->keys_sorted);
    nib__free(&gguf->mem, gguf->keys);
    nib__free(&gguf->mem, gguf->path);
    nib__map_close(&gguf->map);
    *gguf = (nib__gguf){.map.fd = -1};
}
