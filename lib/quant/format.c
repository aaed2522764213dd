/* SPDX-License-Identifier: MIT
 * The single list of number formats, the decoders of the plain float formats, and the names of all
 * type ids of the GGUF specification (for messages about types that cannot be computed with). */
#include "quant/format.h"

#include "base/bytes.h"
#include "base/half.h"
#include "quant/decode.h"

static void decode_f32(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = nib__lef32(src + 4 * i);
}

static void decode_f16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = nib__f32_of_f16(nib__le16(src + 2 * i));
}

static void decode_bf16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = nib__f32_of_bf16(nib__le16(src + 2 * i));
}

static const nib__format_info formats[] = {
    /* id, name, elements, bytes, decoder */
    {NIB__F32, "F32", 1, 4, decode_f32},
    {NIB__F16, "F16", 1, 2, decode_f16},
    {NIB__Q4_0, "Q4_0", 32, 18, nib__decode_q4_0},
    {NIB__Q4_1, "Q4_1", 32, 20, nib__decode_q4_1},
    {NIB__Q5_0, "Q5_0", 32, 22, nib__decode_q5_0},
    {NIB__Q5_1, "Q5_1", 32, 24, nib__decode_q5_1},
    {NIB__Q8_0, "Q8_0", 32, 34, nib__decode_q8_0},
    {NIB__Q2_K, "Q2_K", 256, 84, nib__decode_q2_k},
    {NIB__Q3_K, "Q3_K", 256, 110, nib__decode_q3_k},
    {NIB__Q4_K, "Q4_K", 256, 144, nib__decode_q4_k},
    {NIB__Q5_K, "Q5_K", 256, 176, nib__decode_q5_k},
    {NIB__Q6_K, "Q6_K", 256, 210, nib__decode_q6_k},
    {NIB__IQ2_XXS, "IQ2_XXS", 256, 66, nib__decode_iq2_xxs},
    {NIB__IQ2_XS, "IQ2_XS", 256, 74, nib__decode_iq2_xs},
    {NIB__IQ3_XXS, "IQ3_XXS", 256, 98, nib__decode_iq3_xxs},
    {NIB__IQ1_S, "IQ1_S", 256, 50, nib__decode_iq1_s},
    {NIB__IQ4_NL, "IQ4_NL", 32, 18, nib__decode_iq4_nl},
    {NIB__IQ3_S, "IQ3_S", 256, 110, nib__decode_iq3_s},
    {NIB__IQ2_S, "IQ2_S", 256, 82, nib__decode_iq2_s},
    {NIB__IQ4_XS, "IQ4_XS", 256, 136, nib__decode_iq4_xs},
    {NIB__IQ1_M, "IQ1_M", 256, 56, nib__decode_iq1_m},
    {NIB__BF16, "BF16", 1, 2, decode_bf16},
    {NIB__TQ1_0, "TQ1_0", 256, 54, nib__decode_tq1_0},
    {NIB__TQ2_0, "TQ2_0", 256, 66, nib__decode_tq2_0},
    {NIB__MXFP4, "MXFP4", 32, 17, nib__decode_mxfp4},
};

const nib__format_info *nib__format_find(uint32_t type_id)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if ((uint32_t)formats[i].format == type_id) return &formats[i];
    }
    return NULL;
}

/* NULL: ids of formats that were withdrawn (4, 5, 31-33, 36-38). */
static const char *const type_names[] = {
    [0] = "F32",     [1] = "F16",      [2] = "Q4_0",   [3] = "Q4_1",    [6] = "Q5_0",
    [7] = "Q5_1",    [8] = "Q8_0",     [9] = "Q8_1",   [10] = "Q2_K",   [11] = "Q3_K",
    [12] = "Q4_K",   [13] = "Q5_K",    [14] = "Q6_K",  [15] = "Q8_K",   [16] = "IQ2_XXS",
    [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S",
    [22] = "IQ2_S",  [23] = "IQ4_XS",  [24] = "I8",    [25] = "I16",    [26] = "I32",
    [27] = "I64",    [28] = "F64",     [29] = "IQ1_M", [30] = "BF16",   [34] = "TQ1_0",
    [35] = "TQ2_0",  [39] = "MXFP4",   [40] = "NVFP4", [41] = "Q1_0",   [42] = "Q2_0",
};

const char *nib__format_type_name(uint32_t type_id)
{
    if (type_id >= sizeof type_names / sizeof type_names[0]) return NULL;
    return type_names[type_id];
}
