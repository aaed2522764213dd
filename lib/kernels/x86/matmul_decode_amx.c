/* SPDX-License-Identifier: MIT
 * Decode with AMX int8 tiles for 6 to 16 rows at once, coded weights of up to 6 bits with a scale
 * per 32 k. Fewer rows and other weights go to AVX-512 VNNI, which is faster there: its time grows
 * by half with each row, while here a group costs about as much as four rows and then little more.
 *
 * A block of 256 k of a panel is unpacked to byte codes in scratch. Per group one tile holds its
 * codes [k / 4][16 outputs][4 k], another the high and low planes of up to 8 rows; TDPBSUD gives
 * exact sums [planes and rows][16 outputs]. The float32 part follows kernels.h step by
 * step, so the bits are those of every other level. Larger blocks would wait less for stored tiles
 * but leave the L1 cache, and working on the block before meanwhile runs into stores whose
 * addresses look alike: both were slower. */
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/unpack_avx512.h"

enum {
    GROUPS = 8, /* groups of 32 k per block */
    SET = 8,    /* rows that share a tile, their two planes one after the other */
    SETS = 2,
    FEW_ROWS = 5 /* served by AVX-512 VNNI */
};

/* One block of a panel, unpacked, and its products. */
typedef struct block {
    uint8_t codes[GROUPS][8][64];
    float scale[GROUPS][16], min[GROUPS][16];
    int32_t sums[SETS][GROUPS][2 * SET][16]; /* a set of n rows: [hi: n][lo: n] */
} block;

/* Float32 sums of a panel. */
typedef struct totals {
    float sum[NIB__DECODE_ROWS][16], min[NIB__DECODE_ROWS][16];
} totals;

typedef struct work {
    block block;
    totals totals;
    float scale[NIB__DECODE_ROWS];
    /* Followed by what prepare_rows makes. */
} work;

/* The rows of a call. */
typedef struct row_set {
    const uint8_t *planes; /* [2 m][stride]: sets of rows, each [hi][lo] */
    size_t stride;
    uint32_t m, n[SETS];  /* rows, and rows per set */
    const float *xsum;    /* [m][k / 32] sums of q */
    const int32_t *start; /* [m][k / 32] -zero * sum of q */
    const float *scale;   /* [m] */
} row_set;

/* Tiles 0 1 sums and 4 rows of the first set, 2 3 and 5 of the second, 6 7 codes. */
static void configure(const row_set *x)
{
    tile_config config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        uint32_t set = i == 2 || i == 3 || i == 5;
        if (set == 1 && x->n[1] == 0) continue;
        config.rows[i] = (uint8_t)(i < 6 ? 2 * x->n[set] : NIB__GROUP / 4);
        config.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? NIB__GROUP : 64);
    }
    load_tile_config(&config);
}

/* Groups [first, first + count) of a panel; the block starts at an entry of the scale area. */
NIB_INLINE void unpack_block(nib__format f, const nib__packed *w, const uint8_t *panel,
                             uint32_t first, uint32_t count, block *b)
{
    const uint8_t *entry = panel + first / block_groups(f) * scale_bytes(f);
    const uint8_t *codes = panel + w->code_offset + first * group_bytes(f);
    __m512i book = load_book(f, w->layout);
    block_scale scales = load_block_scale(f, w->layout->unit, entry);
    fetch_scales(entry, scale_bytes(f) * (GROUPS / block_groups(f)));
    for (uint32_t g = 0; g < count; g++, codes += group_bytes(f)) {
        if (block_groups(f) == 1 && g > 0) {
            entry += scale_bytes(f);
            scales = load_block_scale(f, w->layout->unit, entry);
        }
        __m512i line[8];
        fetch_codes(codes, group_bytes(f));
        unpack_group(f, codes, book, line);
        NIB_UNROLL
        for (int j = 0; j < 8; j++) _mm512_store_si512(b->codes[g][j], line[j]);
        __m512 s, m = _mm512_setzero_ps();
        group_scale(f, &scales, block_groups(f) == 1 ? 0 : g, &s, &m);
        _mm512_store_ps(b->scale[g], s);
        if (has_min(f)) _mm512_store_ps(b->min[g], m);
    }
}

