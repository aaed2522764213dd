/* SPDX-License-Identifier: MIT
 * Prefill with group-32 int8 activations in 256-bit registers. A strip of panels is unpacked once,
 * to byte codes and float32 scales in scratch, and then meets a block of rows, in tiles of 6 rows
 * and half a panel: with both halves the sums would not fit in 16 registers.
 *
 * Per scale group: the integer sum of (code - zero) * q, then y += (s * sx) * sum and, where the
 * format has mins, y += m * (sx * xsum). A format has mins or a zero point, never both. Scales that
 * are a float32 per block times an integer per 16 k may be multiplied as integers (OFFSET_PAIR):
 * the sum of 32 k is then sc0 * sum0 + sc1 * sum1, exactly.
 *
 * The two files that include this define how codes and q are multiplied, for `lines` lines from
 * `from` on: see lines_256 in each. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_256_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_256_H

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/rows_avx2.h"

enum {
    TILE = 6,
    M_BLOCK = 512 /* rows that meet an unpacked strip; their second planes are added at its end */
};

/* One unpacked panel in scratch. Scale groups are of 16 or 32 k. */
typedef struct strip {
    uint8_t *codes; /* [k / 4][16][4] */
    float *scale;   /* [groups][16] */
    float *mins;    /* [groups][16] */
    /* With OFFSET_PAIR, instead of mins and half of the scales: */
    int32_t *pair;  /* [k / 16][16] the integer scale, in both halves */
    int32_t *zeros; /* [k / 32][16] zero * integer scale of both parts, one in each half */
} strip;

static uint32_t strip_panels(uint32_t k)
{
    return k <= 2048 ? 4 : 2; /* a strip should stay in the second-level cache */
}

static size_t panel_scratch(uint32_t k)
{
    return (size_t)k * NIB__PANEL + 2 * ((size_t)k / 16 * NIB__PANEL * sizeof(float));
}

/* Which rows of a block have a second plane in a group: [k / 32] of these. */
typedef struct row_mask {
    uint64_t bits[M_BLOCK / 64];
} row_mask;

/* Both planes of a block of rows. */
typedef struct row_block {
    row_g32 first[M_BLOCK], second[M_BLOCK];
    row_mask masks[]; /* [k / 32] */
} row_block;

static size_t block_bytes(uint32_t k)
{
    return nib__align_up(sizeof(row_block) + k / NIB__GROUP * sizeof(row_mask), NIB_ALIGN);
}

/* [row block][strip] */
static size_t prefill_scratch(uint32_t k)
{
    return block_bytes(k) + strip_panels(k) * panel_scratch(k);
}

static strip strip_at(void *scratch, uint32_t k, uint32_t index)
{
    strip t;
    t.codes = (uint8_t *)scratch + index * panel_scratch(k);
    t.scale = (float *)(void *)(t.codes + (size_t)k * NIB__PANEL);
    t.mins = t.scale + (size_t)k / 16 * NIB__PANEL;
    t.pair = (int32_t *)(void *)t.mins;
    t.zeros = (int32_t *)(void *)(t.scale + (size_t)k / 32 * NIB__PANEL);
    return t;
}

NIB_INLINE void expand_codes(code_class c, const nib__packed *w, const uint8_t *codes, uint8_t *to)
{
    const __m256i book = load_book(w->layout);
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += w->layout->group_bytes, to += 512) {
        NIB_UNROLL
        for (int j = 0; j < 8; j++) {
            NIB_UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i line = code_line(c, codes, j, h, book);
                if (SIGNED_CODES && (c == CODES_8 || class_has_book(c))) {
                    line = _mm256_sub_epi8(line, _mm256_set1_epi8((char)w->layout->zero));
                }
                _mm256_store_si256((__m256i *)(void *)(to + 64 * j + 32 * h), line);
            }
        }
    }
}

NIB_INLINE void store_256(int32_t *to, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)to, v);
}

