/* SPDX-License-Identifier: MIT
 * Prefill for coded and int8 weights with vpdpbusd: activations rounded to int8 with one scale per
 * 32 k.
 *
 * A strip of 32 outputs is unpacked once per call to signed codes and float32 scales, then
 * multiplied with blocks of up to 6 rows. Activations are stored with 128 added, as the unsigned
 * operand of vpdpbusd; sums of 32 k therefore start from -128 times the sum of the codes, which
 * the strip keeps ready. Sums are exact integers; float32 sums run over ascending groups. A row's
 * result does not depend on the other rows.
 *
 * Sums start from the bits of the float BIAS as well: as long as |sum| < 2^20, their bits are those
 * of the float BIAS + sum, which saves the conversion, and s * (BIAS + sum) - s * BIAS, one fma, is
 * s * sum rounded once. s * BIAS is exact, because BIAS has 4 significant bits and s has at
 * most 20.
 *
 * Some groups of a row have a second plane (rows_g32_avx512.h), which is added at the end.
 *
 * Int8 weights have one scale per row, of more than 20 bits: its power of two is the scale of all
 * groups, and results are multiplied with its mantissa at the end. */
#include "kernels/x86/dense/int8_avx512.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/prefill/rows_g32_avx512.h"
#include "kernels/x86/unpack_avx512.h"

enum {
    STRIP = 2 * NIB__PANEL, /* outputs per strip */
    ROWS = 6,               /* most rows in registers */
    M_BLOCK = 512,          /* rows that meet an unpacked strip */
    LINES_BYTES = 8 * 2 * 64,
    PART_BYTES = 4 * 2 * 64
};

static const float BIAS = 0x1.2p23f;
static const int32_t BIAS_BITS = 0x4b100000;

/* One scale group of a strip, both panels: after the lines of its 32 k. */
typedef struct strip_part {
    int32_t start[2][16];                          /* BIAS_BITS - 128 * sum of codes */
    float scale[2][16], offset[2][16], min[2][16]; /* offset: -BIAS * scale */
} strip_part;

/* Bytes of one group of 32 k in an unpacked strip. */
NIB_INLINE size_t strip_group_bytes(int parts)
{
    return LINES_BYTES + (size_t)parts * PART_BYTES;
}

/* Which rows of a block have a second plane in a group: [k / 32] of these. */
typedef struct row_mask {
    uint64_t bits[M_BLOCK / 64];
} row_mask;

/* [row masks][unpacked strip] */
static size_t masks_bytes(uint32_t k)
{
    return nib__align_up(k / NIB__GROUP * sizeof(row_mask), NIB_ALIGN);
}

static size_t scratch_bytes(uint32_t any_k)
{
    const uint32_t k = whole_groups(any_k);
    return masks_bytes(k) + k / NIB__GROUP * strip_group_bytes(2);
}

/* All but the min of one panel's half (0 or 1) of a scale group; `sum` is 128 times that of its
 * codes. */
NIB_INLINE void store_part(strip_part *p, int half, __m512i sum, __m512 scale)
{
    _mm512_store_si512(p->start[half], _mm512_sub_epi32(_mm512_set1_epi32(BIAS_BITS), sum));
    _mm512_store_ps(p->scale[half], scale);
    _mm512_store_ps(p->offset[half], _mm512_mul_ps(scale, _mm512_set1_ps(-BIAS)));
}

