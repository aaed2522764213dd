/* SPDX-License-Identifier: MIT
 * Conversions between float32 and the 16-bit formats, exact both ways, round to nearest even. */
#ifndef NIB_BASE_HALF_H
#define NIB_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float nib__f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t nib__bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float nib__f32_of_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return nib__f32_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x0400u) return nib__f32_of_bits(sign | ((rest << 13) + 0x38000000u));
    /* Subnormal: the mantissa counts units of 2^-24, which float32 holds exactly. */
    float magnitude = (float)rest * 0x1p-24f;
    return nib__f32_of_bits(sign | nib__bits_of_f32(magnitude));
}

static inline uint16_t nib__f16_of_f32(float value)
{
    uint32_t bits = nib__bits_of_f32(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u); /* NaN */
    if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and up round to infinity */
    if (bits < 0x38800000u) { /* below 2^-14: adding 2^-1 makes the FPU round at 2^-24 */
        float magnitude = nib__f32_of_bits(bits) + 0.5f;
        return (uint16_t)(sign | (nib__bits_of_f32(magnitude) - 0x3f000000u));
    }
    uint32_t rounded = bits + 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

static inline float nib__f32_of_bf16(uint16_t half)
{
    return nib__f32_of_bits((uint32_t)half << 16);
}

static inline uint16_t nib__bf16_of_f32(float value)
{
    uint32_t bits = nib__bits_of_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* keep NaN */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
