/* SPDX-License-Identifier: MIT
 * The loops of a matrix product in AMX tiles, for rows of bytes by panels of 16 outputs whose lines
 * of 64 bytes are already in the order of a tile: [K bytes / 4][16 outputs][4 bytes]. int8 codes lie
 * like that (4 k a line), and so do pairs of bf16 (2 k).
 *
 * Loops, outside in: chunks of panels whose sums fit in scratch, blocks of K whose rows stay in the
 * L2 cache, strips of two panels, and blocks of two row tiles by these two panels, which the eight
 * tile registers hold: four sums, two of rows, two of weights. Weights are read where they lie; the
 * strip that comes next is fetched into the L2 cache meanwhile.
 *
 * The file that includes this defines
 *     enum { INT8_TILES }       1: TDPBSSD on int8, 0: TDPBF16PS on bf16
 *     void finish_rows(const tile_job *, tile_finish *, n)
 * which turns the next rows of a block of sums into results, n at most. It is a call on purpose: a
 * loop of so few rounds between tile instructions is mispredicted every time. */
#ifndef NIB_KERNELS_X86_TILES_AMX_H
#define NIB_KERNELS_X86_TILES_AMX_H

#include <string.h>

#include "kernels/panel.h"
#include "kernels/simd.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"

enum {
    TILE_ROWS = 16,
    STEP_BYTES = 64,        /* K bytes per tile */
    BLOCK_SUMS = 32 * 32,   /* four tiles of sums */
    WHOLE_BYTES = 2560,     /* so many K bytes are one block; of more, ... */
    K_BLOCK_BYTES = 1024,   /* ... so many are: a strip of weights stays in the L1 cache */
    SUM_BLOCKS = 128,       /* blocks of sums kept between blocks of K: 512 KB */
    FINISH_ROWS = 4,        /* rows that become results in one step of K */
    FETCH_ROWS = 8,         /* rows of results fetched ahead of writing them */
    M_BLOCK = 512,          /* most rows of tiles between two passes over the weights ... */
    LONG_M_BLOCK = 256      /* ... if there are several blocks of K */
};

typedef struct tile_job {
    const nib__packed *w;
    const uint8_t *rows; /* the first row's first plane */
    size_t row_stride;   /* bytes */
    size_t second;       /* bytes from the first row tile to the second */
    uint32_t rows_per_block; /* 32; 16 if the second tile is another plane of the same rows */
    uint32_t k_bytes;    /* of a row, a multiple of 64 */
    float *y;            /* column 0 of the matrix */
    size_t ldy;
} tile_job;

/* Sums of one block on their way to results: a few rows at a time, while the tiles multiply the
 * next block. */
typedef struct tile_finish {
    const int32_t *sums; /* [32][32], rows of both tiles one after the other */
    uint32_t row, at, n; /* first row of the block, next row of it, rows */
    uint32_t panel, panels;
} tile_finish;

static void finish_rows(const tile_job *job, tile_finish *f, uint32_t most);

#define MULTIPLY_TILES(sum, a, b) \
    do { \
        if (INT8_TILES) \
            _tile_dpbssd(sum, a, b); \
        else \
            _tile_dpbf16ps(sum, a, b); \
    } while (0)

/* Memory to be fetched into the L2 cache, some lines of both panels per step. */
typedef struct tile_fetch {
    const uint8_t *at;
    size_t second; /* bytes from the first panel to the second */
    uint32_t lines, per_step;
} tile_fetch;

NIB_INLINE void fetch_step(tile_fetch *f)
{
    for (uint32_t i = 0; i < f->per_step && f->lines > 0; i++, f->lines--, f->at += 64) {
        _mm_prefetch((const char *)f->at, _MM_HINT_T1);
        _mm_prefetch((const char *)f->at + f->second, _MM_HINT_T1);
    }
}

/* `steps` tiles of K; sums are continued from `from` unless that is NULL, and go to `to`, both
 * [32][32]. row_tiles and panels are constants, 1 or 2. */
