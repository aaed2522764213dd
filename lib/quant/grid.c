/* SPDX-License-Identifier: MIT
 * IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, TQ1_0, TQ2_0, blocks of 256. In the IQ
 * formats an index picks the magnitudes of 8 or 4 elements from a grid, signs are stored apart;
 * however many points a grid has, its elements take few different values, so every element becomes
 * a 4-bit code: magnitude in the low bits, sign in bit 3. Block layouts: the GGUF format. */
#include "quant/grid.h"

#include "base/bytes.h"
#include "base/half.h"
#include "quant/decode.h"

const int8_t nib__iq1_values[16] = {-7, 1, 9, 0, 0, 0, 0, 0, -9, -1, 7, 0, 0, 0, 0, 0};
const int8_t nib__iq2_values[16] = {8, 25, 43, 0, 0, 0, 0, 0, -8, -25, -43, 0, 0, 0, 0, 0};
const int8_t nib__iq3xxs_values[16] = {4,  12,  20,  28,  36,  44,  52,  62,
                                       -4, -12, -20, -28, -36, -44, -52, -62};
const int8_t nib__iq3s_values[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};

/* Eight codes from a point of eight 2-bit numbers; bit j of `signs` belongs to code j. */
static void put_point8(uint32_t point, uint32_t signs, uint8_t codes[8])
{
    for (int j = 0; j < 8; j++) {
        codes[j] = (uint8_t)((point >> (2 * j) & 3) | (signs >> j & 1) << 3);
    }
}

static void put_point4(uint32_t point, uint32_t signs, uint8_t codes[4])
{
    for (int j = 0; j < 4; j++) {
        codes[j] = (uint8_t)((point >> (4 * j) & 7) | (signs >> j & 1) << 3);
    }
}

/* Signs of 8 elements in 7 bits: their number is even, which gives the last one. */
static uint32_t even_signs(uint32_t seven)
{
    uint32_t parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return (seven & 127) | (parity & 1) << 7;
}

/* Scale 2s + 1 for elements 16 * first on. */
static void put_odd_scale(uint32_t s, int first, int count, nib__grid_block *b)
{
    for (int i = first; i < first + count; i++) b->scales[i] = (int8_t)(2 * s + 1);
}

/* f16 d, then per 32 elements: u8 index[4], u32 with four times 7 signs and 4 bits of scale. */
static void split_iq2_xxs(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src);
    for (int g = 0; g < 8; g++) {
        const uint8_t *at = src + 2 + 8 * g;
        uint32_t word = nib__le32(at + 4);
        for (int i = 0; i < 4; i++) {
            put_point8(nib__grid_iq2xxs[at[i]], even_signs(word >> (7 * i) & 127),
                       b->codes + 32 * g + 8 * i);
        }
        put_odd_scale(word >> 28, 2 * g, 2, b);
    }
}

/* f16 d, u16 with 9 bits of index and 7 signs [32], u8 two scales of 4 bits [8]. */
static void split_iq2_xs(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src);
    for (int i = 0; i < 32; i++) {
        uint32_t word = nib__le16(src + 2 + 2 * i);
        put_point8(nib__grid_iq2xs[word & 511], even_signs(word >> 9), b->codes + 8 * i);
    }
    for (int i = 0; i < 16; i++) put_odd_scale(src[66 + i / 2] >> (i % 2 * 4) & 15u, i, 1, b);
}

/* f16 d, u8 low bits of the index[32], u8 signs[32], u8 high bits[8], u8 scales[8]. */
static void split_iq2_s(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src);
    for (int i = 0; i < 32; i++) {
        uint32_t high = src[66 + i / 4] >> (i % 4 * 2) & 3u;
        put_point8(nib__grid_iq2s[src[2 + i] | high << 8], src[34 + i], b->codes + 8 * i);
    }
    for (int i = 0; i < 16; i++) put_odd_scale(src[74 + i / 2] >> (i % 2 * 4) & 15u, i, 1, b);
}

/* f16 d, u8 index of 4 elements[64], u32 per 32 elements as in IQ2_XXS. */
static void split_iq3_xxs(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src);
    for (int g = 0; g < 8; g++) {
        uint32_t word = nib__le32(src + 66 + 4 * g);
        for (int i = 0; i < 8; i++) {
            uint32_t signs = even_signs(word >> (i / 2 * 7) & 127) >> (i % 2 * 4);
            put_point4(nib__grid_iq3xxs[src[2 + 8 * g + i]], signs, b->codes + 32 * g + 4 * i);
        }
        put_odd_scale(word >> 28, 2 * g, 2, b);
    }
}

/* f16 d, u8 low bits of the index[64], u8 high bits[8], u8 signs[32], u8 scales of 32[4]. */
static void split_iq3_s(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src);
    for (int i = 0; i < 64; i++) {
        uint32_t high = src[66 + i / 8] >> (i % 8) & 1u;
        uint32_t signs = (uint32_t)src[74 + i / 2] >> (i % 2 * 4);
        put_point4(nib__grid_iq3s[src[2 + i] | high << 8], signs, b->codes + 4 * i);
    }
    for (int g = 0; g < 8; g++) put_odd_scale(src[106 + g / 2] >> (g % 2 * 4) & 15u, 2 * g, 2, b);
}

/* f16 d, u8 low bits of the index[32], u16 per 32 elements: high bits of four, scale, and the sign
 * of the eighth that is added to each of them. */
