/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with AVX-512 that lacks VNNI. Every variant takes five kilobytes: 3 bits
 * are treated as if they were 6, and the rarest formats stay with 256 bits. */
#include "kernels/x86/avx2.h"
#include "kernels/x86/prefill/matmul_prefill_512.h"
#include "kernels/x86/prefill/matmul_prefill_maddubs.h"
#include "kernels/x86/rows_avx2.h"

static void prefill_panel(const panel_job *j)
{
    switch (code_class_of(j->w->layout)) {
    case CODES_TERNARY:
    case CODES_4: prefill_job((variant){8, 8, OFFSET_MIN}, j); break;
    case CODES_5: prefill_job((variant){4, 8, OFFSET_MIN}, j); break;
    case CODES_3:
    case CODES_6: prefill_job((variant){2, 8, OFFSET_PAIR}, j); break;
    case CODES_2:
    case CODES_BOOK_16: break; /* see run */
    case CODES_8:
    case CODES_BOOK: prefill_job((variant){1, 8, OFFSET_NONE}, j); break;
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    const code_class c = code_class_of(w->layout);
    if (c == CODES_2 || c == CODES_BOOK_16)
        nib__prefill_coded_avx2.run(w, first, count, rows, m, y, ldy, scratch);
    else
        prefill_run(w, first, count, rows, m, y, ldy, scratch);
}

const nib__matmul nib__prefill_coded_avx512 = {
    .name = "g32_avx512",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_avx2,
    .run = run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