NIB_INLINE void multiply_block(int row_tiles, int panels, const tile_job *job, const uint8_t *a,
                               const uint8_t *b, uint32_t steps, const int32_t *from, int32_t *to,
                               tile_fetch *fetch, tile_finish *last)
{
    const uint8_t *a1 = a + job->second, *b1 = b + job->w->panel_bytes;
    const size_t stride = job->row_stride, out = 32 * sizeof *to;
    memory_barrier();
    if (from != NULL) {
        _tile_loadd(0, from, out);
        if (panels == 2) _tile_loadd(1, from + 16, out);
        if (row_tiles == 2) _tile_loadd(2, from + 512, out);
        if (row_tiles == 2 && panels == 2) _tile_loadd(3, from + 528, out);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (uint32_t i = 0; i < steps; i++) {
        _tile_loadd(6, b + (size_t)i * TILE_BYTES, 64);
        _tile_stream_loadd(4, a + (size_t)i * STEP_BYTES, stride);
        MULTIPLY_TILES(0, 4, 6);
        if (panels == 2) {
            _tile_loadd(7, b1 + (size_t)i * TILE_BYTES, 64);
            MULTIPLY_TILES(1, 4, 7);
        }
        if (row_tiles == 2) {
            _tile_stream_loadd(5, a1 + (size_t)i * STEP_BYTES, stride);
            MULTIPLY_TILES(2, 5, 6);
            if (panels == 2) MULTIPLY_TILES(3, 5, 7);
        }
        fetch_step(fetch);
        if (last->at < last->n) finish_rows(job, last, FINISH_ROWS);
    }
    if (last->at < last->n) finish_rows(job, last, last->n);
    _tile_stored(0, to, out);
    if (panels == 2) _tile_stored(1, to + 16, out);
    if (row_tiles == 2) _tile_stored(2, to + 512, out);
    if (row_tiles == 2 && panels == 2) _tile_stored(3, to + 528, out);
    memory_barrier();
}

/* Where a block of K begins and ends. */
typedef struct tile_part {
    uint32_t from, steps; /* in tiles of 64 bytes */
    bool first, last;
} tile_part;

/* One strip by all rows: panels [panel, panel + panels). sums: one block per block of rows, and
 * behind all of them two that are used in turn. */
static void multiply_strip(const tile_job *job, const tile_part *k, uint32_t panel, uint32_t panels,
                           uint32_t row, uint32_t m, int32_t *sums, int32_t *edge,
                           tile_fetch *fetch, uint32_t *configured, tile_finish *last)
{
    const uint8_t *b = nib__panel_at(job->w, panel) + job->w->code_offset;
    b += (size_t)k->from * TILE_BYTES;
    for (uint32_t at = 0; at < m; at += job->rows_per_block, sums += BLOCK_SUMS) {
        uint32_t n = m - at < job->rows_per_block ? m - at : job->rows_per_block;
        bool two = n > TILE_ROWS || job->rows_per_block == TILE_ROWS;
        uint32_t first = n < TILE_ROWS ? n : TILE_ROWS;
        uint32_t second = !two ? 0 : job->rows_per_block == TILE_ROWS ? n : n - TILE_ROWS;
        if (*configured != first * 32 + second) configure_tiles(first, second);
        *configured = first * 32 + second;
        const uint8_t *a = job->rows + (row + at) * job->row_stride + (size_t)k->from * STEP_BYTES;
        const int32_t *from = k->first ? NULL : sums;
        /* The other of the two that the block before is finished from. */
        int32_t *to = !k->last ? sums : last->sums == edge ? edge + BLOCK_SUMS : edge;
        if (two && panels == 2)
            multiply_block(2, 2, job, a, b, k->steps, from, to, fetch, last);
        else if (two)
            multiply_block(2, 1, job, a, b, k->steps, from, to, fetch, last);
        else if (panels == 2)
            multiply_block(1, 2, job, a, b, k->steps, from, to, fetch, last);
        else
            multiply_block(1, 1, job, a, b, k->steps, from, to, fetch, last);
        if (k->last) *last = (tile_finish){to, row + at, 0, n, panel, panels};
    }
}

/* Equal blocks of whole tiles. */
static uint32_t steps_per_block(uint32_t k_bytes)
{
    uint32_t steps = k_bytes / STEP_BYTES, blocks = (k_bytes + K_BLOCK_BYTES - 1) / K_BLOCK_BYTES;
    if (k_bytes <= WHOLE_BYTES) return steps;
    return (steps + blocks - 1) / blocks;
}

static size_t tiles_scratch(uint32_t k)
{
    (void)k;
    return (SUM_BLOCKS + 2) * BLOCK_SUMS * sizeof(int32_t);
}

static void run_tiles(const tile_job *job, uint32_t first, uint32_t count, uint32_t m,
                      void *scratch)
{
    int32_t *sums = scratch, *edge = sums + SUM_BLOCKS * BLOCK_SUMS;
    const uint32_t steps = job->k_bytes / STEP_BYTES, per_block = steps_per_block(job->k_bytes);
    tile_finish last = {NULL, 0, 0, 0, 0, 0};
    const uint32_t tile_rows = per_block == steps ? M_BLOCK : LONG_M_BLOCK;
    const uint32_t most = tile_rows * job->rows_per_block / (2 * TILE_ROWS);
    uint32_t configured = 0;
    for (uint32_t row = 0; row < m; row += most) {
        uint32_t n = m - row < most ? m - row : most;
        uint32_t blocks = (n + job->rows_per_block - 1) / job->rows_per_block;
        uint32_t chunk = per_block == steps ? count : SUM_BLOCKS / blocks * 2;
        for (uint32_t p = 0; p < count; p += chunk) {
            uint32_t end = count - p < chunk ? count : p + chunk;
            for (uint32_t k = 0; k < steps; k += per_block) {
                uint32_t len = steps - k < per_block ? steps - k : per_block;
                tile_part part = {k, len, k == 0, k + len == steps};
                for (uint32_t i = p; i < end; i += 2) {
                    uint32_t panels = end - i < 2 ? 1 : 2;
                    tile_fetch fetch = {NULL, 0, 0, 0};
                    if (i + panels < end) {
                        const uint8_t *next = nib__panel_at(job->w, first + i + panels);
                        fetch.at = next + job->w->code_offset + (size_t)k * TILE_BYTES;
                        fetch.second = i + panels + 1 < end ? job->w->panel_bytes : 0;
                        fetch.lines = len * (TILE_BYTES / 64);
                        fetch.per_step = (16 + blocks - 1) / blocks;
                    }
                    int32_t *to = part.first && part.last
                                      ? sums
                                      : sums + (size_t)((i - p) / 2) * blocks * BLOCK_SUMS;
                    multiply_strip(job, &part, first + i, panels, row, n, to, edge, &fetch,
                                   &configured, &last);
                }
            }
        }
    }
    if (last.at < last.n) finish_rows(job, &last, last.n);
    _tile_release();
}

#endif
