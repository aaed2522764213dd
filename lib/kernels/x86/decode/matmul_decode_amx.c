/* SPDX-License-Identifier: MIT
 * Decode with AMX int8 tiles for 3 to 16 rows at once, coded weights of up to 6 bits with a scale
 * per 32 k. Fewer rows and other weights go to AVX-512 VNNI.
 *
 * Up to 8 rows pass over a panel together. Per group of 32 k one tile holds byte codes [k / 4][16
 * outputs][4 k], another the high and low planes of the rows; TDPBSUD gives exact sums [planes and
 * rows][16 outputs]. The float32 part follows kernels.h step by step, so the bits are those of
 * every other level. Groups are unpacked, multiplied and added up some groups after each other, so
 * that nothing waits for what was stored just before, and sums stay in registers. */
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/unpack_avx512.h"

enum {
    SET = 8,     /* most rows that pass together */
    LAG = 2,     /* groups between two steps of work on a group */
    RING = 8,    /* places for groups in work, more than two LAGs */
    FEW_ROWS = 2 /* served by AVX-512 VNNI */
};

/* Groups in work: group g in place g % RING. */
typedef struct ring {
    uint8_t codes[RING][8][64];
    int32_t sums[RING][2 * SET][16]; /* a set of n rows: [hi: n][lo: n] */
    float scale[RING][16], min[RING][16];
} ring;

/* Rows that pass together: `n` is 4 or 8, of which `there` are not just zeros. */
typedef struct row_set {
    const uint8_t *planes; /* [groups][hi: n, lo: n][32] */
    const float *xsum;     /* [groups][n] sums of q */
    const int32_t *start;  /* [groups][n] -zero * sum of q */
    float scale[SET];
    uint32_t n, there;
} row_set;

/* Tiles 0 sums, 1 planes, 2 codes. */
static void configure(const row_set *x)
{
    tile_config config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 3; i++) {
        config.rows[i] = (uint8_t)(i < 2 ? 2 * x->n : NIB__GROUP / 4);
        config.row_bytes[i] = (uint16_t)(i == 1 ? NIB__GROUP : 64);
    }
    load_tile_config(&config);
}

/* Where unpacking stands. */
typedef struct cursor {
    const uint8_t *entry, *codes;
    block_scale scales;
    __m512i book;
    fetch_steps fetch;
} cursor;

NIB_INLINE void unpack_next(nib__format f, const nib__packed *w, uint32_t g, cursor *at, ring *t)
{
    const uint32_t place = g % RING;
    if (g % block_groups(f) == 0) {
        at->scales = load_block_scale(f, w->layout->unit, at->entry);
        fetch_at_group(&at->fetch, g);
        fetch_scales(&at->fetch, at->entry, scale_bytes(f));
        at->entry += scale_bytes(f);
    }
    __m512i line[8];
    __m512 s, m = _mm512_setzero_ps();
    fetch_codes(&at->fetch, at->codes, group_bytes(f));
    unpack_group(f, at->codes, at->book, line);
    NIB_UNROLL
    for (int j = 0; j < 8; j++) _mm512_store_si512(t->codes[place][j], line[j]);
    group_scale(f, &at->scales, g % block_groups(f), &s, &m);
    _mm512_store_ps(t->scale[place], s);
    if (has_min(f)) _mm512_store_ps(t->min[place], m);
    at->codes += group_bytes(f);
}

/* Exact sums of group g. */
NIB_INLINE void multiply_group(int n, const row_set *x, uint32_t g, ring *t)
{
    const uint32_t place = g % RING;
    memory_barrier();
    _tile_loadd(2, t->codes[place], 64);
    _tile_loadd(1, x->planes + (size_t)g * (size_t)(2 * n * NIB__GROUP), NIB__GROUP);
    _tile_zero(0);
    _tile_dpbsud(0, 1, 2);
    _tile_stored(0, t->sums[place], 64);
    memory_barrier();
}