/* One panel into its half (0 or 1) of the strip. */
NIB_INLINE void unpack_panel(nib__format f, const nib__packed *w, uint32_t panel, int half,
                             uint8_t *strip)
{
    const uint8_t *entry = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *codes = entry + w->code_offset;
    const __m512i zero = _mm512_set1_epi8((char)code_zero(f)), minus = _mm512_set1_epi8(-128);
    __m512i book = load_book(f, w->layout);
    for (uint32_t k = 0; k < w->k; entry += scale_bytes(f)) {
        block_scale scales = load_block_scale(f, w->layout->unit, entry);
        for (uint32_t g = 0; g < block_groups(f); g++, k += NIB__GROUP, codes += group_bytes(f)) {
            __m512i line[8];
            unpack_group(f, codes, book, line);
            NIB_UNROLL
            for (int part = 0; part < group_scales(f); part++) {
                const int n_lines = 8 / group_scales(f);
                strip_part *p = (strip_part *)(void *)(strip + LINES_BYTES + part * PART_BYTES);
                __m512 s, m = _mm512_setzero_ps();
                group_scale(f, &scales, g * (uint32_t)group_scales(f) + (uint32_t)part, &s, &m);
                __m512i sum = _mm512_setzero_si512();
                NIB_UNROLL
                for (int j = part * n_lines; j < (part + 1) * n_lines; j++) {
                    __m512i code = _mm512_sub_epi8(line[j], zero);
                    /* minus is -128 as a signed and 128 as an unsigned byte */
                    sum = _mm512_dpbusd_epi32(sum, minus, code);
                    _mm512_store_si512(strip + 128 * j + 64 * half, code);
                }
                store_part(p, half, sum, s);
                _mm512_store_ps(p->min[half], m);
            }
            strip += strip_group_bytes(group_scales(f));
        }
    }
}

/* The same for int8 weights; scales are the power of two of the row's. */
static void unpack_int8(const nib__packed *w, uint32_t panel, int half, uint8_t *strip)
{
    const uint8_t *codes = nib__panel_at(w, panel) + w->code_offset;
    const __m512i minus = _mm512_set1_epi8(-128);
    const __m512 exponent = _mm512_getexp_ps(_mm512_load_ps(int8_head(w, panel)->scale));
    const __m512 scale = _mm512_scalef_ps(_mm512_set1_ps(1.0f), exponent);
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP) {
        strip_part *p = (strip_part *)(void *)(strip + LINES_BYTES);
        __m512i sum = _mm512_setzero_si512();
        NIB_UNROLL
        for (int j = 0; j < 8; j++, codes += 64) {
            __m512i code = _mm512_load_si512(codes);
            sum = _mm512_dpbusd_epi32(sum, minus, code);
            _mm512_store_si512(strip + 128 * j + 64 * half, code);
        }
        store_part(p, half, sum, scale);
        strip += strip_group_bytes(1);
    }
}

static void unpack(const nib__packed *w, uint32_t panel, int half, uint8_t *strip)
{
    switch (panel_twin(w->layout->format)) {
    case NIB__Q4_0: unpack_panel(NIB__Q4_0, w, panel, half, strip); break;
    case NIB__Q4_1: unpack_panel(NIB__Q4_1, w, panel, half, strip); break;
    case NIB__Q5_0: unpack_panel(NIB__Q5_0, w, panel, half, strip); break;
    case NIB__Q5_1: unpack_panel(NIB__Q5_1, w, panel, half, strip); break;
    case NIB__Q8_0: unpack_panel(NIB__Q8_0, w, panel, half, strip); break;
    case NIB__Q2_K: unpack_panel(NIB__Q2_K, w, panel, half, strip); break;
    case NIB__Q3_K: unpack_panel(NIB__Q3_K, w, panel, half, strip); break;
    case NIB__Q4_K: unpack_panel(NIB__Q4_K, w, panel, half, strip); break;
    case NIB__Q5_K: unpack_panel(NIB__Q5_K, w, panel, half, strip); break;
    case NIB__Q6_K: unpack_panel(NIB__Q6_K, w, panel, half, strip); break;
    case NIB__IQ4_NL: unpack_panel(NIB__IQ4_NL, w, panel, half, strip); break;
    case NIB__IQ2_XS: unpack_panel(NIB__IQ2_XS, w, panel, half, strip); break;
    case NIB__TQ2_0: unpack_panel(NIB__TQ2_0, w, panel, half, strip); break;
    case NIB__IQ4_XS: unpack_panel(NIB__IQ4_XS, w, panel, half, strip); break;
    case NIB__MXFP4: unpack_panel(NIB__MXFP4, w, panel, half, strip); break;
    case NIB__I8R: unpack_int8(w, panel, half, strip); break;
    default: break; /* float formats go to prefill_float */
    }
}