/* The formats of OFFSET_PAIR: per 256 k f16 d[16], then 16 x i8 sc[16]. */
static void expand_pairs(const nib__packed *w, const uint8_t *entry, const strip *t)
{
    const int32_t from = class_has_book(code_class_of(w->layout)) ? 0 : w->layout->zero;
    const __m256i low = _mm256_set1_epi32(0xffff), zero = _mm256_set1_epi32(from);
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        const uint8_t *block = entry + g / 8 * w->layout->scale_bytes;
        const uint8_t *sc = block + 32 + 2 * NIB__PANEL * (g % 8);
        for (uint32_t h = 0; h < NIB__PANEL; h += 8) {
            const __m256 unit = _mm256_set1_ps(w->layout->unit);
            const __m256 d = _mm256_mul_ps(load_f16(block + 2 * h), unit);
            __m256i s[2], z[2];
            for (uint32_t i = 0; i < 2; i++) {
                const __m128i bytes =
                    _mm_loadl_epi64((const __m128i *)(const void *)(sc + NIB__PANEL * i + h));
                s[i] = _mm256_cvtepi8_epi32(bytes);
                z[i] = _mm256_madd_epi16(s[i], zero);
                s[i] = _mm256_or_si256(_mm256_and_si256(s[i], low), _mm256_slli_epi32(s[i], 16));
                store_256(t->pair + (2 * g + i) * NIB__PANEL + h, s[i]);
            }
            z[0] = _mm256_or_si256(_mm256_and_si256(z[0], low), _mm256_slli_epi32(z[1], 16));
            store_256(t->zeros + g * NIB__PANEL + h, z[0]);
            _mm256_store_ps(t->scale + g * NIB__PANEL + h, d);
        }
    }
}

static void expand_panel(const nib__packed *w, uint32_t p, const strip *t)
{
    const uint8_t *panel = nib__panel_at(w, p), *codes = panel + w->code_offset;
    code_class c = code_class_of(w->layout);
    if (INTEGER_SCALES && w->layout->scale_group == 16 && !w->layout->has_min)
        expand_pairs(w, panel, t);
    else
        nib__expand_scales_avx2(w->layout, panel, w->k, t->scale, t->mins);
    switch (c) {
    case CODES_TERNARY:
    case CODES_2: expand_codes(CODES_2, w, codes, t->codes); break;
    case CODES_3: expand_codes(CODES_3, w, codes, t->codes); break;
    case CODES_4: expand_codes(CODES_4, w, codes, t->codes); break;
    case CODES_5: expand_codes(CODES_5, w, codes, t->codes); break;
    case CODES_6: expand_codes(CODES_6, w, codes, t->codes); break;
    case CODES_8: expand_codes(CODES_8, w, codes, t->codes); break;
    case CODES_BOOK_16:
    case CODES_BOOK: expand_codes(CODES_BOOK, w, codes, t->codes); break;
    }
}

/* What a scale group adds beside the sum of code * q. */
typedef enum offset { OFFSET_NONE, OFFSET_ZERO, OFFSET_MIN, OFFSET_PAIR } offset;

/* Where the parts of a plane lie behind its codes: the same for all rows, so that one register per
 * row is enough. */
typedef struct plane_parts {
    size_t scale, sum16, sum32, scaled16, scaled32;
} plane_parts;

static plane_parts parts_of(const row_g32 *x)
{
    const uint8_t *base = (const uint8_t *)x->q;
    plane_parts p = {
        (size_t)((const uint8_t *)x->scale - base),    (size_t)((const uint8_t *)x->sum16 - base),
        (size_t)((const uint8_t *)x->sum32 - base),    (size_t)((const uint8_t *)x->scaled16 - base),
        (size_t)((const uint8_t *)x->scaled32 - base),
    };
    return p;
}

NIB_INLINE __m256 broadcast_float(const int8_t *plane, size_t at)
{
    return _mm256_castsi256_ps(broadcast4(plane + at));
}

/* acc[rows] += group g of 32 k for 8 outputs, half `h` of a panel. `mode` is passed on to lines_256;
 * `lines` per scale. */
