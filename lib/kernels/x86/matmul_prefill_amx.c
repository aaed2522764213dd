/* SPDX-License-Identifier: MIT
 * Prefill with AMX: weights are expanded to bf16 tiles once per call, activations rounded to bf16,
 * products accumulated in float32 by TDPBF16PS.
 *
 * Loops, outside in: chunks of outputs whose sums fit in scratch, blocks of k (activations of all
 * rows stay in the L2 cache), strips of 32 outputs (expanded into scratch, which fits the L1
 * cache), blocks of 32 rows. Activations are loaded with the streaming hint, or they would push the
 * strip out of L1: that is worth 30 to 60 %. A row's sums do not depend on the other rows. */
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/expand_amx.h"

enum {
    STRIP = 2 * NIB__PANEL, /* outputs per strip */
    ROWS = 32,              /* rows per block: two tiles */
    M_BLOCK = 512,          /* most rows between two expansions of the weights */
    K_BLOCK = 640,          /* most k per block: a strip's tiles take 40 KB of the L1 cache */
    BLOCK_FLOATS = ROWS * STRIP,
    SUM_BLOCKS = 128, /* blocks of sums kept between blocks of k: 512 KB */
    STREAM_ROWS = 256 /* from so many rows on, results are written past the caches */
};

/* Memory that will be read soon, fetched into the L2 cache a few lines at a time between tile
 * instructions: the weights of the next strip, which otherwise arrive from memory only when the
 * tiles stand still. */
typedef struct fetch_list {
    const uint8_t *at[4]; /* ranges not yet fetched */
    uint32_t lines[4];
    uint32_t range, per_step;
} fetch_list;

/* What is multiplied in one strip and one block of k. */
typedef struct strip {
    const uint8_t *a; /* activations [m][a_stride], at the block's first k */
    size_t a_stride;
    const uint8_t *b; /* tiles [2 panels][groups] */
    uint32_t groups;  /* of 32 k */
    uint32_t panels;  /* 1 or 2 */
    uint32_t width;   /* real outputs */
    bool first, last; /* blocks of k */
    float *sums;      /* [m / 32][4 tiles][16][16], between blocks of k */
    float *y;         /* [m][ldy], at the strip's first output: after the last block */
    size_t ldy;
    bool stream;         /* y is large and aligned: write it past the caches */
    float *edge;         /* [ROWS][STRIP] on its way to y, if streamed or not all of it is real */
    uint32_t configured; /* rows of a block that the tiles are configured for; 0: not yet */
    fetch_list fetch;
} strip;

static inline void fetch_step(fetch_list *f)
{
    for (uint32_t i = 0; i < f->per_step; i++) {
        while (f->range < 4 && f->lines[f->range] == 0) f->range++;
        if (f->range == 4) return;
        _mm_prefetch((const char *)f->at[f->range], _MM_HINT_T1);
        f->at[f->range] += 64;
        f->lines[f->range]--;
    }
}

/* Where the four tiles of sums go. */
typedef struct target {
    float *tile0;
    size_t panel, rows, stride; /* floats to the next panel and row tile, bytes to the next row */
    bool fetch;                 /* may not be in the cache */
} target;

/* Two rows of results per step, so that they are in the cache when the tiles are stored. */
static inline void fetch_target(const target *to, uint32_t step)
{
    const char *row = (const char *)(to->tile0 + step / 8 * to->rows) + step % 8 * 2 * to->stride;
    const size_t panel = to->panel * sizeof(float);
    _mm_prefetch(row, _MM_HINT_T0);
    _mm_prefetch(row + panel, _MM_HINT_T0);
    _mm_prefetch(row + to->stride, _MM_HINT_T0);
    _mm_prefetch(row + to->stride + panel, _MM_HINT_T0);
}

/* One block of rows (two row tiles or one) by the strip; both counts are constants. Sums start from
 * the four tiles `from`, or from 0 if NULL. */
