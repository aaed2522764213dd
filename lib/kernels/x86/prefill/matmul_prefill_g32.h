/* SPDX-License-Identifier: MIT
 * Prefill with group-32 int8 activations, in registers of 8 or 16 outputs. A strip of panels is
 * unpacked once, to byte codes and float32 scales in scratch, and then meets a block of rows, in
 * tiles of a few rows and the outputs of a panel, in one register or two (HALVES). The last rows of
 * many are repeated to fill a tile: kernels of their own would not be worth their bytes.
 *
 * Per scale group: the integer sum of code * q, then y += (s * sx) * sum and, where the format has
 * mins or codes have a zero point, which is a min of -zero * s, y += m * (sx * xsum). Scales that
 * are a float32 per block times an integer per 16 k may be multiplied as integers (OFFSET_PAIR):
 * the sum of 32 k is then sc0 * sum0 + sc1 * sum1, exactly.
 *
 * Who includes this has the vectors already (matmul_prefill_256.h or _512.h) and defines KIND, how
 * lines are multiplied (add_lines) and for which formats (prefill_panel). */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_G32_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_G32_H

#include "kernels/panel.h"
#include "kernels/simd.h"
#include "kernels/x86/prefill/prefill_strip_avx2.h"
#include "kernels/x86/rows_avx2.h"

enum {
    M_BLOCK = 512, /* rows that meet an unpacked strip; their second planes are added at its end */
    SUMS = (TILE > TOGETHER ? TILE : TOGETHER) * HALVES /* that of row r, half h: r * HALVES + h */
};

static uint32_t strip_panels(uint32_t k)
{
    return k <= 2048 ? 4 : 2; /* a strip should stay in the second-level cache */
}

/* Which rows of a block have a second plane in a group: [k / 32] of these. */
typedef struct row_mask {
    uint64_t bits[M_BLOCK / 64];
} row_mask;

/* Where the parts of a plane lie behind its codes: the same for all rows, so that one register per
 * row is enough. */
typedef struct plane_parts {
    size_t scale, sum16, sum32, scaled16, scaled32;
} plane_parts;

static plane_parts parts_of(const row_g32 *x)
{
    const uint8_t *base = (const uint8_t *)x->q;
    plane_parts p = {
        (size_t)((const uint8_t *)x->scale - base),
        (size_t)((const uint8_t *)x->sum16 - base),
        (size_t)((const uint8_t *)x->sum32 - base),
        (size_t)((const uint8_t *)x->scaled16 - base),
        (size_t)((const uint8_t *)x->scaled32 - base),
    };
    return p;
}

/* Both planes of a block of rows. */
typedef struct plane_block {
    const int8_t *first[M_BLOCK + TILE], *second[M_BLOCK]; /* the last of `first` is repeated */
    plane_parts parts;
    row_mask masks[]; /* [k / 32] */
} plane_block;

static size_t block_bytes(uint32_t k)
{
    return nib__align_up(sizeof(plane_block) + k / NIB__GROUP * sizeof(row_mask), NIB_ALIGN);
}

/* [row block][strip] */
static size_t prefill_scratch(uint32_t k)
{
    return block_bytes(k) + strip_panels(k) * nib__strip_bytes_avx2(k);
}

/* What a scale group adds beside the sum of code * q. */
typedef enum offset { OFFSET_NONE, OFFSET_MIN, OFFSET_PAIR } offset;

/* What is multiplied: compiled once for each. `mode` is for add_lines, `lines` (8 or 4) have one
 * scale. */
typedef struct variant {
    int mode, lines;
    offset offset;
} variant;

/* What the rows of a job meet: the outputs of a panel. */
typedef struct outputs {
    strip strip;
    uint32_t k;
    plane_parts at; /* of the rows */
} outputs;

/* Defined by the including file. sum[rows * HALVES] of v.lines lines of codes times rows from k on;
 * `more` are the integers of the strip that belong to them. */
NIB_INLINE void add_lines(variant v, int rows, const uint8_t *codes, const int8_t *const *x,
                          uint32_t k, const int32_t *more, ints *sum);

/* Group g of 32 k, scale group `part` of it: sum[rows * HALVES] of code * q. */
NIB_INLINE void sum_codes(variant v, int rows, const outputs *o, uint32_t g, uint32_t part,
                          const int8_t *const *x, ints *sum)
{
    const uint32_t lines = (uint32_t)v.lines, group = g * (8 / lines) + part;
    const uint8_t *codes = o->strip.codes + (size_t)g * 512 + 64 * (size_t)(part * lines);
    const int32_t *more = NULL;
    if (KIND == STRIP_DPBUSD) more = o->strip.start + (size_t)group * NIB__PANEL;
    if (v.offset == OFFSET_PAIR) more = o->strip.pair + (size_t)g * 2 * NIB__PANEL;
    add_lines(v, rows, codes, x, g * NIB__GROUP + 4 * part * lines, more, sum);
}

