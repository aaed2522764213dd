/* SPDX-License-Identifier: MIT
 * Prefill with AMX: weights are expanded to bf16 tiles once per call, activations rounded to bf16,
 * products accumulated in float32 by TDPBF16PS.
 *
 * Loops, outside in: blocks of k (so that the activations of all rows stay in the L2 cache), strips
 * of 32 outputs (expanded into scratch, L1/L2), blocks of 32 rows. Partial sums rest in y between
 * blocks of k. A row's sums do not depend on the other rows. */
#include <immintrin.h>
#include <string.h>

#include "kernels/x86/avx512.h"
#include "kernels/x86/expand_amx.h"

enum {
    STRIP = 2 * NIB__PANEL, /* outputs per strip */
    K_BLOCK = 1024,         /* most k per block: 512 rows of activations are 1 MB */
    TILE_BYTES = 1024,
    EDGE_BYTES = 32 * STRIP * sizeof(float)
};

/* The tile configuration the CPU reads (Intel SDM, LDTILECFG). */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* What is multiplied in one strip and one block of k. */
typedef struct strip {
    const uint8_t *a;       /* activations [m][a_stride], at the block's first k */
    size_t a_stride;
    const uint8_t *b;       /* tiles [2 panels][groups] */
    uint32_t groups;        /* of 32 k */
    uint32_t panels;        /* 1 or 2 */
    float *y;               /* [m][ldy], at the strip's first output */
    size_t ldy;
    uint32_t width;         /* real outputs */
    uint32_t accumulate;    /* add to y */
    float *edge;            /* [32][STRIP], where outputs are missing */
} strip;

/* Compilers do not know that tile instructions read and write memory. */
static inline void memory_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

/* Tiles: 0..3 sums [2 blocks of rows][2 panels], 4 5 activations, 6 7 weights. */
static void configure(uint32_t rows0, uint32_t rows1)
{
    tile_config config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    config.rows[0] = config.rows[1] = config.rows[4] = (uint8_t)rows0;
    if (rows1 != 0) config.rows[2] = config.rows[3] = config.rows[5] = (uint8_t)rows1;
    memory_barrier();
    _tile_loadconfig(&config);
    memory_barrier();
}