/* What a block of rows is multiplied with and where results go. */
typedef struct product {
    const uint8_t *strip;
    const row_mask *second;
    uint32_t k;
    size_t row_bytes, ldy;
    __mmask16 mask[2];   /* real outputs of both panels */
    const uint8_t *next; /* the next strip's panels: next_step bytes are fetched per group ... */
    size_t next_step;    /* ... while the last quarter of the rows is multiplied */
} product;

NIB_INLINE const row_group *group_of(const uint8_t *groups, uint32_t k)
{
    return (const row_group *)(const void *)groups + k / NIB__GROUP;
}

/* acc += sum * scale * s, both panels; sums with their bias */
NIB_INLINE void add_scaled(__m512 acc[2], const __m512i sum[2], __m512 scale, const strip_part *w)
{
    NIB_UNROLL
    for (int i = 0; i < 2; i++) {
        const __m512 exact = _mm512_fmadd_ps(
            _mm512_castsi512_ps(sum[i]), _mm512_load_ps(w->scale[i]), _mm512_load_ps(w->offset[i]));
        acc[i] = _mm512_fmadd_ps(exact, scale, acc[i]);
    }
}

/* Adds the second plane of one group, x[32], to the results y of a row. */
NIB_INLINE void add_second_plane(int parts, const product *p, const uint8_t *strip,
                                 __m512i code[8][2], const uint8_t *x, float scale, float *y)
{
    __m512 acc[2] = {_mm512_maskz_loadu_ps(p->mask[0], y),
                     _mm512_maskz_loadu_ps(p->mask[1], y + NIB__PANEL)};
    NIB_UNROLL
    for (int part = 0; part < parts; part++) {
        const int n_lines = 8 / parts;
        const strip_part *w =
            (const strip_part *)(const void *)(strip + LINES_BYTES + part * PART_BYTES);
        __m512i sum[2] = {_mm512_load_si512(w->start[0]), _mm512_load_si512(w->start[1])};
        NIB_UNROLL
        for (int j = part * n_lines; j < (part + 1) * n_lines; j++) {
            __m512i four = broadcast4_512(x + 4 * j);
            sum[0] = _mm512_dpbusd_epi32(sum[0], four, code[j][0]);
            sum[1] = _mm512_dpbusd_epi32(sum[1], four, code[j][1]);
        }
        add_scaled(acc, sum, _mm512_set1_ps(scale), w);
    }
    _mm512_mask_storeu_ps(y, p->mask[0], acc[0]);
    _mm512_mask_storeu_ps(y + NIB__PANEL, p->mask[1], acc[1]);
}

/* The second planes of a block of rows. Group by group, so that the codes stay in registers; asking
 * each row at each group in the main loop would be mispredicted too often. */
NIB_INLINE void add_second_planes(int parts, const product *p, const uint8_t *rows, float *y)
{
    const uint8_t *strip = p->strip;
    for (uint32_t g = 0; g < p->k / NIB__GROUP; g++, strip += strip_group_bytes(parts)) {
        __m512i code[8][2];
        NIB_UNROLL
        for (int j = 0; j < 8; j++) {
            code[j][0] = _mm512_load_si512(strip + 128 * j);
            code[j][1] = _mm512_load_si512(strip + 128 * j + 64);
        }
        for (uint32_t i = 0; i < M_BLOCK / 64; i++) {
            for (uint64_t left = p->second[g].bits[i]; left != 0; left &= left - 1) {
                const uint32_t r = i * 64 + (uint32_t)__builtin_ctzll(left);
                const uint8_t *row = rows + r * p->row_bytes;
                const row_group *groups =
                    (const row_group *)(const void *)(row + 2 * plane_bytes(p->k));
                add_second_plane(parts, p, strip, code, row + plane_bytes(p->k) + g * NIB__GROUP,
                                 groups[g].scale * (1.0f / SECOND_PLANE), y + r * p->ldy);
            }
        }
    }
}

