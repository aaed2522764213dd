/* SPDX-License-Identifier: MIT
 * How each number format lies in a panel of 16 rows, and the sizes that follow from it. */
#include "kernels/kernels.h"

/* Code bytes of a group of 32 k for 16 rows: 64 per bit plane of one bit. */
enum { BITS2 = 128, BITS3 = 192, BITS4 = 256, BITS5 = 320, BITS6 = 384, BITS8 = 512 };

/* clang-format off */
/*   format        coded bits zero group min block scale bytes    codes  unit    code book */
static const nib__layout layouts[] = {
    {NIB__F32,      0,    32,  0,   32,   0,  1,    0,             0,     1.0f,   NULL},
    {NIB__F16,      0,    16,  0,   32,   0,  1,    0,             0,     1.0f,   NULL},
    {NIB__BF16,     0,    16,  0,   32,   0,  1,    0,             0,     1.0f,   NULL},
    {NIB__I8R,      0,    8,   0,   32,   0,  1,    0,             0,     1.0f,   NULL},
    {NIB__Q4_0,     1,    4,   8,   32,   0,  32,   32,            BITS4, 1.0f,   NULL},
    {NIB__Q4_1,     1,    4,   0,   32,   1,  32,   64,            BITS4, 1.0f,   NULL},
    {NIB__Q5_0,     1,    5,   16,  32,   0,  32,   32,            BITS5, 1.0f,   NULL},
    {NIB__Q5_1,     1,    5,   0,   32,   1,  32,   64,            BITS5, 1.0f,   NULL},
    {NIB__Q8_0,     1,    8,   128, 32,   0,  32,   32,            BITS8, 1.0f,   NULL},
    {NIB__Q2_K,     1,    2,   0,   16,   1,  256,  64 + 16 * 32,  BITS2, 1.0f,   NULL},
    {NIB__Q3_K,     1,    3,   4,   16,   0,  256,  32 + 16 * 16,  BITS3, 1.0f,   NULL},
    {NIB__Q4_K,     1,    4,   0,   32,   1,  256,  64 + 8 * 32,   BITS4, 1.0f,   NULL},
    {NIB__Q5_K,     1,    5,   0,   32,   1,  256,  64 + 8 * 32,   BITS5, 1.0f,   NULL},
    {NIB__Q6_K,     1,    6,   32,  16,   0,  256,  32 + 16 * 16,  BITS6, 1.0f,   NULL},
    {NIB__IQ1_S,    1,    4,   128, 32,   0,  256,  32 + 8 * 16,   BITS4, 0.125f, nib__iq1_values},
    {NIB__IQ1_M,    1,    4,   128, 16,   0,  256,  32 + 16 * 16,  BITS4, 0.125f, nib__iq1_values},
    {NIB__IQ2_XXS,  1,    4,   128, 32,   0,  256,  32 + 8 * 16,   BITS4, 0.125f, nib__iq2_values},
    {NIB__IQ2_XS,   1,    4,   128, 16,   0,  256,  32 + 16 * 16,  BITS4, 0.125f, nib__iq2_values},
    {NIB__IQ2_S,    1,    4,   128, 16,   0,  256,  32 + 16 * 16,  BITS4, 0.125f, nib__iq2_values},
    {NIB__IQ3_XXS,  1,    4,   128, 32,   0,  256,  32 + 8 * 16,   BITS4, 0.25f,  nib__iq3xxs_values},
    {NIB__IQ3_S,    1,    4,   128, 32,   0,  256,  32 + 8 * 16,   BITS4, 1.0f,   nib__iq3s_values},
    {NIB__IQ4_NL,   1,    4,   128, 32,   0,  32,   32,            BITS4, 1.0f,   nib__iq4nl_values},
    {NIB__IQ4_XS,   1,    4,   128, 32,   0,  256,  32 + 8 * 16,   BITS4, 1.0f,   nib__iq4nl_values},
    {NIB__TQ1_0,    1,    2,   1,   32,   0,  256,  32 + 8 * 16,   BITS2, 1.0f,   NULL},
    {NIB__TQ2_0,    1,    2,   1,   32,   0,  256,  32 + 8 * 16,   BITS2, 1.0f,   NULL},
    {NIB__MXFP4,    1,    4,   12,  32,   0,  32,   32,            BITS4, 1.0f,   nib__mxfp4_values},
};
/* clang-format on */

const nib__layout *nib__layout_of(nib__format format)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (layouts[i].format == format) return &layouts[i];
    }
    return NULL;
}

nib_status nib__packed_init(nib__packed *w, nib__format format, size_t n, size_t k, nib_error *err)
{
    const nib__layout *layout = nib__layout_of(format);
    if (layout == NULL) {
        return nib__fail(err, NIB_ERR_UNSUPPORTED, "type %d cannot be used in a matrix product",
                         (int)format);
    }
    size_t step = layout->coded ? layout->block : 1;
    if (format == NIB__I8R && k > NIB__INT8_MAX_K) {
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "matrix of %zu rows of %zu: expected rows of at most %d for int8 weights",
                         n, k, (int)NIB__INT8_MAX_K);
    }
    if (n == 0 || k == 0 || n > INT32_MAX || k > INT32_MAX || k % step != 0) {
        const nib__format_info *info = nib__format_find((uint32_t)format);
        return nib__fail(
            err, NIB_ERR_UNSUPPORTED,
            "matrix of %zu rows of %zu: expected rows of a multiple of %zu for type %s", n, k, step,
            info ? info->name : "?");
    }
    size_t n_panels = (n + NIB__PANEL - 1) / NIB__PANEL;
    size_t scales, codes, total;
    bool fits = true;
    if (layout->coded) {
        fits = nib__mul(k / layout->block, layout->scale_bytes, &scales) && scales < SIZE_MAX - 64;
        scales = nib__align_up(scales, NIB_ALIGN);
        fits = fits && nib__mul(k / NIB__GROUP, layout->group_bytes, &codes);
    } else if (format == NIB__I8R) {
        scales = sizeof(nib__int8_head);
        fits = nib__mul(nib__align_up(k, NIB_ALIGN), NIB__PANEL, &codes);
    } else {
        scales = 0;
        fits = nib__mul(k, (size_t)NIB__PANEL * layout->code_bits / 8, &codes);
    }
    fits = fits && nib__add(scales, codes, &codes) && codes < SIZE_MAX - NIB_ALIGN;
    if (fits) codes = nib__align_up(codes, NIB_ALIGN);
    if (!fits || !nib__mul(codes, n_panels, &total)) {
        return nib__fail(err, NIB_ERR_MEMORY, "matrix of %zu rows of %zu is too large", n, k);
    }
    *w = (nib__packed){.layout = layout,
                       .n = (uint32_t)n,
                       .k = (uint32_t)k,
                       .n_panels = (uint32_t)n_panels,
                       .code_offset = scales,
                       .panel_bytes = codes};
    return NIB_OK;
}