/* Adds the block's sums, groups [first, first + count), to the totals of `rows` rows from r on (a
 * constant; all of one set). */
NIB_INLINE void add_sums(nib__format f, int rows, const row_set *x, uint32_t r, uint32_t groups,
                         uint32_t first, uint32_t count, const block *b, totals *t)
{
    const uint32_t set = r / SET, n = x->n[set];
    const float *xsum = x->xsum + (size_t)r * groups + first;
    const int32_t *start = x->start + (size_t)r * groups + first;
    __m512 acc[4], acc_min[4];
    NIB_UNROLL
    for (int j = 0; j < rows; j++) {
        acc[j] = _mm512_load_ps(t->sum[r + (uint32_t)j]);
        acc_min[j] = _mm512_load_ps(t->min[r + (uint32_t)j]);
    }
    for (uint32_t i = 0; i < count; i++) {
        const int32_t(*hi)[16] = &b->sums[set][i][r % SET], (*lo)[16] = hi + n;
        const __m512 s = _mm512_load_ps(b->scale[i]), m = _mm512_load_ps(b->min[i]);
        NIB_UNROLL
        for (int j = 0; j < rows; j++) {
            const size_t at = (size_t)j * groups + i;
            __m512i sum = _mm512_slli_epi32(_mm512_load_si512(hi[j]), 8);
            sum = _mm512_add_epi32(sum, _mm512_load_si512(lo[j]));
            if (code_zero(f) != 0) sum = _mm512_add_epi32(sum, _mm512_set1_epi32(start[at]));
            acc[j] = _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), acc[j]);
            if (has_min(f)) acc_min[j] = _mm512_fmadd_ps(m, _mm512_set1_ps(xsum[at]), acc_min[j]);
        }
    }
    NIB_UNROLL
    for (int j = 0; j < rows; j++) {
        _mm512_store_ps(t->sum[r + (uint32_t)j], acc[j]);
        _mm512_store_ps(t->min[r + (uint32_t)j], acc_min[j]);
    }
}

/* Exact sums of group i of the block, which begins at input k. Tiles alternate, so that one
 * group need not wait for the other. */
NIB_INLINE void multiply_group(const row_set *x, uint32_t k, uint32_t i, block *b)
{
    const uint8_t *codes = b->codes[i][0], *planes = x->planes + k + (size_t)NIB__GROUP * i;
    const uint8_t *second = planes + 2 * SET * x->stride;
    memory_barrier();
    if (i % 2 == 0) {
        _tile_loadd(6, codes, 64);
        _tile_loadd(4, planes, x->stride);
        _tile_zero(0);
        _tile_dpbsud(0, 4, 6);
        _tile_stored(0, b->sums[0][i], 64);
        if (x->n[1] != 0) {
            _tile_loadd(5, second, x->stride);
            _tile_zero(2);
            _tile_dpbsud(2, 5, 6);
            _tile_stored(2, b->sums[1][i], 64);
        }
    } else {
        _tile_loadd(7, codes, 64);
        _tile_loadd(4, planes, x->stride);
        _tile_zero(1);
        _tile_dpbsud(1, 4, 7);
        _tile_stored(1, b->sums[0][i], 64);
        if (x->n[1] != 0) {
            _tile_loadd(5, second, x->stride);
            _tile_zero(3);
            _tile_dpbsud(3, 5, 7);
            _tile_stored(3, b->sums[1][i], 64);
        }
    }
    memory_barrier();
}

NIB_INLINE void decode_panel(nib__format f, const nib__packed *w, uint32_t panel, const row_set *x,
                             float *y, size_t ldy, work *t)
{
    const uint8_t *start = w->data + (size_t)panel * w->panel_bytes;
    const uint32_t groups = w->k / NIB__GROUP;
    memset(&t->totals, 0, sizeof t->totals);
    for (uint32_t g = 0; g < groups; g += GROUPS) {
        uint32_t count = groups - g < GROUPS ? groups - g : GROUPS, r = 0;
        unpack_block(f, w, start, g, count, &t->block);
        for (uint32_t i = 0; i < count; i++) multiply_group(x, g * NIB__GROUP, i, &t->block);
        for (; r + 4 <= x->m; r += 4) add_sums(f, 4, x, r, groups, g, count, &t->block, &t->totals);
        for (; r < x->m; r++) add_sums(f, 1, x, r, groups, g, count, &t->block, &t->totals);
    }
    __mmask16 mask = panel_mask(w, panel);
    for (uint32_t r = 0; r < x->m; r++) {
        __m512 sum =
            _mm512_add_ps(_mm512_load_ps(t->totals.sum[r]), _mm512_load_ps(t->totals.min[r]));
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(x->scale[r]));
        _mm512_mask_storeu_ps(y + (size_t)r * ldy + (size_t)panel * NIB__PANEL, mask, sum);
    }
}

