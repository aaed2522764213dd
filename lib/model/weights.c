/* SPDX-License-Identifier: MIT
 * File rows -> packed weights. All of them lie in one block, in the order in which a pass reads
 * them; the file's pages are dropped one tensor after the other, so that memory never holds both.
 */
#include <string.h>

#include "model/arch.h"

enum { BATCH_BYTES = 16 << 20 }; /* packed between two calls of the progress callback */

/* One tensor on its way into the block. */
typedef struct load_job {
    const nib__tensor *tensor;
    nib__linear *linear;  /* packed, or */
    const float **vector; /* decoded to float32 */
    uint8_t *data;        /* where in the block */
} load_job;

typedef struct loader {
    nib_model *model;
    const nib__source *source;
    nib_error *err;
    load_job *jobs; /* [n_jobs] */
    size_t n_jobs, cap;
    uint64_t bytes; /* of the tensors in jobs, in the file */
} loader;

static nib_status wrong_shape(loader *l, const nib__tensor *t, size_t rows, size_t columns)
{
    const char *path = nib__source_path(l->source);
    if (columns == 0) {
        return nib__fail(l->err, NIB_ERR_FORMAT,
                         "%s: tensor %s: expected %zu numbers, got %zu x %zu x %zu x %zu", path,
                         t->name, rows, t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
    }
    return nib__fail(l->err, NIB_ERR_FORMAT,
                     "%s: tensor %s: expected %zu x %zu, got %zu x %zu x %zu x %zu", path, t->name,
                     columns, rows, t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
}

static nib_status check_shape(loader *l, const nib__tensor *t, const nib__role_info *info)
{
    const nib__config *c = &l->model->config;
    size_t rows = info->rows(c);
    size_t columns = info->columns != NULL ? info->columns(c) : 0;
    bool fits =
        columns == 0 ? t->ne[0] == rows && t->ne[1] == 1 : t->ne[0] == columns && t->ne[1] == rows;
    if (!fits || t->ne[2] != 1 || t->ne[3] != 1) return wrong_shape(l, t, rows, columns);
    return NIB_OK;
}

static nib_status add_job(loader *l, load_job job)
{
    if (!nib__grow(&l->model->mem, (void **)&l->jobs, &l->cap, l->n_jobs + 1, sizeof job)) {
        return nib__fail(l->err, NIB_ERR_MEMORY, "%s: out of memory for the list of tensors",
                         nib__source_path(l->source));
    }
    l->jobs[l->n_jobs++] = job;
    l->bytes += job.tensor->size;
    return NIB_OK;
}

static nib_status add_linear(loader *l, const nib__tensor *t, nib__linear *linear)
{
    nib_error why;
    nib_status status = nib__packed_init(&linear->w, t->format->format, t->ne[1], t->ne[0], &why);
    if (status != NIB_OK) {
        return nib__fail(l->err, status, "%s: tensor %s: %s", nib__source_path(l->source), t->name,
                         why.text);
    }
    l->model->kinds |= 1u << nib__weight_kind_of(linear->w.layout);
    return add_job(l, (load_job){.tensor = t, .linear = linear});
}

/* Finds the tensor of a role and notes what is to be done with it. `base` is the layer or the model
 * that the role's field lies in. */
static nib_status plan_role(loader *l, nib__role role, uint32_t layer, bool required, void *base)
{
    const nib__role_info *info = nib__role_of(role);
    char name[64];
    nib__role_name(role, layer, name, sizeof name);
    const nib__tensor *t = nib__source_tensor(l->source, name);
    if (t == NULL) {
        if (!required) return NIB_OK;
        return nib__fail(l->err, NIB_ERR_FORMAT,
                         "%s: tensor %s: architecture %s needs it, got no such tensor",
                         nib__source_path(l->source), name, l->model->config.arch);
    }
    nib_status status = check_shape(l, t, info);
    if (status != NIB_OK) return status;
    void *field = (uint8_t *)base + info->place;
    switch (info->kind) {
    case NIB__KIND_LINEAR: return add_linear(l, t, field);
    case NIB__KIND_VECTOR: return add_job(l, (load_job){.tensor = t, .vector = field});
    case NIB__KIND_ROWS: *(const nib__tensor **)field = t; return NIB_OK;
    }
    return NIB_OK;
}

/* The head comes first: it is the largest, and what is packed first costs the least on top of what
 * is already there. */
static nib_status plan(loader *l, const nib__arch *arch)
{
    nib_model *m = l->model;
    nib_status status = NIB_OK;
    for (int role = NIB__LAYER_ROLES; role < NIB__ROLE_COUNT && status == NIB_OK; role++) {
        bool required = (arch->required >> role & 1u) != 0;
        if (((arch->required | arch->optional) >> role & 1u) == 0) continue;
        status = plan_role(l, (nib__role)role, 0, required, m);
    }
    if (status == NIB_OK && m->head.w.layout == NULL) { /* tied to the embedding */
        status = add_linear(l, m->embedding, &m->head);
    }
    for (uint32_t i = 0; i < m->config.n_layer && status == NIB_OK; i++) {
        for (int role = 0; role < NIB__LAYER_ROLES && status == NIB_OK; role++) {
            bool required = (arch->required >> role & 1u) != 0;
            if (((arch->required | arch->optional) >> role & 1u) == 0) continue;
            status = plan_role(l, (nib__role)role, i, required, &m->layers[i]);
        }
    }
    return status;
}

/* A tensor without a role is a feature that we would silently leave out. */
static nib_status check_claims(loader *l, const nib__arch *arch)
{
    size_t n = nib__source_tensor_count(l->source);
    for (size_t i = 0; i < n; i++) {
        const nib__tensor *t = nib__source_tensor_at(l->source, i);
        nib__role role = NIB__ROLE_COUNT;
        uint32_t layer = 0;
        if (nib__role_parse(t->name, &role, &layer) && layer < l->model->config.n_layer &&
            ((arch->required | arch->optional) >> role & 1u) != 0)
            continue;
        return nib__fail(l->err, NIB_ERR_UNSUPPORTED,
                         "%s: tensor %s: not part of architecture %s with %u layers",
                         nib__source_path(l->source), t->name, arch->name,
                         l->model->config.n_layer);
    }
    return NIB_OK;
}

/* Gives every job its place; with base == NULL only measures. */
static void carve(loader *l, nib__arena *arena)
{
    for (size_t i = 0; i < l->n_jobs; i++) {
        load_job *job = &l->jobs[i];
        if (job->linear != NULL)
            job->data = nib__arena_take(arena, job->linear->w.n_panels, job->linear->w.panel_bytes);
        else
            job->data = nib__arena_take(arena, job->tensor->ne[0], sizeof(float));
    }
}

/* ---- packing, in parallel ---- */

typedef struct pack_batch {
    const load_job *job;
    uint32_t first, last, step; /* panels, and panels per piece */
} pack_batch;

static void pack_piece(void *arg, uint32_t i)
{
    const pack_batch *b = arg;
    uint32_t first = b->first + i * b->step;
    uint32_t count = b->last - first < b->step ? b->last - first : b->step;
    nib__pack_panels(&b->job->linear->w, b->job->tensor->data, first, count, b->job->data);
}

static uint32_t at_least_1(size_t n)
{
    return n == 0 ? 1 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static nib_status report(loader *l, const nib_model_options *options, uint64_t done)
{
    if (options->progress == NULL) return NIB_OK;
    double fraction = l->bytes == 0 ? 1.0 : (double)done / (double)l->bytes;
    if (options->progress(options->progress_user, fraction) == 0) return NIB_OK;
    return nib__fail(l->err, NIB_ERR_CANCELLED, "%s: loading was cancelled",
                     nib__source_path(l->source));
}

static nib_status pack_linear(loader *l, const load_job *job, nib__pool *pool,
                              const nib_model_options *options, uint64_t done)
{
    const nib__packed *w = &job->linear->w;
    uint32_t per_batch = at_least_1(BATCH_BYTES / w->panel_bytes);
    uint32_t pieces = nib__pool_threads(pool) * 4;
    for (uint32_t first = 0; first < w->n_panels;) {
        uint32_t count = w->n_panels - first < per_batch ? w->n_panels - first : per_batch;
        uint32_t step = (count + pieces - 1) / pieces;
        pack_batch batch = {job, first, first + count, step};
        nib__pool_run(pool, (count + step - 1) / step, pack_piece, &batch);
        first += count;
        nib_status status =
            report(l, options, done + job->tensor->size * (uint64_t)first / w->n_panels);
        if (status != NIB_OK) return status;
    }
    job->linear->w.data = job->data;
    return NIB_OK;
}

static nib_status pack_all(loader *l, nib__pool *pool, const nib_model_options *options)
{
    uint64_t done = 0;
    for (size_t i = 0; i < l->n_jobs; i++) {
        const load_job *job = &l->jobs[i];
        const nib__tensor *t = job->tensor;
        nib_status status = nib__source_check(l->source, l->err);
        if (status == NIB_OK && job->linear != NULL) {
            status = pack_linear(l, job, pool, options, done);
        } else if (status == NIB_OK) {
            t->format->decode(t->data, (float *)(void *)job->data, t->ne[0]);
            *job->vector = (const float *)(const void *)job->data;
        }
        if (status != NIB_OK) return status;
        done += t->size;
        nib__source_drop(l->source, t);
    }
    return report(l, options, l->bytes);
}

static nib_status load(loader *l, const nib_model_options *options, size_t size)
{
    nib_model *m = l->model;
    nib__pool *pool = NULL;
    m->weights = nib__alloc_raw(&m->mem, size, 1);
    if (m->weights == NULL) {
        return nib__fail(l->err, NIB_ERR_MEMORY, "%s: out of memory for %zu bytes of weights",
                         nib__source_path(l->source), size);
    }
    nib__arena arena = {.base = m->weights};
    carve(l, &arena);
    nib_status status = report(l, options, 0);
    if (status != NIB_OK) return status;
    status = nib__pool_new(&m->mem, options->n_threads, NULL, &pool, l->err);
    if (status != NIB_OK) return status;
    nib__pool_begin(pool);
    status = pack_all(l, pool, options);
    nib__pool_end(pool);
    nib__pool_free(pool);
    return status;
}

static void count_tensors(nib_model *m)
{
    size_t n = nib__source_tensor_count(m->source);
    for (size_t i = 0; i < n; i++) {
        const nib__tensor *t = nib__source_tensor_at(m->source, i);
        m->file_bytes += t->size;
        m->n_params += (uint64_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]);
    }
}

nib_status nib__weights_load(nib_model *model, const nib__arch *arch,
                             const nib_model_options *options, nib_error *err)
{
    loader l = {.model = model, .source = model->source, .err = err};
    nib__arena arena = {.base = NULL};
    model->layers = nib__alloc(&model->mem, model->config.n_layer, sizeof *model->layers);
    if (model->layers == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for %u layers",
                         nib__source_path(model->source), model->config.n_layer);
    }
    nib_status status = plan(&l, arch);
    if (status == NIB_OK) status = check_claims(&l, arch);
    if (status != NIB_OK) goto done;
    carve(&l, &arena);
    if (arena.overflow) {
        status = nib__fail(err, NIB_ERR_MEMORY, "%s: the weights do not fit the address space",
                           nib__source_path(model->source));
        goto done;
    }
    model->weight_bytes = arena.used;
    count_tensors(model);
    if ((options->flags & NIB_OPEN_INSPECT) == 0) {
        status = load(&l, options, arena.used);
    } else {
        nib__free(&model->mem, model->layers);
        model->layers = NULL;
    }
done:
    nib__free(&model->mem, l.jobs);
    return status;
}
