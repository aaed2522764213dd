/* SPDX-License-Identifier: MIT
 * Packing at load, on all threads. Matrices are cut into pieces of about two megabytes; a batch of
 * pieces, whichever matrices they belong to, is one parallel loop, in which every thread takes the
 * next piece that nobody has taken. Whoever packs a piece is also the first to touch its memory, so
 * clearing new pages is spread like the work. After a batch its part of the file is dropped, so
 * that memory holds the weights and little else. */
#include "model/load.h"

#include <string.h>

enum {
    PIECE_BYTES = 2 << 20, /* packed: a huge page */
    BATCH_SHARE = 16,      /* of the file's bytes are resident for a batch, */
    MOST_BATCH = 64 << 20, /* at most so many */
    MAX_PIECES = 256
};

typedef struct piece {
    const nib__load_job *job;
    uint32_t first, count; /* panels */
} piece;

typedef struct packer {
    const nib__load *load;
    nib__pool *pool;
    piece *pieces; /* [MAX_PIECES] */
    uint32_t n_pieces;
    atomic_uint next;      /* piece that nobody has taken */
    uint64_t bytes, limit; /* of the file, in this batch */
    uint64_t done;         /* before it */
    uint8_t *buffers;      /* [threads][buffer_bytes] for rows that are not packed where they lie */
    size_t buffer_bytes;
} packer;

nib_status nib__load_report(const nib__load *l, uint64_t done)
{
    const nib_model_options *o = l->options;
    if (o->progress == NULL) return NIB_OK;
    double fraction = l->bytes == 0 ? 1.0 : (double)done / (double)l->bytes;
    if (o->progress(o->progress_user, fraction) == 0) return NIB_OK;
    return nib__fail(l->err, NIB_ERR_CANCELLED, "%s: loading was cancelled",
                     nib__source_path(l->source));
}

/* ---- one piece --------------------------------------------------------------------------------
 */

/* Are the piece's rows one range of the file? */
static bool is_range(const nib__gather *from)
{
    return from->tensor->packed || nib__gather_direct(from);
}

/* That range, in bytes of the tensor. */
static void range_of(const piece *p, size_t *at, size_t *size)
{
    const nib__gather *from = &p->job->from;
    const nib__packed *w = &p->job->linear->w;
    size_t rows = (size_t)p->count * NIB__PANEL, first = (size_t)p->first * NIB__PANEL;
    if (from->tensor->packed) {
        *at = (from->map.base / NIB__PANEL + p->first) * w->panel_bytes;
        *size = p->count * w->panel_bytes;
        return;
    }
    if (rows > w->n - first) rows = w->n - first;
    size_t row_bytes = w->k / from->tensor->format->block * from->tensor->format->block_bytes;
    *at = first * row_bytes;
    *size = rows * row_bytes;
}

static void pack_range(const nib__load *l, const piece *p)
{
    const nib__load_job *job = p->job;
    const nib__tensor *t = job->from.tensor;
    const nib__packed *w = &job->linear->w;
    size_t at, size;
    range_of(p, &at, &size);
    nib__source_need(l->source, t, at, size);
    if (t->packed) /* but not aligned */
        memcpy(job->data + p->first * w->panel_bytes, t->data + at, size);
    else if (w->layout->format == NIB__I8R)
        nib__pack_int8(w, job->from.to, t->data, p->first, p->count, job->data);
    else
        nib__pack_panels(w, t->data, p->first, p->count, job->data);
}

static void pack_gathered(const piece *p, uint8_t *buffer)
{
    const nib__gather *from = &p->job->from;
    const nib__packed *w = &p->job->linear->w;
    for (uint32_t i = p->first; i < p->first + p->count; i++) {
        nib__packed one = *w; /* a matrix of one panel */
        uint8_t *data = p->job->data + i * w->panel_bytes;
        one.n = w->n - i * NIB__PANEL < NIB__PANEL ? w->n - i * NIB__PANEL : NIB__PANEL;
        one.n_panels = 1;
        const uint8_t *rows = nib__gather_rows(from, i * NIB__PANEL, one.n, buffer);
        if (w->layout->format == NIB__I8R)
            nib__pack_int8(&one, from->to, rows, 0, 1, data);
        else
            nib__pack_panels(&one, rows, 0, 1, data);
    }
}

/* Thread i of the batch's loop. */
static void pack_pieces(void *arg, uint32_t i)
{
    packer *k = arg;
    for (;;) {
        uint32_t n = atomic_fetch_add_explicit(&k->next, 1, memory_order_relaxed);
        if (n >= k->n_pieces) return;
        const piece *p = &k->pieces[n];
        if (is_range(&p->job->from))
            pack_range(k->load, p);
        else
            pack_gathered(p, k->buffers + i * k->buffer_bytes);
    }
}

/* ---- batches ----------------------------------------------------------------------------------
 */

