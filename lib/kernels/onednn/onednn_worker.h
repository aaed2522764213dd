/* SPDX-License-Identifier: MIT
 * Products by oneDNN 2.x on the calling thread. The library is loaded when a model is opened and
 * stays loaded. Nothing of it is kept between pieces of work, as we have no globals: functions are
 * looked up and primitives made (out of its own cache) each time, some ten microseconds. */
#ifndef NIB_KERNELS_ONEDNN_WORKER_H
#define NIB_KERNELS_ONEDNN_WORKER_H

#include <dnnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ONEDNN_LIBRARY "libdnnl.so.2"
#define ONEDNN_OPENMP "libgomp.so.1"

enum { ONEDNN_WIDTH = 256 }; /* outputs of a strip, and of a row of sums */

/* One number format: how its weights lie (dnnl_ab: rows of ONEDNN_WIDTH), how wide a number is, how
 * many k lie side by side. */
typedef struct onednn_numbers {
    dnnl_data_type_t type, sum;
    dnnl_format_tag_t tag;
    uint32_t bytes, per_line;
} onednn_numbers;

/* The functions that are used. */
typedef struct onednn_api {
    void *handle, *openmp;
    int (*omp_get_max_threads)(void);
    void (*omp_set_num_threads)(int);
    __typeof__(&dnnl_engine_create) engine_create;
    __typeof__(&dnnl_engine_destroy) engine_destroy;
    __typeof__(&dnnl_stream_create) stream_create;
    __typeof__(&dnnl_stream_destroy) stream_destroy;
    __typeof__(&dnnl_stream_wait) stream_wait;
    __typeof__(&dnnl_memory_desc_init_by_strides) desc_by_strides;
    __typeof__(&dnnl_memory_desc_init_by_tag) desc_by_tag;
    __typeof__(&dnnl_matmul_desc_init) matmul_desc;
    __typeof__(&dnnl_primitive_desc_create) primitive_desc_create;
    __typeof__(&dnnl_primitive_desc_query) primitive_desc_query;
    __typeof__(&dnnl_primitive_desc_destroy) primitive_desc_destroy;
    __typeof__(&dnnl_primitive_create) primitive_create;
    __typeof__(&dnnl_primitive_destroy) primitive_destroy;
    __typeof__(&dnnl_primitive_execute) primitive_execute;
    __typeof__(&dnnl_memory_create) memory_create;
    __typeof__(&dnnl_memory_destroy) memory_destroy;
} onednn_api;

typedef struct onednn_worker {
    onednn_api api;
    bool ready;
    const onednn_numbers *f;
    uint32_t k;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_memory_desc_t x, w, y; /* of the last product */
    dnnl_primitive_t matmul;
    uint32_t m, n;
    bool by_reference; /* it is done by the slow loops that serve every case */
} onednn_worker;

bool nib__onednn_load(void);
bool nib__onednn_works(const onednn_numbers *f); /* such products are fast on this CPU */

/* Never fails: a worker that is not ready multiplies nothing. */
void nib__onednn_open(onednn_worker *w, const onednn_numbers *f, uint32_t k);
void nib__onednn_close(onednn_worker *w);

/* y[m][n] = x[m][k] * strip; false if it could not be done. There is nothing between rows: for longer
 * strides oneDNN 2.6 has only its reference loops. */
bool nib__onednn_multiply(onednn_worker *w, uint32_t m, uint32_t n, const void *x,
                          const void *strip, void *y);

#endif
