/* SPDX-License-Identifier: MIT
 * A model as a repacked file (file/packed.h): the metadata as they are, vectors as float32, every
 * matrix that the loader would pack as panels, and an embedding that is not also the head as it is.
 * Packed and written in batches, so that no more than one batch is in memory. */
#include "model/repack.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/outfile.h"
#include "file/gguf_write.h"
#include "file/packed.h"
#include "model/gather.h"

enum {
    BATCH_BYTES = 8 << 20,
    WRITE_BYTES = 2 << 20, /* a huge page, which the page cache then may keep as one */
    PUBLIC = 0666,
    PRIVATE = 0600
};

typedef enum item_kind { PANELS, VECTOR, ROWS } item_kind;

/* One tensor of the new file. */
typedef struct item {
    const nib__tensor *tensor;
    item_kind kind;
    nib__packed w;   /* PANELS */
    size_t size;     /* bytes in the new file */
    uint64_t offset; /* in its data section */
} item;

typedef struct repack {
    const nib_model *model;
    const nib__arch *arch;
    const nib_quantize_options *options;
    nib_error *err;
    nib_allocator mem;
    nib__pool *pool;
    item *items;       /* [n_items] */
    uint32_t *columns; /* [3][n_items] types, rows, columns as written to the file */
    size_t n_items;
    uint64_t bytes, done;         /* of all items; written */
    size_t directory_at, data_at; /* where the checksums are in out.data */
    nib__gguf_out out;
    nib__outfile file;
    nib__hash hash;  /* of the data section */
    uint8_t *buffer; /* [buffer_size] */
    size_t buffer_size;
} repack;

static nib_status no_memory(const repack *r)
{
    return nib__fail(r->err, NIB_ERR_MEMORY, "%s: out of memory for repacking", r->file.path);
}

/* ---- what the file will hold ---- */

/* Panels, if every role of the tensor can use them where they lie. */
static item_kind kind_of(const repack *r, const nib__tensor *t)
{
    const nib_model *m = r->model;
    const nib__names *names = r->arch->names;
    nib__row_map map;
    uint32_t layer;
    nib__roles roles = nib__name_parse(names, t->name, &layer);
    item_kind kind = ROWS;
    for (int role = 0; role < NIB__ROLE_COUNT; role++) {
        const nib__role_info *info = nib__role_of((nib__role)role);
        if ((roles >> role & 1u) == 0) continue;
        if (role == NIB__ROLE_EMBEDDING) {
            bool head = nib__name_find(names, m->source, &m->config, NIB__ROLE_HEAD, 0, &map);
            if (m->config.tied || !head) kind = PANELS;
        } else if (info->kind == NIB__KIND_VECTOR) {
            kind = VECTOR;
        } else if (info->kind == NIB__KIND_LINEAR) {
            const nib__tensor *found =
                nib__name_find(names, m->source, &m->config, (nib__role)role, layer, &map);
            if (found != t || !nib__gather_panels(&map, info->rows(&m->config))) return ROWS;
            kind = PANELS;
        }
    }
    return kind;
}

static nib_status plan_item(repack *r, const nib__tensor *t, item *it)
{
    it->tensor = t;
    it->kind = kind_of(r, t);
    it->size = t->size;
    nib_status status = NIB_OK;
    if (it->kind == PANELS) {
        status = nib__packed_init(&it->w, t->format->format, t->ne[1], t->ne[0], r->err);
        if (status == NIB_OK) it->size = it->w.n_panels * it->w.panel_bytes;
    } else if (it->kind == VECTOR) {
        it->size = t->ne[0] * sizeof(float);
    }
    return status;
}

static nib_status plan(repack *r)
{
    const nib__source *source = r->model->source;
    r->n_items = nib__source_tensor_count(source);
    if (r->n_items == 0) {
        return nib__fail(r->err, NIB_ERR_UNSUPPORTED, "%s: the file holds a tokenizer only",
                         nib__source_path(source));
    }
    r->items = nib__alloc(&r->mem, r->n_items, sizeof *r->items);
    r->columns = nib__alloc(&r->mem, r->n_items, 3 * sizeof *r->columns);
    if (r->items == NULL || r->columns == NULL) return no_memory(r);
    r->buffer_size = BATCH_BYTES;
    for (size_t i = 0; i < r->n_items; i++) {
        item *it = &r->items[i];
        nib_status status = plan_item(r, nib__source_tensor_at(source, i), it);
        if (status != NIB_OK) return status;
        it->offset = nib__align_up(r->bytes, NIB__PACKED_ALIGNMENT);
        size_t least = it->kind == PANELS ? it->w.panel_bytes : it->kind == VECTOR ? it->size : 0;
        if (least > r->buffer_size) r->buffer_size = least;
        if (!nib__add(it->offset, it->size, &r->bytes) ||
            r->bytes > PTRDIFF_MAX - NIB__PACKED_ALIGNMENT)
            return nib__fail(r->err, NIB_ERR_LIMIT, "%s: the file would be too large",
                             r->file.path);
        bool panels = it->kind == PANELS;
        r->columns[i] = panels ? (uint32_t)it->w.layout->format : UINT32_MAX;
        r->columns[r->n_items + i] = panels ? it->w.n : 0;
        r->columns[2 * r->n_items + i] = panels ? it->w.k : 0;
    }
    return NIB_OK;
}

