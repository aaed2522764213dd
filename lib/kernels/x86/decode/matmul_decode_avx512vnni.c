/* SPDX-License-Identifier: MIT
 * Decode for coded weights with vpdpbusd: 1..16 rows of 16-bit activations held as two int8 planes.
 * Integer sums are exact and the float tail follows kernels.h step by step, so the bits equal the
 * scalar reference and do not depend on how many rows are multiplied at once.
 *
 * One row is bound by memory: a group of 512 weights takes about 25 cycles to multiply and 100 to
 * arrive, which is why two planes cost nothing. Several rows are bound by the products that can
 * start in a cycle, two or one. So can two loads, so that each product has one at most: four bytes
 * of a row, whose address is a pointer and a multiple of the distance between rows. */
#include "kernels/x86/decode/decode_panel_512.h"

typedef struct all_rows {
    int8_t at[1 << 20];
} all_rows;

/* sum + products of 4 codes and the same 4 bytes in all lanes: of row r of four, the first of which
 * is at `four`. As an intrinsic, compilers load the bytes into a register first and copy sums
 * about, and they take a pointer for each row. */
NIB_INLINE __m512i add_products(__m512i sum, __m512i codes, const int8_t *four, const row_block *x,
                                int r)
{
    const all_rows *all = (const void *)four;
    switch (r % 4) {
    case 0:
        __asm__("vpdpbusd (%2)%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "r"(four), "m"(*all));
        break;
    case 1:
        __asm__("vpdpbusd (%2,%3)%{1to16%}, %1, %0"
                : "+v"(sum)
                : "v"(codes), "r"(four), "r"(x->stride), "m"(*all));
        break;
    case 2:
        __asm__("vpdpbusd (%2,%3,2)%{1to16%}, %1, %0"
                : "+v"(sum)
                : "v"(codes), "r"(four), "r"(x->stride), "m"(*all));
        break;
    default:
        __asm__("vpdpbusd (%2,%3)%{1to16%}, %1, %0"
                : "+v"(sum)
                : "v"(codes), "r"(four), "r"(x->fourth), "m"(*all));
    }
    return sum;
}

/* Adds four lines to the sums of high and low bytes, or of the only ones, `sum_lo`. hi and lo: of
 * the first line and row. */
NIB_INLINE void dot_lines(row_rounding how, int rows, const __m512i line[4], const int8_t *hi,
                          const int8_t *lo, const row_block *x, __m512i sum_hi[ROW_BLOCK],
                          __m512i sum_lo[ROW_BLOCK])
{
    NIB_UNROLL
    for (int j = 0; j < 4; j++, hi += 4, lo += 4) {
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const size_t upper = r >= 4 ? x->upper : 0;
            if (how == ROWS_Q16) sum_hi[r] = add_products(sum_hi[r], line[j], hi + upper, x, r);
            sum_lo[r] = add_products(sum_lo[r], line[j], (how == ROWS_Q16 ? lo : hi) + upper, x, r);
        }
    }
}

NIB_INLINE __m512i sum_lines(row_rounding how, nib__format f, int lines, const __m512i *line,
                             const int8_t *hi, const int8_t *lo, const row_block *x, int r)
{
    __m512i sum_hi = _mm512_setzero_si512(), sum_lo = sum_hi;
    (void)f;
    NIB_UNROLL
    for (int j = 0; j < lines; j++, hi += 4, lo += 4) {
        sum_hi = add_products(sum_hi, line[j], hi, x, r);
        if (how == ROWS_Q16) sum_lo = add_products(sum_lo, line[j], lo, x, r);
    }
    if (how == ROWS_G32) return sum_hi;
    return _mm512_add_epi32(_mm512_slli_epi32(sum_hi, 8), sum_lo);
}

