/* SPDX-License-Identifier: MIT
 * What the int8 matrix instructions do better than dot products. */
#include "kernels/arm/neon.h"

void nib__kernels_init_i8mm(nib__kernels *table)
{
    table->prefill_coded = nib__prefill_coded_i8mm;
    table->decode_int8 = nib__int8_i8mm;
    table->prefill_int8 = nib__int8_i8mm;
}
