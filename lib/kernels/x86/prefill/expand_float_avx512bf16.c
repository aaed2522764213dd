/* SPDX-License-Identifier: MIT
 * Float panels to bf16 with pairs of k side by side, as vdpbf16ps and AMX tiles want them. */
#include "kernels/x86/bf16_avx512.h"
#include "kernels/x86/unpack_avx512.h"

/* Row k of a float panel as bf16, 0 from w->k on. */
NIB_INLINE __m256i float_row(nib__format f, const nib__packed *w, const uint8_t *panel, uint32_t k)
{
    if (k >= w->k) return _mm256_setzero_si256();
    const uint8_t *row = panel + (size_t)k * NIB__PANEL * (f == NIB__F32 ? 4 : 2);
    if (f == NIB__BF16) return _mm256_load_si256((const __m256i *)(const void *)row);
    __m512 v = f == NIB__F16 ? load_f16(row) : _mm512_load_ps(row);
    __m256bh half = _mm512_cvtneps_pbh(v);
    __m256i bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}

/* Rows k and k + 1, k even. */
NIB_INLINE __m512i two_rows(nib__format f, const nib__packed *w, const uint8_t *panel, uint32_t k)
{
    if (f == NIB__BF16 && k + 1 < w->k) return _mm512_load_si512(panel + (size_t)k * 32);
    const __m512i rows = _mm512_castsi256_si512(float_row(f, w, panel, k));
    return _mm512_inserti64x4(rows, float_row(f, w, panel, k + 1), 1);
}

NIB_INLINE void expand_float(nib__format f, const nib__packed *w, uint32_t panel, uint32_t first,
                             uint32_t count, uint8_t *lines)
{
    const uint8_t *src = w->data + (size_t)panel * w->panel_bytes;
    for (uint32_t k = first * NIB__GROUP; k < (first + count) * NIB__GROUP; k += 2, lines += 64) {
        const __m512i rows = two_rows(f, w, src, k);
        _mm512_store_si512(lines, _mm512_permutexvar_epi16(interleave(), rows));
    }
}

void nib__expand_float_avx512bf16(const nib__packed *w, uint32_t panel, uint32_t first,
                                  uint32_t count, uint8_t *lines)
{
    switch (w->layout->format) {
    case NIB__F32: expand_float(NIB__F32, w, panel, first, count, lines); break;
    case NIB__F16: expand_float(NIB__F16, w, panel, first, count, lines); break;
    default: expand_float(NIB__BF16, w, panel, first, count, lines); break;
    }
}