/* One panel times a block of `rows` rows (a constant, 2 or more). */
NIB_INLINE void decode_panel(row_rounding how, nib__format f, int rows, const nib__packed *w,
                             uint32_t panel, fetch_steps fetch, const row_block *x, float *y,
                             size_t ldy)
{
    const int parts = group_scales(f);
    const uint32_t n_blocks = w->k / (block_groups(f) * NIB__GROUP);
    const __m512i book = load_book(f, w->layout);
    const uint8_t *entry = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *codes = entry + w->code_offset;
    const int8_t *hi = x->hi, *lo = x->lo;
    const group_sum *sums = x->sums;
    const float *group = x->scales;
    __m512 acc[ROW_BLOCK], acc_min[ROW_BLOCK];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r] = acc_min[r] = _mm512_setzero_ps();
    for (uint32_t b = 0; b < n_blocks; b++, entry += scale_bytes(f)) {
        fetch_at_group(&fetch, b * block_groups(f));
        block_scale scales = load_block_scale(f, w->layout->unit, entry);
        fetch_scales(&fetch, entry, scale_bytes(f));
        for (uint32_t i = 0; i < block_groups(f) * (uint32_t)parts; i++) {
            const int part = parts == 2 ? (int)(i % 2) : 0;
            __m512i line[4], sum_hi[ROW_BLOCK], sum_lo[ROW_BLOCK];
            __m512 s, m = _mm512_setzero_ps();
            if (part == 0) fetch_codes(&fetch, codes, group_bytes(f));
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                sum_hi[r] = sum_lo[r] = _mm512_setzero_si512();
                if (code_zero(f) != 0) sum_lo[r] = _mm512_set1_epi32(sums_at(x, sums, r)->start);
            }
            for (int h = part; h < part + 2 / parts; h++, hi += 16, lo += 16) {
                unpack_half(f, codes, h, book, line);
                dot_lines(how, rows, line, hi, lo, x, sum_hi, sum_lo);
            }
            group_scale(f, &scales, i, &s, &m);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                __m512i sum = sum_lo[r];
                if (how == ROWS_Q16) sum = _mm512_add_epi32(_mm512_slli_epi32(sum_hi[r], 8), sum);
                add_scaled(how, f, sum, s, m, sums_at(x, sums, r), x, group, r, &acc[r],
                           &acc_min[r]);
            }
            sums++;
            if (parts == 2 && part == 0) continue;
            codes += group_bytes(f);
            group++;
        }
    }
    const __mmask16 mask = panel_mask(w, panel);
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        __m512 sum = _mm512_add_ps(acc[r], acc_min[r]);
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(x->scale[r]));
        _mm512_mask_storeu_ps(y + row_of(x, (uint32_t)r) * ldy, mask, sum);
    }
}

/* Formats that are met most are compiled for 1, 2, 4 and 8 rows at a time, the others for 1 and 4:
 * a kernel takes a kilobyte or two. 8 rows of one plane gain 7 % over 4, which is not worth that.
 */
NIB_INLINE bool often_met(row_rounding how, nib__format f)
{
    if (f == NIB__Q4_K || f == NIB__Q6_K) return true;
    return how == ROWS_Q16 &&
           (f == NIB__Q4_0 || f == NIB__Q4_1 || f == NIB__Q8_0 || f == NIB__Q5_K);
}

NIB_INLINE bool takes_eight(row_rounding how, nib__format f)
{
    return how == ROWS_Q16 && often_met(how, f);
}

static uint32_t rows_at_once(row_rounding how, nib__format f, uint32_t left)
{
    if (left > 4 && takes_eight(how, f)) return 8;
    return left > 2 ? 4 : often_met(how, f) ? left : 1;
}

NIB_INLINE void decode_block(row_rounding how, nib__format f, const nib__packed *w, uint32_t panel,
                             group_range range, fetch_steps fetch, const row_block *x, float *y,
                             size_t ldy)
{
    if (x->step == 1)
        decode_whole_groups(how, f, 1, w, panel, range, fetch, x, y, ldy);
    else if (x->step == 4)
        decode_panel(how, f, 4, w, panel, fetch, x, y, ldy);
    else if (often_met(how, f) && x->step == 2)
        decode_panel(how, f, 2, w, panel, fetch, x, y, ldy);
    else if (takes_eight(how, f))
        decode_panel(how, f, 8, w, panel, fetch, x, y, ldy);
}

