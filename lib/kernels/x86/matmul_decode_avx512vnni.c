/* SPDX-License-Identifier: MIT
 * Decode for coded weights with vpdpbusd: 1..16 rows of 16-bit activations held as two int8 planes.
 * Integer sums are exact and the float tail follows kernels.h step by step, so the bits equal the
 * scalar reference and do not depend on how many rows are multiplied at once.
 *
 * The kernel is bound by memory: a group of 512 weights takes about 20 cycles to multiply with one
 * row and 100 to arrive from memory, which is why two planes cost nothing. */
#include "kernels/x86/avx512.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/unpack_avx512.h"

enum { ROW_BLOCK = 8 }; /* rows that share one unpacking */

/* A rounded row and what all panels need of its sums. */
typedef struct row {
    const int8_t *hi, *lo;
    const float *sum;     /* [scale groups] as float32 */
    const int32_t *start; /* [scale groups] -zero * sum */
    float scale;
} row;

/* One panel times `rows` rows (a constant 1..ROW_BLOCK). */
NIB_INLINE void decode_panel(nib__format f, int rows, const nib__packed *w, uint32_t panel,
                             const row *x, float *y, size_t ldy)
{
    const uint8_t *entry = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *codes = entry + w->code_offset;
    __m512i book = load_book(f, w->layout);
    __m512 acc[ROW_BLOCK], acc_min[ROW_BLOCK];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r] = acc_min[r] = _mm512_setzero_ps();

    uint32_t n_blocks = w->k / (block_groups(f) * NIB__GROUP);
    uint32_t k = 0, group = 0;
    for (uint32_t b = 0; b < n_blocks; b++, entry += scale_bytes(f)) {
        block_scale scales = load_block_scale(f, w->layout->unit, entry);
        fetch_scales(entry, scale_bytes(f));
        for (uint32_t g = 0; g < block_groups(f); g++, codes += group_bytes(f)) {
            __m512i line[8];
            fetch_codes(codes, group_bytes(f));
            unpack_group(f, codes, book, line);
            NIB_UNROLL
            for (int part = 0; part < group_scales(f); part++) {
                const int n_lines = 8 / group_scales(f);
                __m512 s, m = _mm512_setzero_ps();
                group_scale(f, &scales, g * (uint32_t)group_scales(f) + (uint32_t)part, &s, &m);
                NIB_UNROLL
                for (int r = 0; r < rows; r++) {
                    __m512i hi = _mm512_setzero_si512(), lo = hi;
                    if (code_zero(f) != 0) lo = _mm512_set1_epi32(x[r].start[group]);
                    NIB_UNROLL
                    for (int j = 0; j < n_lines; j++) {
                        __m512i c = line[part * n_lines + j];
                        hi = _mm512_dpbusd_epi32(hi, c, broadcast4(x[r].hi + k + 4 * j));
                        lo = _mm512_dpbusd_epi32(lo, c, broadcast4(x[r].lo + k + 4 * j));
                    }
                    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(hi, 8), lo);
                    acc[r] = _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), acc[r]);
                    if (has_min(f)) {
                        acc_min[r] =
                            _mm512_fmadd_ps(m, _mm512_set1_ps(x[r].sum[group]), acc_min[r]);
                    }
                }
                k += 4 * (uint32_t)n_lines;
                group++;
            }
        }
    }
    __mmask16 mask = panel_mask(w, panel);
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        __m512 sum = _mm512_add_ps(acc[r], acc_min[r]);
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(x[r].scale));
        _mm512_mask_storeu_ps(y + (size_t)r * ldy + (size_t)panel * NIB__PANEL, mask, sum);
    }
}

/* Formats that are met most are compiled for 1, 2, 4 and 8 rows at a time, the others for 1 and 4:
 * a kernel takes two kilobytes. */
NIB_INLINE bool often_met(nib__format f)
{
    return f == NIB__Q4_0 || f == NIB__Q4_1 || f == NIB__Q8_0 || f == NIB__Q4_K || f == NIB__Q5_K ||
           f == NIB__Q6_K;
}

NIB_INLINE uint32_t rows_at_once(nib__format f, uint32_t left)
{
    if (left >= 8 && often_met(f)) return 8;
    if (left >= 4) return 4;
    return left >= 2 && often_met(f) ? 2 : 1;
}