NIB_INLINE void add_sums(nib__format f, int n, const row_set *x, uint32_t g, const ring *t,
                         __m512 acc[SET], __m512 acc_min[SET])
{
    const uint32_t place = g % RING;
    const __m512 s = _mm512_load_ps(t->scale[place]), m = _mm512_load_ps(t->min[place]);
    const float *xsum = x->xsum + (size_t)g * (size_t)n;
    const int32_t *start = x->start + (size_t)g * (size_t)n;
    NIB_UNROLL
    for (int r = 0; r < n; r++) {
        __m512i sum = _mm512_slli_epi32(_mm512_load_si512(t->sums[place][r]), 8);
        sum = _mm512_add_epi32(sum, _mm512_load_si512(t->sums[place][n + r]));
        if (code_zero(f) != 0) sum = _mm512_add_epi32(sum, _mm512_set1_epi32(start[r]));
        acc[r] = _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), acc[r]);
        if (has_min(f)) acc_min[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(xsum[r]), acc_min[r]);
    }
}

/* One panel times a set of n rows (a constant). */
NIB_INLINE void decode_panel(nib__format f, int n, const nib__packed *w, uint32_t panel,
                             const fetch_steps *fetch, const row_set *x, float *y, size_t ldy,
                             ring *t)
{
    const uint32_t groups = w->k / NIB__GROUP;
    const __mmask16 mask = panel_mask(w, panel);
    __m512 acc[SET], acc_min[SET];
    cursor at;
    at.entry = w->data + (size_t)panel * w->panel_bytes;
    at.codes = at.entry + w->code_offset;
    at.book = load_book(f, w->layout);
    at.fetch = *fetch;
    at.scales = (block_scale){_mm512_setzero_ps(), _mm512_setzero_ps(), NULL};
    NIB_UNROLL
    for (int r = 0; r < n; r++) acc[r] = acc_min[r] = _mm512_setzero_ps();
    for (uint32_t g = 0; g < groups + 2 * LAG; g++) {
        if (g < groups) unpack_next(f, w, g, &at, t);
        if (g >= LAG && g < groups + LAG) multiply_group(n, x, g - LAG, t);
        if (g >= 2 * LAG) add_sums(f, n, x, g - 2 * LAG, t, acc, acc_min);
    }
    y += (size_t)panel * NIB__PANEL;
    NIB_UNROLL
    for (int r = 0; r < n; r++) {
        __m512 sum = _mm512_add_ps(acc[r], acc_min[r]);
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(x->scale[r]));
        if ((uint32_t)r < x->there) _mm512_mask_storeu_ps(y + (size_t)r * ldy, mask, sum);
    }
}

/* Formats that are met most are compiled for sets of 4 rows, too. */
NIB_INLINE bool often_met(nib__format f)
{
    return f == NIB__Q4_0 || f == NIB__Q4_1 || f == NIB__Q4_K || f == NIB__Q5_K;
}

NIB_INLINE void decode_run(nib__format f, const nib__packed *w, uint32_t first, uint32_t count,
                           const row_set *x, float *y, size_t ldy, ring *t)
{
    const fetch_steps fetch = fetch_steps_of(w);
    for (uint32_t p = first; p < first + count; p++) {
        if (x->n == SET)
            decode_panel(f, SET, w, p, &fetch, x, y, ldy, t);
        else if (often_met(f))
            decode_panel(f, SET / 2, w, p, &fetch, x, y, ldy, t);
    }
}