NIB_INLINE void add_group(int mode, int lines, offset o, int rows, __m256i zero, const strip *t,
                          uint32_t h, uint32_t g, const plane_parts *at, const row_g32 *x,
                          __m256 acc[TILE])
{
    NIB_UNROLL
    for (int part = 0; part < 8 / lines; part++) {
        const size_t group = (size_t)g * (8 / (uint32_t)lines) + (uint32_t)part;
        const __m256 scale = _mm256_load_ps(t->scale + group * NIB__PANEL + 8 * h);
        __m256i sum[TILE];
        lines_256(mode, lines, rows,
                  t->codes + (size_t)g * 512 + 64 * (size_t)(part * lines) + 32 * (size_t)h, x,
                  g * NIB__GROUP + 4 * (uint32_t)(part * lines),
                  o == OFFSET_PAIR ? t->pair + (size_t)g * 2 * NIB__PANEL + 8 * h : NULL, sum);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            /* |xsum| < 2^15: products of 16-bit numbers. */
            if (o == OFFSET_ZERO) { /* of the 4 bytes at a sum16 the high half meets a zero */
                const size_t xsum = lines == 8 ? at->sum32 + 4 * group : at->sum16 + 2 * group;
                const __m256i from_zero = _mm256_madd_epi16(broadcast4(x[r].q + xsum), zero);
                sum[r] = _mm256_sub_epi32(sum[r], from_zero);
            }
            if (o == OFFSET_PAIR) { /* two sums of 16 k times two scales */
                const __m256i zeros = load_256(t->zeros + (size_t)g * NIB__PANEL + 8 * h);
                const __m256i xsums = broadcast4(x[r].q + at->sum16 + 4 * (size_t)g);
                sum[r] = _mm256_sub_epi32(sum[r], _mm256_madd_epi16(xsums, zeros));
            }
            __m256 factor = _mm256_mul_ps(scale, broadcast_float(x[r].q, at->scale + 4 * (size_t)g));
            acc[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r]), factor, acc[r]);
            if (o == OFFSET_MIN) {
                const __m256 mins = _mm256_load_ps(t->mins + group * NIB__PANEL + 8 * h);
                const size_t xs = (lines == 8 ? at->scaled32 : at->scaled16) + 4 * group;
                acc[r] = _mm256_fmadd_ps(mins, broadcast_float(x[r].q, xs), acc[r]);
            }
        }
    }
}

/* y[rows][n <= 8] = half a panel times rows. */
NIB_INLINE void prefill_tile(int mode, int lines, offset o, int rows, const nib__packed *w,
                             const strip *t, uint32_t h, const plane_parts *at, const row_g32 *x,
                             uint32_t n, float *y, size_t ldy)
{
    const __m256i zero = _mm256_set1_epi32(w->layout->zero);
    __m256 acc[TILE];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r] = _mm256_setzero_ps();
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        add_group(mode, lines, o, rows, zero, t, h, g, at, x, acc);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) store_first(y + (size_t)r * ldy, acc[r], n);
}

/* One panel times a tile of rows. */
NIB_INLINE void prefill_mode(int mode, int lines, offset o, uint32_t rows, const nib__packed *w,
                             const strip *t, const plane_parts *at, const row_g32 *x, uint32_t n,
                             float *y, size_t ldy)
{
    for (uint32_t h = 0; 8 * h < n; h++, y += 8) {
        uint32_t width = n - 8 * h, r = 0;
        if (rows == TILE) {
            prefill_tile(mode, lines, o, TILE, w, t, h, at, x, width, y, ldy);
            continue;
        }
        for (; r < rows; r++) { /* the last few of many: not worth kernels of their own */
            prefill_tile(mode, lines, o, 1, w, t, h, at, x + r, width, y + r * ldy, ldy);
        }
    }
}