NIB_INLINE floats broadcast_float(const int8_t *plane, size_t at)
{
    return v_bits(v_four(plane + at));
}

/* Scale groups in 32 k. A function, because gcc keeps no NIB_UNROLL of a loop whose condition
 * divides under UndefinedBehaviorSanitizer. */
NIB_INLINE uint32_t parts_of_group(variant v)
{
    return 8 / (uint32_t)v.lines;
}

/* acc += what one sum of scale group `group` (of 32 k: g) is worth; x is its row, `from` its first
 * output. */
NIB_INLINE floats add_sum(variant v, const outputs *o, uint32_t g, size_t group, const int8_t *x,
                          uint32_t from, ints sum, floats acc)
{
    const floats scale = v_load(o->strip.scale + group * NIB__PANEL + from);
    if (v.offset == OFFSET_PAIR) { /* two sums of 16 k, below 2^15, times two scales */
        const ints zeros = v_load_ints(o->strip.zeros + (size_t)g * NIB__PANEL + from);
        const ints xsums = v_four(x + o->at.sum16 + 4 * (size_t)g);
        sum = v_sub_ints(sum, v_madd16(xsums, zeros));
    }
    const floats row_scale = broadcast_float(x, o->at.scale + 4 * (size_t)g);
    if (KIND == STRIP_DPBUSD) { /* sums with the bias: s * sum, rounded once */
        const floats exact = v_fma(v_bits(sum), scale, v_mul(scale, v_set(-STRIP_BIAS)));
        acc = v_fma(exact, row_scale, acc);
    } else {
        acc = v_fma(v_float(sum), v_mul(scale, row_scale), acc);
    }
    if (v.offset == OFFSET_MIN) {
        const floats mins = v_load(o->strip.mins + group * NIB__PANEL + from);
        const size_t xs = (v.lines == 8 ? o->at.scaled32 : o->at.scaled16) + 4 * group;
        acc = v_fma(mins, broadcast_float(x, xs), acc);
    }
    return acc;
}

/* acc[rows * HALVES] += group g of 32 k. */
NIB_INLINE void add_group(variant v, int rows, const outputs *o, uint32_t g, const int8_t *const *x,
                          floats *acc)
{
    NIB_UNROLL
    for (uint32_t part = 0; part < parts_of_group(v); part++) {
        const size_t group = (size_t)g * parts_of_group(v) + part;
        ints sum[SUMS];
        sum_codes(v, rows, o, g, part, x, sum);
        NIB_UNROLL
        for (int i = 0; i < rows * HALVES; i++) {
            const uint32_t from = LANES * ((uint32_t)i % HALVES);
            acc[i] = add_sum(v, o, g, group, x[i / HALVES], from, sum[i], acc[i]);
        }
    }
}

/* n outputs of a row, at most a panel. */
static void copy_outputs(float *to, const float *from, uint32_t n)
{
    if (n < NIB__PANEL) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    for (int h = 0; h < HALVES; h++) v_store(to + LANES * h, v_load(from + LANES * h));
}

/* What is done with a panel: a tile of rows, or the second planes of a block. */
typedef struct panel_job {
    const nib__packed *w;
    outputs outputs;
    uint32_t n; /* real outputs */
    float *y;
    size_t ldy;
    uint32_t rows;             /* real ones */
    const int8_t *const *x;    /* [TILE] */
    const plane_block *second; /* else NULL */
} panel_job;

/* y[rows][n] = a panel times a tile of rows. */
NIB_INLINE void first_planes(variant v, const panel_job *j, const outputs *o, uint32_t n)
{
    floats acc[SUMS];
    float out[TILE][NIB__PANEL];
    NIB_UNROLL
    for (int i = 0; i < TILE * HALVES; i++) acc[i] = v_set(0.0f);
    for (uint32_t g = 0; g < o->k / NIB__GROUP; g++) add_group(v, TILE, o, g, j->x, acc);
    NIB_UNROLL
    for (int i = 0; i < TILE * HALVES; i++) v_store(&out[i / HALVES][i % HALVES * LANES], acc[i]);
    for (uint32_t r = 0; r < TILE && r < j->rows; r++) copy_outputs(j->y + r * j->ldy, out[r], n);
}

/* Adds group g of the second planes of rows x[TOGETHER], of which `count` are real, to their y. */
NIB_INLINE void second_tile(variant v, const outputs *o, uint32_t g, const int8_t *const *x,
                            float *const *y, uint32_t count, uint32_t n)
{
    floats acc[SUMS];
    float out[TOGETHER][NIB__PANEL] = {{0}};
    for (uint32_t r = 0; r < TOGETHER; r++) copy_outputs(out[r], y[r], n);
    NIB_UNROLL
    for (int i = 0; i < TOGETHER * HALVES; i++)
        acc[i] = v_load(&out[i / HALVES][i % HALVES * LANES]);
    add_group(v, TOGETHER, o, g, x, acc);
    NIB_UNROLL
    for (int i = 0; i < TOGETHER * HALVES; i++)
        v_store(&out[i / HALVES][i % HALVES * LANES], acc[i]);
    for (uint32_t r = 0; r < TOGETHER && r < count; r++) copy_outputs(y[r], out[r], n);
}