static void decode_rows(const nib__packed *w, uint32_t first, uint32_t count, const row_set *x,
                        float *y, size_t ldy, ring *t)
{
    switch (panel_twin(w->layout->format)) {
    case NIB__Q4_0: decode_run(NIB__Q4_0, w, first, count, x, y, ldy, t); break;
    case NIB__Q4_1: decode_run(NIB__Q4_1, w, first, count, x, y, ldy, t); break;
    case NIB__Q5_0: decode_run(NIB__Q5_0, w, first, count, x, y, ldy, t); break;
    case NIB__Q5_1: decode_run(NIB__Q5_1, w, first, count, x, y, ldy, t); break;
    case NIB__Q4_K: decode_run(NIB__Q4_K, w, first, count, x, y, ldy, t); break;
    case NIB__Q5_K: decode_run(NIB__Q5_K, w, first, count, x, y, ldy, t); break;
    case NIB__IQ4_NL: decode_run(NIB__IQ4_NL, w, first, count, x, y, ldy, t); break;
    case NIB__IQ4_XS: decode_run(NIB__IQ4_XS, w, first, count, x, y, ldy, t); break;
    case NIB__TQ2_0: decode_run(NIB__TQ2_0, w, first, count, x, y, ldy, t); break;
    case NIB__MXFP4: decode_run(NIB__MXFP4, w, first, count, x, y, ldy, t); break;
    default: break; /* has_tiles */
    }
}

static bool has_tiles(const nib__layout *layout)
{
    return layout->scale_group == NIB__GROUP && layout->code_bits < 8;
}

/* Up to SET rows from `from` on as tiles, and their sums, at `to`. */
static row_set lay_rows(const nib__layout *layout, const uint8_t *from, uint32_t rows, uint32_t k,
                        uint8_t *to)
{
    const bool small = rows <= SET / 2 && often_met(layout->format);
    const uint32_t groups = k / NIB__GROUP, n = small ? SET / 2 : SET;
    const int32_t zero = layout_zero(layout);
    float *xsum = (float *)(void *)(to + 2 * (size_t)k * n);
    int32_t *start = (int32_t *)(void *)(xsum + (size_t)groups * n);
    row_set set = {.planes = to, .xsum = xsum, .start = start, .n = n, .there = rows};
    for (uint32_t r = 0; r < n; r++) {
        /* Rows that are not there repeat the last. */
        const uint8_t *row = from + (r < rows ? r : rows - 1) * nib__row16_bytes(k);
        const nib__row16 x = nib__row16_view(row, k);
        set.scale[r] = x.scale;
        for (uint32_t g = 0; g < groups; g++) {
            uint8_t *at = to + ((size_t)g * 2 * n + r) * NIB__GROUP;
            int32_t total = x.sum[2 * g] + x.sum[2 * g + 1];
            memcpy(at, x.hi + (size_t)g * NIB__GROUP, NIB__GROUP);
            memcpy(at + (size_t)n * NIB__GROUP, x.lo + (size_t)g * NIB__GROUP, NIB__GROUP);
            xsum[(size_t)g * n + r] = (float)total;
            start[(size_t)g * n + r] = -zero * total;
        }
    }
    return set;
}

size_t nib__decode_coded_scratch_amx(uint32_t k)
{
    size_t row = 2 * (size_t)k + k / NIB__GROUP * (sizeof(float) + sizeof(int32_t));
    size_t many = nib__align_up(sizeof(ring) + NIB__DECODE_ROWS * row, NIB_ALIGN);
    size_t few = nib__decode_coded_scratch_avx512vnni(k);
    return many > few ? many : few;
}

void nib__decode_coded_amx(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                           uint32_t m, float *y, size_t ldy, void *scratch)
{
    const size_t row_bytes = nib__row16_bytes(w->k);
    if (m <= FEW_ROWS || !has_tiles(w->layout)) {
        nib__decode_coded_avx512vnni(w, first, count, rows, m, y, ldy, scratch);
        return;
    }
    for (uint32_t at = 0; at < m; at += SET) {
        const uint8_t *from = (const uint8_t *)rows + at * row_bytes;
        const uint32_t n = m - at < SET ? m - at : SET;
        ring *t = scratch;
        const row_set x = lay_rows(w->layout, from, n, w->k, (uint8_t *)(t + 1));
        configure(&x);
        decode_rows(w, first, count, &x, y + at * ldy, ldy, t);
        _tile_release();
    }
}
