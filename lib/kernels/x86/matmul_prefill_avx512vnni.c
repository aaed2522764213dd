/* SPDX-License-Identifier: MIT
 * Prefill for coded and int8 weights with vpdpbusd: activations rounded to int8 with one scale per
 * 32 k, weights of all formats made int8 with one scale per 64 k.
 *
 * A strip of 32 outputs is unpacked once per call (strip_avx512vnni.c), then multiplied with blocks
 * of up to 6 rows. Per 32 k a sum is converted and multiplied by the scale of the activations, per
 * 64 k by that of the weights: on a CPU that starts vpdpbusd and fma in the same two units, this is
 * 1.5 operations beside 8 products, where codes as they are stored need 3, and 5 with scales per
 * 16 k.
 *
 * Activations are stored with 128 added, as the unsigned operand of vpdpbusd; sums of 32 k
 * therefore start from -128 times the sum of the weights, which the strip keeps ready. Sums are
 * exact integers; float32 sums run over ascending groups. A row's result does not depend on the
 * other rows.
 *
 * Groups whose largest value stands out of their row would cause most of the rounding error: theirs
 * is rounded again, to a second int8 plane in units of 1/254. Few groups need it. */
#include <string.h>

#include "base/half.h"
#include "kernels/panel.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/strip_avx512vnni.h"

enum {
    ROWS = 6,     /* most rows in registers */
    M_BLOCK = 512 /* rows that meet an unpacked strip */
};

static const uint32_t INFINITY_BITS = 0x7f800000u;
static const float SECOND_PLANE = 254.0f; /* steps of the second plane per step of the first */
/* Groups with this many times the mean square of the largest values get a second plane. */
static const float OUTLIER = 8.0f;

/* 32 k of a rounded row: a scale beside its codes, so that both are found from one address. */
typedef struct row_group {
    uint8_t codes[NIB__GROUP];
    float scale;
} row_group;

/* A rounded row: [groups: k / 32][second plane: k][n, uint32_t][n groups that have a second plane,
 * ascending, uint32_t], each part but the last padded to 64 bytes. Here and in all that follows k
 * is a multiple of 32; int8 weights may have any, and zeros fill up the last group. */
static size_t second_at(uint32_t k)
{
    return nib__align_up(k / NIB__GROUP * sizeof(row_group), NIB_ALIGN);
}

static size_t list_at(uint32_t k)
{
    return second_at(k) + nib__align_up(k, NIB_ALIGN);
}

static size_t row_bytes(uint32_t any_k)
{
    const uint32_t k = nib__strip_k_avx512vnni(any_k);
    return list_at(k) + nib__align_up((k / NIB__GROUP + 1) * sizeof(uint32_t), NIB_ALIGN);
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
    const uint32_t k = nib__strip_k_avx512vnni(any_k);
    return masks_bytes(k) + nib__strip_bytes_avx512vnni(k);
}

/* Largest magnitude of 32 values, as float32 bits: infinities and NaN win over numbers. */
static uint32_t max_bits(const float *x)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i a = _mm512_and_epi32(_mm512_loadu_si512(x), magnitude);
    __m512i b = _mm512_and_epi32(_mm512_loadu_si512(x + 16), magnitude);
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
}

static void store_codes(__m512i q, uint8_t *codes)
{
    q = _mm512_add_epi32(q, _mm512_set1_epi32(128));
    _mm_storeu_si128((__m128i *)(void *)codes, _mm512_cvtepi32_epi8(q));
}

/* 32 values, the largest with these bits, to codes + 128 in one plane or two, 0 if `second` is
 * NULL. */
static void round_group(const float *x, uint32_t bits, row_group *group, uint8_t *second)
{
    float max = nib__f32_of_bits(bits), to = 0.0f;
    group->scale = 0.0f;
    if (bits >= INFINITY_BITS) { /* results must show it */
        group->scale = nib__f32_of_bits(0x7fc00000u);
    } else if (max >= 0x1p-100f) {
        to = 127.0f / max;
        group->scale = max / 127.0f;
    }
    for (int i = 0; i < 2; i++) {
        __m512 v = _mm512_setzero_ps();
        if (to != 0.0f) v = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), _mm512_set1_ps(to));
        __m512i q = _mm512_cvtps_epi32(v);
        store_codes(q, group->codes + 16 * i);
        if (second == NULL) continue;
        v = _mm512_mul_ps(_mm512_sub_ps(v, _mm512_cvtepi32_ps(q)), _mm512_set1_ps(SECOND_PLANE));
        q = _mm512_cvtps_epi32(v);
        store_codes(q, second + 16 * i);
    }
}

/* Group g of x[k], the last one with zeros behind it. */
static const float *group_in(const float *x, uint32_t k, uint32_t g, float last[NIB__GROUP])
{
    const float *from = x + (size_t)g * NIB__GROUP;
    const uint32_t there = k - g * NIB__GROUP;
    if (there >= NIB__GROUP) return from;
    memset(last, 0, NIB__GROUP * sizeof *last);
    memcpy(last, from, there * sizeof *last);
    return last;
}

