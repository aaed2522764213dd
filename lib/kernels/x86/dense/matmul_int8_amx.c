/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row in AMX tiles. With two planes of activations the two row
 * tiles of a block are the high and the low bytes of the same 16 rows: exact, at half the rate of
 * int8, which is the rate of bf16. One plane is the fast strategy. */
#include "kernels/ref/ref.h"
#include "kernels/x86/dense/int8_avx512.h"
#include "kernels/x86/dense/rows_int8.h"

enum { INT8_TILES = 1 };

#include "kernels/x86/tiles_amx.h"

/* Sums of 16 outputs, rounded to float32 once; of two planes, the lower one is in the second tile.
 * Where a sum of high bytes is less than 2^22 the whole sum fits 32 bits, as it does nearly always.
 */
NIB_INLINE __m512 sums_of(bool two, const int32_t *at)
{
    const __m512i sum = _mm512_load_si512(at), limit = _mm512_set1_epi32(1 << 22);
    if (!two) return _mm512_cvtepi32_ps(sum);
    const __m512i low = _mm512_load_si512(at + BLOCK_SUMS / 2);
    if (_mm512_cmpge_epu32_mask(_mm512_add_epi32(sum, limit), _mm512_add_epi32(limit, limit)) != 0)
        return plane_sums(sum, low);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(sum, 8), low));
}

NIB_INLINE void finish_planes(bool two, const tile_job *job, tile_finish *f, uint32_t n)
{
    const uint32_t row = f->row + f->at, left = job->w->n - f->panel * NIB__PANEL;
    const __mmask16 mask0 = nib__lanes(left);
    const __mmask16 mask1 = nib__lanes(f->panels == 2 && left > NIB__PANEL ? left - NIB__PANEL : 0);
    const __m512 scale0 = _mm512_load_ps(int8_head(job->w, f->panel)->scale);
    const __m512 scale1 = _mm512_load_ps(int8_head(job->w, f->panel + f->panels - 1)->scale);
    const int32_t *sums = f->sums + 32 * (size_t)f->at;
    const uint8_t *head = job->rows + row * job->row_stride - NIB_ALIGN;
    float *y = job->y + row * job->ldy + (size_t)f->panel * NIB__PANEL;
    f->at += n;
    for (; n > 0; n--, sums += 32, head += job->row_stride, y += job->ldy) {
        const __m512 a = _mm512_set1_ps(row_scale(head));
        const __m512 v0 = _mm512_mul_ps(sums_of(two, sums), scale0);
        const __m512 v1 = _mm512_mul_ps(sums_of(two, sums + 16), scale1);
        _mm_prefetch((const char *)(y + FETCH_ROWS * job->ldy), _MM_HINT_T0);
        _mm_prefetch((const char *)(y + 16 + FETCH_ROWS * job->ldy), _MM_HINT_T0);
        _mm512_mask_storeu_ps(y, mask0, _mm512_mul_ps(v0, a));
        _mm512_mask_storeu_ps(y + 16, mask1, _mm512_mul_ps(v1, a));
    }
}

static __attribute__((noinline)) void finish_rows(const tile_job *job, tile_finish *f,
                                                  uint32_t most)
{
    const uint32_t n = f->n - f->at < most ? f->n - f->at : most;
    if (job->rows_per_block == TILE_ROWS)
        finish_planes(true, job, f, n);
    else
        finish_planes(false, job, f, n);
}

static void run_two(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    const uint32_t plane = (uint32_t)nib__row8_plane(w->k);
    tile_job job = {.w = w,
                    .rows = (const uint8_t *)rows + NIB_ALIGN,
                    .row_stride = nib__row8_bytes(w->k),
                    .second = plane,
                    .rows_per_block = TILE_ROWS,
                    .k_bytes = plane,
                    .y = y,
                    .ldy = ldy};
    run_tiles(&job, first, count, m, scratch);
}

static void run_one(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    const size_t stride = nib__row8_one_bytes(w->k);
    tile_job job = {.w = w,
                    .rows = (const uint8_t *)rows + NIB_ALIGN,
                    .row_stride = stride,
                    .second = TILE_ROWS * stride,
                    .rows_per_block = 2 * TILE_ROWS,
                    .k_bytes = (uint32_t)nib__row8_plane(w->k),
                    .y = y,
                    .ldy = ldy};
    run_tiles(&job, first, count, m, scratch);
}

const nib__matmul nib__prefill_int8_amx = {.name = "q16_amx",
                                           .row_bytes = nib__row8_bytes,
                                           .round_row = nib__row8_two_s8,
                                           .run = run_two,
                                           .scratch_bytes = tiles_scratch,
                                           .min_rows = 12};

const nib__matmul nib__prefill_int8_fast_amx = {.name = "r8_amx",
                                                .row_bytes = nib__row8_one_bytes,
                                                .round_row = nib__row8_one_s8,
                                                .run = run_one,
                                                .scratch_bytes = tiles_scratch,
                                                .min_rows = 12};
