/* SPDX-License-Identifier: MIT
 * Builds the directory of a GGUF v3 file (the format is at the top of gguf_parse.c). */
#include "file/gguf_write.h"

#include <string.h>

#include "base/bytes.h"
#include "file/source_private.h"

enum { VERSION = 3, COUNTS_AT = 8 };

/* Room for n more bytes; NULL, and no_memory is set, if there is none. */
static uint8_t *extend(nib__gguf_out *out, size_t n)
{
    size_t need;
    void *data = out->data;
    if (out->no_memory || !nib__add(out->len, n, &need) ||
        !nib__grow(&out->mem, &data, &out->cap, need, 1)) {
        out->no_memory = true;
        return NULL;
    }
    out->data = data;
    uint8_t *at = out->data + out->len;
    out->len = need;
    return at;
}

static void put_bytes(nib__gguf_out *out, const void *bytes, size_t n)
{
    uint8_t *at = extend(out, n);
    if (at != NULL && n != 0) memcpy(at, bytes, n);
}

static void put32(nib__gguf_out *out, uint32_t value)
{
    uint8_t *at = extend(out, 4);
    if (at != NULL) nib__put_le32(at, value);
}

static void put64(nib__gguf_out *out, uint64_t value)
{
    uint8_t *at = extend(out, 8);
    if (at != NULL) nib__put_le64(at, value);
}

static void put_name(nib__gguf_out *out, const char *name)
{
    size_t len = strlen(name);
    put64(out, len);
    put_bytes(out, name, len);
}

static void put_key(nib__gguf_out *out, const char *key, nib__meta_type type)
{
    put_name(out, key);
    put32(out, (uint32_t)type);
    out->n_keys++;
}

void nib__gguf_out_begin(nib__gguf_out *out, const nib_allocator *mem)
{
    *out = (nib__gguf_out){.mem = *mem};
    put_bytes(out, "GGUF", 4);
    put32(out, VERSION);
    put64(out, 0); /* counts: known at the end */
    put64(out, 0);
}

void nib__gguf_out_free(nib__gguf_out *out)
{
    if (out->mem.free != NULL) nib__free(&out->mem, out->data);
    *out = (nib__gguf_out){.len = 0};
}

void nib__gguf_out_u32(nib__gguf_out *out, const char *key, uint32_t value)
{
    put_key(out, key, NIB__META_U32);
    put32(out, value);
}

size_t nib__gguf_out_u64(nib__gguf_out *out, const char *key, uint64_t value)
{
    put_key(out, key, NIB__META_U64);
    put64(out, value);
    return out->len - 8;
}

void nib__gguf_out_words(nib__gguf_out *out, const char *key, nib__meta_type type,
                         const uint32_t *words, size_t count)
{
    put_key(out, key, NIB__META_ARRAY);
    put32(out, (uint32_t)type);
    put64(out, count);
    for (size_t i = 0; i < count; i++) put32(out, words[i]);
}

static bool starts(const nib__gguf_key *key, const char *prefix)
{
    size_t len = strlen(prefix);
    return key->name_len >= len && memcmp(nib__gguf_key_name(key), prefix, len) == 0;
}

void nib__gguf_out_copy_keys(nib__gguf_out *out, const nib__source *source)
{
    const nib__gguf *from = nib__source_meta(source);
    for (size_t i = 0; i < from->n_keys; i++) {
        const nib__gguf_key *key = &from->keys[i];
        if (starts(key, "split.") || starts(key, "nibble.") || starts(key, "general.alignment"))
            continue;
        put_bytes(out, key->record, (size_t)(nib__gguf_value_end(key) - key->record));
        out->n_keys++;
    }
}

void nib__gguf_out_tensor(nib__gguf_out *out, const char *name, uint32_t type, uint32_t n_dims,
                          const uint64_t *ne, uint64_t offset)
{
    put_name(out, name);
    put32(out, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) put64(out, ne[i]);
    put32(out, type);
    put64(out, offset);
    out->n_tensors++;
}

nib_status nib__gguf_out_end(nib__gguf_out *out, size_t alignment, nib_error *err)
{
    size_t padding = (alignment - out->len % alignment) % alignment;
    uint8_t *at = extend(out, padding);
    if (at != NULL) memset(at, 0, padding);
    if (out->no_memory)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the directory of a file");
    nib__put_le64(out->data + COUNTS_AT, out->n_tensors);
    nib__put_le64(out->data + COUNTS_AT + 8, out->n_keys);
    return NIB_OK;
}