static void put_tensor(repack *r, const item *it)
{
    const nib__tensor *t = it->tensor;
    uint64_t ne[NIB__MAX_DIMS] = {it->size};
    uint32_t type = NIB__PACKED_GGUF_TYPE, n_dims = 1;
    if (it->kind != PANELS) {
        for (uint32_t d = 0; d < t->n_dims; d++) ne[d] = t->ne[d];
        n_dims = t->n_dims;
        type = it->kind == VECTOR ? (uint32_t)NIB__F32 : (uint32_t)t->format->format;
    }
    nib__gguf_out_tensor(&r->out, t->name, type, n_dims, ne, it->offset);
}

static nib_status make_directory(repack *r, uint64_t state)
{
    nib__gguf_out *out = &r->out;
    size_t n = r->n_items;
    nib__gguf_out_begin(out, &r->mem);
    nib__gguf_out_u32(out, NIB__PACKED_LAYOUT, NIB__LAYOUT_VERSION);
    r->directory_at = nib__gguf_out_u64(out, NIB__PACKED_DIRECTORY, 0);
    r->data_at = nib__gguf_out_u64(out, NIB__PACKED_DATA, 0);
    (void)nib__gguf_out_u64(out, NIB__PACKED_IDENTITY, r->model->identity);
    if (state != 0) (void)nib__gguf_out_u64(out, NIB__PACKED_SOURCE, state);
    nib__gguf_out_u32(out, "general.alignment", NIB__PACKED_ALIGNMENT);
    nib__gguf_out_words(out, NIB__PACKED_TYPES, NIB__META_I32, r->columns, n);
    nib__gguf_out_words(out, NIB__PACKED_ROWS, NIB__META_U32, r->columns + n, n);
    nib__gguf_out_words(out, NIB__PACKED_COLUMNS, NIB__META_U32, r->columns + 2 * n, n);
    nib__gguf_out_copy_keys(out, r->model->source);
    for (size_t i = 0; i < n; i++) put_tensor(r, &r->items[i]);
    return nib__gguf_out_end(out, NIB__PACKED_ALIGNMENT, r->err);
}

/* ---- writing ---- */

static nib_status put_data(repack *r, const void *data, size_t size)
{
    nib__hash_add(&r->hash, data, size);
    r->done += size;
    return nib__outfile_put(&r->file, data, size, r->err);
}

static nib_status report(const repack *r)
{
    const nib_quantize_options *o = r->options;
    if (o->progress == NULL) return NIB_OK;
    double fraction = r->bytes == 0 ? 1.0 : (double)r->done / (double)r->bytes;
    if (o->progress(o->progress_user, fraction) == 0) return NIB_OK;
    return nib__fail(r->err, NIB_ERR_CANCELLED, "%s: writing was cancelled", r->file.path);
}

static nib_status pad_to(repack *r, uint64_t offset)
{
    const uint8_t zeros[NIB__PACKED_ALIGNMENT] = {0};
    return put_data(r, zeros, (size_t)(offset - r->done));
}

/* Some panels of a matrix, seen as a matrix of their own. */
typedef struct batch {
    nib__packed w;
    const uint8_t *rows;
    uint8_t *panels;
    uint32_t count, step; /* panels, and panels per piece */
} batch;

static void pack_piece(void *arg, uint32_t i)
{
    const batch *b = arg;
    uint32_t first = i * b->step;
    uint32_t count = b->count - first < b->step ? b->count - first : b->step;
    nib__pack_panels(&b->w, b->rows, first, count, b->panels);
}