/* All panels times all rows; the first block of rows brings a panel into the cache. */
NIB_INLINE void decode_run(nib__format f, const nib__packed *w, uint32_t first, uint32_t count,
                           const row *x, uint32_t m, float *y, size_t ldy)
{
    for (uint32_t p = first; p < first + count; p++) {
        for (uint32_t r = 0, step; r < m; r += step) {
            float *out = y + r * ldy;
            step = rows_at_once(f, m - r);
            if (step == 1)
                decode_panel(f, 1, w, p, x + r, out, ldy);
            else if (step == 4)
                decode_panel(f, 4, w, p, x + r, out, ldy);
            else if (often_met(f) && step == 2)
                decode_panel(f, 2, w, p, x + r, out, ldy);
            else if (often_met(f))
                decode_panel(f, 8, w, p, x + r, out, ldy);
        }
    }
}

static void decode_rows(const nib__packed *w, uint32_t first, uint32_t count, const row *x,
                        uint32_t m, float *y, size_t ldy)
{
    switch (panel_twin(w->layout->format)) {
    case NIB__Q4_0: decode_run(NIB__Q4_0, w, first, count, x, m, y, ldy); break;
    case NIB__Q4_1: decode_run(NIB__Q4_1, w, first, count, x, m, y, ldy); break;
    case NIB__Q5_0: decode_run(NIB__Q5_0, w, first, count, x, m, y, ldy); break;
    case NIB__Q5_1: decode_run(NIB__Q5_1, w, first, count, x, m, y, ldy); break;
    case NIB__Q8_0: decode_run(NIB__Q8_0, w, first, count, x, m, y, ldy); break;
    case NIB__Q2_K: decode_run(NIB__Q2_K, w, first, count, x, m, y, ldy); break;
    case NIB__Q3_K: decode_run(NIB__Q3_K, w, first, count, x, m, y, ldy); break;
    case NIB__Q4_K: decode_run(NIB__Q4_K, w, first, count, x, m, y, ldy); break;
    case NIB__Q5_K: decode_run(NIB__Q5_K, w, first, count, x, m, y, ldy); break;
    case NIB__Q6_K: decode_run(NIB__Q6_K, w, first, count, x, m, y, ldy); break;
    case NIB__IQ4_NL: decode_run(NIB__IQ4_NL, w, first, count, x, m, y, ldy); break;
    case NIB__IQ2_XS: decode_run(NIB__IQ2_XS, w, first, count, x, m, y, ldy); break;
    case NIB__TQ2_0: decode_run(NIB__TQ2_0, w, first, count, x, m, y, ldy); break;
    case NIB__IQ4_XS: decode_run(NIB__IQ4_XS, w, first, count, x, m, y, ldy); break;
    case NIB__MXFP4: decode_run(NIB__MXFP4, w, first, count, x, m, y, ldy); break;
    default: break; /* float formats go to decode_float */
    }
}

/* Sums of one row per scale group, into sum and start [k / 16]. */
static row view_row(const nib__layout *layout, const void *rounded, uint32_t k, void *scratch)
{
    const nib__row16 x = nib__row16_view(rounded, k);
    float *sum = scratch;
    int32_t *start = (int32_t *)(void *)(sum + k / 16);
    uint32_t step = layout->scale_group / 16u;
    int32_t zero = layout->table != NULL ? 128 : layout->zero; /* as code_zero */
    for (uint32_t i = 0, from = 0; from < k / 16; i++, from += step) {
        int32_t total = step == 2 ? x.sum[from] + x.sum[from + 1] : x.sum[from];
        sum[i] = (float)total;
        start[i] = -zero * total;
    }
    return (row){x.hi, x.lo, sum, start, x.scale};
}

static size_t sums_bytes(uint32_t k)
{
    return nib__align_up(k / 16 * (sizeof(float) + sizeof(int32_t)), NIB_ALIGN);
}

size_t nib__decode_coded_scratch_avx512vnni(uint32_t k)
{
    return NIB__DECODE_ROWS * sums_bytes(k);
}

void nib__decode_coded_avx512vnni(const nib__packed *w, uint32_t first, uint32_t count,
                                  const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    size_t row_bytes = nib__row16_bytes(w->k);
    for (uint32_t at = 0; at < m; at += NIB__DECODE_ROWS) {
        row x[NIB__DECODE_ROWS];
        uint32_t n = m - at < NIB__DECODE_ROWS ? m - at : NIB__DECODE_ROWS;
        for (uint32_t r = 0; r < n; r++) {
            x[r] = view_row(w->layout, (const uint8_t *)rows + (at + r) * row_bytes, w->k,
                            (uint8_t *)scratch + r * sums_bytes(w->k));
        }
        decode_rows(w, first, count, x, n, y + at * ldy, ldy);
    }
}
