/* SPDX-License-Identifier: MIT
 * The oneDNN library, loaded at run time. */
#include "kernels/onednn/onednn_worker.h"

#include <dlfcn.h>
#include <string.h>

/* POSIX lets dlsym's result be a function; C does not let a cast say so. */
static bool find(void *handle, const char *name, void *function, size_t size)
{
    void *found = dlsym(handle, name);
    memcpy(function, &found, size);
    return found != NULL;
}

static void api_close(onednn_api *a)
{
    if (a->handle != NULL) dlclose(a->handle);
    if (a->openmp != NULL) dlclose(a->openmp);
    memset(a, 0, sizeof *a);
}

static bool find_functions(onednn_api *a)
{
    const struct {
        void *handle;
        const char *name;
        void *function;
    } list[] = {
        {a->openmp, "omp_get_max_threads", &a->omp_get_max_threads},
        {a->openmp, "omp_set_num_threads", &a->omp_set_num_threads},
        {a->handle, "dnnl_engine_create", &a->engine_create},
        {a->handle, "dnnl_engine_destroy", &a->engine_destroy},
        {a->handle, "dnnl_stream_create", &a->stream_create},
        {a->handle, "dnnl_stream_destroy", &a->stream_destroy},
        {a->handle, "dnnl_stream_wait", &a->stream_wait},
        {a->handle, "dnnl_memory_desc_init_by_strides", &a->desc_by_strides},
        {a->handle, "dnnl_memory_desc_init_by_tag", &a->desc_by_tag},
        {a->handle, "dnnl_matmul_desc_init", &a->matmul_desc},
        {a->handle, "dnnl_primitive_desc_create", &a->primitive_desc_create},
        {a->handle, "dnnl_primitive_desc_query", &a->primitive_desc_query},
        {a->handle, "dnnl_primitive_desc_destroy", &a->primitive_desc_destroy},
        {a->handle, "dnnl_primitive_create", &a->primitive_create},
        {a->handle, "dnnl_primitive_destroy", &a->primitive_destroy},
        {a->handle, "dnnl_primitive_execute", &a->primitive_execute},
        {a->handle, "dnnl_memory_create", &a->memory_create},
        {a->handle, "dnnl_memory_destroy", &a->memory_destroy},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        /* All pointers to functions have one size here, as POSIX requires. */
        if (!find(list[i].handle, list[i].name, list[i].function, sizeof(void *))) return false;
    }
    return true;
}

static bool api_open(onednn_api *a, int flags)
{
    memset(a, 0, sizeof *a);
    a->handle = dlopen(ONEDNN_LIBRARY, flags);
    if (a->handle != NULL) a->openmp = dlopen(ONEDNN_OPENMP, flags);
    if (a->handle != NULL && a->openmp != NULL && find_functions(a)) return true;
    api_close(a);
    return false;
}

bool nib__onednn_load(void)
{
    onednn_api a;
    if (!api_open(&a, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE)) return false;
    api_close(&a);
    return true;
}

void nib__onednn_open(onednn_worker *w, const onednn_numbers *f, uint32_t k)
{
    memset(w, 0, sizeof *w);
    w->f = f;
    w->k = k;
    if (!api_open(&w->api, RTLD_LAZY | RTLD_NOLOAD)) return;
    if (w->api.engine_create(&w->engine, dnnl_cpu, 0) != dnnl_success) goto fail;
    if (w->api.stream_create(&w->stream, w->engine, dnnl_stream_default_flags) != dnnl_success) {
        w->api.engine_destroy(w->engine);
        goto fail;
    }
    w->ready = true;
    return;
fail:
    api_close(&w->api);
}

void nib__onednn_close(onednn_worker *w)
{
    if (!w->ready) return;
    if (w->matmul != NULL) w->api.primitive_destroy(w->matmul);
    w->api.stream_destroy(w->stream);
    w->api.engine_destroy(w->engine);
    api_close(&w->api);
}

static bool describe_weights(onednn_worker *w, const dnnl_dims_t dims)
{
    const dnnl_dims_t strides = {ONEDNN_WIDTH, 1};
    const onednn_api *a = &w->api;
    return w->f->tag == dnnl_ab
               ? a->desc_by_strides(&w->w, 2, dims, w->f->type, strides) == dnnl_success
               : a->desc_by_tag(&w->w, 2, dims, w->f->type, w->f->tag) == dnnl_success;
}

static bool is_reference(const onednn_api *a, const_dnnl_primitive_desc_t primitive)
{
    const char *name = NULL;
    return a->primitive_desc_query(primitive, dnnl_query_impl_info_str, 0, &name) != dnnl_success ||
           name == NULL || strncmp(name, "ref", 3) == 0;
}

static bool make_product(onednn_worker *w, uint32_t m, uint32_t n)
{
    onednn_api *a = &w->api;
    if (w->matmul != NULL && w->m == m && w->n == n) return true;
    if (w->matmul != NULL) a->primitive_destroy(w->matmul);
    w->matmul = NULL;
    w->m = m;
    w->n = n;
    const dnnl_dims_t x_dims = {m, w->k}, w_dims = {w->k, n}, y_dims = {m, n};
    const dnnl_dims_t x_strides = {w->k, 1}, y_strides = {n, 1};
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t primitive;
    if (a->desc_by_strides(&w->x, 2, x_dims, w->f->type, x_strides) != dnnl_success ||
        !describe_weights(w, w_dims) ||
        a->desc_by_strides(&w->y, 2, y_dims, w->f->sum, y_strides) != dnnl_success ||
        a->matmul_desc(&desc, &w->x, &w->w, NULL, &w->y) != dnnl_success ||
        a->primitive_desc_create(&primitive, &desc, NULL, w->engine, NULL) != dnnl_success)
        return false;
    w->by_reference = is_reference(a, primitive);
    if (a->primitive_create(&w->matmul, primitive) != dnnl_success) w->matmul = NULL;
    a->primitive_desc_destroy(primitive);
    return w->matmul != NULL;
}

bool nib__onednn_works(const onednn_numbers *f)
{
    onednn_worker w;
    nib__onednn_open(&w, f, 64);
    bool works = w.ready && make_product(&w, 64, 64) && !w.by_reference;
    nib__onednn_close(&w);
    return works;
}

/* Our threads share the work: this one must not start others. */
static bool execute(onednn_worker *w, const dnnl_exec_arg_t args[3])
{
    onednn_api *a = &w->api;
    int threads = a->omp_get_max_threads();
    a->omp_set_num_threads(1);
    bool done = a->primitive_execute(w->matmul, w->stream, 3, args) == dnnl_success &&
                a->stream_wait(w->stream) == dnnl_success;
    a->omp_set_num_threads(threads);
    return done;
}

bool nib__onednn_multiply(onednn_worker *w, uint32_t m, uint32_t n, const void *x,
                          const void *strip, void *y)
{
    onednn_api *a = &w->api;
    dnnl_memory_t memory[3] = {NULL, NULL, NULL};
    if (!w->ready || !make_product(w, m, n)) return false;
    const dnnl_memory_desc_t *const desc[3] = {&w->x, &w->w, &w->y};
    void *const data[3] = {(void *)(uintptr_t)x, (void *)(uintptr_t)strip, y};
    bool done = true;
    for (int i = 0; i < 3 && done; i++)
        done = a->memory_create(&memory[i], desc[i], w->engine, data[i]) == dnnl_success;
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[2]}};
    done = done && execute(w, args);
    for (int i = 0; i < 3; i++)
        if (memory[i] != NULL) a->memory_destroy(memory[i]);
    return done;
}
