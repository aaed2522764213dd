/* SPDX-License-Identifier: MIT
 * What distinguishes a repacked file from any other GGUF file: its version, its checksums, and the
 * meaning of the tensors that hold panels. */
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "file/packed.h"
#include "file/source_private.h"
#include "kernels/kernels.h"

nib_status nib__packed_begin(nib__gguf *gguf, nib_error *err)
{
    int64_t layout = 0;
    int32_t status = nib__gguf_i64(gguf, NIB__PACKED_LAYOUT, 0, UINT32_MAX, &layout, err);
    if (status == NIB__ABSENT) return NIB_OK;
    if (status != NIB_OK) return status;
    if (layout != NIB__LAYOUT_VERSION) {
        const nib__gguf_key *key = nib__gguf_find(gguf, NIB__PACKED_LAYOUT);
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, (size_t)(key->value - gguf->map.data),
                              "repacked for layout %lld, this library has layout %d; repack the "
                              "original model again",
                              (long long)layout, (int)NIB__LAYOUT_VERSION);
    }
    gguf->packed = true;
    return NIB_OK;
}

uint64_t nib__packed_directory_hash(const uint8_t *file, size_t size, size_t at)
{
    static const uint8_t zeros[8];
    nib__hash hash;
    nib__hash_init(&hash, 0);
    nib__hash_add(&hash, file, at);
    nib__hash_add(&hash, zeros, sizeof zeros);
    nib__hash_add(&hash, file + at + sizeof zeros, size - at - sizeof zeros);
    return nib__hash_value(&hash);
}

static const nib__gguf_key *find_typed(const nib__gguf *gguf, const char *name, uint32_t type,
                                       nib_error *err)
{
    const nib__gguf_key *key = nib__gguf_find(gguf, name);
    if (key != NULL && key->type == type) return key;
    (void)nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, NIB_NO_OFFSET,
                         "key %s: a repacked file needs it, with type %s", name,
                         nib__gguf_type_name(type));
    return NULL;
}

static nib_status check_directory(const nib__gguf *gguf, nib_error *err)
{
    const nib__gguf_key *key = find_typed(gguf, NIB__PACKED_DIRECTORY, NIB__META_U64, err);
    if (key == NULL) return NIB_ERR_FORMAT;
    size_t at = (size_t)(key->value - gguf->map.data);
    size_t size = gguf->data_start < gguf->map.size ? gguf->data_start : gguf->map.size;
    if (nib__packed_directory_hash(gguf->map.data, size, at) == nib__le64(key->value))
        return NIB_OK;
    return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at,
                          "the checksum of the directory does not fit: the file is damaged");
}

/* The 32-bit elements of an array with one element per tensor; NULL after a message. */
static const uint8_t *find_column(const nib__gguf *gguf, const char *name, uint32_t type,
                                  nib_error *err)
{
    const nib__gguf_key *key = find_typed(gguf, name, NIB__META_ARRAY, err);
    if (key == NULL) return NULL;
    const uint8_t *elements = key->value + 12;
    size_t size = (size_t)(nib__gguf_value_end(key) - elements);
    if (nib__le32(key->value) == type && size == gguf->n_tensors * sizeof(uint32_t))
        return elements;
    (void)nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, (size_t)(key->value - gguf->map.data),
                         "key %s: expected an array of %zu %s", name, gguf->n_tensors,
                         nib__gguf_type_name(type));
    return NULL;
}

static nib_status place_panels(const nib__gguf *gguf, nib__tensor *t, uint32_t type, uint32_t rows,
                               uint32_t columns, nib_error *err)
{
    size_t at = (size_t)(t->data - gguf->map.data), size = 0;
    nib__shown name = nib__show(t->name, strlen(t->name));
    nib__packed w;
    nib_error why = {.text = "expected data of type I8, aligned to 64 bytes"};
    const nib__format_info *format = nib__format_find(type);
    bool fits = t->format == NULL && t->n_dims == 1 && at % NIB_ALIGN == 0;
    if (fits && format == NULL) {
        fits = false;
        nib__text(why.text, sizeof why.text, "type %u is not known", type);
    }
    if (fits) fits = nib__packed_init(&w, format->format, rows, columns, &why) == NIB_OK;
    if (fits && (!nib__mul(w.n_panels, w.panel_bytes, &size) || size != t->size)) {
        fits = false;
        nib__text(why.text, sizeof why.text, "panels of %u x %u %s take %zu bytes, got %zu",
                  columns, rows, format->name, size, t->size);
    }
    if (!fits) {
        return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, at, "packed tensor %s: %s", name.text,
                              why.text);
    }
    t->format = format;
    t->n_dims = 2;
    t->ne[0] = columns;
    t->ne[1] = rows;
    t->packed = true;
    return NIB_OK;
}

nib_status nib__packed_finish(nib__gguf *gguf, nib_error *err)
{
    nib_status status = check_directory(gguf, err);
    if (status != NIB_OK || gguf->n_tensors == 0) return status;
    const uint8_t *types = find_column(gguf, NIB__PACKED_TYPES, NIB__META_I32, err);
    const uint8_t *rows = find_column(gguf, NIB__PACKED_ROWS, NIB__META_U32, err);
    const uint8_t *columns = find_column(gguf, NIB__PACKED_COLUMNS, NIB__META_U32, err);
    if (types == NULL || rows == NULL || columns == NULL) return NIB_ERR_FORMAT;
    for (size_t i = 0; i < gguf->n_tensors && status == NIB_OK; i++) {
        nib__tensor *t = &gguf->tensors[i];
        uint32_t type = nib__le32(types + 4 * i);
        if (type != UINT32_MAX || t->format == NULL) {
            status = place_panels(gguf, t, type, nib__le32(rows + 4 * i),
                                  nib__le32(columns + 4 * i), err);
        }
    }
    return status;
}

nib_status nib__packed_verify(const nib__gguf *gguf, nib_error *err)
{
    if (!gguf->packed) {
        return nib__gguf_fail(gguf, err, NIB_ERR_UNSUPPORTED, NIB_NO_OFFSET,
                              "the file has no checksums: only repacked files have");
    }
    const nib__gguf_key *key = find_typed(gguf, NIB__PACKED_DATA, NIB__META_U64, err);
    if (key == NULL) return NIB_ERR_FORMAT;
    size_t start = gguf->data_start < gguf->map.size ? gguf->data_start : gguf->map.size;
    if (nib__hash64(gguf->map.data + start, gguf->map.size - start) == nib__le64(key->value))
        return NIB_OK;
    return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, start,
                          "the checksum of the weights does not fit: the file is damaged");
}

/* ---- as a source ---- */

int32_t nib__source_repacked(const nib__source *source)
{
    return source->n_parts != 0 && source->parts[0].packed;
}

int32_t nib__source_identity(const nib__source *source, uint64_t *identity, nib_error *err)
{
    if (!nib__source_repacked(source)) return NIB__ABSENT;
    const nib__gguf_key *key =
        find_typed(&source->parts[0], NIB__PACKED_IDENTITY, NIB__META_U64, err);
    if (key == NULL) return NIB_ERR_FORMAT;
    *identity = nib__le64(key->value);
    return NIB_OK;
}

nib_status nib__source_verify(const nib__source *source, nib_error *err)
{
    nib_status status = NIB_OK;
    if (source->n_parts == 0) {
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "%s: the files have no checksums: only repacked files have",
                         nib__source_path(source));
    }
    for (size_t p = 0; p < source->n_parts && status == NIB_OK; p++)
        status = nib__packed_verify(&source->parts[p], err);
    return status;
}
