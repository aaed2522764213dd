/* SPDX-License-Identifier: MIT
 * oneDNN 2.x (C interface) and OpenBLAS for `make bench-gemm`, where their headers were found. */
#include "gemm_peers.h"

#include <stdlib.h>
#include <string.h>

#ifdef HAVE_DNNL
#include <dnnl.h>
#include <omp.h>
#endif
#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif

struct gemm_peer {
    void (*run)(gemm_peer *);
    void (*free)(gemm_peer *);
    uint32_t threads, m, k, n;
    const float *x, *w;
    float *y;
#ifdef HAVE_DNNL
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t matmul;
    dnnl_memory_t src, plain, weights, dst;
#endif
};

#ifdef HAVE_DNNL
static void onednn_run(gemm_peer *p)
{
    dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, p->src}, {DNNL_ARG_WEIGHTS, p->weights}, {DNNL_ARG_DST, p->dst}};
    omp_set_num_threads((int)p->threads);
    dnnl_primitive_execute(p->matmul, p->stream, 3, args);
    dnnl_stream_wait(p->stream);
}

static void onednn_free(gemm_peer *p)
{
    if (p->matmul) dnnl_primitive_destroy(p->matmul);
    if (p->src) dnnl_memory_destroy(p->src);
    if (p->plain) dnnl_memory_destroy(p->plain);
    if (p->weights) dnnl_memory_destroy(p->weights);
    if (p->dst) dnnl_memory_destroy(p->dst);
    if (p->stream) dnnl_stream_destroy(p->stream);
    if (p->engine) dnnl_engine_destroy(p->engine);
}

static dnnl_cpu_isa_t isa_of(const char *isa)
{
    if (strcmp(isa, "avx2") == 0) return dnnl_cpu_isa_avx2;
    if (strcmp(isa, "avxvnni") == 0) return dnnl_cpu_isa_avx2_vnni;
    if (strcmp(isa, "avx512") == 0) return dnnl_cpu_isa_avx512_core;
    if (strcmp(isa, "avx512vnni") == 0) return dnnl_cpu_isa_avx512_core_vnni;
    if (strcmp(isa, "avx512bf16") == 0) return dnnl_cpu_isa_avx512_core_bf16;
    return dnnl_cpu_isa_all;
}

static bool reorder_weights(gemm_peer *p, const dnnl_memory_desc_t *plain_md, const void *w,
                            const dnnl_memory_desc_t *md)
{
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    bool done =
        dnnl_memory_create(&p->plain, plain_md, p->engine, (void *)(uintptr_t)w) == dnnl_success &&
        dnnl_memory_create(&p->weights, md, p->engine, DNNL_MEMORY_ALLOCATE) == dnnl_success &&
        dnnl_reorder_primitive_desc_create(&desc, plain_md, p->engine, md, p->engine, NULL) ==
            dnnl_success;
    if (!done) return false;
    done = dnnl_primitive_create(&reorder, desc) == dnnl_success;
    dnnl_primitive_desc_destroy(desc);
    if (!done) return false;
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, p->plain}, {DNNL_ARG_TO, p->weights}};
    done = dnnl_primitive_execute(reorder, p->stream, 2, args) == dnnl_success;
    dnnl_stream_wait(p->stream);
    dnnl_primitive_destroy(reorder);
    return done;
}

static bool onednn_make(gemm_peer *p, gemm_type type, const void *x, const void *w)
{
    static const dnnl_data_type_t types[GEMM_TYPES] = {dnnl_s8, dnnl_bf16, dnnl_f32};
    const dnnl_dims_t xd = {p->m, p->k}, wd = {p->k, p->n}, yd = {p->m, p->n};
    dnnl_memory_desc_t x_md, w_any, w_plain, y_md;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t matmul;
    omp_set_num_threads((int)p->threads);
    bool done =
        dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&x_md, 2, xd, types[type], dnnl_ab) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&w_any, 2, wd, types[type], dnnl_format_tag_any) ==
            dnnl_success &&
        dnnl_memory_desc_init_by_tag(&w_plain, 2, wd, types[type], dnnl_ba) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&y_md, 2, yd, dnnl_f32, dnnl_ab) == dnnl_success &&
        dnnl_matmul_desc_init(&desc, &x_md, &w_any, NULL, &y_md) == dnnl_success &&
        dnnl_primitive_desc_create(&matmul, &desc, NULL, p->engine, NULL) == dnnl_success;
    if (!done) return false;
    const dnnl_memory_desc_t *w_md = dnnl_primitive_desc_query_md(matmul, dnnl_query_weights_md, 0);
    done = dnnl_primitive_create(&p->matmul, matmul) == dnnl_success &&
           reorder_weights(p, &w_plain, w, w_md) &&
           dnnl_memory_create(&p->src, &x_md, p->engine, (void *)(uintptr_t)x) == dnnl_success &&
           dnnl_memory_create(&p->dst, &y_md, p->engine, p->y) == dnnl_success;
    dnnl_primitive_desc_destroy(matmul);
    return done;
}
#endif

static gemm_peer *peer_new(uint32_t m, uint32_t k, uint32_t n, float *y, uint32_t threads)
{
    gemm_peer *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->m = m;
    p->k = k;
    p->n = n;
    p->y = y;
    p->threads = threads;
    return p;
}

gemm_peer *onednn_new(gemm_type type, uint32_t m, uint32_t k, uint32_t n, const void *x,
                      const void *w, float *y, uint32_t threads, const char *isa)
{
#ifdef HAVE_DNNL
    dnnl_set_max_cpu_isa(isa_of(isa)); /* refused once something has run, with the same cap */
    gemm_peer *p = peer_new(m, k, n, y, threads);
    if (p == NULL) return NULL;
    p->run = onednn_run;
    p->free = onednn_free;
    if (onednn_make(p, type, x, w)) return p;
    gemm_peer_free(p);
    return NULL;
#else
    (void)type, (void)m, (void)k, (void)n, (void)x, (void)w, (void)y, (void)threads, (void)isa;
    return NULL;
#endif
}

#ifdef HAVE_OPENBLAS
static void openblas_run(gemm_peer *p)
{
    openblas_set_num_threads((int)p->threads);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->m, (int)p->n, (int)p->k, 1.0f,
                p->x, (int)p->k, p->w, (int)p->k, 0.0f, p->y, (int)p->n);
}
#endif

gemm_peer *openblas_new(gemm_type type, uint32_t m, uint32_t k, uint32_t n, const void *x,
                        const void *w, float *y, uint32_t threads)
{
#ifdef HAVE_OPENBLAS
    if (type != GEMM_F32) return NULL;
    gemm_peer *p = peer_new(m, k, n, y, threads);
    if (p == NULL) return NULL;
    p->run = openblas_run;
    p->x = x;
    p->w = w;
    return p;
#else
    (void)type, (void)m, (void)k, (void)n, (void)x, (void)w, (void)y, (void)threads;
    return NULL;
#endif
}

void openblas_one_thread(void)
{
#ifdef HAVE_OPENBLAS
    openblas_set_num_threads(1);
#endif
}

void gemm_peer_run(gemm_peer *peer)
{
    peer->run(peer);
}

void gemm_peer_free(gemm_peer *peer)
{
    if (peer == NULL) return;
    if (peer->free != NULL) peer->free(peer);
    free(peer);
}
