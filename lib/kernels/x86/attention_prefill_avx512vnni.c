/* SPDX-License-Identifier: MIT
 * Attention of many rows with vpdpwssd, 512 bits; see attention_int16.h. */
#include "kernels/x86/attention_int16_512.h"

#include "kernels/x86/attention_int16.h"

size_t nib__attention_prefill_scratch_avx512vnni(uint32_t dim)
{
    size_t bytes = job_bytes(dim), other = nib__attention_scratch_avx512(dim);
    return bytes > other ? bytes : other;
}

void nib__attention_prefill_avx512vnni(const nib__attention *a)
{
    if (a->bias != NULL || a->kv.type == NIB__KV_F32)
        nib__attention_avx512(a);
    else
        attend(a);
}
