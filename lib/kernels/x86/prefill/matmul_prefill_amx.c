/* SPDX-License-Identifier: MIT
 * Prefill with AMX: weights are expanded to bf16 tiles, activations rounded to bf16, products
 * accumulated in float32 by TDPBF16PS.
 *
 * The unit of work is a strip of 32 outputs by one block of k by one block of rows. Its weights are
 * expanded into scratch, which fits the L1 cache; rows come from the L2 cache with the streaming
 * hint, or they would push the weights out of L1. (Expanding the next unit's weights between the
 * tile instructions hides nothing: tile registers are renamed too few ahead for that.)
 *
 * A load that waits for the L3 cache stops the tiles, so the block of rows is as large as the L2
 * cache holds. Where all k of 256 rows fit, strips are the outer loop; else blocks of k are, and
 * the sums of a chunk of strips wait in scratch. A row's sums do not depend on the other rows. */
#include "kernels/x86/activate_avx512.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/bf16_avx512.h"
#include "kernels/x86/prefill/expand_amx.h"

enum {
    STRIP = 2 * NIB__PANEL, /* outputs per strip */
    ROWS = 32,              /* rows per block of tiles: two tiles */
    K_BLOCK = 512,          /* most k per block: a strip's tiles take 32 KB of the L1 cache */
    L2_ROWS = 1200 << 10,   /* bytes of rows that stay in the L2 cache */
    M_BLOCK = 512,          /* most rows between two expansions of the weights ... */
    LONG_M_BLOCK = 256,     /* ... if not all of their k fit */
    LONG_STRIPS = 24,       /* strips whose sums wait in scratch then: 768 KB */
    BLOCK_FLOATS = ROWS * STRIP,
    L2_BYTES = 1900 << 10, /* results that fit here beside the rows stay in the caches */
    MAX_RANGES = 5         /* two panels, and rows */
};

typedef void expand_fn(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                       uint8_t *tiles);

/* Memory that will be read soon, fetched into the L2 cache a few lines at a time between tile
 * instructions. */
typedef struct fetch_range {
    const uint8_t *at;
    size_t stride;
    uint32_t lines, rows; /* [rows][lines] of 64 bytes, stride bytes from row to row */
} fetch_range;

typedef struct fetch_list {
    fetch_range ranges[MAX_RANGES];
    uint32_t range, n, line, per_step;
} fetch_list;

/* Sums of one block on their way to results: a few rows at a time, while the tiles multiply the
 * next block. */
typedef struct finish {
    const float *sums; /* [4 tiles][16][16] */
    float *y;          /* of the block's first row, at the strip's first output; or */
    uint8_t *to;       /* a rounded row there */
    uint32_t at, n;    /* next row, rows */
    uint32_t width;    /* real outputs */
} finish;

/* One unit. */
typedef struct unit {
    uint32_t row, rows;     /* block of rows */
    uint32_t chunk;         /* first panel of the chunk, from the first of the run */
    uint32_t panel, panels; /* of the strip */
    uint32_t group, groups; /* block of k, in groups of 32 */
} unit;

typedef struct product {
    const nib__packed *w;
    const nib__gated *gated; /* or NULL; else w is the gate, and a strip one panel of each */
    expand_fn *expand;
    const uint8_t *rows;
    float *y;    /* [m][ldy], at the first panel of the run */
    uint8_t *to; /* rounded rows of the next map, at the first panel of the run */
    size_t row_bytes, ldy, to_bytes;
    uint32_t strip;           /* panels of the run per strip */
    uint32_t m, first, count; /* rows; panels of the run */
    uint32_t m_block, chunk;  /* rows; panels */
    uint32_t block, groups;   /* of k, in groups */
    float *sums;              /* [chunk / 2][m_block / 32][4 tiles][16][16], between blocks of k */
    float *edge;              /* two blocks of sums that are finished, used in turn */
    uint8_t *tiles;           /* weights of a unit: [2 panels][groups] */
    bool stream;              /* y is large and aligned: write it past the caches */
    uint32_t configured;      /* rows of a block that the tiles are configured for; 0: not yet */
    finish done;
    fetch_list fetch;
} product;

static inline void fetch_step(fetch_list *f)
{
    for (uint32_t i = 0; i < f->per_step && f->range < f->n; i++) {
        fetch_range *r = &f->ranges[f->range];
        _mm_prefetch((const char *)r->at + (size_t)f->line * 64, _MM_HINT_T1);
        if (++f->line < r->lines) continue;
        f->line = 0;
        r->at += r->stride;
        if (--r->rows == 0) f->range++;
    }
}

