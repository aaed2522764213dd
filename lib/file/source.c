/* SPDX-License-Identifier: MIT
 * One source of tensors and metadata, whatever the files are: opening, finding tensors by name,
 * watching and dropping mappings. */
#include "file/source.h"

#include <string.h>

#include "base/sort.h"
#include "file/source_private.h"

/* The file that holds a part's tensors. */
static const nib__map *map_of(const nib__source *source, uint32_t part, const char **path)
{
    const nib__hf *hf = source->hf;
    *path = hf != NULL ? hf->shards[part].path : source->parts[part].path;
    return hf != NULL ? &hf->shards[part].map : &source->parts[part].map;
}

/* ---- all tensors ---- */

static int compare_names(const void *ctx, uint32_t a, uint32_t b)
{
    const nib__tensor *tensors = ctx;
    return strcmp(tensors[a].name, tensors[b].name);
}

nib_status nib__source_reserve(nib__source *source, size_t count, nib_error *err)
{
    size_t need;
    void *tensors = source->tensors;
    bool grown =
        nib__add(source->n_tensors, count, &need) &&
        nib__grow(&source->mem, &tensors, &source->cap_tensors, need, sizeof *source->tensors);
    source->tensors = tensors;
    return grown ? NIB_OK : nib__fail(err, NIB_ERR_MEMORY, "out of memory for %zu tensors", count);
}

