/* SPDX-License-Identifier: MIT
 * Packed panels to bf16 tiles for AMX: [k/32] tiles of 1 KB, each [16 pairs of k][16 rows][2 k].
 *
 * A code becomes a float without a conversion: placed in the top 8 bits of the mantissa of 1.0 it
 * reads as 1 + c/256, and w = fma(1 + c/256, 256 s, m - (zero + 256) s). That constant is off by at
 * most 2^-24 * 383 s, a thousandth of what rounding w to bf16 costs. */
#include "kernels/x86/expand_amx.h"

#include "kernels/x86/unpack_avx512.h"

/* Two registers of 16 float32 (k and k + 1) to one line [16 rows][2 k] of bf16. */
NIB_INLINE __m512i pair_line(__m512 even, __m512 odd)
{
    static const uint16_t interleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                            21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                            11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512bh both = _mm512_cvtne2ps_pbh(odd, even);
    __m512i bits;
    memcpy(&bits, &both, sizeof bits);
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(interleave), bits);
}

/* Byte `i` of every lane as 1 + byte / 256. */
NIB_INLINE __m512 byte_as_float(__m512i v, int i)
{
    v = i < 2 ? _mm512_slli_epi32(v, i == 0 ? 15u : 7u) : _mm512_srli_epi32(v, i == 2 ? 1u : 9u);
    v = _mm512_ternarylogic_epi32(v, _mm512_set1_epi32(0xff << 15), _mm512_set1_epi32(0x3f800000),
                                  0xea); /* (v & mask) | one */
    return _mm512_castsi512_ps(v);
}

/* Groups [first, first + count) of a panel to tiles. */
NIB_INLINE void expand_coded(nib__format f, const nib__packed *w, uint32_t panel, uint32_t first,
                             uint32_t count, uint8_t *tiles)
{
    const uint8_t *start = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *entry = start + first / block_groups(f) * scale_bytes(f);
    const uint8_t *codes = start + w->code_offset + first * group_bytes(f);
    __m512i book = load_book(f, w->layout);
    const __m512 bias = _mm512_set1_ps((float)(code_zero(f) + 256));
    for (uint32_t at = first; at < first + count; entry += scale_bytes(f)) {
        block_scale scales = load_block_scale(f, entry);
        uint32_t g = at % block_groups(f), end = block_groups(f);
        if (end - g > first + count - at) end = g + (first + count - at);
        for (; g < end; g++, at++, codes += group_bytes(f), tiles += 1024) {
            __m512i line[8];
            unpack_group(f, codes, book, line);
            NIB_UNROLL
            for (int part = 0; part < group_scales(f); part++) {
                const int n_lines = 8 / group_scales(f);
                __m512 s, m = _mm512_setzero_ps();
                group_scale(f, &scales, g * (uint32_t)group_scales(f) + (uint32_t)part, &s, &m);
                m = _mm512_fnmadd_ps(s, bias, m);
                s = _mm512_mul_ps(s, _mm512_set1_ps(256.0f));
                NIB_UNROLL
                for (int j = part * n_lines; j < (part + 1) * n_lines; j++) {
                    __m512 v[4];
                    NIB_UNROLL
                    for (int i = 0; i < 4; i++) {
                        v[i] = _mm512_fmadd_ps(byte_as_float(line[j], i), s, m);
                    }
                    _mm512_store_si512(tiles + 128 * j, pair_line(v[0], v[1]));
                    _mm512_store_si512(tiles + 128 * j + 64, pair_line(v[2], v[3]));
                }
            }
        }
    }
}

void nib__expand_coded_amx(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                           uint8_t *tiles)
{
    switch (w->layout->format) {
    case NIB__Q4_0: expand_coded(NIB__Q4_0, w, panel, first, count, tiles); break;
    case NIB__Q4_1: expand_coded(NIB__Q4_1, w, panel, first, count, tiles); break;
    case NIB__Q5_0: expand_coded(NIB__Q5_0, w, panel, first, count, tiles); break;
    case NIB__Q5_1: expand_coded(NIB__Q5_1, w, panel, first, count, tiles); break;
    case NIB__Q8_0: expand_coded(NIB__Q8_0, w, panel, first, count, tiles); break;
    case NIB__Q2_K: expand_coded(NIB__Q2_K, w, panel, first, count, tiles); break;
    case NIB__Q3_K: expand_coded(NIB__Q3_K, w, panel, first, count, tiles); break;
    case NIB__Q4_K: expand_coded(NIB__Q4_K, w, panel, first, count, tiles); break;
    case NIB__Q5_K: expand_coded(NIB__Q5_K, w, panel, first, count, tiles); break;
    case NIB__Q6_K: expand_coded(NIB__Q6_K, w, panel, first, count, tiles); break;
    case NIB__IQ4_NL: expand_coded(NIB__IQ4_NL, w, panel, first, count, tiles); break;
    case NIB__IQ4_XS: expand_coded(NIB__IQ4_XS, w, panel, first, count, tiles); break;
    case NIB__MXFP4: expand_coded(NIB__MXFP4, w, panel, first, count, tiles); break;
    default: break;
    }
}

void nib__expand_bf16_amx(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                          uint8_t *tiles)
{
    static const uint16_t interleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                            21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                            11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i order = _mm512_loadu_si512(interleave);
    const uint8_t *src = w->data + (size_t)panel * w->panel_bytes;
    for (uint32_t k = first * NIB__GROUP; k < (first + count) * NIB__GROUP; k += 2, tiles += 64) {
        /* Two k of 16 rows; what lies beyond the last k is zero. */
        __m512i rows = _mm512_setzero_si512();
        if (k + 2 <= w->k) rows = _mm512_load_si512(src + (size_t)k * 32);
        else if (k < w->k) {
            rows = _mm512_castsi256_si512(
                _mm256_load_si256((const __m256i *)(const void *)(src + (size_t)k * 32)));
            rows = _mm512_maskz_mov_epi64(0x0f, rows);
        }
        _mm512_store_si512(tiles, _mm512_permutexvar_epi16(order, rows));
    }
}
