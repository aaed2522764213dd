/* SPDX-License-Identifier: MIT
 * Prefill of coded weights without VNNI. vpmaddubsw multiplies unsigned codes by signed activations
 * and adds pairs in 16 bits with saturation, so the number of lines summed in 16 bits depends on
 * the largest code (|q| <= 127): 8 lines of codes up to 15, 4 up to 31, 2 up to 63. Signed 8-bit
 * weights take |w| and sign(w) * q instead and one line at a time: 2 * 128 * 127 = 32512 still
 * fits. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_MADDUBS_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_MADDUBS_H

#include "kernels/x86/prefill/prefill_strip_avx2.h"

static const strip_kind KIND = STRIP_MADDUBS;

#include "kernels/x86/prefill/matmul_prefill_g32.h"

/* v.mode: lines summed in 16 bits, or 1 for signed weights. Every 4 lines times their integer scale
 * in pair[][16], if not NULL, which costs nothing: sums of 16 bits must be multiplied by something
 * to become 32 bits. |sum| < 8 * 32512 * 2 * 128. */
NIB_INLINE void add_lines(variant v, int rows, const uint8_t *codes, const int8_t *const *x,
                          uint32_t k, const int32_t *pair, ints *sum)
{
    const ints one = v_int(0x00010001);
    NIB_UNROLL
    for (int from = 0; from < v.lines; from += v.mode) {
        ints part[SUMS], factor[HALVES];
        NIB_UNROLL
        for (int h = 0; h < HALVES; h++)
            factor[h] =
                pair == NULL ? one : v_load_ints(pair + NIB__PANEL * (from / 4) + LANES * h);
        NIB_UNROLL
        for (int j = from; j < from + v.mode; j++) {
            ints w[HALVES];
            NIB_UNROLL
            for (int h = 0; h < HALVES; h++) w[h] = v_load_ints(codes + 64 * j + 4 * LANES * h);
            NIB_UNROLL
            for (int i = 0; i < rows * HALVES; i++) {
                const ints q = v_four(x[i / HALVES] + k + 4 * (uint32_t)j);
                const ints c = w[i % HALVES];
                const ints p = v.mode == 1 ? v_maddbs(c, q) : v_maddubs(c, q);
                part[i] = j == from ? p : v_keep(v_add16(part[i], p));
            }
        }
        NIB_UNROLL
        for (int i = 0; i < rows * HALVES; i++) {
            const ints wide = v_madd16(part[i], factor[i % HALVES]);
            sum[i] = from == 0 ? wide : v_add_ints(sum[i], wide);
        }
    }
}

#endif