/* list[returned] = the rows in a mask. */
static uint32_t list_rows(const row_mask *mask, uint16_t *list)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < M_BLOCK / 64; i++) {
        for (uint64_t left = mask->bits[i]; left != 0; left &= left - 1) {
            list[count++] = (uint16_t)(i * 64 + (uint32_t)__builtin_ctzll(left));
        }
    }
    return count;
}

/* Adds what the second planes of a block of rows give. Group by group, several rows at once: asking
 * each row at each group in the main loop would be mispredicted too often. */
NIB_INLINE void second_planes(variant v, const panel_job *j, const outputs *o, uint32_t n)
{
    for (uint32_t g = 0; g < o->k / NIB__GROUP; g++) {
        uint16_t list[M_BLOCK];
        const uint32_t count = list_rows(&j->second->masks[g], list);
        for (uint32_t from = 0; from < count; from += TOGETHER) {
            const int8_t *x[TOGETHER];
            float *y[TOGETHER];
            for (uint32_t i = 0; i < TOGETHER; i++) {
                const size_t r = list[from + i < count ? from + i : from];
                x[i] = j->second->second[r];
                y[i] = j->y + r * j->ldy;
            }
            second_tile(v, o, g, x, y, count - from, n);
        }
    }
}

NIB_INLINE void prefill_job(variant v, const panel_job *j)
{
    if (j->second == NULL)
        first_planes(v, j, &j->outputs, j->n);
    else
        second_planes(v, j, &j->outputs, j->n);
}

/* Defined by the including file: picks the variant for the format. */
static void prefill_panel(const panel_job *job);

static void view_rows(const uint8_t *rows, uint32_t m, uint32_t k, plane_block *block)
{
    memset(block->masks, 0, k / NIB__GROUP * sizeof block->masks[0]);
    for (uint32_t r = 0; r < m; r++) {
        row_g32 plane;
        row_g32_rest rest;
        nib__row_g32_view_avx2(rows + r * nib__row_g32_bytes_avx2(k), k, &plane, &rest);
        block->first[r] = plane.q;
        block->second[r] = rest.plane.q;
        block->parts = parts_of(&plane);
        for (uint32_t i = 0; i < rest.count; i++) {
            block->masks[rest.groups[i]].bits[r / 64] |= (uint64_t)1 << r % 64;
        }
    }
    for (uint32_t r = m; r < m + TILE; r++) block->first[r] = block->first[m - 1];
}

/* Panels [p, p + panels) times a block of rows. */
static void prefill_strip(const nib__packed *w, uint32_t p, uint32_t panels,
                          const plane_block *rows, uint32_t m, float *y, size_t ldy,
                          uint8_t *scratch)
{
    panel_job jobs[4];
    for (uint32_t i = 0; i < panels; i++) {
        const strip t = nib__strip_at_avx2(scratch + i * nib__strip_bytes_avx2(w->k), w->k);
        nib__strip_expand_avx2(KIND, w, p + i, &t);
        jobs[i] = (panel_job){.w = w, .n = nib__panel_rows(w, p + i), .ldy = ldy};
        jobs[i].outputs = (outputs){.strip = t, .k = w->k, .at = rows->parts};
    }
    for (uint32_t at = 0; at < m; at += TILE) {
        for (uint32_t i = 0; i < panels; i++) {
            jobs[i].rows = m - at;
            jobs[i].x = rows->first + at;
            jobs[i].y = y + at * ldy + (size_t)(p + i) * NIB__PANEL;
            prefill_panel(&jobs[i]);
        }
    }
    for (uint32_t i = 0; i < panels; i++) {
        jobs[i].second = rows;
        jobs[i].y = y + (size_t)(p + i) * NIB__PANEL;
        prefill_panel(&jobs[i]);
    }
}

static void prefill_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                        uint32_t m, float *y, size_t ldy, void *scratch)
{
    plane_block *block = scratch;
    uint8_t *strips = (uint8_t *)scratch + block_bytes(w->k);
    for (uint32_t row = 0; row < m; row += M_BLOCK) {
        const uint8_t *from = (const uint8_t *)rows + row * nib__row_g32_bytes_avx2(w->k);
        uint32_t n = m - row < M_BLOCK ? m - row : M_BLOCK;
        view_rows(from, n, w->k, block);
        for (uint32_t p = first, panels; p < first + count; p += panels) {
            panels = strip_panels(w->k);
            if (panels > first + count - p) panels = first + count - p;
            prefill_strip(w, p, panels, block, n, y + row * ldy, ldy, strips);
        }
    }
}

#endif
