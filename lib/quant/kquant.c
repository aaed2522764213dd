/* SPDX-License-Identifier: MIT
 * Q2_K to Q6_K: blocks of 256 elements in groups of 16 or 32, whose small integer scales (and mins)
 * are multiplied by one or two f16 factors of the block. */
#include "base/bytes.h"
#include "base/half.h"
#include "quant/decode.h"
#include "quant/format.h"

enum { BLOCK = 256 };

/* Q2_K, 84 bytes: u8 scale|min<<4 [16], u8 qs[64], f16 d, f16 dmin. Each half of 128 elements holds
 * 32 bytes whose four bit pairs are four runs of 32 elements; a scale covers 16. */
void nib__decode_q2_k(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 84, dst += BLOCK) {
        const uint8_t *scales = src, *qs = src + 16;
        float d = nib__f32_of_f16(nib__le16(src + 80));
        float dmin = nib__f32_of_f16(nib__le16(src + 82));
        for (int g = 0; g < 16; g++) { /* group of 16: half g / 8, bit pair g / 2 % 4 */
            float scale = d * (float)(scales[g] & 15);
            float min = dmin * (float)(scales[g] >> 4);
            const uint8_t *q = qs + g / 8 * 32 + g % 2 * 16;
            int shift = g / 2 % 4 * 2;
            for (int l = 0; l < 16; l++) dst[16 * g + l] = scale * (float)(q[l] >> shift & 3) - min;
        }
    }
}

/* Low nibbles of byte k % 8, and two high bits out of bytes 8..11. */
void nib__q3k_scales(const uint8_t packed[12], int8_t scales[16])
{
    for (int k = 0; k < 16; k++) {
        int low = k < 8 ? packed[k] & 15 : packed[k - 8] >> 4;
        int high = packed[8 + k % 4] >> (2 * (k / 4)) & 3;
        scales[k] = (int8_t)((low | high << 4) - 32);
    }
}

/* Q3_K, 110 bytes: u8 hmask[32], u8 qs[64], u8 scales[12], f16 d. Order of the low two bits as in
 * Q2_K. The third bit of run r (32 elements) is bit r of hmask; it is inverted: 0 takes 4 off. */
void nib__decode_q3_k(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 110, dst += BLOCK) {
        const uint8_t *hmask = src, *qs = src + 32;
        float d = nib__f32_of_f16(nib__le16(src + 108));
        int8_t scales[16];
        nib__q3k_scales(src + 96, scales);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)scales[g];
            const uint8_t *q = qs + g / 8 * 32 + g % 2 * 16, *h = hmask + g % 2 * 16;
            int shift = g / 2 % 4 * 2, bit = g / 2;
            for (int l = 0; l < 16; l++) {
                int value = (q[l] >> shift & 3) - (h[l] >> bit & 1 ? 0 : 4);
                dst[16 * g + l] = scale * (float)value;
            }
        }
    }
}

void nib__k4_scale_min(const uint8_t packed[12], int j, uint8_t *sc, uint8_t *m)
{
    if (j < 4) {
        *sc = packed[j] & 63;
        *m = packed[j + 4] & 63;
    } else {
        *sc = (uint8_t)((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4);
        *m = (uint8_t)(packed[j + 4] >> 4 | (packed[j] >> 6) << 4);
    }
}

/* Q4_K, 144 bytes: f16 d, f16 dmin, u8 scales and mins[12], u8 qs[128]. 32 bytes hold the group 2j
 * in their low and the group 2j + 1 in their high nibbles. */
void nib__decode_q4_k(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 144, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        float dmin = nib__f32_of_f16(nib__le16(src + 2));
        for (int g = 0; g < 8; g++) {
            uint8_t sc, m;
            nib__k4_scale_min(src + 4, g, &sc, &m);
            float scale = d * (float)sc, min = dmin * (float)m;
            const uint8_t *q = src + 16 + g / 2 * 32;
            int shift = g % 2 * 4;
            for (int l = 0; l < 32; l++)
                dst[32 * g + l] = scale * (float)(q[l] >> shift & 15) - min;
        }
    }
}

/* Q5_K, 176 bytes: as Q4_K, with u8 qh[32] before qs: bit g of qh[l] is the fifth bit of element l
 * of group g. */
void nib__decode_q5_k(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 176, dst += BLOCK) {
        float d = nib__f32_of_f16(nib__le16(src));
        float dmin = nib__f32_of_f16(nib__le16(src + 2));
        const uint8_t *qh = src + 16;
        for (int g = 0; g < 8; g++) {
            uint8_t sc, m;
            nib__k4_scale_min(src + 4, g, &sc, &m);
            float scale = d * (float)sc, min = dmin * (float)m;
            const uint8_t *q = src + 48 + g / 2 * 32;
            int shift = g % 2 * 4;
            for (int l = 0; l < 32; l++) {
                int value = (q[l] >> shift & 15) | (qh[l] >> g & 1) << 4;
                dst[32 * g + l] = scale * (float)value - min;
            }
        }
    }
}

/* Q6_K, 210 bytes: u8 ql[128], u8 qh[64], i8 scales[16], f16 d. A half of 128 elements is four runs
 * of 32: the low nibbles of ql[0..31] and ql[32..63], then their high nibbles; the two high bits of
 * run r are bits 2r of qh[0..31]. A scale covers 16 elements. */
void nib__decode_q6_k(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / BLOCK; b++, src += 210, dst += BLOCK) {
        const uint8_t *scales = src + 192;
        float d = nib__f32_of_f16(nib__le16(src + 208));
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)(int8_t)scales[g];
            int half = g / 8, run = g / 2 % 4, from = g % 2 * 16;
            const uint8_t *ql = src + half * 64 + run % 2 * 32 + from;
            const uint8_t *qh = src + 128 + half * 32 + from;
            for (int l = 0; l < 16; l++) {
                int value = (ql[l] >> (run / 2 * 4) & 15) | (qh[l] >> (2 * run) & 3) << 4;
                dst[16 * g + l] = scale * (float)(value - 32);
            }
        }
    }
}
