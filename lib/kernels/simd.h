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

/* The format whose panels look the same but for the code book and the unit of scales: kernels are
 * compiled once for all of them. */
NIB_INLINE nib__format panel_twin(nib__format f)
{
    switch (f) {
    case NIB__IQ1_S:
    case NIB__IQ2_XXS:
    case NIB__IQ3_XXS:
    case NIB__IQ3_S: return NIB__IQ4_XS;
    case NIB__IQ1_M:
    case NIB__IQ2_S: return NIB__IQ2_XS;
    case NIB__TQ1_0: return NIB__TQ2_0;
    default: return f;
    }
}

/* How codes are stored, and scales per 32 or 16 k: kernels are compiled once per class. Classes are
 * named after the bits of a code; TERNARY has two of them and a scale per 32, the BOOKs have four. */
typedef enum code_class {
    CODES_2,
    CODES_TERNARY,
    CODES_3,
    CODES_4,
    CODES_5,
    CODES_6,
    CODES_8,
    CODES_BOOK,
    CODES_BOOK_16
} code_class;

/* Codes index a book of 16 signed bytes. */
NIB_INLINE bool class_has_book(code_class c)
{
    return c == CODES_BOOK || c == CODES_BOOK_16;
}

NIB_INLINE code_class code_class_of(const nib__layout *layout)
{
    if (layout->table != NULL) return layout->scale_group == 16 ? CODES_BOOK_16 : CODES_BOOK;
    switch (layout->code_bits) {
    case 2: return layout->scale_group == 16 ? CODES_2 : CODES_TERNARY;
    case 3: return CODES_3;
    case 4: return CODES_4;
    case 5: return CODES_5;
    case 6: return CODES_6;
    default: return CODES_8;
    }
}

#endif
