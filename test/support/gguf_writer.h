/* SPDX-License-Identifier: MIT
 * Builds small GGUF files in memory, valid ones and, through the fields that are written as they
 * are, invalid ones. Running out of memory ends the test program. */
#ifndef TEST_SUPPORT_GGUF_WRITER_H
#define TEST_SUPPORT_GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

typedef struct byte_buffer {
    uint8_t *data; /* malloc */
    size_t size, cap;
} byte_buffer;

void buffer_put(byte_buffer *b, const void *data, size_t size);
void buffer_u8(byte_buffer *b, uint8_t value);
void buffer_u32(byte_buffer *b, uint32_t value); /* little endian, as all below */
void buffer_u64(byte_buffer *b, uint64_t value);
void buffer_f32(byte_buffer *b, float value);
void buffer_str(byte_buffer *b, const char *text); /* u64 length and bytes, as GGUF strings */
void buffer_free(byte_buffer *b);

typedef struct gguf_writer {
    /* Set by gguf_begin, counted up by the calls below; change them freely before gguf_end. */
    uint32_t version;
    uint64_t n_tensors, n_keys;
    size_t alignment; /* of tensor data and of the data section; general.alignment is not written */
    byte_buffer keys, infos, data;
} gguf_writer;

void gguf_begin(gguf_writer *w); /* version 3, alignment 32 */

/* Key and type; the caller puts the value into w->keys. */
void gguf_key(gguf_writer *w, const char *key, uint32_t type);
void gguf_u32(gguf_writer *w, const char *key, uint32_t value);
void gguf_u16(gguf_writer *w, const char *key, uint16_t value);
void gguf_i32(gguf_writer *w, const char *key, int32_t value);
void gguf_u64(gguf_writer *w, const char *key, uint64_t value);
void gguf_i64(gguf_writer *w, const char *key, int64_t value);
void gguf_f32(gguf_writer *w, const char *key, float value);
void gguf_f64(gguf_writer *w, const char *key, double value);
void gguf_bool(gguf_writer *w, const char *key, uint8_t value);
void gguf_str(gguf_writer *w, const char *key, const char *value);
void gguf_strs(gguf_writer *w, const char *key, const char *const *values, size_t n);
void gguf_u32s(gguf_writer *w, const char *key, const uint32_t *values, size_t n);
void gguf_i32s(gguf_writer *w, const char *key, const int32_t *values, size_t n);
void gguf_f32s(gguf_writer *w, const char *key, const float *values, size_t n);

/* A tensor with `size` bytes of data (NULL: bytes that count up from 1) at the next aligned
 * offset. type: GGUF type id. */
void gguf_tensor(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                 const uint64_t *ne, const void *data, size_t size);
/* Only the description, with any offset. */
void gguf_info(gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne,
               uint64_t offset);

/* The file, from malloc; the writer is freed. */
uint8_t *gguf_end(gguf_writer *w, size_t *size);

#endif
