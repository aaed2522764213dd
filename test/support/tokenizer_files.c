/* SPDX-License-Identifier: MIT */
#include "tokenizer_files.h"

#include "fixture.h"
#include "gguf_writer.h"
#include "test.h"

enum { HEADER = 24, KEYS_AT = 16 }; /* GGUF: magic, version, tensors, keys */

uint8_t *gguf_with_key(const uint8_t *file, size_t size, const char *key, const char *value,
                       size_t *new_size)
{
    byte_buffer b = {0};
    uint64_t n_keys;
    assert_true(size >= HEADER);
    memcpy(&n_keys, file + KEYS_AT, sizeof n_keys);
    buffer_put(&b, file, KEYS_AT);
    buffer_u64(&b, n_keys + 1);
    buffer_str(&b, key);
    buffer_u32(&b, NIB__META_STRING);
    buffer_str(&b, value);
    buffer_put(&b, file + HEADER, size - HEADER);
    *new_size = b.size;
    return b.data;
}

nib_status tokenizer_from_bytes(const nib_allocator *mem, const uint8_t *file, size_t size,
                                nib__tokenizer **t, nib_error *err)
{
    nib__source *source;
    nib_status status = nib__source_open_memory(mem, file, size, &source, err);
    if (status != NIB_OK) return status;
    status = nib__tokenizer_new(mem, source, t, err);
    nib__source_close(source);
    return status;
}

nib__tokenizer *tokenizer_open(const char *path)
{
    nib_error err = {0};
    nib__source *source;
    nib__tokenizer *t;
    assert_ok(nib__source_open(NULL, path, &source, &err), err);
    assert_ok(nib__tokenizer_new(NULL, source, &t, &err), err);
    nib__source_close(source);
    return t;
}

nib__tokenizer *tokenizer_small(const char *name)
{
    char path[64];
    const char *pre = strncmp(name, "bpe/", 4) == 0 ? name + 4 : NULL;
    snprintf(path, sizeof path, "fixtures/token/%s.gguf", pre != NULL ? "bpe" : name);
    if (pre == NULL) return tokenizer_open(fixture_path(path));
    size_t size, with_pre;
    uint8_t *file = fixture_read(path, &size);
    uint8_t *named = gguf_with_key(file, size, "tokenizer.ggml.pre", pre, &with_pre);
    nib__tokenizer *t;
    nib_error err = {0};
    assert_ok(tokenizer_from_bytes(NULL, named, with_pre, &t, &err), err);
    free(file);
    free(named);
    return t;
}
