/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

double measure_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double measure_quantile(double *values, size_t n, double share)
{
    qsort(values, n, sizeof *values, by_value);
    double place = share * (double)(n - 1);
    size_t low = (size_t)place, high = low + 1 < n ? low + 1 : low;
    return values[low] + (place - (double)low) * (values[high] - values[low]);
}

uint64_t measure_peak_rss(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (uint64_t)usage.ru_maxrss << 10;
}

void measure_print(const char *name, uint64_t x, double value, const char *unit)
{
    printf("%s\t%llu\t%.6g\t%s\n", name, (unsigned long long)x, value, unit);
    fflush(stdout);
}

void measure_fill_ids(int32_t *ids, size_t n, uint32_t n_vocab)
{
    uint64_t state = 1;
    uint32_t range = n_vocab > 4000 ? n_vocab - 2000 : n_vocab;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % range + (n_vocab - range) / 2);
    }
}

uint32_t measure_number(const char *option, const char *text)
{
    char *end;
    unsigned long value = text == NULL ? 0 : strtoul(text, &end, 10);
    if (text == NULL || *text < '0' || *text > '9' || *end != '\0' || value > UINT32_MAX) {
        fprintf(stderr, "%s: expected a whole number\n", option);
        exit(2);
    }
    return (uint32_t)value;
}
