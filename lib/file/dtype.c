/* SPDX-License-Identifier: MIT
 * Element types of safetensors headers and PyTorch storages, and shapes of such tensors. */
#include <string.h>

#include "file/hf.h"

/* Beside weights, checkpoints hold such things: position ids, causal masks, counters. */
static const nib__format_info stored[] = {
    {NIB__STORED, "F64", 1, 8, NULL},     {NIB__STORED, "C64", 1, 8, NULL},
    {NIB__STORED, "I64", 1, 8, NULL},     {NIB__STORED, "U64", 1, 8, NULL},
    {NIB__STORED, "I32", 1, 4, NULL},     {NIB__STORED, "U32", 1, 4, NULL},
    {NIB__STORED, "I16", 1, 2, NULL},     {NIB__STORED, "U16", 1, 2, NULL},
    {NIB__STORED, "I8", 1, 1, NULL},      {NIB__STORED, "U8", 1, 1, NULL},
    {NIB__STORED, "BOOL", 1, 1, NULL},    {NIB__STORED, "F8_E4M3", 1, 1, NULL},
    {NIB__STORED, "F8_E5M2", 1, 1, NULL},
};

static bool is(const char *name, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(name, text, len) == 0;
}

const nib__format_info *nib__dtype_find(const char *name, size_t len)
{
    static const nib__format computable[] = {NIB__F32, NIB__F16, NIB__BF16};
    for (size_t i = 0; i < sizeof computable / sizeof computable[0]; i++) {
        const nib__format_info *format = nib__format_find(computable[i]);
        if (is(name, len, format->name)) return format;
    }
    for (size_t i = 0; i < sizeof stored / sizeof stored[0]; i++) {
        if (is(name, len, stored[i].name)) return &stored[i];
    }
    return NULL;
}

bool nib__tensor_set_shape(nib__tensor *tensor, const nib__format_info *format, const size_t *shape,
                           size_t n)
{
    if (n > NIB__MAX_DIMS) return false;
    size_t elements = 1;
    tensor->format = format;
    tensor->n_dims = n == 0 ? 1 : (uint32_t)n;
    for (size_t i = 0; i < NIB__MAX_DIMS; i++) tensor->ne[i] = i < n ? shape[n - 1 - i] : 1;
    for (size_t i = 0; i < n; i++) {
        /* Zeros apart: the product of the others must fit too. */
        if (shape[i] != 0 && !nib__mul(elements, shape[i], &elements)) return false;
    }
    size_t bytes;
    if (!nib__mul(elements, format->block_bytes, &bytes)) return false;
    for (size_t i = 0; i < n; i++) bytes = shape[i] == 0 ? 0 : bytes;
    tensor->size = bytes;
    return true;
}
