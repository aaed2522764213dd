/* SPDX-License-Identifier: MIT
 * Packing of the formats that are met most, with vectors of 16 bytes, which every 64-bit processor
 * has: 16 bytes of four rows become four vectors, each with one 32-bit word of the four rows, for
 * that is how they lie in a panel; codes are then taken apart in all four at once. */
#include "kernels/pack.h"

#include <string.h>

#include "base/bytes.h"

typedef uint32_t words __attribute__((vector_size(16))); /* one of each of four rows */
typedef uint8_t bytes __attribute__((vector_size(16)));

/* ---- four rows --------------------------------------------------------------------------------
 */

static inline words load(const uint8_t *src)
{
    words w;
    memcpy(&w, src, sizeof w);
    return w;
}

/* t[j]: word j of the 16 bytes at `at` in the block of each row. `n` of the rows exist. */
static inline void take(const nib__blocks *b, uint32_t row, uint32_t n, size_t at, words t[4])
{
    const uint8_t *src = b->src + row * b->stride + at;
    words r0 = load(src), r1 = load(src + (n > 1 ? b->stride : 0));
    words r2 = load(src + (n > 2 ? 2 * b->stride : 0)),
          r3 = load(src + (n > 3 ? 3 * b->stride : 0));
    words a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    words c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    words d = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    words e = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    t[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    t[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    t[2] = __builtin_shufflevector(d, e, 0, 1, 4, 5);
    t[3] = __builtin_shufflevector(d, e, 2, 3, 6, 7);
}

static inline void put(words line, uint32_t n, uint8_t *dst)
{
    if (n == 4)
        memcpy(dst, &line, sizeof line);
    else
        memcpy(dst, &line, n * sizeof line[0]);
}

/* Two lines of codes in low nibbles, as one of both; and of those in high ones. */
static inline words low_nibbles(words a, words b)
{
    return (a & 0x0f0f0f0fu) | (b & 0x0f0f0f0fu) << 4;
}

static inline words high_nibbles(words a, words b)
{
    return (a >> 4 & 0x0f0f0f0fu) | (b & 0xf0f0f0f0u);
}

/* Low nibbles of 16 bytes are two lines at `low`, high ones two at `high`. */
static inline void put_nibbles(const words t[4], uint32_t n, uint8_t *low, uint8_t *high)
{
    put(low_nibbles(t[0], t[1]), n, low);
    put(low_nibbles(t[2], t[3]), n, low + 64);
    put(high_nibbles(t[0], t[1]), n, high);
    put(high_nibbles(t[2], t[3]), n, high + 64);
}

/* 32 bytes at `at` hold the codes of one group in low nibbles, those of another in high ones. */
static inline void put_32_bytes(const nib__blocks *b, uint32_t row, uint32_t n, size_t at,
                                uint8_t *low, uint8_t *high)
{
    words t[4];
    take(b, row, n, at, t);
    put_nibbles(t, n, low + 4 * row, high + 4 * row);
    take(b, row, n, at + 16, t);
    put_nibbles(t, n, low + 128 + 4 * row, high + 128 + 4 * row);
}

static inline void swap_fields(words *a, words *b, uint32_t mask, uint32_t shift)
{
    words swap = (*a >> shift ^ *b) & mask;
    *b ^= swap;
    *a ^= swap << shift;
}

/* Field f (2 bits) of word w becomes field w of word f, in every byte. */
static inline void transpose_fields(words w[4])
{
    swap_fields(&w[0], &w[1], 0x33333333u, 2);
    swap_fields(&w[2], &w[3], 0x33333333u, 2);
    swap_fields(&w[0], &w[2], 0x0f0f0f0fu, 4);
    swap_fields(&w[1], &w[3], 0x0f0f0f0fu, 4);
}

/* ---- scales of sixteen rows -------------------------------------------------------------------
 */

/* [16][n] bytes -> [n][16]; n: 8 or 16. Interleaving the two halves doubles the index of every
 * byte, modulo their number: four times, and it has moved from row * n + j to j * 16 + row. */
static void transpose_bytes(uint8_t *table, int n)
{
    bytes v[16], next[16];
    memcpy(v, table, 16 * (size_t)n);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < n / 2; i++) {
            bytes a = v[i], b = v[i + n / 2];
            next[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                                  22, 7, 23);
            next[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                      13, 29, 14, 30, 15, 31);
        }
        memcpy(v, next, 16 * (size_t)n);
    }
    memcpy(table, v, 16 * (size_t)n);
}