/* Which of m rows have a second plane where. */
static void find_second_planes(const uint8_t *rows, uint32_t m, uint32_t k, row_mask *masks)
{
    memset(masks, 0, k / NIB__GROUP * sizeof *masks);
    const size_t bytes = row_bytes(k);
    for (uint32_t r = 0; r < m; r++, rows += bytes) {
        const uint32_t *list = (const uint32_t *)(const void *)(rows + list_at(k));
        fetch_far(rows + 16 * bytes + list_at(k));
        for (uint32_t i = 1; i <= list[0]; i++) {
            masks[list[i]].bits[r / 64] |= (uint64_t)1 << r % 64;
        }
    }
}

/* What group k / 32 of `rows` rows will need: a line of codes lasts for two groups, so half of the
 * rows fetch theirs, and the others scales and sums. */
NIB_INLINE void fetch_rows(int rows, const product *p, const uint8_t *row, uint32_t k)
{
    const uint32_t g = k / NIB__GROUP;
    NIB_UNROLL
    for (uint32_t r = 0; r < (uint32_t)rows; r++, row += p->row_bytes) {
        fetch_far(row + (g % 2 == r % 2 ? k : 2 * plane_bytes(p->k) + g * sizeof(row_group)));
    }
}

/* `rows` rows times the strip; rows, parts (scales per 32 k) and with_min are constants. Meanwhile
 * the rows behind them are fetched, and `next_step` bytes per group from `next` on. */
NIB_INLINE void multiply_rows(int rows, int parts, int with_min, const product *p,
                              const uint8_t *row, float *y, const uint8_t *next, size_t next_step)
{
    const uint8_t *strip = p->strip;
    const size_t group_at = 2 * plane_bytes(p->k);
    __m512 acc[ROWS][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (uint32_t k = 0; k < p->k; k += NIB__GROUP) {
        fetch_far(next);
        next += next_step;
        fetch_rows(rows, p, row + (size_t)rows * p->row_bytes, k);
        NIB_UNROLL
        for (int part = 0; part < parts; part++) {
            const int n_lines = 8 / parts;
            const strip_part *w =
                (const strip_part *)(const void *)(strip + LINES_BYTES + part * PART_BYTES);
            __m512i sum[ROWS][2];
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                sum[r][0] = _mm512_load_si512(w->start[0]);
                sum[r][1] = _mm512_load_si512(w->start[1]);
            }
            NIB_UNROLL
            for (int j = part * n_lines; j < (part + 1) * n_lines; j++) {
                __m512i c0 = _mm512_load_si512(strip + 128 * j);
                __m512i c1 = _mm512_load_si512(strip + 128 * j + 64);
                NIB_UNROLL
                for (int r = 0; r < rows; r++) {
                    const uint8_t *x = row + r * p->row_bytes + k + 4 * j;
                    __m512i four = broadcast4_512(x);
                    sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], four, c0);
                    sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], four, c1);
                }
            }
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const row_group *g = group_of(row + r * p->row_bytes + group_at, k);
                add_scaled(acc[r], sum[r], _mm512_set1_ps(g->scale), w);
                if (with_min) {
                    __m512 xsum = _mm512_set1_ps(parts == 1 ? g->sum32 : g->sum16[part]);
                    acc[r][0] = _mm512_fmadd_ps(_mm512_load_ps(w->min[0]), xsum, acc[r][0]);
                    acc[r][1] = _mm512_fmadd_ps(_mm512_load_ps(w->min[1]), xsum, acc[r][1]);
                }
            }
        }
        strip += strip_group_bytes(parts);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_mask_storeu_ps(y + r * p->ldy, p->mask[0], acc[r][0]);
        _mm512_mask_storeu_ps(y + r * p->ldy + NIB__PANEL, p->mask[1], acc[r][1]);
    }
}

/* Of so many rows that are left. 8 rows are 4 and 4: 2 rows mostly wait for their sums. */
static uint32_t rows_of_tile(uint32_t left)
{
    if (left == 8 || left == 4 || left == 5) return 4;
    return left >= ROWS ? ROWS : left >= 2 ? 2 : 1;
}