static void round_row(const float *x, uint32_t any_k, void *row)
{
    const uint32_t k = nib__strip_k_avx512vnni(any_k);
    float last[NIB__GROUP];
    row_group *groups = row;
    uint8_t *second = (uint8_t *)row + second_at(k);
    uint32_t *list = (uint32_t *)(void *)((uint8_t *)row + list_at(k)), count = 0;
    uint32_t n = k / NIB__GROUP;
    float energy = 0.0f;
    for (uint32_t g = 0; g < n; g++) {
        float max = nib__f32_of_bits(max_bits(group_in(x, any_k, g, last)));
        groups[g].scale = max;
        energy += max * max;
    }
    float limit = OUTLIER * energy / (float)n;
    for (uint32_t g = 0; g < n; g++) {
        float max = groups[g].scale;
        const bool large = max * max > limit;
        if (large) list[++count] = g;
        round_group(group_in(x, any_k, g, last), nib__bits_of_f32(max), &groups[g],
                    large ? second + (size_t)g * NIB__GROUP : NULL);
    }
    list[0] = count;
}

/* What a block of rows is multiplied with and where results go. */
typedef struct product {
    vnni_strip strip;
    const row_mask *second;
    uint32_t k;
    size_t row_bytes, ldy;
    __mmask16 mask[2];   /* real outputs of both panels */
    const uint8_t *next; /* packed weights of the strip after this one */
    size_t next_bytes;
} product;

/* Group g of the row at `row`. */
static const row_group *group_at(const uint8_t *row, uint32_t g)
{
    return (const row_group *)(const void *)row + g;
}

/* Adds the second plane of one group, x[32] in units of `scale`, to the results y of a row. */
NIB_INLINE void add_second_plane(const product *p, uint32_t g, __m512i code[8][2], const uint8_t *x,
                                 float scale, float *y)
{
    const vnni_group *w = &p->strip.groups[g];
    const float *weights = p->strip.scales[g / STRIP_BLOCK][0];
    __m512i sum[2] = {_mm512_load_si512(w->start[0]), _mm512_load_si512(w->start[1])};
    NIB_UNROLL
    for (int j = 0; j < 8; j++) {
        __m512i four = broadcast4_512(x + 4 * j);
        sum[0] = _mm512_dpbusd_epi32(sum[0], four, code[j][0]);
        sum[1] = _mm512_dpbusd_epi32(sum[1], four, code[j][1]);
    }
    NIB_UNROLL
    for (int i = 0; i < 2; i++, y += NIB__PANEL, weights += NIB__PANEL) {
        const __m512 unit = _mm512_mul_ps(_mm512_load_ps(weights), _mm512_set1_ps(scale));
        const __m512 acc = _mm512_maskz_loadu_ps(p->mask[i], y);
        _mm512_mask_storeu_ps(y, p->mask[i],
                              _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i]), unit, acc));
    }
}

/* The second planes of a block of rows. Group by group, so that the codes stay in registers; asking
 * each row at each group in the main loop would be mispredicted too often. */
static void add_second_planes(const product *p, const uint8_t *rows, float *y)
{
    for (uint32_t g = 0; g < p->k / NIB__GROUP; g++) {
        __m512i code[8][2];
        NIB_UNROLL
        for (int j = 0; j < 8; j++) {
            code[j][0] = _mm512_load_si512(p->strip.groups[g].codes[j][0]);
            code[j][1] = _mm512_load_si512(p->strip.groups[g].codes[j][1]);
        }
        for (uint32_t i = 0; i < M_BLOCK / 64; i++) {
            for (uint64_t left = p->second[g].bits[i]; left != 0; left &= left - 1) {
                const uint32_t r = i * 64 + (uint32_t)__builtin_ctzll(left);
                const uint8_t *row = rows + r * p->row_bytes;
                add_second_plane(p, g, code, row + second_at(p->k) + (size_t)g * NIB__GROUP,
                                 group_at(row, g)->scale * (1.0f / SECOND_PLANE), y + r * p->ldy);
            }
        }
    }
}

/* Which of m rows have a second plane where. */
static void find_second_planes(const uint8_t *rows, uint32_t m, uint32_t k, row_mask *masks)
{
    memset(masks, 0, k / NIB__GROUP * sizeof *masks);
    for (uint32_t r = 0; r < m; r++) {
        const uint32_t *list =
            (const uint32_t *)(const void *)(rows + r * row_bytes(k) + list_at(k));
        for (uint32_t i = 1; i <= list[0]; i++) {
            masks[list[i]].bits[r / 64] |= (uint64_t)1 << r % 64;
        }
    }
}

