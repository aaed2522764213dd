/* SPDX-License-Identifier: MIT
 * Attention of many rows with vpdpwssd, 512 bits; see attention_int16.h. */
#include "kernels/x86/attention/attention_int16_512.h"

#include "kernels/x86/attention/attention_int16.h"

size_t nib__attention_prefill_scratch_avx512vnni(uint32_t dim)
{
    return scratch_of_both(dim, nib__attention_scratch_avx512(dim));
}

void nib__attention_prefill_avx512vnni(const nib__attention *a)
{
    attend_or(a, nib__attention_avx512);
}