static inline void finish_row(const product *p, finish *f)
{
    const float *sum = f->sums + f->at / 16 * 512 + f->at % 16 * 16;
    __m512 v0 = _mm512_load_ps(sum), v1 = _mm512_load_ps(sum + 256);
    uint32_t row = f->at++;
    if (p->gated != NULL) {
        __m512 result = _mm512_mul_ps(activate_16(p->gated->act, v0), v1);
        __m256bh half = _mm512_cvtneps_pbh(result);
        memcpy(f->to + row * p->to_bytes, &half, sizeof half);
        return;
    }
    float *y = f->y + row * p->ldy;
    if (p->stream && f->width == STRIP) {
        _mm512_stream_ps(y, v0);
        _mm512_stream_ps(y + 16, v1);
    } else {
        _mm512_mask_storeu_ps(y, nib__lanes(f->width), v0);
        if (f->width > 16) _mm512_mask_storeu_ps(y + 16, nib__lanes(f->width - 16), v1);
    }
}

/* One block of rows (two row tiles or one) by a strip; both counts are constants. Sums start from
 * `from`, or from 0 if NULL. */
static inline __attribute__((always_inline)) void multiply_block(int row_tiles, int panels,
                                                                 product *p, const uint8_t *a,
                                                                 const uint8_t *b, uint32_t groups,
                                                                 const float *from, float *to)
{
    const size_t stride = p->row_bytes;
    const uint8_t *b1 = b + (size_t)groups * TILE_BYTES, *a1 = a + 16 * stride;
    const uint32_t rows_per_step = (p->done.n + groups - 1) / groups;
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
    for (uint32_t g = 0; g < groups; g++) {
        _tile_loadd(6, b + (size_t)g * TILE_BYTES, 64);
        _tile_stream_loadd(4, a + (size_t)g * 64, stride);
        _tile_dpbf16ps(0, 4, 6);
        if (panels == 2) {
            _tile_loadd(7, b1 + (size_t)g * TILE_BYTES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (row_tiles == 2) {
            _tile_stream_loadd(5, a1 + (size_t)g * 64, stride);
            _tile_dpbf16ps(2, 5, 6);
            if (panels == 2) _tile_dpbf16ps(3, 5, 7);
        }
        fetch_step(&p->fetch);
        for (uint32_t r = 0; r < rows_per_step && p->done.at < p->done.n; r++)
            finish_row(p, &p->done);
    }
    _tile_stored(0, to, 64);
    if (panels == 2) _tile_stored(1, to + 256, 64);
    if (row_tiles == 2) _tile_stored(2, to + 512, 64);
    if (row_tiles == 2 && panels == 2) _tile_stored(3, to + 768, 64);
    memory_barrier();
}

/* Its weights are in p->tiles. */
static void multiply_unit(product *p, const unit *u)
{
    const bool first = u->group == 0, last = u->group + u->groups == p->groups;
    const uint8_t *a = p->rows + u->row * p->row_bytes + (size_t)u->group * 64;
    const uint32_t column = u->panel * NIB__PANEL, panels = p->gated != NULL ? 2 : u->panels;
    const uint32_t left = p->w->n - p->first * NIB__PANEL - column;
    const uint32_t width = left < u->panels * NIB__PANEL ? left : u->panels * NIB__PANEL;
    float *y = p->gated == NULL ? p->y + u->row * p->ldy + column : NULL, *sums = p->sums;
    uint8_t *rounded = p->gated != NULL ? p->to + u->row * p->to_bytes + column * 2 : NULL;
    sums += (size_t)((u->panel - u->chunk) / p->strip) * (p->m_block / ROWS) * BLOCK_FLOATS;
    for (uint32_t row = 0; row < u->rows; row += ROWS, sums += BLOCK_FLOATS) {
        uint32_t n = u->rows - row < ROWS ? u->rows - row : ROWS;
        if (p->configured != n) configure_tiles(n < 16 ? n : 16, n > 16 ? n - 16 : 0);
        p->configured = n;
        const float *from = first ? NULL : sums;
        /* The other of the two that the block before is finished from. */
        float *to = !last ? sums : p->done.sums == p->edge ? p->edge + BLOCK_FLOATS : p->edge;
        if (n > 16 && panels == 2)
            multiply_block(2, 2, p, a, p->tiles, u->groups, from, to);
        else if (n > 16)
            multiply_block(2, 1, p, a, p->tiles, u->groups, from, to);
        else if (panels == 2)
            multiply_block(1, 2, p, a, p->tiles, u->groups, from, to);
        else
            multiply_block(1, 1, p, a, p->tiles, u->groups, from, to);
        a += ROWS * p->row_bytes;
        if (!last) continue;
        p->done = (finish){to, NULL, NULL, 0, n, width};
        if (rounded != NULL)
            p->done.to = rounded + row * p->to_bytes;
        else
            p->done.y = y + row * p->ldy;
    }
}

/* k per block: equal blocks of whole groups. */
static uint32_t block_of(uint32_t k)
{
    uint32_t groups = (k + NIB__GROUP - 1) / NIB__GROUP;
    uint32_t n = (k + K_BLOCK - 1) / K_BLOCK;
    return (groups + n - 1) / n * NIB__GROUP;
}

/* All k of that many rows fit the L2 cache; else 0. */
static uint32_t whole_rows(uint32_t k)
{
    size_t rows = L2_ROWS / bf16_row_bytes(k) / ROWS * ROWS;
    return rows < LONG_M_BLOCK ? 0 : rows < M_BLOCK ? LONG_M_BLOCK : M_BLOCK;
}

static uint32_t block_rows(uint32_t k)
{
    uint32_t whole = whole_rows(k);
    return whole != 0 ? whole : LONG_M_BLOCK;
}

static size_t scratch_bytes(uint32_t k)
{
    size_t sums = whole_rows(k) != 0 ? M_BLOCK / ROWS : LONG_M_BLOCK / ROWS * LONG_STRIPS;
    return (size_t)block_of(k) / NIB__GROUP * 2 * TILE_BYTES +
           (sums + 2) * BLOCK_FLOATS * sizeof(float);
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The unit at these places, cut to what there is. */
static void place(const product *p, unit *u)
{
    u->rows = least(p->m_block, p->m - u->row);
    u->panels = least(p->strip, p->count - u->panel);
    u->groups = least(p->block, p->groups - u->group);
}

/* The unit after u; false if there is none. */
static bool advance(const product *p, unit *u)
{
    uint32_t chunk_end = u->chunk + least(p->chunk, p->count - u->chunk);
    u->panel += p->strip;
    if (u->panel >= chunk_end) {
        u->group += p->block;
        if (u->group >= p->groups) {
            u->group = 0;
            u->chunk = chunk_end;
            if (u->chunk == p->count) {
                u->chunk = 0;
                u->row += p->m_block;
                if (u->row >= p->m) return false;
            }
        }
        u->panel = u->chunk;
    }
    place(p, u);
    return true;
}

static void add_range(fetch_list *f, const uint8_t *at, size_t bytes)
{
    f->ranges[f->n++] = (fetch_range){at, 0, (uint32_t)((bytes + 63) / 64), 1};
}

/* Codes and scales of a panel for groups [group, group + count). */
static void add_panel(fetch_list *f, const nib__packed *w, uint32_t p, uint32_t group,
                      uint32_t count)
{
    const nib__layout *l = w->layout;
    const uint8_t *panel = w->data + (size_t)p * w->panel_bytes;
    if (!l->coded) {
        size_t group_bytes = NIB__GROUP * NIB__PANEL * (l->code_bits / 8u);
        add_range(f, panel + group * group_bytes, count * group_bytes);
        return;
    }
    uint32_t entry = group * NIB__GROUP / l->block;
    uint32_t entries = ((group + count) * NIB__GROUP - 1) / l->block + 1 - entry;
    add_range(f, panel + (size_t)entry * l->scale_bytes, (size_t)entries * l->scale_bytes);
    add_range(f, panel + w->code_offset + (size_t)group * l->group_bytes,
              (size_t)count * l->group_bytes);
}

/* During unit u: the weights of `later`, and a part of the rows of the next block of k. */
static void plan_fetch(product *p, const unit *u, const unit *later)
{
    fetch_list *f = &p->fetch;
    f->n = f->range = f->line = 0;
    for (uint32_t i = 0; later != NULL && i < later->panels; i++)
        add_panel(f, p->w, p->first + later->panel + i, later->group, later->groups);
    if (later != NULL && p->gated != NULL)
        add_panel(f, p->gated->up, p->first + later->panel, later->group, later->groups);
    uint32_t next = u->group + u->groups, panels = least(p->chunk, p->count - u->chunk);
    uint32_t strips = (panels + p->strip - 1) / p->strip;
    if (strips > 1 && next < p->groups) {
        uint32_t strip = (u->panel - u->chunk) / p->strip;
        uint32_t row = u->rows * strip / strips, end = u->rows * (strip + 1) / strips;
        const uint8_t *at = p->rows + (u->row + row) * p->row_bytes + (size_t)next * 64;
        if (end > row)
            f->ranges[f->n++] =
                (fetch_range){at, p->row_bytes, least(p->block, p->groups - next), end - row};
    }
    uint32_t total = 0, steps = (u->rows + ROWS - 1) / ROWS * u->groups;
    for (uint32_t i = 0; i < f->n; i++) total += f->ranges[i].lines * f->ranges[i].rows;
    f->per_step = (total + steps - 1) / steps;
}

static void run_units(product *p)
{
    unit u = {0}, next;
    place(p, &u);
    for (bool more = true; more; u = next) {
        next = u;
        more = advance(p, &next);
        plan_fetch(p, &u, more ? &next : NULL);
        for (uint32_t i = 0; i < u.panels; i++)
            p->expand(p->w, p->first + u.panel + i, u.group, u.groups,
                      p->tiles + (size_t)i * u.groups * TILE_BYTES);
        if (p->gated != NULL)
            p->expand(p->gated->up, p->first + u.panel, u.group, u.groups,
                      p->tiles + (size_t)u.groups * TILE_BYTES);
        multiply_unit(p, &u);
    }
    while (p->done.at < p->done.n) finish_row(p, &p->done);
}

/* Fills in what follows from the shape, and runs. */
static void run(product *p, const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                uint32_t m, void *scratch)
{
    size_t strips = whole_rows(w->k) != 0 ? 1 : LONG_STRIPS;
    p->w = w;
    p->first = first;
    p->count = count;
    p->rows = rows;
    p->m = m;
    p->row_bytes = bf16_row_bytes(w->k);
    p->strip = p->gated != NULL ? 1 : 2;
    p->m_block = block_rows(w->k);
    p->chunk = (uint32_t)strips * p->strip;
    p->block = block_of(w->k) / NIB__GROUP;
    p->groups = (w->k + NIB__GROUP - 1) / NIB__GROUP;
    p->edge = scratch;
    p->sums = p->edge + 2 * BLOCK_FLOATS;
    p->tiles = (uint8_t *)(p->sums + strips * (p->m_block / ROWS) * BLOCK_FLOATS);
    run_units(p);
    _tile_release();
    _mm_sfence(); /* streamed results become visible before anything that follows */
}

static void run_plain(expand_fn *expand, const nib__packed *w, uint32_t first, uint32_t count,
                      const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    product p = {.expand = expand, .y = y + (size_t)first * NIB__PANEL, .ldy = ldy};
    p.stream = m * (bf16_row_bytes(w->k) + ldy * sizeof(float)) > L2_BYTES &&
               ((uintptr_t)y | (ldy * sizeof(float))) % 64 == 0;
    run(&p, w, first, count, rows, m, scratch);
}

static void run_gated(expand_fn *expand, const nib__gated *maps, uint32_t first, uint32_t count,
                      const void *rows, uint32_t m, void *to, void *scratch)
{
    product p = {.gated = maps, .expand = expand};
    p.to = (uint8_t *)to + (size_t)first * NIB__PANEL * 2;
    p.to_bytes = bf16_row_bytes(maps->gate->n);
    run(&p, maps->gate, first, count, rows, m, scratch);
}

static void run_gated_coded(const nib__gated *maps, uint32_t first, uint32_t count,
                            const void *rows, uint32_t m, void *to, void *scratch)
{
    run_gated(nib__expand_coded_amx, maps, first, count, rows, m, to, scratch);
}

static void run_gated_float(const nib__gated *maps, uint32_t first, uint32_t count,
                            const void *rows, uint32_t m, void *to, void *scratch)
{
    run_gated(nib__expand_float_avx512bf16, maps, first, count, rows, m, to, scratch);
}

static void run_coded(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    run_plain(nib__expand_coded_amx, w, first, count, rows, m, y, ldy, scratch);
}

static void run_float(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    run_plain(nib__expand_float_avx512bf16, w, first, count, rows, m, y, ldy, scratch);
}

const nib__matmul nib__prefill_coded_amx = {.name = "bf16_amx",
                                            .row_bytes = bf16_row_bytes,
                                            .round_row = bf16_round_row,
                                            .run = run_coded,
                                            .scratch_bytes = scratch_bytes,
                                            .block_rows = block_rows,
                                            .run_gated = run_gated_coded,
                                            .min_rows = 12};

const nib__matmul nib__prefill_float_amx = {.name = "bf16_amx",
                                            .row_bytes = bf16_row_bytes,
                                            .round_row = bf16_round_row,
                                            .run = run_float,
                                            .scratch_bytes = scratch_bytes,
                                            .block_rows = block_rows,
                                            .run_gated = run_gated_float,
                                            .min_rows = 12};