static inline __attribute__((always_inline)) void
multiply_block(int row_tiles, int panels, strip *s, const uint8_t *a, const float *from, target to)
{
    const uint8_t *b = s->b, *b1 = b + (size_t)s->groups * TILE_BYTES;
    const uint8_t *a1 = a + 16 * s->a_stride;
    memory_barrier();
    if (from != NULL) {
        _tile_loadd(0, from, 64);
        if (panels == 2) _tile_loadd(1, from + 256, 64);
        if (row_tiles == 2) _tile_loadd(2, from + 512, 64);
        if (row_tiles == 2 && panels == 2) _tile_loadd(3, from + 768, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (uint32_t g = 0; g < s->groups; g++) {
        _tile_loadd(6, b + (size_t)g * TILE_BYTES, 64);
        _tile_stream_loadd(4, a + (size_t)g * 64, s->a_stride);
        _tile_dpbf16ps(0, 4, 6);
        if (panels == 2) {
            _tile_loadd(7, b1 + (size_t)g * TILE_BYTES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (row_tiles == 2) {
            _tile_stream_loadd(5, a1 + (size_t)g * 64, s->a_stride);
            _tile_dpbf16ps(2, 5, 6);
            if (panels == 2) _tile_dpbf16ps(3, 5, 7);
        }
        fetch_step(&s->fetch);
        if (to.fetch && g < 16) fetch_target(&to, g);
    }
    _tile_stored(0, to.tile0, to.stride);
    if (panels == 2) _tile_stored(1, to.tile0 + to.panel, to.stride);
    if (row_tiles == 2) _tile_stored(2, to.tile0 + to.rows, to.stride);
    if (row_tiles == 2 && panels == 2) _tile_stored(3, to.tile0 + to.rows + to.panel, to.stride);
    memory_barrier();
}

/* Rows [row, row + n) of the strip, n <= 32, in tiles configured for them. */
static void multiply_rows(strip *s, uint32_t row, uint32_t n)
{
    const uint8_t *a = s->a + row * s->a_stride;
    float *sums = s->sums + (size_t)(row / ROWS) * BLOCK_FLOATS, *y = s->y + row * s->ldy;
    const float *from = s->first ? NULL : sums;
    bool edge = s->last && (s->stream || s->width < s->panels * NIB__PANEL);
    target to = {sums, 256, 512, 64, false};
    if (edge)
        to = (target){s->edge, NIB__PANEL, 16 * STRIP, STRIP * sizeof(float), false};
    else if (s->last)
        to = (target){y, NIB__PANEL, 16 * s->ldy, s->ldy * sizeof(float), true};
    if (n > 16 && s->panels == 2)
        multiply_block(2, 2, s, a, from, to);
    else if (n > 16)
        multiply_block(2, 1, s, a, from, to);
    else if (s->panels == 2)
        multiply_block(1, 2, s, a, from, to);
    else
        multiply_block(1, 1, s, a, from, to);
    if (!edge) return;
    for (uint32_t r = 0; r < n; r++) {
        const float *sum = s->edge + r * STRIP;
        if (s->stream && s->width == STRIP) {
            _mm512_stream_ps(y + r * s->ldy, _mm512_load_ps(sum));
            _mm512_stream_ps(y + r * s->ldy + 16, _mm512_load_ps(sum + 16));
        } else {
            memcpy(y + r * s->ldy, sum, s->width * sizeof(float));
        }
    }
}

static void multiply_strip(strip *s, uint32_t m)
{
    uint32_t full = m / 32 * 32, tail = m - full;
    if (full != 0 && s->configured != ROWS) configure_tiles(16, 16);
    if (full != 0) s->configured = ROWS;
    for (uint32_t row = 0; row < full; row += 32) multiply_rows(s, row, 32);
    if (tail == 0) return;
    if (s->configured != tail) configure_tiles(tail < 16 ? tail : 16, tail > 16 ? tail - 16 : 0);
    s->configured = tail;
    multiply_rows(s, full, tail);
}

/* k per block: equal blocks of whole groups. */
static uint32_t block_of(uint32_t k)
{
    uint32_t groups = (k + NIB__GROUP - 1) / NIB__GROUP;
    uint32_t n = (k + K_BLOCK - 1) / K_BLOCK;
    return (groups + n - 1) / n * NIB__GROUP;
}

/* An odd number of cache lines, so that 16 rows of a tile do not share cache sets. */
static size_t row_bytes(uint32_t k)
{
    size_t lines = ((size_t)k + 31) / 32;
    return (lines | 1) * 64;
}

static size_t scratch_bytes(uint32_t k)
{
    return (size_t)block_of(k) / NIB__GROUP * 2 * TILE_BYTES +
           (SUM_BLOCKS + 1) * BLOCK_FLOATS * sizeof(float);
}

static void round_row(const float *x, uint32_t k, void *row)
{
    uint16_t *out = row;
    size_t end = row_bytes(k) / 2;
    for (size_t i = 0; i < end; i += 32) {
        size_t left = i < k ? k - i : 0;
        __mmask16 low = nib__lanes(left), high = nib__lanes(left > 16 ? left - 16 : 0);
        __m512 a = _mm512_maskz_loadu_ps(low, x + i), b = _mm512_maskz_loadu_ps(high, x + i + 16);
        __m512bh both = _mm512_cvtne2ps_pbh(b, a);
        memcpy(out + i, &both, sizeof both);
    }
}

typedef void expand_fn(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                       uint8_t *tiles);

/* The weights of panels [p, p + 2) for groups [group, group + count). */
static void plan_fetch(const nib__packed *w, uint32_t p, uint32_t panels, uint32_t group,
                       uint32_t count, uint32_t steps, fetch_list *f)
{
    const nib__layout *l = w->layout;
    memset(f, 0, sizeof *f);
    uint32_t total = 0;
    for (uint32_t i = 0; i < panels; i++) {
        const uint8_t *panel = w->data + (size_t)(p + i) * w->panel_bytes;
        if (!l->coded) {
            uint32_t group_bytes = NIB__GROUP * NIB__PANEL * (l->code_bits / 8u);
            f->at[2 * i] = panel + (size_t)group * group_bytes;
            f->lines[2 * i] = count * group_bytes / 64;
        } else {
            uint32_t entry = group * NIB__GROUP / l->block;
            uint32_t entries = (group + count) * NIB__GROUP / l->block + 1 - entry;
            f->at[2 * i] = panel + (size_t)entry * l->scale_bytes;
            f->lines[2 * i] = entries * l->scale_bytes / 64 + 1;
            f->at[2 * i + 1] = panel + w->code_offset + (size_t)group * l->group_bytes;
            f->lines[2 * i + 1] = count * l->group_bytes / 64;
        }
        total += f->lines[2 * i] + f->lines[2 * i + 1];
    }
    f->per_step = (total + steps - 1) / steps;
}

/* All blocks of k for panels [first, first + count), few enough that their sums fit in scratch. */
static void run_chunk(expand_fn *expand, const nib__packed *w, uint32_t first, uint32_t count,
                      const uint8_t *rows, uint32_t m, float *y, size_t ldy, uint8_t *scratch)
{
    uint32_t k_block = block_of(w->k), row_blocks = (m + ROWS - 1) / ROWS;
    uint8_t *tiles = scratch + (SUM_BLOCKS + 1) * BLOCK_FLOATS * sizeof(float);
    float *sums = (float *)(void *)scratch;
    strip s = {.a_stride = row_bytes(w->k), .b = tiles, .ldy = ldy};
    s.edge = sums + SUM_BLOCKS * BLOCK_FLOATS;
    s.stream = m >= STREAM_ROWS && ((uintptr_t)y | (ldy * sizeof(float))) % 64 == 0;
    for (uint32_t k = 0; k < w->k; k += k_block) {
        uint32_t len = w->k - k < k_block ? w->k - k : k_block;
        s.groups = (len + NIB__GROUP - 1) / NIB__GROUP;
        s.a = rows + (size_t)k * 2;
        s.first = k == 0;
        s.last = k + len == w->k;
        for (uint32_t p = first; p < first + count; p += s.panels) {
            s.panels = first + count - p >= 2 ? 2 : 1;
            for (uint32_t i = 0; i < s.panels; i++) {
                expand(w, p + i, k / NIB__GROUP, s.groups, tiles + i * s.groups * TILE_BYTES);
            }
            uint32_t left = w->n - p * NIB__PANEL;
            s.width = left < s.panels * NIB__PANEL ? left : s.panels * NIB__PANEL;
            s.y = y + (size_t)p * NIB__PANEL;
            s.sums = sums + (size_t)((p - first) / 2) * row_blocks * BLOCK_FLOATS;
            uint32_t next = p + s.panels, ahead = first + count - next;
            plan_fetch(w, next, ahead < 2 ? ahead : 2, k / NIB__GROUP, s.groups,
                       row_blocks * s.groups, &s.fetch);
            multiply_strip(&s, m);
        }
    }
}

static void run(expand_fn *expand, const nib__packed *w, uint32_t first, uint32_t count,
                const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    for (uint32_t row = 0; row < m; row += M_BLOCK) {
        uint32_t n_rows = m - row < M_BLOCK ? m - row : M_BLOCK;
        const uint8_t *a = (const uint8_t *)rows + row * row_bytes(w->k);
        uint32_t chunk = SUM_BLOCKS / ((n_rows + ROWS - 1) / ROWS) * 2;
        for (uint32_t p = 0; p < count; p += chunk) {
            run_chunk(expand, w, first + p, count - p < chunk ? count - p : chunk, a, n_rows,
                      y + row * ldy, ldy, scratch);
        }
    }
    _tile_release();
    _mm_sfence(); /* streamed results become visible before anything that follows */
}

static void run_coded(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    run(nib__expand_coded_amx, w, first, count, rows, m, y, ldy, scratch);
}

static void run_float(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    run(nib__expand_float_amx, w, first, count, rows, m, y, ldy, scratch);
}

const nib__matmul nib__prefill_coded_amx = {.name = "bf16_amx",
                                            .row_bytes = row_bytes,
                                            .round_row = round_row,
                                            .run = run_coded,
                                            .scratch_bytes = scratch_bytes,
                                            .min_rows = 12};

const nib__matmul nib__prefill_float_amx = {.name = "bf16_amx",
                                            .row_bytes = row_bytes,
                                            .round_row = round_row,
                                            .run = run_float,
                                            .scratch_bytes = scratch_bytes,
                                            .min_rows = 12};
