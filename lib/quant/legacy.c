/* SPDX-License-Identifier: MIT
 * Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: blocks of 32 elements with one f16 scale d and, in the _1 formats,
 * one f16 offset m. Four-bit formats store element j in the low and element j + 16 in the high half
 * of byte j; five-bit formats keep the fifth bit of element j in bit j of a little-endian u32. */
#include "base/bytes.h"
#include "base/half.h"
#include "quant/decode.h"

enum { BLOCK = 32, HALF = 16 };

void nib__decode_q4_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 18, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        const uint8_t *qs = src + 2;
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)((qs[j] & 15) - 8);
            dst[j + HALF] = d * (float)((qs[j] >> 4) - 8);
        }
    }
}

void nib__decode_q4_1(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 20, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        float m = nib__f32_of_f16(nib__le16(src + 2));
        const uint8_t *qs = src + 4;
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)(qs[j] & 15) + m;
            dst[j + HALF] = d * (float)(qs[j] >> 4) + m;
        }
    }
}

/* Bit j of the u32 as the fifth bit of an element. */
static int fifth_bit(uint32_t qh, int j)
{
    return (int)(qh >> j & 1u) << 4;
}

void nib__decode_q5_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 22, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        uint32_t qh = nib__le32(src + 2);
        const uint8_t *qs = src + 6;
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)(((qs[j] & 15) | fifth_bit(qh, j)) - 16);
            dst[j + HALF] = d * (float)(((qs[j] >> 4) | fifth_bit(qh, j + HALF)) - 16);
        }
    }
}

void nib__decode_q5_1(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 24, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        float m = nib__f32_of_f16(nib__le16(src + 2));
        uint32_t qh = nib__le32(src + 4);
        const uint8_t *qs = src + 8;
        for (int j = 0; j < HALF; j++) {
            dst[j] = d * (float)((qs[j] & 15) | fifth_bit(qh, j)) + m;
            dst[j + HALF] = d * (float)((qs[j] >> 4) | fifth_bit(qh, j + HALF)) + m;
        }
    }
}

void nib__decode_q8_0(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 34, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        for (int j = 0; j < BLOCK; j++) dst[j] = (float)(int8_t)src[2 + j] * d;
    }
}