static nib_status put_panels(repack *r, const item *it)
{
    const nib__packed *w = &it->w;
    size_t fit = r->buffer_size / w->panel_bytes;
    size_t panel_rows_bytes = it->tensor->size / w->n * NIB__PANEL;
    uint32_t pieces = nib__pool_threads(r->pool) * 4;
    nib_status status = NIB_OK;
    for (uint32_t first = 0; first < w->n_panels && status == NIB_OK;) {
        uint32_t count = w->n_panels - first < fit ? w->n_panels - first : (uint32_t)fit;
        uint32_t step = (count + pieces - 1) / pieces;
        batch b = {*w, it->tensor->data + first * panel_rows_bytes, r->buffer, count, step};
        b.w.n -= first * NIB__PANEL;
        nib__pool_run(r->pool, (count + step - 1) / step, pack_piece, &b);
        status = put_data(r, r->buffer, count * w->panel_bytes);
        if (status == NIB_OK) status = report(r);
        first += count;
    }
    return status;
}

static nib_status put_rows(repack *r, const nib__tensor *t)
{
    nib_status status = NIB_OK;
    for (size_t at = 0; at < t->size && status == NIB_OK;) {
        size_t n = t->size - at < BATCH_BYTES ? t->size - at : BATCH_BYTES;
        status = put_data(r, t->data + at, n);
        if (status == NIB_OK) status = report(r);
        at += n;
    }
    return status;
}

static nib_status put_item(repack *r, const item *it)
{
    const nib__tensor *t = it->tensor;
    nib_status status = nib__source_check(r->model->source, r->err);
    if (status == NIB_OK) status = pad_to(r, it->offset);
    if (status != NIB_OK) return status;
    if (it->kind == PANELS && !t->packed) {
        status = put_panels(r, it);
    } else if (it->kind == VECTOR) {
        t->format->decode(t->data, (float *)(void *)r->buffer, t->ne[0]);
        status = put_data(r, r->buffer, it->size);
    } else { /* as it is in the file: rows, or the panels of a file that was repacked before */
        status = put_rows(r, t);
    }
    nib__source_drop(r->model->source, t, 0, t->size);
    return status;
}

static nib_status write_file(repack *r)
{
    nib_status status = nib__outfile_put(&r->file, r->out.data, r->out.len, r->err);
    for (size_t i = 0; i < r->n_items && status == NIB_OK; i++) status = put_item(r, &r->items[i]);
    if (status != NIB_OK) return status;
    uint8_t *directory = r->out.data;
    nib__put_le64(directory + r->data_at, nib__hash_value(&r->hash));
    nib__put_le64(directory + r->directory_at,
                  nib__packed_directory_hash(directory, r->out.len, r->directory_at));
    status = nib__outfile_patch(&r->file, 0, directory, r->out.len, r->err);
    return status == NIB_OK ? nib__outfile_commit(&r->file, r->err) : status;
}

nib_status nib__model_repack(const nib_model *model, const char *path, uint64_t state,
                             const nib_quantize_options *options, nib_error *err)
{
    repack r = {.model = model, .options = options, .err = err, .mem = model->mem};
    nib__hash_init(&r.hash, 0);
    if (nib__source_naming(model->source) != NIB__NAMING_GGUF) {
        return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s: only GGUF files can be repacked",
                         nib__source_path(model->source));
    }
    r.arch = nib__arch_find(NIB__NAMING_GGUF, model->config.arch, strlen(model->config.arch));
    if (r.arch == NULL) return nib__fail(err, NIB_ERR_STATE, "%s: no architecture", path);
    nib_status status =
        nib__outfile_open(&r.file, &r.mem, path, state != 0 ? PRIVATE : PUBLIC, WRITE_BYTES, err);
    if (status == NIB_OK) status = plan(&r);
    if (status == NIB_OK) status = make_directory(&r, state);
    if (status == NIB_OK) status = nib__pool_new(&r.mem, options->n_threads, NULL, &r.pool, err);
    if (status == NIB_OK) {
        r.buffer = nib__alloc_raw(&r.mem, r.buffer_size, 1);
        if (r.buffer == NULL) status = no_memory(&r);
    }
    if (status == NIB_OK) status = report(&r);
    if (status == NIB_OK) {
        nib__pool_begin(r.pool);
        status = write_file(&r);
        nib__pool_end(r.pool);
    }
    nib__pool_free(r.pool);
    nib__free(&r.mem, r.buffer);
    nib__gguf_out_free(&r.out);
    nib__free(&r.mem, r.columns);
    nib__free(&r.mem, r.items);
    nib__outfile_close(&r.file);
    return status;
}
