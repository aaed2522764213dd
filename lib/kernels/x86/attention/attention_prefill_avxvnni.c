/* SPDX-License-Identifier: MIT
 * Attention of many rows with vpdpwssd, 256 bits; see attention_int16.h. */
#include "kernels/x86/attention/attention_int16_256.h"

/* sum + two products of 16-bit numbers, per lane. */
NIB_INLINE ints v_dot2(ints sum, ints a, ints b)
{
    return keep_sum(_mm256_dpwssd_avx_epi32(sum, a, b));
}

#include "kernels/x86/attention/attention_int16.h"

size_t nib__attention_prefill_scratch_avxvnni(uint32_t dim)
{
    return scratch_of_both(dim, nib__attention_scratch_avx2(dim));
}

void nib__attention_prefill_avxvnni(const nib__attention *a)
{
    attend_or(a, nib__attention_avx2);
}
