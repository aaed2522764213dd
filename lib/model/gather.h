/* SPDX-License-Identifier: MIT
 * Rows of a role, wherever they lie in a tensor, one after the other and in the format wanted. */
#ifndef NIB_MODEL_GATHER_H
#define NIB_MODEL_GATHER_H

#include "model/arch.h"

/* How a linear map's rows get from the file to the packer. */
typedef struct nib__gather {
    const nib__tensor *tensor;
    nib__row_map map;
    uint32_t k;
    const nib__format_info *to; /* format of the result: the file's, f32, f16 or bf16 */
} nib__gather;

/* The rows lie in the file as they are needed: nib__gather_rows only points at them. */
bool nib__gather_direct(const nib__gather *g);
/* Panels of a tensor of file_rows hold the n rows of the role as panels of their own. */
bool nib__gather_panels(const nib__row_map *map, size_t n);
/* Bytes of working memory for `count` rows; SIZE_MAX on overflow. */
size_t nib__gather_bytes(const nib__gather *g, uint32_t count);
/* Rows [first, first + count) of the role; `buffer` has nib__gather_bytes. */
const uint8_t *nib__gather_rows(const nib__gather *g, uint32_t first, uint32_t count,
                                uint8_t *buffer);
/* Number i of a vector. The format must not have blocks. */
float nib__gather_number(const nib__tensor *t, const nib__row_map *map, size_t i);

#endif