static void split_iq1_s(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src);
    for (int i = 0; i < 32; i++) {
        uint32_t word = nib__le16(src + 34 + i / 4 * 2), high = word >> (i % 4 * 3) & 7;
        put_point8(nib__grid_iq1s[src[2 + i] | high << 8], word >> 15 != 0 ? 255 : 0,
                   b->codes + 8 * i);
    }
    for (int g = 0; g < 8; g++) put_odd_scale(src[35 + 2 * g] >> 4 & 7u, 2 * g, 2, b);
}

/* u8 low bits of the index[32], per 8 elements a nibble with the high bits and the sign of the
 * eighth [32], u16[4]: four scales of 3 bits and a quarter of the f16 d each. */
static void split_iq1_m(const uint8_t *src, nib__grid_block *b)
{
    b->d = 0;
    for (int i = 0; i < 4; i++) b->d |= (uint16_t)(nib__le16(src + 48 + 2 * i) >> 12 << (4 * i));
    for (int i = 0; i < 32; i++) {
        uint32_t nibble = (uint32_t)src[32 + i / 2] >> (i % 2 * 4);
        put_point8(nib__grid_iq1s[src[i] | (nibble & 7) << 8], (nibble & 8) != 0 ? 255 : 0,
                   b->codes + 8 * i);
    }
    for (int i = 0; i < 16; i++) {
        put_odd_scale(nib__le16(src + 48 + i / 4 * 2) >> (i % 4 * 3) & 7u, i, 1, b);
    }
}

/* Codes of `count` bytes, `fields` base-3 digits each: digit f of byte i becomes code f * count +
 * i. A byte holds its digits as a fraction of 256, so the first is the integer part of 3/256 of it.
 */
static void put_digits(const uint8_t *src, int count, int fields, uint8_t *codes)
{
    for (int i = 0; i < count; i++) {
        uint8_t left = src[i];
        for (int f = 0; f < fields; f++, left = (uint8_t)(left * 3)) {
            codes[f * count + i] = (uint8_t)(left * 3 >> 8);
        }
    }
}

/* u8 of five digits[32 and 16], u8 of four[4], f16 d. */
static void split_tq1_0(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src + 52);
    put_digits(src, 32, 5, b->codes);
    put_digits(src + 32, 16, 5, b->codes + 160);
    put_digits(src + 48, 4, 4, b->codes + 240);
    for (int i = 0; i < 16; i++) b->scales[i] = 1;
}

/* Per half of 128, four 2-bit fields of the same 32 bytes; f16 d. */
static void split_tq2_0(const uint8_t *src, nib__grid_block *b)
{
    b->d = nib__le16(src + 64);
    for (int i = 0; i < 256; i++) {
        b->codes[i] = src[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    }
    for (int i = 0; i < 16; i++) b->scales[i] = 1;
}

void nib__grid_split(nib__format format, const uint8_t *src, nib__grid_block *block)
{
    switch (format) {
    case NIB__IQ1_S: split_iq1_s(src, block); break;
    case NIB__IQ1_M: split_iq1_m(src, block); break;
    case NIB__IQ2_XXS: split_iq2_xxs(src, block); break;
    case NIB__IQ2_XS: split_iq2_xs(src, block); break;
    case NIB__IQ2_S: split_iq2_s(src, block); break;
    case NIB__IQ3_XXS: split_iq3_xxs(src, block); break;
    case NIB__IQ3_S: split_iq3_s(src, block); break;
    case NIB__TQ1_0: split_tq1_0(src, block); break;
    default: split_tq2_0(src, block); break;
    }
}

/* Blocks of block_bytes; every product is exact in float32. */
static void decode_grid(nib__format format, size_t block_bytes, float unit, const int8_t *values,
                        const uint8_t *src, float *dst, size_t n)
{
    for (size_t at = 0; at < n; at += 256, src += block_bytes, dst += 256) {
        nib__grid_block b;
        nib__grid_split(format, src, &b);
        float d = nib__f32_of_f16(b.d) * unit;
        for (int i = 0; i < 256; i++) {
            dst[i] = d * (float)b.scales[i / 16] * (float)values[b.codes[i]];
        }
    }
}

static const int8_t ternary[4] = {-1, 0, 1, 2};

void nib__decode_iq1_s(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ1_S, 50, 0.125f, nib__iq1_values, src, dst, n);
}

void nib__decode_iq1_m(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ1_M, 56, 0.125f, nib__iq1_values, src, dst, n);
}

void nib__decode_iq2_xxs(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ2_XXS, 66, 0.125f, nib__iq2_values, src, dst, n);
}

void nib__decode_iq2_xs(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ2_XS, 74, 0.125f, nib__iq2_values, src, dst, n);
}

void nib__decode_iq2_s(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ2_S, 82, 0.125f, nib__iq2_values, src, dst, n);
}

void nib__decode_iq3_xxs(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ3_XXS, 98, 0.25f, nib__iq3xxs_values, src, dst, n);
}

void nib__decode_iq3_s(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__IQ3_S, 110, 1.0f, nib__iq3s_values, src, dst, n);
}

void nib__decode_tq1_0(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__TQ1_0, 54, 1.0f, ternary, src, dst, n);
}

void nib__decode_tq2_0(const uint8_t *src, float *dst, size_t n)
{
    decode_grid(NIB__TQ2_0, 66, 1.0f, ternary, src, dst, n);
}
