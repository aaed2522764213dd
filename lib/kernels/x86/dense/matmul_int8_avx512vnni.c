/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row, with vpdpbusd: activations plus 128 are the unsigned
 * operand, so sums start from -128 times the sum of the row's codes. Two planes of activations are
 * exact and serve decode and prefill; one plane is the fast prefill.
 *
 * A tile is up to 6 planes of rows by 4 panels: 24 sums in registers, 4 lines of codes, 1
 * broadcast. The planes come in pairs, so that three addresses suffice for six. Few rows are bound
 * by memory: the codes are fetched ahead. */
#include "kernels/ref/ref.h"
#include "kernels/x86/dense/int8_avx512.h"
#include "kernels/x86/dense/rows_int8.h"

enum { PAIRS = 3, PANELS = 4, AHEAD = 2048 };

/* What a product does not change from tile to tile. */
typedef struct int8_job {
    const nib__packed *w;
    const uint8_t *rows;
    size_t row_bytes;
    float *y;
    size_t ldy;
    bool two; /* planes per row */
} int8_job;

/* sums[2 * pairs][PANELS][16] of pairs of planes, the second `apart` bytes from the first, by
 * panels [p, p + panels). Both counts are constants. They go through memory, or compilers keep them
 * there all the time. */
NIB_INLINE void multiply(int pairs, int panels, const int8_job *job, uint32_t p,
                         const uint8_t *planes, size_t apart, int32_t *sums)
{
    const size_t plane_bytes = nib__row8_plane(job->w->k), stride = job->w->panel_bytes;
    const size_t row_bytes = job->row_bytes;
    const uint8_t *codes = nib__panel_at(job->w, p) + job->w->code_offset;
    __m512i sum[2 * PAIRS][PANELS];
    NIB_UNROLL
    for (int i = 0; i < panels; i++) {
        __m512i start = _mm512_load_si512(int8_head(job->w, p + (uint32_t)i)->sum);
        start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(start, 7));
        NIB_UNROLL
        for (int r = 0; r < 2 * pairs; r++) sum[r][i] = start;
    }
    for (size_t k = 0; k < plane_bytes; k += 4, codes += 64) {
        __m512i line[PANELS];
        NIB_UNROLL
        for (int i = 0; i < panels; i++) {
            line[i] = _mm512_load_si512(codes + (size_t)i * stride);
            if (pairs == 1) {
                _mm_prefetch((const char *)codes + (size_t)i * stride + AHEAD, _MM_HINT_T0);
            }
        }
        NIB_UNROLL
        for (int r = 0; r < 2 * pairs; r++) {
            const uint8_t *at = planes + (size_t)(r / 2) * row_bytes + k;
            const __m512i x = broadcast4_512(at + (size_t)(r % 2) * apart);
            NIB_UNROLL
            for (int i = 0; i < panels; i++) sum[r][i] = _mm512_dpbusd_epi32(sum[r][i], x, line[i]);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < 2 * pairs; r++) {
        NIB_UNROLL
        for (int i = 0; i < panels; i++)
            _mm512_store_si512(sums + (size_t)(r * PANELS + i) * NIB__PANEL, sum[r][i]);
    }
}

/* Row `row` of the product, from its sums [PANELS][16]; the second plane's are behind them. */
static void finish_row(const int8_job *job, uint32_t p, uint32_t panels, uint32_t row,
                       const int32_t *sums)
{
    const __m512 a = _mm512_set1_ps(row_scale(job->rows + row * job->row_bytes));
    float *y = job->y + row * job->ldy;
    for (uint32_t end = p + panels; p < end; p++, sums += NIB__PANEL) {
        const __m512i sum = _mm512_load_si512(sums);
        __m512 v = job->two ? plane_sums(sum, _mm512_load_si512(sums + PANELS * NIB__PANEL))
                            : _mm512_cvtepi32_ps(sum);
        v = _mm512_mul_ps(_mm512_mul_ps(v, _mm512_load_ps(int8_head(job->w, p)->scale)), a);
        const uint32_t column = p * NIB__PANEL;
        _mm512_mask_storeu_ps(y + column, nib__lanes(job->w->n - column), v);
    }
}

/* One plane: a pair is row t and row t + n / 2, so that an odd number has one row in two pairs. */
NIB_INLINE void strip_rows(int panels, const int8_job *job, uint32_t p, uint32_t m)
{
    _Alignas(64) int32_t sums[2 * PAIRS * PANELS * NIB__PANEL];
    const uint32_t most = job->two ? PAIRS : 2 * PAIRS;
    for (uint32_t at = 0, n; at < m; at += n) {
        n = m - at < most ? m - at : most;
        const uint8_t *planes = job->rows + at * job->row_bytes + NIB_ALIGN;
        const uint32_t pairs = job->two ? n : n - n / 2;
        const size_t apart = job->two ? nib__row8_plane(job->w->k) : n / 2 * job->row_bytes;
        switch (pairs) {
        case 3: multiply(3, panels, job, p, planes, apart, sums); break;
        case 2: multiply(2, panels, job, p, planes, apart, sums); break;
        default: multiply(1, panels, job, p, planes, apart, sums); break;
        }
        for (uint32_t i = 0; i < 2 * pairs; i += job->two ? 2 : 1) {
            const uint32_t row = at + (i & 1 ? i / 2 + n / 2 : i / 2);
            finish_row(job, p, (uint32_t)panels, row, sums + i * PANELS * NIB__PANEL);
        }
    }
}

static void run_planes(const int8_job *job, uint32_t first, uint32_t count, uint32_t m)
{
    uint32_t p = first, end = first + count;
    for (; p + PANELS <= end; p += PANELS) strip_rows(PANELS, job, p, m);
    for (; p < end; p++) strip_rows(1, job, p, m);
}

static void run_two(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    const int8_job job = {w, rows, nib__row8_bytes(w->k), y, ldy, true};
    (void)scratch;
    run_planes(&job, first, count, m);
}

static void run_one(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    const int8_job job = {w, rows, nib__row8_one_bytes(w->k), y, ldy, false};
    (void)scratch;
    run_planes(&job, first, count, m);
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
