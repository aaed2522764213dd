/* SPDX-License-Identifier: MIT
 * Builds small GGUF files in memory. */
#include "gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---- */

void buffer_put(byte_buffer *b, const void *data, size_t size)
{
    if (size > b->cap - b->size) {
        b->cap = 2 * b->cap + size;
        b->data = realloc(b->data, b->cap);
        if (b->data == NULL) {
            fputs("out of memory\n", stderr);
            exit(1);
        }
    }
    if (size != 0) memcpy(b->data + b->size, data, size);
    b->size += size;
}

void buffer_u8(byte_buffer *b, uint8_t value)
{
    buffer_put(b, &value, 1);
}

void buffer_u32(byte_buffer *b, uint32_t value)
{
    for (int i = 0; i < 4; i++) buffer_u8(b, (uint8_t)(value >> 8 * i));
}

void buffer_u64(byte_buffer *b, uint64_t value)
{
    buffer_u32(b, (uint32_t)value);
    buffer_u32(b, (uint32_t)(value >> 32));
}

void buffer_f32(byte_buffer *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    buffer_u32(b, bits);
}

void buffer_str(byte_buffer *b, const char *text)
{
    buffer_u64(b, strlen(text));
    buffer_put(b, text, strlen(text));
}

void buffer_free(byte_buffer *b)
{
    free(b->data);
    *b = (byte_buffer){NULL, 0, 0};
}

static void pad(byte_buffer *b, size_t alignment)
{
    while (b->size % alignment != 0) buffer_u8(b, 0);
}

/* ---- keys ---- */

enum {
    U16 = 2,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    BOOL = 7,
    STRING = 8,
    ARRAY = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12
};

void gguf_begin(gguf_writer *w)
{
    memset(w, 0, sizeof *w);
    w->version = 3;
    w->alignment = 32;
}

void gguf_key(gguf_writer *w, const char *key, uint32_t type)
{
    buffer_str(&w->keys, key);
    buffer_u32(&w->keys, type);
    w->n_keys++;
}

void gguf_u16(gguf_writer *w, const char *key, uint16_t value)
{
    gguf_key(w, key, U16);
    buffer_u8(&w->keys, (uint8_t)value);
    buffer_u8(&w->keys, (uint8_t)(value >> 8));
}

void gguf_u32(gguf_writer *w, const char *key, uint32_t value)
{
    gguf_key(w, key, U32);
    buffer_u32(&w->keys, value);
}

void gguf_i32(gguf_writer *w, const char *key, int32_t value)
{
    gguf_key(w, key, I32);
    buffer_u32(&w->keys, (uint32_t)value);
}

void gguf_u64(gguf_writer *w, const char *key, uint64_t value)
{
    gguf_key(w, key, U64);
    buffer_u64(&w->keys, value);
}

void gguf_i64(gguf_writer *w, const char *key, int64_t value)
{
    gguf_key(w, key, I64);
    buffer_u64(&w->keys, (uint64_t)value);
}

void gguf_f32(gguf_writer *w, const char *key, float value)
{
    gguf_key(w, key, F32);
    buffer_f32(&w->keys, value);
}

void gguf_f64(gguf_writer *w, const char *key, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    gguf_key(w, key, F64);
    buffer_u64(&w->keys, bits);
}

void gguf_bool(gguf_writer *w, const char *key, uint8_t value)
{
    gguf_key(w, key, BOOL);
    buffer_u8(&w->keys, value);
}

void gguf_str(gguf_writer *w, const char *key, const char *value)
{
    gguf_key(w, key, STRING);
    buffer_str(&w->keys, value);
}

static void array_key(gguf_writer *w, const char *key, uint32_t type, size_t n)
{
    gguf_key(w, key, ARRAY);
    buffer_u32(&w->keys, type);
    buffer_u64(&w->keys, n);
}

void gguf_strs(gguf_writer *w, const char *key, const char *const *values, size_t n)
{
    array_key(w, key, STRING, n);
    for (size_t i = 0; i < n; i++) buffer_str(&w->keys, values[i]);
}

void gguf_u32s(gguf_writer *w, const char *key, const uint32_t *values, size_t n)
{
    array_key(w, key, U32, n);
    for (size_t i = 0; i < n; i++) buffer_u32(&w->keys, values[i]);
}

void gguf_i32s(gguf_writer *w, const char *key, const int32_t *values, size_t n)
{
    array_key(w, key, I32, n);
    for (size_t i = 0; i < n; i++) buffer_u32(&w->keys, (uint32_t)values[i]);
}

void gguf_f32s(gguf_writer *w, const char *key, const float *values, size_t n)
{
    array_key(w, key, F32, n);
    for (size_t i = 0; i < n; i++) buffer_f32(&w->keys, values[i]);
}

/* ---- tensors ---- */

void gguf_info(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne,
               uint64_t offset)
{
    buffer_str(&w->infos, name);
    buffer_u32(&w->infos, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) buffer_u64(&w->infos, ne[i]);
    buffer_u32(&w->infos, type);
    buffer_u64(&w->infos, offset);
    w->n_tensors++;
}

void gguf_tensor(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                 const uint64_t *ne, const void *data, size_t size)
{
    pad(&w->data, w->alignment);
    gguf_info(w, name, type, n_dims, ne, w->data.size);
    if (data != NULL) {
        buffer_put(&w->data, data, size);
    } else {
        for (size_t i = 0; i < size; i++) buffer_u8(&w->data, (uint8_t)(i + 1));
    }
}

uint8_t *gguf_end(gguf_writer *w, size_t *size)
{
    byte_buffer file = {NULL, 0, 0};
    buffer_put(&file, "GGUF", 4);
    buffer_u32(&file, w->version);
    buffer_u64(&file, w->n_tensors);
    buffer_u64(&file, w->n_keys);
    buffer_put(&file, w->keys.data, w->keys.size);
    buffer_put(&file, w->infos.data, w->infos.size);
    if (w->data.size != 0) pad(&file, w->alignment);
    buffer_put(&file, w->data.data, w->data.size);
    buffer_free(&w->keys);
    buffer_free(&w->infos);
    buffer_free(&w->data);
    *size = file.size;
    return file.data;
}
