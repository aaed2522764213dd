/* SPDX-License-Identifier: MIT
 * What the benchmark programs share: time, medians, and one line of output per figure. */
#ifndef NIB_BENCH_MEASURE_H
#define NIB_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

double measure_now(void); /* seconds, monotonic */

/* Sorts the values. n >= 1; share 0.5 is the median. */
double measure_quantile(double *values, size_t n, double share);

uint64_t measure_peak_rss(void); /* bytes; 0 where the system does not say */

/* Writes "name<TAB>x<TAB>value<TAB>unit" and flushes, so that a reader sees progress. */
void measure_print(const char *name, uint64_t x, double value, const char *unit);

/* Ids for a prompt of which only the length matters: spread over the vocabulary, repeatable. */
void measure_fill_ids(int32_t *ids, size_t n, uint32_t n_vocab);

/* The number after an option, or the end of the program with status 2. */
uint32_t measure_number(const char *option, const char *text);

#endif
