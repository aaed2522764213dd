/* SPDX-License-Identifier: MIT
 * Prefill of f16 and bf16 weights with vdpbf16ps: activations rounded to bf16, products of pairs
 * added up in float32, in tiles of 12 rows by 2 panels: 24 sums, 2 registers of weights and the
 * pair of a row, which is an operand in memory.
 *
 * Panels have a row of outputs per k; the instruction wants the two k of a pair side by side. A
 * strip of panels is put into that order once per block of rows and of k, in scratch that the L2
 * cache holds beside the rows. Sums wait in y between two blocks of k, which loses no bit: a row's
 * results do not depend on the other rows or on how they are cut. */
#include "kernels/panel.h"
#include "kernels/x86/bf16_avx512.h"

enum {
    ROWS = 12,
    PANELS = 2,
    K_BLOCK = 1536, /* most k per block ... */
    M_BLOCK = 256,  /* ... and rows: 768 KB of them */
    GROUP_BYTES = 2 * NIB__GROUP * NIB__PANEL,
    GROUP_PAIRS = NIB__GROUP / 2
};

/* A strip times a block of rows. */
typedef struct strip {
    const uint8_t *lines; /* [panels][groups][16 pairs of k][16 rows][2 k] */
    const uint8_t *rows;  /* at the first k */
    size_t row_bytes, ldy;
    float *y; /* at the first row and the strip's first output */
    uint32_t groups;
    __mmask16 real[PANELS]; /* outputs; none where the run's panels are odd, after the last one */
    bool more;              /* y has the sums of the k before */
    /* The panels of the next strip go to the L2 cache meanwhile, few bytes per pair of k. */
    const uint8_t *next;
    size_t panel_bytes, next_step;
} strip;

/* Fetches `next` of the next strip, and the results that the next rows will have. */
NIB_INLINE void tile(int n_rows, const strip *s, const uint8_t *rows, float *y, const uint8_t *next)
{
    const size_t plane = (size_t)s->groups * GROUP_BYTES;
    __m512 sum[ROWS][PANELS];
    NIB_UNROLL
    for (int i = 0; i < PANELS; i++) {
        NIB_UNROLL
        for (int r = 0; r < n_rows; r++) {
            sum[r][i] = _mm512_setzero_ps();
            _mm_prefetch((const char *)(y + (n_rows + r) * s->ldy + 16 * i), _MM_HINT_T0);
            if (s->more) sum[r][i] = _mm512_maskz_loadu_ps(s->real[i], y + r * s->ldy + 16 * i);
        }
    }
    const uint8_t *line = s->lines, *end = line + plane;
    for (; line < end; line += 64, rows += 4, next += s->next_step) {
        _mm_prefetch((const char *)next, _MM_HINT_T1);
        _mm_prefetch((const char *)next + s->panel_bytes, _MM_HINT_T1);
        __m512bh w[PANELS];
        NIB_UNROLL
        for (int i = 0; i < PANELS; i++) {
            w[i] = (__m512bh)_mm512_load_si512(line + i * plane);
        }
        NIB_UNROLL
        for (int r = 0; r < n_rows; r++) {
            const __m512bh value = (__m512bh)broadcast4_512(rows + r * s->row_bytes);
            NIB_UNROLL
            for (int i = 0; i < PANELS; i++) {
                sum[r][i] = _mm512_dpbf16_ps(sum[r][i], w[i], value);
            }
        }
    }
    NIB_UNROLL
    for (int i = 0; i < PANELS; i++) {
        NIB_UNROLL
        for (int r = 0; r < n_rows; r++) {
            _mm512_mask_storeu_ps(y + r * s->ldy + 16 * i, s->real[i], sum[r][i]);
        }
    }
}

static void multiply(const strip *s, uint32_t m)
{
    const uint8_t *rows = s->rows, *next = s->next;
    float *y = s->y;
    for (uint32_t step; m > 0; m -= step, rows += step * s->row_bytes, y += step * s->ldy) {
        step = m >= ROWS ? ROWS : m >= 8 ? 8 : m >= 4 ? 4 : 1;
        switch (step) {
        case ROWS: tile(ROWS, s, rows, y, next); break;
        case 8: tile(8, s, rows, y, next); break;
        case 4: tile(4, s, rows, y, next); break;
        default: tile(1, s, rows, y, next); break;
        }
        next += s->groups * GROUP_PAIRS * s->next_step;
    }
}

static uint32_t block_rows(uint32_t k)
{
    (void)k;
    return M_BLOCK;
}

/* Groups per block of k: equal blocks. */
static uint32_t block_groups(uint32_t k)
{
    const uint32_t groups = (k + NIB__GROUP - 1) / NIB__GROUP, n = (k + K_BLOCK - 1) / K_BLOCK;
    return (groups + n - 1) / n;
}

static size_t scratch_bytes(uint32_t k)
{
    return (size_t)PANELS * block_groups(k) * GROUP_BYTES;
}

/* All panels of the run over groups [group, group + s->groups). */
static void run_block(const nib__packed *w, uint32_t first, uint32_t count, uint32_t group,
                      strip *s, uint32_t m, float *y, uint8_t *lines)
{
    const uint32_t tiles = (m + ROWS - 1) / ROWS;
    s->panel_bytes = w->panel_bytes;
    s->next_step = (64 + tiles - 1) / tiles;
    for (uint32_t p = first, n; p < first + count; p += n) {
        n = first + count - p < PANELS ? first + count - p : PANELS;
        const bool last = p + n == first + count; /* then the first strip of the next k is next */
        s->next = nib__panel_at(w, last ? first : p + n) +
                  (size_t)(last ? group + s->groups : group) * GROUP_BYTES;
        for (uint32_t i = 0; i < n; i++) {
            nib__expand_float_avx512bf16(w, p + i, group, s->groups,
                                         lines + i * s->groups * GROUP_BYTES);
        }
        const uint32_t left = w->n - p * NIB__PANEL;
        s->real[0] = nib__lanes(left);
        s->real[1] = n == 1 ? 0 : nib__lanes(left - NIB__PANEL);
        s->y = y + (size_t)p * NIB__PANEL;
        multiply(s, m);
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    const uint32_t groups = (w->k + NIB__GROUP - 1) / NIB__GROUP, block = block_groups(w->k);
    strip s = {.lines = scratch, .row_bytes = bf16_row_bytes(w->k), .ldy = ldy};
    for (uint32_t row = 0; row < m; row += M_BLOCK) {
        const uint32_t n_rows = m - row < M_BLOCK ? m - row : M_BLOCK;
        for (uint32_t g = 0; g < groups; g += block) {
            s.groups = groups - g < block ? groups - g : block;
            s.rows = (const uint8_t *)rows + row * s.row_bytes + (size_t)g * 2 * NIB__GROUP;
            s.more = g != 0;
            run_block(w, first, count, g, &s, n_rows, y + row * ldy, scratch);
        }
    }
}

const nib__matmul nib__prefill_float_avx512bf16 = {
    .name = "bf16_avx512bf16",
    .row_bytes = bf16_row_bytes,
    .round_row = bf16_round_row,
    .run = run,
    .scratch_bytes = scratch_bytes,
    .block_rows = block_rows,
    .min_rows = NIB__DECODE_ROWS + 1,
};
