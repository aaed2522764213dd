/* SPDX-License-Identifier: MIT
 * Fills the table of kernels: scalar first, then each level up to the one chosen overrides what it
 * does better. Also the layout of a row of 16-bit activations, which all levels share. */
#include <string.h>

#include "kernels/kernels.h"

/* A rounded row: [scale, padded to 64][hi: k][lo: k][sum: k / 16], each part padded to 64 bytes. */
static size_t plane_bytes(uint32_t k)
{
    return nib__align_up(k, NIB_ALIGN);
}

size_t nib__row16_bytes(uint32_t k)
{
    return NIB_ALIGN + 2 * plane_bytes(k) + nib__align_up(k / 16 * sizeof(int32_t), NIB_ALIGN);
}

nib__row16 nib__row16_view(const void *row, uint32_t k)
{
    const uint8_t *base = row;
    nib__row16 view;
    memcpy(&view.scale, base, sizeof view.scale);
    view.hi = (const int8_t *)(base + NIB_ALIGN);
    view.lo = view.hi + plane_bytes(k);
    view.sum = (const int32_t *)(const void *)(view.lo + plane_bytes(k));
    return view;
}

void nib__row16_parts(void *row, uint32_t k, int8_t **hi, int8_t **lo, int32_t **sum)
{
    uint8_t *base = row;
    *hi = (int8_t *)(base + NIB_ALIGN);
    *lo = *hi + plane_bytes(k);
    *sum = (int32_t *)(void *)(*lo + plane_bytes(k));
}

const nib__matmul *nib__decode_of(const nib__kernels *table, nib__weight_kind kind)
{
    switch (kind) {
    case NIB__WEIGHTS_USUAL: return &table->decode_usual;
    case NIB__WEIGHTS_CODED: return &table->decode_coded;
    case NIB__WEIGHTS_INT8: return &table->decode_int8;
    case NIB__WEIGHTS_F32:
    case NIB__WEIGHTS_HALF: break;
    }
    return &table->decode_float;
}

nib__weight_kind nib__weight_kind_in(const nib__kernels *table, const nib__layout *layout)
{
    nib__weight_kind kind = nib__weight_kind_of(layout);
    bool same = table->decode_usual.round_row == table->decode_coded.round_row;
    return kind == NIB__WEIGHTS_USUAL && same ? NIB__WEIGHTS_CODED : kind;
}

const nib__matmul *nib__prefill_of(const nib__kernels *table, nib__weight_kind kind)
{
    switch (kind) {
    case NIB__WEIGHTS_F32: return &table->prefill_f32;
    case NIB__WEIGHTS_HALF: return &table->prefill_float;
    case NIB__WEIGHTS_USUAL:
    case NIB__WEIGHTS_CODED: return &table->prefill_coded;
    case NIB__WEIGHTS_INT8: break;
    }
    return &table->prefill_int8;
}

void nib__kernels_init(nib__kernels *table, nib__isa isa, uint32_t precision)
{
    memset(table, 0, sizeof *table);
    nib__kernels_init_ref(table);
#if defined(__x86_64__)
    if (isa >= NIB__ISA_AVX2 && isa <= NIB__ISA_AMX) nib__kernels_init_avx2(table);
    if (isa == NIB__ISA_AVXVNNI) nib__kernels_init_avxvnni(table);
    if (isa >= NIB__ISA_AVX512 && isa <= NIB__ISA_AMX) nib__kernels_init_avx512(table);
    if (isa >= NIB__ISA_AVX512VNNI && isa <= NIB__ISA_AMX) nib__kernels_init_avx512vnni(table);
    if (isa >= NIB__ISA_AVX512BF16 && isa <= NIB__ISA_AMX) nib__kernels_init_avx512bf16(table);
    if (isa == NIB__ISA_AMX) nib__kernels_init_amx(table);
#elif defined(__aarch64__)
    if (isa >= NIB__ISA_NEON && isa <= NIB__ISA_I8MM) nib__kernels_init_neon(table);
    if (isa >= NIB__ISA_DOTPROD && isa <= NIB__ISA_I8MM) nib__kernels_init_dotprod(table);
    if (isa == NIB__ISA_I8MM) nib__kernels_init_i8mm(table);
#endif
    if (precision == NIB_PRECISION_EXACT) {
        table->prefill_coded = table->decode_coded;
        table->prefill_float = table->decode_float;
        table->prefill_f32 = table->decode_float;
        table->prefill_int8 = table->decode_int8;
    } else if (precision == NIB_PRECISION_FAST && table->fast_int8.run != NULL) {
        table->prefill_int8 = table->fast_int8;
    } else if (precision == NIB_PRECISION_F32) {
        nib__kernels_init_f32(table);
    }
    const bool fast = precision == NIB_PRECISION_FAST && table->fast_decode.run != NULL;
    table->decode_usual = fast ? table->fast_decode : table->decode_coded;
    if (table->attention_prefill == NULL || precision == NIB_PRECISION_EXACT ||
        precision == NIB_PRECISION_F32) {
        table->attention_prefill = table->attention;
        table->attention_prefill_scratch = table->attention_scratch;
    }
    table->isa = isa;
}