static void decode_q16(const nib__packed *w, uint32_t first, uint32_t count, const call_rows *x,
                       float *y, size_t ldy)
{
    switch (panel_twin(w->layout->format)) {
    case NIB__Q4_0: decode_run(ROWS_Q16, NIB__Q4_0, w, first, count, x, y, ldy); break;
    case NIB__Q4_1: decode_run(ROWS_Q16, NIB__Q4_1, w, first, count, x, y, ldy); break;
    case NIB__Q5_0: decode_run(ROWS_Q16, NIB__Q5_0, w, first, count, x, y, ldy); break;
    case NIB__Q5_1: decode_run(ROWS_Q16, NIB__Q5_1, w, first, count, x, y, ldy); break;
    case NIB__Q8_0: decode_run(ROWS_Q16, NIB__Q8_0, w, first, count, x, y, ldy); break;
    case NIB__Q2_K: decode_run(ROWS_Q16, NIB__Q2_K, w, first, count, x, y, ldy); break;
    case NIB__Q3_K: decode_run(ROWS_Q16, NIB__Q3_K, w, first, count, x, y, ldy); break;
    case NIB__Q4_K: decode_run(ROWS_Q16, NIB__Q4_K, w, first, count, x, y, ldy); break;
    case NIB__Q5_K: decode_run(ROWS_Q16, NIB__Q5_K, w, first, count, x, y, ldy); break;
    case NIB__Q6_K: decode_run(ROWS_Q16, NIB__Q6_K, w, first, count, x, y, ldy); break;
    case NIB__IQ4_NL: decode_run(ROWS_Q16, NIB__IQ4_NL, w, first, count, x, y, ldy); break;
    case NIB__IQ2_XS: decode_run(ROWS_Q16, NIB__IQ2_XS, w, first, count, x, y, ldy); break;
    case NIB__TQ2_0: decode_run(ROWS_Q16, NIB__TQ2_0, w, first, count, x, y, ldy); break;
    case NIB__IQ4_XS: decode_run(ROWS_Q16, NIB__IQ4_XS, w, first, count, x, y, ldy); break;
    case NIB__MXFP4: decode_run(ROWS_Q16, NIB__MXFP4, w, first, count, x, y, ldy); break;
    default: break; /* float formats go to decode_float */
    }
}

/* Of NIB__WEIGHTS_USUAL. */
static void decode_g32(const nib__packed *w, uint32_t first, uint32_t count, const call_rows *x,
                       float *y, size_t ldy)
{
    switch (w->layout->format) {
    case NIB__Q4_1: decode_run(ROWS_G32, NIB__Q4_1, w, first, count, x, y, ldy); break;
    case NIB__Q4_K: decode_run(ROWS_G32, NIB__Q4_K, w, first, count, x, y, ldy); break;
    case NIB__Q6_K: decode_run(ROWS_G32, NIB__Q6_K, w, first, count, x, y, ldy); break;
    default: break;
    }
}

size_t nib__decode_coded_scratch_avx512vnni(uint32_t k)
{
    return NIB__DECODE_ROWS * nib__row16_bytes(k);
}

void nib__decode_coded_avx512vnni(const nib__packed *w, uint32_t first, uint32_t count,
                                  const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    for (uint32_t at = 0; at < m; at += NIB__DECODE_ROWS) {
        call_rows x;
        lay_rows(ROWS_Q16, w, rows, m, at, scratch, &x);
        decode_q16(w, first, count, &x, y + at * ldy, ldy);
    }
}

void nib__fast_decode_avx512vnni(const nib__packed *w, uint32_t first, uint32_t count,
                                 const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    for (uint32_t at = 0; at < m; at += NIB__DECODE_ROWS) {
        call_rows x;
        lay_rows(ROWS_G32, w, rows, m, at, scratch, &x);
        decode_g32(w, first, count, &x, y + at * ldy, ldy);
    }
}
