/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row in AMX tiles. With two planes of activations the two row
 * tiles of a block are the high and the low bytes of the same 16 rows: exact, at half the rate of
 * int8, which is the rate of bf16. One plane is the fast strategy. */
#include "kernels/ref/ref.h"
#include "kernels/x86/int8_avx512.h"
#include "kernels/x86/rows_int8.h"

enum { INT8_TILES = 1 };

#include "kernels/x86/tiles_amx.h"

NIB_INLINE void finish_row(const tile_job *job, const tile_finish *f, uint32_t r)
{
    const bool two = job->rows_per_block == TILE_ROWS;
    const uint32_t row = f->row + r;
    const __m512 a = _mm512_set1_ps(row_scale(job->rows + row * job->row_stride - NIB_ALIGN));
    float *y = job->y + row * job->ldy + (size_t)f->panel * NIB__PANEL;
    for (uint32_t i = 0; i < f->panels; i++) {
        const int32_t *at = f->sums + 32 * r + 16 * i;
        const __m512i sum = _mm512_load_si512(at);
        __m512 v = two ? plane_sums(sum, _mm512_load_si512(at + 512)) : _mm512_cvtepi32_ps(sum);
        v = _mm512_mul_ps(_mm512_mul_ps(v, _mm512_load_ps(int8_head(job->w, f->panel + i)->scale)),
                          a);
        const __mmask16 mask = nib__lanes(job->w->n - (f->panel + i) * NIB__PANEL);
        _mm_prefetch((const char *)(y + 16 * i + FETCH_ROWS * job->ldy), _MM_HINT_T0);
        _mm512_mask_storeu_ps(y + 16 * i, mask, v);
    }
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
