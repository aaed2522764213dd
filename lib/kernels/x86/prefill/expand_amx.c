/* SPDX-License-Identifier: MIT
 * Packed panels to bf16 tiles for AMX: [k/32] tiles of 1 KB, each [16 pairs of k][16 rows][2 k].
 *
 * A code becomes a float without a conversion: a byte permutation puts it below the exponent of
 * 1.0, where 7 bits read as 1 + c/128 (in 32-bit lanes that already have the order of the tile),
 * and w = fma(1 + c/128, 128 s, m - (zero + 128) s). Codes of 8 bits read as 1 + c/256 after a
 * shift. The constant is off by at most 2^-24 * 383 s, a thousandth of what rounding w to bf16
 * costs. */
#include "kernels/x86/prefill/expand_amx.h"

#include "kernels/x86/bf16_avx512.h"
#include "kernels/x86/unpack_avx512.h"

NIB_INLINE __m512i round_pair(__m512 low, __m512 high)
{
    __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    __m512i bits;
    memcpy(&bits, &both, sizeof bits);
    return bits;
}

/* Byte `i` of every lane as 1 + byte / 256. */
NIB_INLINE __m512 byte_as_float(__m512i v, int i)
{
    v = i < 2 ? _mm512_slli_epi32(v, i == 0 ? 15u : 7u) : _mm512_srli_epi32(v, i == 2 ? 1u : 9u);
    v = _mm512_ternarylogic_epi32(v, _mm512_set1_epi32(0xff << 15), _mm512_set1_epi32(0x3f800000),
                                  0xea); /* (v & mask) | one */
    return _mm512_castsi512_ps(v);
}

/* Two lines of a tile from one line of 8-bit codes [16 rows][4 k]; s and m per row. */
NIB_INLINE void expand_bytes(__m512i codes, __m512 s, __m512 m, uint8_t *tile)
{
    __m512 v[4];
    NIB_UNROLL
    for (int i = 0; i < 4; i++) v[i] = _mm512_fmadd_ps(byte_as_float(codes, i), s, m);
    _mm512_store_si512(tile, _mm512_permutexvar_epi16(interleave(), round_pair(v[0], v[1])));
    _mm512_store_si512(tile + 64, _mm512_permutexvar_epi16(interleave(), round_pair(v[2], v[3])));
}

/* Bytes to move for lanes (row, k) of half a tile line: 8 rows, 2 k. */
NIB_INLINE __m512i half_line(int k, int half)
{
    __m512i lane = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
    return _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(k + 32 * half)), 16);
}

/* The same from codes below 128 with bit 7 set; s and m [2 halves] per (row, k). */
NIB_INLINE void expand_small(__m512i codes, const __m512 s[2], const __m512 m[2], uint8_t *tile)
{
    const __m512i exponent = _mm512_set1_epi32(0x3f000000);
    const __mmask64 third = 0x4444444444444444;
    NIB_UNROLL
    for (int k = 0; k < 4; k += 2) {
        __m512 v[2];
        NIB_UNROLL
        for (int h = 0; h < 2; h++) {
            __m512i bits = _mm512_mask_permutexvar_epi8(exponent, third, half_line(k, h), codes);
            v[h] = _mm512_fmadd_ps(_mm512_castsi512_ps(bits), s[h], m[h]);
        }
        _mm512_store_si512(tile + 32 * k, round_pair(v[0], v[1]));
    }
}

/* Per row to per (row, k), both halves of a line. */
NIB_INLINE void spread(__m512 v, __m512 out[2])
{
    const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    out[0] = _mm512_permutexvar_ps(low, v);
    out[1] = _mm512_permutexvar_ps(_mm512_add_epi32(low, _mm512_set1_epi32(8)), v);
}

/* One scale group: lines [first, last) of unpacked codes. */
NIB_INLINE void expand_part(nib__format f, const __m512i line[8], int first, int last, __m512 s,
                            __m512 m, uint8_t *tile)
{
    const bool bytes = code_bits(f) == 8 || has_book(f);
    const float one = bytes ? 256.0f : 128.0f;
    m = _mm512_fnmadd_ps(s, _mm512_set1_ps((float)code_zero(f) + one), m);
    s = _mm512_mul_ps(s, _mm512_set1_ps(one));
    if (bytes) {
        NIB_UNROLL
        for (int j = first; j < last; j++) expand_bytes(line[j], s, m, tile + 128 * j);
        return;
    }
    __m512 s2[2], m2[2];
    spread(s, s2);
    spread(m, m2);
    NIB_UNROLL
    for (int j = first; j < last; j++) {
        __m512i codes = _mm512_or_si512(line[j], _mm512_set1_epi8(-128));
        expand_small(codes, s2, m2, tile + 128 * j);
    }
}

/* Groups [first, first + count) of a panel to tiles. */
NIB_INLINE void expand_coded(nib__format f, const nib__packed *w, uint32_t panel, uint32_t first,
                             uint32_t count, uint8_t *tiles)
{
    const uint8_t *start = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *entry = start + first / block_groups(f) * scale_bytes(f);
    const uint8_t *codes = start + w->code_offset + first * group_bytes(f);
    __m512i book = load_book(f, w->layout);
    for (uint32_t at = first; at < first + count; entry += scale_bytes(f)) {
        block_scale scales = load_block_scale(f, w->layout->unit, entry);
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
                expand_part(f, line, part * n_lines, (part + 1) * n_lines, s, m, tiles);
            }
        }
    }
}

void nib__expand_coded_amx(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                           uint8_t *tiles)
{
    switch (panel_twin(w->layout->format)) {
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
    case NIB__IQ2_XS: expand_coded(NIB__IQ2_XS, w, panel, first, count, tiles); break;
    case NIB__TQ2_0: expand_coded(NIB__TQ2_0, w, panel, first, count, tiles); break;
    case NIB__IQ4_XS: expand_coded(NIB__IQ4_XS, w, panel, first, count, tiles); break;
    case NIB__MXFP4: expand_coded(NIB__MXFP4, w, panel, first, count, tiles); break;
    default: break;
    }
}
