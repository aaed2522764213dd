/* SPDX-License-Identifier: MIT
 * Tensors -> the list of what is to be packed, and where to: all weights lie in one block, in the
 * order in which a pass reads them. load.c does the packing. What a repacked file holds is used
 * where it lies. */
#include "model/load.h"

typedef nib__load loader;
typedef nib__load_job load_job;

/* "FILE: tensor NAME: " and what is wrong with it. */
static nib_status refuse(loader *l, const nib__tensor *t, nib_status code, const char *what)
{
    return nib__fail(l->err, code, "%s: tensor %s: %s", nib__source_path_of(l->source, t), t->name,
                     what);
}

static nib_status wrong_shape(loader *l, const nib__tensor *t, size_t ne0, size_t ne1)
{
    char what[128];
    size_t len = nib__text(what, sizeof what, "expected %zu", ne0);
    if (ne1 != 0) len += nib__text(what + len, sizeof what - len, " x %zu", ne1);
    len += nib__text(what + len, sizeof what - len, ", got %zu", t->ne[0]);
    for (uint32_t d = 1; d < t->n_dims; d++)
        len += nib__text(what + len, sizeof what - len, " x %zu", t->ne[d]);
    return refuse(l, t, NIB_ERR_FORMAT, what);
}

static nib_status refuse_format(loader *l, const nib__tensor *t, const char *expected)
{
    char what[96];
    (void)nib__text(what, sizeof what, "expected %s, got type %s", expected, t->format->name);
    return refuse(l, t, NIB_ERR_UNSUPPORTED, what);
}

static nib_status check_shape(loader *l, const nib__tensor *t, const nib__role_info *info,
                              const nib__row_map *map)
{
    size_t columns = info->columns != NULL ? info->columns(&l->model->config) : 0;
    size_t ne0 = columns, ne1 = map->file_rows;
    if (columns == 0 || map->turned) ne0 = map->file_rows, ne1 = columns;
    bool fits = t->ne[0] == ne0 && t->ne[1] == (ne1 == 0 ? 1 : ne1);
    if (!fits || t->ne[2] != 1 || t->ne[3] != 1) return wrong_shape(l, t, ne0, ne1);
    if (t->format->decode == NULL) return refuse_format(l, t, "numbers to compute with");
    bool numbers = map->turned || (columns == 0 && map->file_rows != map->run) || map->one_less;
    if (!numbers || t->format->block == 1) return NIB_OK;
    return refuse_format(l, t, "plain numbers");
}

static nib_status add_job(loader *l, load_job job)
{
    if (!nib__grow(&l->model->mem, (void **)&l->jobs, &l->cap, l->n_jobs + 1, sizeof job)) {
        return nib__fail(l->err, NIB_ERR_MEMORY, "%s: out of memory for the list of tensors",
                         nib__source_path(l->source));
    }
    l->jobs[l->n_jobs++] = job;
    l->bytes += job.from.tensor->size;
    return NIB_OK;
}

static bool is_aligned(const uint8_t *data, size_t step)
{
    return (uintptr_t)data % step == 0; /* a caller's memory may lie anywhere */
}

static nib_status add_vector(loader *l, nib__role role, const nib__tensor *t,
                             const nib__row_map *map, size_t count, const float **vector)
{
    bool last = role == NIB__ROLE_OUT_NORM || role == NIB__ROLE_OUT_NORM_BIAS;
    float scale = last ? l->model->config.out_scale : 1.0f;
    if (scale == 1 && nib__source_repacked(l->source) && t->format->format == NIB__F32 &&
        map->run == count && !map->one_less && is_aligned(t->data, sizeof(float))) {
        *vector = (const float *)(const void *)t->data + map->base;
        l->in_place += count * sizeof(float);
        return NIB_OK;
    }
    load_job job = {.from = {.tensor = t, .map = *map}};
    job.vector = vector;
    job.count = count;
    job.scale = scale;
    return add_job(l, job);
}

static nib_status add_rows(loader *l, nib__role role, const nib__tensor *t,
                           const nib__tensor **rows)
{
    *rows = t;
    if (role != NIB__ROLE_EMBEDDING || !t->packed) return NIB_OK;
    nib__packed *w = &l->model->embedding_panels;
    nib_status status = nib__packed_init(w, t->format->format, t->ne[1], t->ne[0], l->err);
    if (status == NIB_OK) w->data = t->data;
    return status;
}

/* A tensor of a repacked file: all of its panels, or those of a part of it. */
static nib_status add_panels(loader *l, const nib__tensor *t, const nib__row_map *map,
                             nib__linear *linear)
{
    nib__packed *w = &linear->w;
    if (l->options->load != NIB_LOAD_AS_STORED) {
        return nib__fail(l->err, NIB_ERR_UNSUPPORTED,
                         "%s: option load: a repacked file is used as it is stored",
                         nib__source_path(l->source));
    }
    if (!nib__gather_panels(map, w->n))
        return refuse(l, t, NIB_ERR_FORMAT, "expected rows, got panels");
    const uint8_t *panels = t->data + map->base / NIB__PANEL * w->panel_bytes;
    if (is_aligned(panels, NIB_ALIGN)) {
        w->data = panels;
        l->in_place += w->n_panels * w->panel_bytes;
        return NIB_OK;
    }
    return add_job(l, (load_job){.from = {.tensor = t, .map = *map}, .linear = linear});
}