/* Where the weights of the strip behind panel p are, and how fast to go through them. */
static void fetch_next_strip(product *job, const nib__packed *w, uint32_t p, uint32_t end,
                             uint32_t m)
{
    const uint32_t steps = job->k / NIB__GROUP * (m / 4 / ROWS + 1);
    job->next = job->strip;
    job->next_step = 0;
    if (p + 2 >= end) return;
    job->next = nib__panel_at(w, p + 2);
    job->next_step = 2 * w->panel_bytes / steps + 1;
}

NIB_INLINE void multiply(int parts, int with_min, const product *p, const uint8_t *rows, uint32_t m,
                         float *y)
{
    const uint8_t *next = p->next;
    for (uint32_t r = 0, step; r < m; r += step) {
        const uint8_t *row = rows + r * p->row_bytes;
        float *out = y + r * p->ldy;
        const size_t ahead = r < m - m / 4 ? 0 : p->next_step;
        step = rows_of_tile(m - r);
        switch (step) {
        case 6: multiply_rows(6, parts, with_min, p, row, out, next, ahead); break;
        case 4: multiply_rows(4, parts, with_min, p, row, out, next, ahead); break;
        case 2: multiply_rows(2, parts, with_min, p, row, out, next, ahead); break;
        default: multiply_rows(1, parts, with_min, p, row, out, next, ahead); break;
        }
        next += ahead * (p->k / NIB__GROUP);
    }
    add_second_planes(parts, p, rows, y);
}

/* Results of int8 weights, columns of one panel, times the mantissas of its scales. */
static void apply_mantissas(const nib__packed *w, uint32_t panel, uint32_t m, float *y, size_t ldy)
{
    const __m512 scale = _mm512_load_ps(int8_head(w, panel)->scale);
    const __m512 mantissa = _mm512_getmant_ps(scale, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
    const __mmask16 mask = panel_mask(w, panel);
    for (uint32_t r = 0; r < m; r++, y += ldy) {
        _mm512_mask_storeu_ps(y, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, y), mantissa));
    }
}

static void run_block(const nib__packed *w, uint32_t first, uint32_t count, const uint8_t *rows,
                      uint32_t m, float *y, size_t ldy, uint8_t *scratch)
{
    const int parts = w->layout->scale_group == 16 ? 2 : 1;
    const uint32_t k = whole_groups(w->k);
    row_mask *masks = (row_mask *)(void *)scratch;
    uint8_t *strip = scratch + masks_bytes(k);
    find_second_planes(rows, m, k, masks);
    product job = {.strip = strip, .second = masks, .k = k, .row_bytes = row_bytes(k), .ldy = ldy};
    for (uint32_t p = first; p < first + count; p += 2) {
        bool two = p + 1 < first + count;
        unpack(w, p, 0, strip);
        /* A missing second panel multiplies what lies in scratch; nothing of it is stored. */
        if (two) unpack(w, p + 1, 1, strip);
        fetch_next_strip(&job, w, p, first + count, m);
        job.mask[0] = panel_mask(w, p);
        job.mask[1] = two ? panel_mask(w, p + 1) : 0;
        float *out = y + (size_t)p * NIB__PANEL;
        if (parts == 1 && !w->layout->has_min)
            multiply(1, 0, &job, rows, m, out);
        else if (parts == 1)
            multiply(1, 1, &job, rows, m, out);
        else if (!w->layout->has_min)
            multiply(2, 0, &job, rows, m, out);
        else
            multiply(2, 1, &job, rows, m, out);
        if (w->layout->format != NIB__I8R) continue;
        apply_mantissas(w, p, m, out, ldy);
        if (two) apply_mantissas(w, p + 1, m, out + NIB__PANEL, ldy);
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    for (uint32_t row = 0; row < m; row += M_BLOCK) {
        const uint8_t *from = (const uint8_t *)rows + row * row_bytes(w->k);
        uint32_t n = m - row < M_BLOCK ? m - row : M_BLOCK;
        run_block(w, first, count, from, n, y + row * ldy, ldy, scratch);
    }
}

const nib__matmul nib__prefill_g32_avx512vnni = {.name = "g32_avx512vnni",
                                                 .row_bytes = row_bytes,
                                                 .round_row = round_row,
                                                 .run = run,
                                                 .scratch_bytes = scratch_bytes,
                                                 .min_rows = 8};
