/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row, with vpdpbusd: activations plus 128 are the unsigned
 * operand, so sums start from -128 times the sum of the row's codes. Two planes of activations are
 * exact and serve decode and prefill; one plane is the fast prefill.
 *
 * A tile is up to 6 planes of rows by 4 panels: 24 sums in registers, 4 lines of codes, 1
 * broadcast. Few rows are bound by memory: the codes are fetched ahead. */
#include "kernels/ref/ref.h"
#include "kernels/x86/int8_avx512.h"
#include "kernels/x86/rows_int8.h"

enum { ROWS = 6, PANELS = 4, AHEAD = 2048 };

/* y[tokens][ldy] of `panels` panels; row planes are `two` per token. All but pointers constant. */
NIB_INLINE void tile(bool two, int tokens, int panels, const nib__packed *w, uint32_t p,
                     const uint8_t *rows, size_t row_bytes, float *y, size_t ldy)
{
    const int planes = two ? 2 : 1, n = tokens * planes;
    const size_t plane_bytes = nib__row8_plane(w->k), stride = w->panel_bytes;
    const uint8_t *codes = nib__panel_at(w, p) + w->code_offset;
    __m512i sum[ROWS][PANELS];
    NIB_UNROLL
    for (int i = 0; i < panels; i++) {
        __m512i start = _mm512_load_si512(int8_head(w, p + (uint32_t)i)->sum);
        start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(start, 7));
        NIB_UNROLL
        for (int r = 0; r < n; r++) sum[r][i] = start;
    }
    for (size_t k = 0; k < plane_bytes; k += 4, codes += 64) {
        __m512i line[PANELS];
        NIB_UNROLL
        for (int i = 0; i < panels; i++) {
            line[i] = _mm512_load_si512(codes + (size_t)i * stride);
            if (n <= 2) {
                _mm_prefetch((const char *)codes + (size_t)i * stride + AHEAD, _MM_HINT_T0);
            }
        }
        NIB_UNROLL
        for (int r = 0; r < n; r++) {
            const uint8_t *at = rows + (size_t)(r / planes) * row_bytes + NIB_ALIGN + k;
            int32_t four;
            memcpy(&four, at + (size_t)(r % planes) * plane_bytes, sizeof four);
            const __m512i x = _mm512_set1_epi32(four);
            NIB_UNROLL
            for (int i = 0; i < panels; i++) sum[r][i] = _mm512_dpbusd_epi32(sum[r][i], x, line[i]);
        }
    }
    NIB_UNROLL
    for (int i = 0; i < panels; i++) {
        const __m512 scale = _mm512_load_ps(int8_head(w, p + (uint32_t)i)->scale);
        const __mmask16 mask = nib__lanes(w->n - (p + (uint32_t)i) * NIB__PANEL);
        NIB_UNROLL
        for (int t = 0; t < tokens; t++) {
            __m512 v =
                two ? plane_sums(sum[2 * t][i], sum[2 * t + 1][i]) : _mm512_cvtepi32_ps(sum[t][i]);
            const float a = row_scale(rows + (size_t)t * row_bytes);
            v = _mm512_mul_ps(_mm512_mul_ps(v, scale), _mm512_set1_ps(a));
            _mm512_mask_storeu_ps(y + (size_t)t * ldy + (size_t)i * NIB__PANEL, mask, v);
        }
    }
}

NIB_INLINE void strip_rows(bool two, int panels, const nib__packed *w, uint32_t p,
                           const uint8_t *rows, size_t row_bytes, uint32_t m, float *y, size_t ldy)
{
    const uint32_t most = two ? ROWS / 2 : ROWS;
    for (uint32_t at = 0, step; at < m; at += step) {
        const uint8_t *row = rows + at * row_bytes;
        float *out = y + at * ldy;
        step = m - at < most ? m - at : most;
        if (!two && step > 3 && step < 6) step = 3;
        switch (step) {
        case 6: tile(two, two ? 3 : 6, panels, w, p, row, row_bytes, out, ldy); break;
        case 3: tile(two, 3, panels, w, p, row, row_bytes, out, ldy); break;
        case 2: tile(two, 2, panels, w, p, row, row_bytes, out, ldy); break;
        default: tile(two, 1, panels, w, p, row, row_bytes, out, ldy); break;
        }
    }
}

NIB_INLINE void run_planes(bool two, const nib__packed *w, uint32_t first, uint32_t count,
                           const void *rows, size_t row_bytes, uint32_t m, float *y, size_t ldy)
{
    uint32_t p = first, end = first + count;
    for (; p + PANELS <= end; p += PANELS) {
        strip_rows(two, PANELS, w, p, rows, row_bytes, m, y + (size_t)p * NIB__PANEL, ldy);
    }
    for (; p < end; p++) {
        strip_rows(two, 1, w, p, rows, row_bytes, m, y + (size_t)p * NIB__PANEL, ldy);
    }
}

static void run_two(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    run_planes(true, w, first, count, rows, nib__row8_bytes(w->k), m, y, ldy);
}

static void run_one(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    run_planes(false, w, first, count, rows, nib__row8_one_bytes(w->k), m, y, ldy);
}

const nib__matmul nib__int8_avx512vnni = {.name = "q16_avx512vnni",
                                          .row_bytes = nib__row8_bytes,
                                          .round_row = nib__row8_two_u8,
                                          .run = run_two,
                                          .scratch_bytes = nib__scratch_none,
                                          .min_rows = 1};

const nib__matmul nib__int8_fast_avx512vnni = {.name = "r8_avx512vnni",
                                               .row_bytes = nib__row8_one_bytes,
                                               .round_row = nib__row8_one_u8,
                                               .run = run_one,
                                               .scratch_bytes = nib__scratch_none,
                                               .min_rows = 8};