/* The format that the weights of a linear map have in memory. */
static nib__format packed_format(const loader *l, const nib__tensor *t)
{
    static const nib__format formats[] = {NIB__F32, NIB__F32, NIB__F16, NIB__BF16, NIB__I8R};
    return l->options->load == NIB_LOAD_AS_STORED ? t->format->format : formats[l->options->load];
}

static nib_status add_linear(loader *l, const nib__tensor *t, nib__role role,
                             const nib__row_map *map, nib__linear *linear)
{
    const nib__role_info *info = nib__role_of(role);
    size_t n = info->rows(&l->model->config), k = info->columns(&l->model->config);
    nib__format format = packed_format(l, t);
    nib_error why;
    nib_status status = nib__packed_init(&linear->w, format, n, k, &why);
    if (status != NIB_OK) return refuse(l, t, status, why.text);
    l->model->kinds |= 1u << nib__weight_kind_in(&l->model->kernels, linear->w.layout);
    if (t->packed) return add_panels(l, t, map, linear);
    const nib__format_info *to = t->format;
    if (format != NIB__I8R) to = nib__format_find((uint32_t)format);
    return add_job(l, (load_job){.from = {t, *map, (uint32_t)k, to}, .linear = linear});
}

static nib_status missing(loader *l, nib__role role, uint32_t layer)
{
    const nib__names *names = l->arch->names;
    const nib__name *name = names->list;
    while (name->role != role && name->role != NIB__ROLE_COUNT) name++;
    char text[96] = "";
    if (name->role != NIB__ROLE_COUNT)
        nib__name_text(names, names->prefixes[0], name, layer, text, sizeof text);
    return nib__fail(l->err, NIB_ERR_FORMAT,
                     "%s: tensor %s: architecture %s needs it, got no such tensor",
                     nib__source_path(l->source), text, l->model->config.arch);
}

/* Finds the tensor of a role and notes what is to be done with it. `base` is the layer or the model
 * that the role's field lies in. */
static nib_status plan_role(loader *l, nib__role role, uint32_t layer, void *base)
{
    const nib__arch *arch = l->arch;
    const nib__role_info *info = nib__role_of(role);
    const nib__config *c = &l->model->config;
    nib__row_map map = {0};
    if ((((arch->required | arch->optional) & ~c->without) >> role & 1u) == 0) return NIB_OK;
    const nib__tensor *t = nib__name_find(arch->names, l->source, c, role, layer, &map);
    bool required = (arch->required >> role & 1u) != 0 ||
                    (role == NIB__ROLE_FFN_NORM && c->residual != NIB__RESIDUAL_PARALLEL);
    if (t == NULL) return required ? missing(l, role, layer) : NIB_OK;
    nib_status status = check_shape(l, t, info, &map);
    if (status != NIB_OK) return status;
    if (t->packed && info->kind != NIB__KIND_LINEAR && role != NIB__ROLE_EMBEDDING)
        return refuse(l, t, NIB_ERR_FORMAT, "expected numbers, got panels");
    void *field = (uint8_t *)base + info->place;
    switch (info->kind) {
    case NIB__KIND_LINEAR: return add_linear(l, t, role, &map, field);
    case NIB__KIND_ROWS: return add_rows(l, role, t, field);
    case NIB__KIND_VECTOR: return add_vector(l, role, t, &map, info->rows(c), field);
    case NIB__KIND_TABLE:
        return add_vector(l, role, t, &map, info->rows(c) * info->columns(c), field);
    }
    return NIB_OK;
}

/* A head of its own, or the embedding. GGUF: whichever is there. Encoders have none. */
static nib_status plan_head(loader *l)
{
    nib_model *m = l->model;
    nib_status status = NIB_OK;
    if (m->config.both_ways) return NIB_OK;
    nib__row_map map = {.run = m->config.n_vocab, .file_rows = m->config.n_vocab};
    if (!m->config.tied) status = plan_role(l, NIB__ROLE_HEAD, 0, m);
    if (status != NIB_OK || m->head.w.layout != NULL) return status;
    if (!m->config.tied && l->arch->naming == NIB__NAMING_HF) return missing(l, NIB__ROLE_HEAD, 0);
    nib__format format = packed_format(l, m->embedding);
    l->head_is_embedding = format == m->embedding->format->format || format == NIB__F32;
    return add_linear(l, m->embedding, NIB__ROLE_HEAD, &map, &m->head);
}

static bool has_job(const loader *l, const float *const *vector)
{
    for (size_t i = 0; i < l->n_jobs; i++) {
        if (l->jobs[i].vector == vector) return true;
    }
    return false;
}

/* The head comes first: it is the largest, and what is packed first costs the least on top of what
 * is already there. */
