/* SPDX-License-Identifier: MIT
 * IQ4_NL, IQ4_XS, MXFP4: each nibble is an index into a table of 16 values. Nibble order as in
 * Q4_0: element j of 32 in the low, element j + 16 in the high half of byte j. */
#include "base/bytes.h"
#include "base/half.h"
#include "quant/decode.h"
#include "quant/format.h"

const int8_t nib__iq4nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

/* E2M1 of the OCP Microscaling specification 1.0, doubled. Code 8 is minus zero there; the
 * reference decoder gives plain zero, and so do we. */
const int8_t nib__mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void decode_nibbles(const uint8_t qs[16], const int8_t values[16], float scale,
                           float dst[32])
{
    for (int j = 0; j < 16; j++) {
        dst[j] = scale * (float)values[qs[j] & 15];
        dst[j + 16] = scale * (float)values[qs[j] >> 4];
    }
}

/* IQ4_NL, 18 bytes: f16 d, u8 qs[16]. */
void nib__decode_iq4_nl(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / 32; b++, src += 18, dst += 32)
        decode_nibbles(src + 2, nib__iq4nl_values, nib__f32_of_f16(nib__le16(src)), dst);
}

/* IQ4_XS, 136 bytes: f16 d, u16 high bits of 8 scales, u8 low nibbles of scales[4], u8 qs[128]. */
void nib__decode_iq4_xs(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / 256; b++, src += 136, dst += 256) {
        float d = nib__f32_of_f16(nib__le16(src));
        int high = nib__le16(src + 2);
        for (int g = 0; g < 8; g++) {
            int scale = (src[4 + g / 2] >> (4 * (g % 2)) & 15) | (high >> (2 * g) & 3) << 4;
            decode_nibbles(src + 8 + 16 * g, nib__iq4nl_values, d * (float)(scale - 32),
                           dst + 32 * g);
        }
    }
}

/* 2^(e - 128): half the E8M0 scale, because the table is doubled. e = 0 and 1 are subnormal. */
static float mxfp4_scale(uint8_t e)
{
    return nib__f32_of_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

/* MXFP4, 17 bytes: u8 exponent, u8 qs[16]. */
void nib__decode_mxfp4(const uint8_t *src, float *dst, size_t n)
{
    for (size_t b = 0; b < n / 32; b++, src += 17, dst += 32)
        decode_nibbles(src + 1, nib__mxfp4_values, mxfp4_scale(src[0]), dst);
}