/* Packs what has been collected. */
static nib_status flush(packer *k)
{
    const nib__load *l = k->load;
    nib_status status = nib__source_check(l->source, l->err);
    if (status != NIB_OK) return status;
    atomic_store_explicit(&k->next, 0, memory_order_relaxed);
    nib__pool_run(k->pool, nib__pool_threads(k->pool), pack_pieces, k);
    for (uint32_t i = 0; i < k->n_pieces; i++) {
        const piece *p = &k->pieces[i];
        const nib__tensor *t = p->job->from.tensor;
        bool last = p->first + p->count == p->job->linear->w.n_panels;
        size_t at = 0, size = t->size;
        if (!last && !is_range(&p->job->from)) continue;
        if (!last) range_of(p, &at, &size);
        nib__source_drop(l->source, t, at, size);
    }
    k->done += k->bytes;
    k->bytes = 0;
    k->n_pieces = 0;
    return nib__load_report(l, k->done);
}

/* Panels of a piece that begins at panel `first`: to where a huge page ends, for two threads that
 * touch a new one at the same time would both clear it. */
static uint32_t piece_panels(const nib__load_job *job, uint32_t first)
{
    const nib__packed *w = &job->linear->w;
    uintptr_t at = (uintptr_t)job->data + first * w->panel_bytes;
    size_t bytes = PIECE_BYTES - at % PIECE_BYTES;
    size_t count = (bytes + w->panel_bytes - 1) / w->panel_bytes;
    return count < w->n_panels - first ? (uint32_t)count : w->n_panels - first;
}

static nib_status add_linear(packer *k, const nib__load_job *job)
{
    const nib__packed *w = &job->linear->w;
    uint64_t size = job->from.tensor->size, before = 0;
    nib_status status = NIB_OK;
    for (uint32_t first = 0; first < w->n_panels && status == NIB_OK;) {
        piece *p = &k->pieces[k->n_pieces++];
        *p = (piece){job, first, piece_panels(job, first)};
        first += p->count;
        uint64_t so_far = first == w->n_panels ? size : size / w->n_panels * first;
        k->bytes += so_far - before;
        before = so_far;
        if (k->n_pieces == MAX_PIECES || k->bytes >= k->limit) status = flush(k);
    }
    job->linear->w.data = job->data;
    return status;
}

static void fill_vector(const nib__load_job *job)
{
    const nib__tensor *t = job->from.tensor;
    const nib__row_map *map = &job->from.map;
    float *numbers = (float *)(void *)job->data;
    if (map->run == map->file_rows && !map->one_less)
        t->format->decode(t->data, numbers, job->count);
    else
        for (size_t i = 0; i < job->count; i++) numbers[i] = nib__gather_number(t, map, i);
    for (size_t i = 0; i < job->count && job->scale != 1; i++) numbers[i] *= job->scale;
    *job->vector = numbers;
}

static nib_status run_jobs(packer *k)
{
    const nib__load *l = k->load;
    nib_status status = NIB_OK;
    for (size_t i = 0; i < l->n_jobs && status == NIB_OK; i++) {
        const nib__load_job *job = &l->jobs[i];
        if (job->linear != NULL) {
            status = add_linear(k, job);
            continue;
        }
        status = nib__source_check(l->source, l->err);
        if (status == NIB_OK) fill_vector(job);
        nib__source_drop(l->source, job->from.tensor, 0, job->from.tensor->size);
        k->bytes += job->from.tensor->size;
    }
    return status == NIB_OK ? flush(k) : status;
}

static nib_status allocate(packer *k)
{
    const nib__load *l = k->load;
    size_t most = 0;
    for (size_t i = 0; i < l->n_jobs; i++) {
        const nib__load_job *job = &l->jobs[i];
        if (job->linear == NULL || is_range(&job->from)) continue;
        size_t bytes = nib__gather_bytes(&job->from, NIB__PANEL);
        most = bytes > most ? bytes : most;
    }
    bool fits = most <= PTRDIFF_MAX;
    k->buffer_bytes = fits ? nib__align_up(most, NIB_ALIGN) : 0;
    k->pieces = nib__alloc_raw(&l->model->mem, MAX_PIECES, sizeof *k->pieces);
    if (k->buffer_bytes != 0) {
        k->buffers = nib__alloc_raw(&l->model->mem, nib__pool_threads(k->pool), k->buffer_bytes);
    }
    if (fits && k->pieces != NULL && (most == 0 || k->buffers != NULL)) return NIB_OK;
    return nib__fail(l->err, NIB_ERR_MEMORY, "%s: out of memory for packing weights",
                     nib__source_path(l->source));
}

nib_status nib__load_run(const nib__load *l)
{
    packer k = {.load = l, .limit = l->bytes / BATCH_SHARE};
    if (k.limit > MOST_BATCH) k.limit = MOST_BATCH;
    nib_status status = nib__pool_new(&l->model->mem, l->options->n_threads, NULL, &k.pool, l->err);
    if (status != NIB_OK) return status;
    status = allocate(&k);
    if (status == NIB_OK) {
        nib__pool_begin(k.pool);
        status = run_jobs(&k);
        nib__pool_end(k.pool);
    }
    nib__free(&l->model->mem, k.buffers);
    nib__free(&l->model->mem, k.pieces);
    nib__pool_free(k.pool);
    return status;
}
