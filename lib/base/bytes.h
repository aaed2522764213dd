/* SPDX-License-Identifier: MIT
 * Little-endian numbers, and reads from untrusted bytes through a cursor that cannot leave its
 * bounds. */
#ifndef NIB_BASE_BYTES_H
#define NIB_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t nib__le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t nib__le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t nib__le64(const uint8_t *p)
{
    return (uint64_t)nib__le32(p) | (uint64_t)nib__le32(p + 4) << 32;
}

static inline float nib__lef32(const uint8_t *p)
{
    uint32_t bits = nib__le32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double nib__lef64(const uint8_t *p)
{
    uint64_t bits = nib__le64(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void nib__put_le32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> 8 * i);
}

static inline void nib__put_le64(uint8_t *p, uint64_t value)
{
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(value >> 8 * i);
}

/* After the first read past the end `failed` stays set and every read gives 0 or NULL. */
typedef struct nib__cursor {
    const uint8_t *base;
    size_t size;
    size_t at;
    bool failed;
} nib__cursor;

static inline size_t nib__cursor_left(const nib__cursor *c)
{
    return c->failed ? 0 : c->size - c->at;
}

static inline const uint8_t *nib__cursor_take(nib__cursor *c, uint64_t n)
{
    if (c->failed || n > c->size - c->at) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->base + c->at;
    c->at += (size_t)n;
    return p;
}

static inline uint8_t nib__cursor_u8(nib__cursor *c)
{
    const uint8_t *p = nib__cursor_take(c, 1);
    return p ? *p : 0;
}

static inline uint32_t nib__cursor_u32(nib__cursor *c)
{
    const uint8_t *p = nib__cursor_take(c, 4);
    return p ? nib__le32(p) : 0;
}

static inline uint64_t nib__cursor_u64(nib__cursor *c)
{
    const uint8_t *p = nib__cursor_take(c, 8);
    return p ? nib__le64(p) : 0;
}

#endif