static nib_status plan(loader *l)
{
    nib_model *m = l->model;
    nib_status status = plan_role(l, NIB__ROLE_EMBEDDING, 0, m);
    if (status == NIB_OK) status = plan_head(l);
    for (int role = NIB__LAYER_ROLES; role < NIB__ROLE_COUNT && status == NIB_OK; role++) {
        if (role == NIB__ROLE_EMBEDDING || role == NIB__ROLE_HEAD) continue;
        status = plan_role(l, (nib__role)role, 0, m);
    }
    for (uint32_t i = 0; i < m->config.n_layer && status == NIB_OK; i++) {
        nib__layer *layer = &m->layers[i];
        bool windowed = nib__config_windowed(&m->config, i);
        layer->window = windowed ? m->config.window : 0;
        layer->rope_local = windowed && m->config.rope_base_local != 0;
        layer->attn_scale = m->config.attn_scale;
        if (m->config.attn_scale_by_layer) layer->attn_scale /= (float)(i + 1);
        for (int role = 0; role < NIB__LAYER_ROLES && status == NIB_OK; role++) {
            status = plan_role(l, (nib__role)role, i, layer);
        }
    }
    bool planned = status == NIB_OK && (l->arch->optional >> NIB__ROLE_REL_BIAS & 1u) != 0;
    if (planned && !has_job(l, &m->layers[0].rel_bias)) return missing(l, NIB__ROLE_REL_BIAS, 0);
    return status;
}

static bool claims(const nib__arch *arch, const nib__config *c, const char *name)
{
    uint32_t layer = 0;
    nib__roles roles = nib__name_parse(arch->names, name, &layer);
    return (roles & (arch->required | arch->optional)) != 0 && layer < c->n_layer;
}

/* A head, or an encoder's embedding, that the file has under another name (torch.save keeps them).
 */
static bool is_embedding_again(const nib_model *m, const nib__tensor *t)
{
    return t != m->embedding && t->data == m->embedding->data && t->size == m->embedding->size;
}

/* A tensor without a role is a feature that we would silently leave out. */
static nib_status check_claims(loader *l)
{
    const nib__arch *arch = l->arch;
    nib_model *m = l->model;
    const nib_model *e = m->encoder;
    if (arch->stack != NULL && arch->stack->half) return NIB_OK;
    size_t n = nib__source_tensor_count(l->source);
    for (size_t i = 0; i < n; i++) {
        const nib__tensor *t = nib__source_tensor_at(l->source, i);
        if (claims(arch, &m->config, t->name) ||
            (e != NULL && claims(arch->stack->encoder, &e->config, t->name))) {
            if (is_embedding_again(m, t)) continue;
            m->file_bytes += t->size;
            m->n_params += (uint64_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]);
        } else if (!nib__name_ignored(arch->names, t->name) &&
                   (e == NULL || !nib__name_ignored(arch->stack->encoder->names, t->name))) {
            char what[96];
            (void)nib__text(what, sizeof what, "not part of architecture %s with %u layers",
                            arch->name, m->config.n_layer);
            return refuse(l, t, NIB_ERR_UNSUPPORTED, what);
        }
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
            job->data = nib__arena_take(arena, job->count, sizeof(float));
    }
}

static nib_status load(loader *l, size_t size)
{
    nib_model *m = l->model;
    if (l->in_place != 0) nib__source_stream(l->source);
    if (size == 0) return nib__load_report(l, l->bytes);
    m->weights = nib__alloc_raw(&m->mem, size, 1);
    if (m->weights == NULL) {
        return nib__fail(l->err, NIB_ERR_MEMORY, "%s: out of memory for %zu bytes of weights",
                         nib__source_path(l->source), size);
    }
    nib__arena arena = {.base = m->weights};
    carve(l, &arena);
    nib_status status = nib__load_report(l, 0);
    return status == NIB_OK ? nib__load_run(l) : status;
}

nib_status nib__weights_load(nib_model *model, const nib__arch *arch,
                             const nib_model_options *options, nib_error *err)
{
    loader l = {
        .model = model, .source = model->source, .arch = arch, .options = options, .err = err};
    nib__arena arena = {.base = NULL};
    model->layers = nib__alloc(&model->mem, model->config.n_layer, sizeof *model->layers);
    if (model->layers == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for %u layers",
                         nib__source_path(model->source), model->config.n_layer);
    }
    nib_status status = plan(&l);
    if (status == NIB_OK) status = check_claims(&l);
    if (status != NIB_OK) goto done;
    carve(&l, &arena);
    if (arena.overflow) {
        status = nib__fail(err, NIB_ERR_MEMORY, "%s: the weights do not fit the address space",
                           nib__source_path(model->source));
        goto done;
    }
    model->weight_bytes = arena.used + l.in_place;
    if ((options->flags & NIB_OPEN_INSPECT) == 0) {
        status = load(&l, arena.used);
        /* One copy in memory is enough: its pages of the file are not needed again. */
        if (l.head_is_embedding) model->embedding_panels = model->head.w;
    } else {
        nib__free(&model->mem, model->layers);
        model->layers = NULL;
    }
done:
    nib__free(&model->mem, l.jobs);
    return status;
}