NIB_INLINE void decode_run(nib__format f, const nib__packed *w, uint32_t first, uint32_t count,
                           const row_set *x, float *y, size_t ldy, work *t)
{
    configure(x);
    for (uint32_t p = first; p < first + count; p++) decode_panel(f, w, p, x, y, ldy, t);
    _tile_release();
}

static void decode_rows(const nib__packed *w, uint32_t first, uint32_t count, const row_set *x,
                        float *y, size_t ldy, work *t)
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

/* Bytes of one plane of a row: an odd number of cache lines, so that the rows of a tile do not
 * share cache sets. */
static size_t plane_bytes(uint32_t k)
{
    return ((size_t)(k + 63) / 64 | 1) * 64;
}

/* Planes in the order of tiles, and sums per group, behind the rest of the scratch. */
static row_set prepare_rows(const nib__layout *layout, const uint8_t *from, uint32_t m, uint32_t k,
                            work *t)
{
    const uint32_t n = k / NIB__GROUP;
    const int32_t zero = layout->table != NULL ? 128 : layout->zero; /* as code_zero */
    const size_t stride = plane_bytes(k);
    uint8_t *planes = (uint8_t *)(t + 1);
    float *xsum = (float *)(void *)(planes + 2 * NIB__DECODE_ROWS * stride);
    int32_t *start = (int32_t *)(void *)(xsum + (size_t)NIB__DECODE_ROWS * n);
    row_set set = {planes, stride, m,       {m < SET ? m : SET, m < SET ? 0 : m - SET},
                   xsum,   start,  t->scale};
    for (uint32_t r = 0; r < m; r++) {
        const nib__row16 x = nib__row16_view(from + r * nib__row16_bytes(k), k);
        uint8_t *hi = planes + (r / SET * 2 * SET + r % SET) * stride;
        memcpy(hi, x.hi, k);
        memcpy(hi + set.n[r / SET] * stride, x.lo, k);
        t->scale[r] = x.scale;
        for (uint32_t i = 0; i < n; i++) {
            int32_t total = x.sum[2 * i] + x.sum[2 * i + 1];
            xsum[(size_t)r * n + i] = (float)total;
            start[(size_t)r * n + i] = -zero * total;
        }
    }
    return set;
}

size_t nib__decode_coded_scratch_amx(uint32_t k)
{
    size_t sums = (size_t)NIB__DECODE_ROWS * (k / NIB__GROUP) * (sizeof(float) + sizeof(int32_t));
    size_t planes = 2 * NIB__DECODE_ROWS * plane_bytes(k);
    size_t bytes = nib__align_up(sizeof(work) + planes + sums, NIB_ALIGN);
    size_t few = nib__decode_coded_scratch_avx512vnni(k);
    return bytes > few ? bytes : few;
}

void nib__decode_coded_amx(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                           uint32_t m, float *y, size_t ldy, void *scratch)
{
    for (uint32_t at = 0; at < m; at += NIB__DECODE_ROWS) {
        const uint8_t *from = (const uint8_t *)rows + at * nib__row16_bytes(w->k);
        uint32_t n = m - at < NIB__DECODE_ROWS ? m - at : NIB__DECODE_ROWS;
        if (n <= FEW_ROWS || !has_tiles(w->layout)) {
            nib__decode_coded_avx512vnni(w, first, count, from, n, y + at * ldy, ldy, scratch);
            continue;
        }
        const row_set x = prepare_rows(w->layout, from, n, w->k, scratch);
        decode_rows(w, first, count, &x, y + at * ldy, ldy, scratch);
    }
}
