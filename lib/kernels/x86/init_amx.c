/* SPDX-License-Identifier: MIT
 * What AMX does better than AVX-512 with VNNI. */
#include "kernels/x86/avx512.h"

void nib__kernels_init_amx(nib__kernels *table)
{
    table->prefill_coded = nib__prefill_coded_amx;
    table->prefill_float = nib__prefill_float_amx;
}
