/* SPDX-License-Identifier: MIT
 * Reads golden files: little-endian numbers and bytes, one after the other. */
#ifndef NIB_TEST_SUPPORT_BYTE_READER_H
#define NIB_TEST_SUPPORT_BYTE_READER_H

#include "test.h"

typedef struct byte_reader {
    uint8_t *data;
    size_t size, at;
} byte_reader;

/* The next n bytes, which must be there. */
static inline const uint8_t *take(byte_reader *r, size_t n)
{
    assert_true(n <= r->size - r->at);
    r->at += n;
    return r->data + r->at - n;
}

static inline uint32_t take_u16(byte_reader *r)
{
    const uint8_t *p = take(r, 2);
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t take_u32(byte_reader *r)
{
    uint32_t low = take_u16(r);
    return low | take_u16(r) << 16;
}

#endif
