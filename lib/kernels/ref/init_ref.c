/* SPDX-License-Identifier: MIT
 * The scalar level: every entry of the table. */
#include "kernels/ref/ref.h"

void nib__kernels_init_ref(nib__kernels *table)
{
    nib__matmul_init_ref(table);
    nib__elementwise_init_ref(table);
    nib__activate_init_ref(table);
    nib__attention_init_ref(table);
    nib__vocab_init_ref(table);
}
