/* SPDX-License-Identifier: MIT
 * Coded panels to bf16 tiles: [count] tiles of [16 pairs of k][16 rows][2 k], 1 KB each, for
 * groups [first, first + count) of 32 k. `tiles` is 64-byte aligned. */
#ifndef NIB_KERNELS_X86_EXPAND_AMX_H
#define NIB_KERNELS_X86_EXPAND_AMX_H

#include "kernels/kernels.h"

void nib__expand_coded_amx(const nib__packed *w, uint32_t panel, uint32_t first, uint32_t count,
                           uint8_t *tiles);

#endif