nib_status nib__source_index(nib__source *source, nib_error *err)
{
    size_t n = source->n_tensors;
    if (n == 0 || source->by_name != NULL) return NIB_OK;
    source->by_name = nib__alloc_raw(&source->mem, n, sizeof *source->by_name);
    if (source->by_name == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for %zu tensors", n);
    for (size_t i = 0; i < n; i++) source->by_name[i] = (uint32_t)i;
    nib__sort_index(source->by_name, n, compare_names, source->tensors);
    for (size_t i = 1; i < n; i++) {
        if (compare_names(source->tensors, source->by_name[i - 1], source->by_name[i]) != 0)
            continue;
        const nib__tensor *t = &source->tensors[source->by_name[i]];
        nib__shown name = nib__show(t->name, strlen(t->name));
        const char *file;
        (void)map_of(source, t->part, &file);
        return nib__fail_file(err, NIB_ERR_FORMAT, NIB_NO_OFFSET, file, "tensor %s appears twice",
                              name.text);
    }
    return NIB_OK;
}

/* ---- open and close ---- */

static nib__source *new_source(const nib_allocator *mem, nib_error *err)
{
    nib__source *source = nib__alloc(mem, 1, sizeof *source);
    if (source == NULL)
        nib__fail(err, NIB_ERR_MEMORY, "out of memory for a model file");
    else
        source->mem = *mem;
    return source;
}

/* status: of filling the source; what is missing is then done here. */
static nib_status finish(nib__source *source, nib_status status, nib__source **out, nib_error *err)
{
    if (status == NIB_OK) status = nib__source_index(source, err);
    if (status == NIB_OK)
        *out = source;
    else
        nib__source_close(source);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

/* Weight files of a Hugging Face directory are known by their names. A GGUF may have any, and is
 * known by its first bytes. */
static bool is_hf_name(const char *path)
{
    return ends_with(path, ".safetensors") || ends_with(path, ".safetensors.index.json") ||
           ends_with(path, ".bin") || ends_with(path, ".bin.index.json") ||
           ends_with(path, ".pt") || ends_with(path, ".pth");
}

static bool is_gguf(const nib__map *map)
{
    return map->size >= 4 && memcmp(map->data, "GGUF", 4) == 0;
}

nib_status nib__source_open(const nib_allocator *mem, const char *path, nib__source **out,
                            nib_error *err)
{
    nib_allocator allocator = nib__allocator(mem);
    bool hf = nib__map_is_directory(path);
    nib__map map = {.fd = -1};
    nib_status status = hf ? NIB_OK : nib__map_open(path, &map, err);
    if (status != NIB_OK) return status;
    if (is_hf_name(path) && !hf && !is_gguf(&map)) {
        nib__map_close(&map); /* it is opened again as a file of its directory */
        hf = true;
    }
    nib__source *source = new_source(&allocator, err);
    if (source == NULL) {
        nib__map_close(&map);
        return NIB_ERR_MEMORY;
    }
    status = hf ? nib__hf_open(source, path, err) : nib__gguf_open(source, &map, path, err);
    return finish(source, status, out, err);
}

nib_status nib__source_open_memory(const nib_allocator *mem, const void *data, size_t size,
                                   nib__source **out, nib_error *err)
{
    nib_allocator allocator = nib__allocator(mem);
    nib__map map = nib__map_memory(data, size);
    nib__source *source = new_source(&allocator, err);
    if (source == NULL) return NIB_ERR_MEMORY;
    return finish(source, nib__gguf_open(source, &map, "(memory)", err), out, err);
}

void nib__source_close(nib__source *source)
{
    if (source == NULL) return;
    nib_allocator mem = source->mem;
    /* The only part of a GGUF owns its tensors. */
    if (source->n_parts != 1) nib__free(&mem, source->tensors);
    nib__free(&mem, source->by_name);
    for (size_t p = 0; p < source->n_parts; p++) nib__gguf_free(&source->parts[p]);
    nib__free(&mem, source->parts);
    nib__hf_free(source->hf);
    nib__free(&mem, source);
}

/* ---- access ---- */

const char *nib__source_path(const nib__source *source)
{
    const char *path = source->hf != NULL ? source->hf->path : source->parts[0].path;
    return nib__path_tail(path);
}

const char *nib__source_path_of(const nib__source *source, const nib__tensor *tensor)
{
    const char *path;
    (void)map_of(source, tensor->part, &path);
    return nib__path_tail(path);
}

nib__naming nib__source_naming(const nib__source *source)
{
    return source->hf != NULL ? NIB__NAMING_HF : NIB__NAMING_GGUF;
}

size_t nib__source_tensor_count(const nib__source *source)
{
    return source->n_tensors;
}

const nib__tensor *nib__source_tensor_at(const nib__source *source, size_t i)
{
    return i < source->n_tensors ? &source->tensors[i] : NULL;
}

const nib__tensor *nib__source_tensor(const nib__source *source, const char *name)
{
    size_t low = 0, high = source->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const nib__tensor *t = &source->tensors[source->by_name[middle]];
        int order = strcmp(name, t->name);
        if (order == 0) return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static size_t count_files(const nib__source *source)
{
    return source->hf != NULL ? source->hf->n_shards : source->n_parts;
}

nib_status nib__source_check(const nib__source *source, nib_error *err)
{
    for (size_t p = 0; p < count_files(source); p++) {
        const char *name;
        const nib__map *map = map_of(source, (uint32_t)p, &name);
        if (nib__map_check(map, NULL) == NIB_OK) continue;
        return nib__fail_file(err, NIB_ERR_IO, NIB_NO_OFFSET, name,
                              "the file was changed while it was open (it had %zu bytes)",
                              map->size);
    }
    return NIB_OK;
}

static void advise_files(const nib__source *source, void (*advise)(const nib__map *map))
{
    const char *path;
    for (size_t p = 0; p < count_files(source); p++) advise(map_of(source, (uint32_t)p, &path));
}

void nib__source_stream(const nib__source *source)
{
    advise_files(source, nib__map_stream);
}

void nib__source_rest(const nib__source *source)
{
    advise_files(source, nib__map_rest);
}

static void advise_part(const nib__source *source, const nib__tensor *tensor, size_t at,
                        size_t size, void (*advise)(const nib__map *map, size_t at, size_t size))
{
    const char *path;
    const nib__map *map = map_of(source, tensor->part, &path);
    if (!tensor->copied) advise(map, (size_t)(tensor->data - map->data) + at, size);
}

void nib__source_need(const nib__source *source, const nib__tensor *tensor, size_t at, size_t size)
{
    advise_part(source, tensor, at, size, nib__map_need);
}

void nib__source_drop(const nib__source *source, const nib__tensor *tensor, size_t at, size_t size)
{
    advise_part(source, tensor, at, size, nib__map_drop);
}