/* u16 number `slot` of the scale area, from `at` in each block. */
static void put_halves(const nib__blocks *b, size_t at, uint32_t slot)
{
    for (uint32_t row = 0; row < b->rows; row++)
        memcpy(b->entry + slot * 32 + row * 2, b->src + row * b->stride + at, 2);
}

static uint32_t count_of(const nib__blocks *b, uint32_t row)
{
    return b->rows - row < 4 ? b->rows - row : 4;
}

/* ---- formats ----------------------------------------------------------------------------------
 */

static void pack_16_bytes(const nib__blocks *b, size_t at)
{
    for (uint32_t row = 0; row < b->rows; row += 4) {
        words t[4];
        take(b, row, count_of(b, row), at, t);
        put_nibbles(t, count_of(b, row), b->groups + 4 * row, b->groups + 128 + 4 * row);
    }
}

static void pack_q4_0(const nib__blocks *b)
{
    put_halves(b, 0, 0);
    pack_16_bytes(b, 2);
}

static void pack_q4_1(const nib__blocks *b)
{
    put_halves(b, 0, 0);
    put_halves(b, 2, 1);
    pack_16_bytes(b, 4);
}

static void pack_q8_0(const nib__blocks *b)
{
    put_halves(b, 0, 0);
    for (uint32_t row = 0; row < b->rows; row += 4) {
        for (size_t part = 0; part < 2; part++) {
            words t[4];
            take(b, row, count_of(b, row), 2 + 16 * part, t);
            for (size_t j = 0; j < 4; j++) { /* + 128 */
                put(t[j] ^ 0x80808080u, count_of(b, row),
                    b->groups + 256 * part + 64 * j + 4 * row);
            }
        }
    }
}

/* 32 bytes hold 32 low nibbles, then 32 high ones. */
static void pack_q4_k(const nib__blocks *b)
{
    uint32_t scales[16][2] = {{0}}, mins[16][2] = {{0}};
    for (uint32_t row = 0; row < b->rows; row++)
        nib__k4_scales(b->src + row * b->stride + 4, scales[row], mins[row]);
    transpose_bytes((uint8_t *)scales, 8);
    transpose_bytes((uint8_t *)mins, 8);
    put_halves(b, 0, 0);
    put_halves(b, 2, 1);
    for (int j = 0; j < 8; j++) {
        memcpy(b->entry + 64 + 32 * j, (uint8_t *)scales + 16 * j, 16);
        memcpy(b->entry + 64 + 32 * j + 16, (uint8_t *)mins + 16 * j, 16);
    }
    for (uint32_t row = 0; row < b->rows; row += 4) {
        for (size_t i = 0; i < 4; i++) {
            uint8_t *low = b->groups + 512 * i;
            put_32_bytes(b, row, count_of(b, row), 16 + 32 * i, low, low + 256);
        }
    }
}

/* Per half of 128: groups 0 and 1 are low nibbles of 64 bytes, 2 and 3 the high ones; the upper two
 * bits of group g are field g of 32 bytes. */
static void pack_q6_k(const nib__blocks *b)
{
    enum { GROUP = 384, HIGH = 256 };
    uint8_t scales[16][16] = {{0}};
    for (uint32_t row = 0; row < b->rows; row++)
        memcpy(scales[row], b->src + row * b->stride + 192, 16);
    transpose_bytes(scales[0], 16);
    put_halves(b, 208, 0);
    memcpy(b->entry + 32, scales, sizeof scales);
    for (uint32_t row = 0; row < b->rows; row += 4) {
        uint32_t n = count_of(b, row);
        for (size_t half = 0; half < 2; half++) {
            uint8_t *groups = b->groups + 4 * GROUP * half;
            put_32_bytes(b, row, n, 64 * half, groups, groups + 2 * GROUP);
            put_32_bytes(b, row, n, 64 * half + 32, groups + GROUP, groups + 3 * GROUP);
            for (size_t part = 0; part < 2; part++) {
                words t[4];
                take(b, row, n, 128 + 32 * half + 16 * part, t);
                transpose_fields(t);
                for (size_t g = 0; g < 4; g++)
                    put(t[g], n, groups + g * GROUP + HIGH + 64 * part + 4 * row);
            }
        }
    }
}

nib__pack_blocks *nib__pack_blocks_of(nib__format format)
{
    switch (format) {
    case NIB__Q4_0:
    case NIB__IQ4_NL: return pack_q4_0;
    case NIB__Q4_1: return pack_q4_1;
    case NIB__Q8_0: return pack_q8_0;
    case NIB__Q4_K: return pack_q4_k;
    case NIB__Q6_K: return pack_q6_k;
    default: return NULL;
    }
}
