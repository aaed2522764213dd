/* SPDX-License-Identifier: MIT
 * What the dot product instructions do better than NEON. */
#include "kernels/arm/neon.h"

void nib__kernels_init_dotprod(nib__kernels *table)
{
    table->decode_coded = nib__decode_coded_dotprod;
    table->prefill_coded = nib__prefill_coded_dotprod;
    table->decode_int8 = nib__int8_dotprod;
    table->prefill_int8 = nib__int8_dotprod;
}
