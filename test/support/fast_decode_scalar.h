/* SPDX-License-Identifier: MIT
 * What fast_decode of every level computes (lib/kernels/kernels.h), in scalar C. */
#ifndef NIB_TEST_SUPPORT_FAST_DECODE_SCALAR_H
#define NIB_TEST_SUPPORT_FAST_DECODE_SCALAR_H

#include "kernels/kernels.h"

extern const nib__matmul fast_decode_scalar;

#endif