/* acc[rows] += a group of the rows at `row` times the strip, but for the weights' scale. */
NIB_INLINE void multiply_group(int rows, const vnni_group *w, const uint8_t *row, size_t row_bytes,
                               __m512 acc[][2])
{
    __m512i sum[ROWS][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r][0] = _mm512_load_si512(w->start[0]);
        sum[r][1] = _mm512_load_si512(w->start[1]);
    }
    NIB_UNROLL
    for (int j = 0; j < 8; j++) {
        const __m512i c0 = _mm512_load_si512(w->codes[j][0]);
        const __m512i c1 = _mm512_load_si512(w->codes[j][1]);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m512i four = broadcast4_512(row + r * row_bytes + 4 * j);
            sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], four, c0);
            sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], four, c1);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512 scale = _mm512_set1_ps(group_at(row + r * row_bytes, 0)->scale);
        acc[r][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][0]), scale, acc[r][0]);
        acc[r][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][1]), scale, acc[r][1]);
    }
}

/* `rows` rows, a constant, times the strip. Results wait in memory: registers hold what was summed
 * up since the weights' scale changed. */
NIB_INLINE void multiply_rows(int rows, const product *p, const uint8_t *row, float *y)
{
    _Alignas(64) float total[ROWS][2][NIB__PANEL];
    const vnni_group *w = p->strip.groups, *const end = w + p->k / NIB__GROUP;
    const float *scale = p->strip.scales[0][0];
    const size_t row_bytes = p->row_bytes;
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_store_ps(total[r][0], _mm512_setzero_ps());
        _mm512_store_ps(total[r][1], _mm512_setzero_ps());
    }
    while (w < end) {
        const vnni_group *stop = end - w < STRIP_BLOCK ? end : w + STRIP_BLOCK;
        __m512 acc[ROWS][2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
        for (; w < stop; w++, row += sizeof(row_group))
            multiply_group(rows, w, row, row_bytes, acc);
        __asm__("" : "+m"(total)); /* or gcc loads all of it earlier, and stores it elsewhere */
        NIB_UNROLL
        for (int i = 0; i < 2; i++, scale += NIB__PANEL) {
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m512 before = _mm512_load_ps(total[r][i]);
                acc[r][i] = _mm512_fmadd_ps(acc[r][i], _mm512_load_ps(scale), before);
                _mm512_store_ps(total[r][i], acc[r][i]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++, y += p->ldy) {
        _mm512_mask_storeu_ps(y, p->mask[0], _mm512_load_ps(total[r][0]));
        _mm512_mask_storeu_ps(y + NIB__PANEL, p->mask[1], _mm512_load_ps(total[r][1]));
    }
}

/* Part r of m of the next strip's weights: they come from memory while this one is multiplied. */
static void fetch_next(const product *p, uint32_t r, uint32_t step, uint32_t m)
{
    const size_t end = p->next_bytes * (r + step) / m;
    for (size_t at = nib__align_up(p->next_bytes * r / m, 64); at < end; at += 64) {
        _mm_prefetch((const char *)p->next + at, _MM_HINT_T1);
    }
}

static void multiply(const product *p, const uint8_t *rows, uint32_t m, float *y)
{
    for (uint32_t r = 0, step; r < m; r += step) {
        const uint8_t *row = rows + r * p->row_bytes;
        float *out = y + r * p->ldy;
        uint32_t left = m - r;
        step = left >= 6 ? 6 : left >= 2 ? 2 : 1;
        fetch_next(p, r, step, m);
        switch (step) {
        case 6: multiply_rows(6, p, row, out); break;
        case 2: multiply_rows(2, p, row, out); break;
        default: multiply_rows(1, p, row, out); break;
        }
    }
    add_second_planes(p, rows, y);
}

static void run_block(const nib__packed *w, uint32_t first, uint32_t count, const uint8_t *rows,
                      uint32_t m, float *y, size_t ldy, uint8_t *scratch)
{
    const uint32_t k = nib__strip_k_avx512vnni(w->k);
    row_mask *masks = (row_mask *)(void *)scratch;
    find_second_planes(rows, m, k, masks);
    product job = {.second = masks, .k = k, .row_bytes = row_bytes(k), .ldy = ldy};
    job.strip = nib__strip_at_avx512vnni(scratch + masks_bytes(k), k);
    for (uint32_t p = first; p < first + count; p += 2) {
        const bool two = p + 1 < first + count;
        nib__strip_unpack_avx512vnni(w, p, 0, &job.strip);
        /* A missing second panel multiplies what lies in scratch; nothing of it is stored. */
        if (two) nib__strip_unpack_avx512vnni(w, p + 1, 1, &job.strip);
        job.mask[0] = nib__lanes(w->n - p * NIB__PANEL);
        job.mask[1] = two ? nib__lanes(w->n - (p + 1) * NIB__PANEL) : 0;
        const uint32_t after = p + 2 < w->n_panels ? w->n_panels - p - 2 : 0;
        job.next = nib__panel_at(w, p) + 2 * w->panel_bytes;
        job.next_bytes = (after < 2 ? after : 2) * w->panel_bytes;
        multiply(&job, rows, m, y + (size_t)p * NIB__PANEL);
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

const nib__matmul nib__prefill_g32_avx512vnni = {.name = "g32w64_avx512vnni",
                                                 .row_bytes = row_bytes,
                                                 .round_row = round_row,
                                                 .run = run,
                                                 .scratch_bytes = scratch_bytes,
                                                 .min_rows = 8};
