/* SPDX-License-Identifier: MIT */
#ifndef NIB_TEST_MATMUL_BENCH_H
#define NIB_TEST_MATMUL_BENCH_H

/* Times the matrix products of one level (NULL: every level) and format (NULL: a few). */
int matmul_bench(const char *level, const char *format);

#endif