/* One block of rows (two row tiles or one) by the strip; both counts are constants. */
static inline __attribute__((always_inline)) void
multiply_block(int row_tiles, int panels, const uint8_t *a, size_t a_stride, const uint8_t *b,
               uint32_t groups, float *y, size_t ldy, uint32_t accumulate)
{
    const uint8_t *a1 = a + 16 * a_stride, *b1 = b + (size_t)groups * TILE_BYTES;
    float *y1 = y + 16 * ldy;
    size_t y_stride = ldy * sizeof(float);
    memory_barrier();
    if (accumulate) {
        _tile_loadd(0, y, y_stride);
        if (panels == 2) _tile_loadd(1, y + 16, y_stride);
        if (row_tiles == 2) _tile_loadd(2, y1, y_stride);
        if (row_tiles == 2 && panels == 2) _tile_loadd(3, y1 + 16, y_stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (uint32_t g = 0; g < groups; g++) {
        _tile_loadd(6, b + (size_t)g * TILE_BYTES, 64);
        _tile_loadd(4, a + (size_t)g * 64, a_stride);
        _tile_dpbf16ps(0, 4, 6);
        if (panels == 2) {
            _tile_loadd(7, b1 + (size_t)g * TILE_BYTES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (row_tiles == 2) {
            _tile_loadd(5, a1 + (size_t)g * 64, a_stride);
            _tile_dpbf16ps(2, 5, 6);
            if (panels == 2) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, y, y_stride);
    if (panels == 2) _tile_stored(1, y + 16, y_stride);
    if (row_tiles == 2) _tile_stored(2, y1, y_stride);
    if (row_tiles == 2 && panels == 2) _tile_stored(3, y1 + 16, y_stride);
    memory_barrier();
}

static void copy_floats(float *to, size_t to_stride, const float *from, size_t from_stride,
                        uint32_t rows, uint32_t width)
{
    for (uint32_t r = 0; r < rows; r++) {
        memcpy(to + r * to_stride, from + r * from_stride, width * sizeof(float));
    }
}

/* Rows [row, row + n) of the strip, n <= 32, in tiles configured for them. */
static void multiply_rows(const strip *s, uint32_t row, uint32_t n)
{
    const uint8_t *a = s->a + row * s->a_stride;
    float *real = s->y + row * s->ldy, *y = real;
    size_t ldy = s->ldy;
    bool edge = s->width < s->panels * NIB__PANEL;
    if (edge) {
        y = s->edge;
        ldy = STRIP;
        if (s->accumulate) copy_floats(y, ldy, real, s->ldy, n, s->width);
    }
    if (n > 16 && s->panels == 2) {
        multiply_block(2, 2, a, s->a_stride, s->b, s->groups, y, ldy, s->accumulate);
    } else if (n > 16) {
        multiply_block(2, 1, a, s->a_stride, s->b, s->groups, y, ldy, s->accumulate);
    } else if (s->panels == 2) {
        multiply_block(1, 2, a, s->a_stride, s->b, s->groups, y, ldy, s->accumulate);
    } else {
        multiply_block(1, 1, a, s->a_stride, s->b, s->groups, y, ldy, s->accumulate);
    }
    if (edge) copy_floats(real, s->ldy, y, ldy, n, s->width);
}

static void multiply_strip(const strip *s, uint32_t m)
{
    uint32_t full = m / 32 * 32, tail = m - full;
    if (full != 0) configure(16, 16);
    for (uint32_t row = 0; row < full; row += 32) multiply_rows(s, row, 32);
    if (tail == 0) return;
    configure(tail < 16 ? tail : 16, tail > 16 ? tail - 16 : 0);
    multiply_rows(s, full, tail);
}

/* k per block: equal blocks, whole entries of 256. */
static uint32_t block_of(uint32_t k)
{
    uint32_t n = (k + K_BLOCK - 1) / K_BLOCK;
    return ((k + n - 1) / n + 255) / 256 * 256;
}

/* An odd number of cache lines, so that 16 rows of a tile do not share cache sets. */
static size_t row_bytes(uint32_t k)
{
    size_t lines = ((size_t)k + 31) / 32;
    return (lines | 1) * 64;
}

static size_t scratch_bytes(uint32_t k)
{
    return (size_t)block_of(k) / NIB__GROUP * 2 * TILE_BYTES + EDGE_BYTES;
}

static void round_row(const float *x, uint32_t k, void *row)
{
    uint16_t *out = row;
    size_t end = row_bytes(k) / 2;
    for (size_t i = 0; i < end; i += 32) {
        __mmask16 low = 0, high = 0;
        size_t left = i < k ? k - i : 0;
        low = left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1u);
        if (left > 16) high = left >= 32 ? (__mmask16)0xffff : (__mmask16)((1u << (left - 16)) - 1u);
        __m512 a = _mm512_maskz_loadu_ps(low, x + i), b = _mm512_maskz_loadu_ps(high, x + i + 16);
        __m512bh both = _mm512_cvtne2ps_pbh(b, a);
        memcpy(out + i, &both, sizeof both);
    }
}

typedef void expand_fn(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                       uint8_t *tiles);

static void run(expand_fn *expand, const nib__packed *w, uint32_t first, uint32_t count,
                const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    uint32_t k_block = block_of(w->k);
    uint8_t *tiles = scratch;
    strip s = {.a_stride = row_bytes(w->k), .b = tiles, .ldy = ldy};
    s.edge = (float *)(void *)(tiles + (size_t)k_block / NIB__GROUP * 2 * TILE_BYTES);
    for (uint32_t k = 0; k < w->k; k += k_block) {
        uint32_t len = w->k - k < k_block ? w->k - k : k_block;
        s.groups = (len + NIB__GROUP - 1) / NIB__GROUP;
        s.a = (const uint8_t *)rows + (size_t)k * 2;
        s.accumulate = k != 0;
        for (uint32_t p = first; p < first + count; p += s.panels) {
            s.panels = first + count - p >= 2 ? 2 : 1;
            for (uint32_t i = 0; i < s.panels; i++) {
                expand(w, p + i, k / NIB__GROUP, s.groups, tiles + i * s.groups * TILE_BYTES);
            }
            uint32_t left = w->n - p * NIB__PANEL;
            s.width = left < s.panels * NIB__PANEL ? left : s.panels * NIB__PANEL;
            s.y = y + (size_t)p * NIB__PANEL;
            multiply_strip(&s, m);
        }
    }
    _tile_release();
}

static void run_coded(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    run(nib__expand_coded_amx, w, first, count, rows, m, y, ldy, scratch);
}

const nib__matmul nib__prefill_coded_amx = {.name = "bf16_amx",
                                            .row_bytes = row_bytes,
                                            .round_row = round_row,
                                            .run = run_coded,
                                            .scratch_bytes = scratch_bytes,
                                            .min_rows = 12};
