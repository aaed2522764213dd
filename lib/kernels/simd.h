/* SPDX-License-Identifier: MIT
 * What the vector kernels of every architecture share: how loops over registers are inlined and
 * unrolled, and the classes of codes for which they are compiled. */
#ifndef NIB_KERNELS_SIMD_H
#define NIB_KERNELS_SIMD_H

#include "kernels/kernels.h"

#define NIB_INLINE static inline __attribute__((always_inline))

/* Loops over registers must be unrolled or the registers live in memory; -O2 alone does not. Loops
 * over lines of codes may be, but gcc then multiplies row by row and loads every line again. */
#if defined(__clang__)
#define NIB_UNROLL _Pragma("clang loop unroll(full)")
#define NIB_UNROLL_2 _Pragma("clang loop unroll_count(2)")
#else
#define NIB_UNROLL _Pragma("GCC unroll 64")
#define NIB_UNROLL_2 _Pragma("GCC unroll 2")
#endif

/* How codes are stored; kernels are compiled once per class and for 8 or 4 lines per scale. */
typedef enum code_class {
    CODES_2,
    CODES_3,
    CODES_4,
    CODES_5,
    CODES_6,
    CODES_8,
    CODES_BOOK
} code_class;

NIB_INLINE code_class code_class_of(const nib__layout *layout)
{
    if (layout->table != NULL) return CODES_BOOK;
    switch (layout->code_bits) {
    case 2: return CODES_2;
    case 3: return CODES_3;
    case 4: return CODES_4;
    case 5: return CODES_5;
    case 6: return CODES_6;
    default: return CODES_8;
    }
}

#endif