/* Adds group g of the second planes of `count` rows to y. */
NIB_INLINE void second_tile(int mode, int lines, offset o, int count, const nib__packed *w,
                            const strip *t, uint32_t g, const plane_parts *at, const row_g32 *x,
                            float *const *y, uint32_t n)
{
    const __m256i zero = _mm256_set1_epi32(w->layout->zero);
    for (uint32_t h = 0; 8 * h < n; h++) {
        __m256 acc[TILE];
        NIB_UNROLL
        for (int r = 0; r < count; r++) acc[r] = load_first(y[r] + 8 * h, n - 8 * h);
        add_group(mode, lines, o, count, zero, t, h, g, at, x, acc);
        NIB_UNROLL
        for (int r = 0; r < count; r++) store_first(y[r] + 8 * h, acc[r], n - 8 * h);
    }
}

/* Adds what the second planes of a block of rows give with one panel. Group by group, several rows
 * at once: asking each row at each group in the main loop would be mispredicted too often. */
NIB_INLINE void second_mode(int mode, int lines, offset o, const nib__packed *w, const strip *t,
                            const row_block *block, const plane_parts *at, uint32_t n, float *y,
                            size_t ldy)
{
    enum { TOGETHER = 4 };
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        row_g32 x[TOGETHER];
        float *to[TOGETHER];
        uint32_t count = 0;
        for (uint32_t i = 0; i < M_BLOCK / 64; i++) {
            for (uint64_t left = block->masks[g].bits[i]; left != 0; left &= left - 1) {
                const uint32_t r = i * 64 + (uint32_t)__builtin_ctzll(left);
                x[count] = block->second[r];
                to[count++] = y + r * ldy;
                if (count < TOGETHER) continue;
                second_tile(mode, lines, o, TOGETHER, w, t, g, at, x, to, n);
                count = 0;
            }
        }
        for (uint32_t r = 0; r < count; r++) {
            second_tile(mode, lines, o, 1, w, t, g, at, x + r, to + r, n);
        }
    }
}

/* What the including file does with a panel: a tile of rows, or the second planes of a block. */
typedef struct panel_job {
    const nib__packed *w;
    strip strip;
    plane_parts parts;
    uint32_t n; /* real outputs */
    float *y;
    size_t ldy;
    uint32_t rows; /* of the tile */
    const row_g32 *x;
    const row_block *second; /* else NULL */
} panel_job;

NIB_INLINE void prefill_job(int mode, int lines, offset o, const panel_job *j)
{
    if (j->second == NULL)
        prefill_mode(mode, lines, o, j->rows, j->w, &j->strip, &j->parts, j->x, j->n, j->y,
                     j->ldy);
    else
        second_mode(mode, lines, o, j->w, &j->strip, j->second, &j->parts, j->n, j->y, j->ldy);
}

/* Defined by the including file: picks mode and lines for the format. */
static void prefill_panel(const panel_job *job);

static void view_rows(const uint8_t *rows, uint32_t m, uint32_t k, row_block *block)
{
    memset(block->masks, 0, k / NIB__GROUP * sizeof block->masks[0]);
    for (uint32_t r = 0; r < m; r++) {
        row_g32_rest rest;
        nib__row_g32_view_avx2(rows + r * nib__row_g32_bytes_avx2(k), k, &block->first[r], &rest);
        block->second[r] = rest.plane;
        for (uint32_t i = 0; i < rest.count; i++) {
            block->masks[rest.groups[i]].bits[r / 64] |= (uint64_t)1 << r % 64;
        }
    }
}

/* Panels [p, p + panels) times a block of rows. */
static void prefill_strip(const nib__packed *w, uint32_t p, uint32_t panels, const row_block *rows,
                          uint32_t m, float *y, size_t ldy, void *scratch)
{
    panel_job jobs[4];
    for (uint32_t i = 0; i < panels; i++) {
        strip t = strip_at(scratch, w->k, i);
        expand_panel(w, p + i, &t);
        jobs[i] = (panel_job){.w = w, .strip = t, .n = nib__panel_rows(w, p + i), .ldy = ldy,
                              .parts = parts_of(&rows->first[0])};
    }
    for (uint32_t at = 0; at < m; at += TILE) {
        for (uint32_t i = 0; i < panels; i++) {
            jobs[i].rows = m - at < TILE ? m - at : TILE;
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
    row_block *block = scratch;
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
