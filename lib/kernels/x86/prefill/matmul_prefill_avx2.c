/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with AVX2. */
#include "kernels/x86/prefill/matmul_prefill_256.h"
#include "kernels/x86/prefill/matmul_prefill_maddubs.h"
#include "kernels/x86/rows_avx2.h"

static void prefill_panel(const panel_job *j)
{
    switch (code_class_of(j->w->layout)) {
    case CODES_2: prefill_job((variant){4, 4, OFFSET_MIN}, j); break;
    case CODES_3: prefill_job((variant){4, 8, OFFSET_PAIR}, j); break;
    case CODES_TERNARY:
    case CODES_4: prefill_job((variant){8, 8, OFFSET_MIN}, j); break;
    case CODES_5: prefill_job((variant){4, 8, OFFSET_MIN}, j); break;
    case CODES_6: prefill_job((variant){2, 8, OFFSET_PAIR}, j); break;
    case CODES_BOOK_16: prefill_job((variant){1, 8, OFFSET_PAIR}, j); break;
    case CODES_8:
    case CODES_BOOK: prefill_job((variant){1, 8, OFFSET_NONE}, j); break;
    }
}

const nib__matmul nib__prefill_coded_avx2 = {
    .name = "g32_avx2",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_avx2,
    .run = prefill_run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
