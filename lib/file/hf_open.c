/* SPDX-License-Identifier: MIT
 * A Hugging Face directory: which of its files are read, in the order that transformers has. Names
 * of files are constants of ours or come from an index of shards, which may only name files in the
 * same directory. */
#include <string.h>

#include "base/sort.h"
#include "file/source_private.h"

typedef nib_status read_fn(nib__source *source, uint32_t part, nib_error *err);

/* The first of these that exists holds the weights. */
static const struct {
    const char *name;
    bool index; /* JSON whose weight_map says which file holds which tensor */
    read_fn *read;
} layouts[] = {
    {"model.safetensors", false, nib__safetensors_read},
    {"model.safetensors.index.json", true, nib__safetensors_read},
    {"pytorch_model.bin", false, nib__torch_read},
    {"pytorch_model.bin.index.json", true, nib__torch_read},
};
enum { N_LAYOUTS = sizeof layouts / sizeof layouts[0] };

nib_status nib__shard_fail(const nib__shard *shard, nib_error *err, nib_status code,
                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    nib__fail_file_v(err, code, NIB_NO_OFFSET, shard->path, format, args);
    va_end(args);
    return code;
}

nib_status nib__hf_path(const nib__hf *hf, const char *name, size_t len, char **path,
                        nib_error *err)
{
    size_t dir = strlen(hf->dir), size;
    char *joined = NULL;
    if (nib__add(dir, len, &size) && size < SIZE_MAX)
        joined = nib__alloc_raw(&hf->mem, size + 1, 1);
    if (joined == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a file name");
    memcpy(joined, hf->dir, dir);
    memcpy(joined + dir, name, len);
    joined[size] = '\0';
    *path = joined;
    return NIB_OK;
}

/* ---- weight files ---- */

/* Maps DIR/name as the next shard and reads its tensors; NIB__ABSENT if there is no such file. */
static int32_t read_shard(nib__source *source, const char *name, size_t len, read_fn *read,
                          nib_error *err)
{
    nib__hf *hf = source->hf;
    void *shards = hf->shards;
    bool grown =
        nib__grow(&hf->mem, &shards, &hf->cap_shards, hf->n_shards + 1, sizeof *hf->shards);
    hf->shards = shards;
    if (!grown) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for file %zu", hf->n_shards);
    nib__shard *shard = &hf->shards[hf->n_shards];
    *shard = (nib__shard){.map.fd = -1};
    int32_t status = nib__hf_path(hf, name, len, &shard->path, err);
    if (status != NIB_OK) return status;
    status = nib__map_open_if(shard->path, &shard->map, err);
    if (status != NIB_OK) {
        nib__free(&hf->mem, shard->path);
        return status == NIB__NO_FILE ? NIB__ABSENT : status;
    }
    hf->n_shards++;
    return read(source, (uint32_t)hf->n_shards - 1, err);
}

/* ---- an index of shards ---- */

typedef struct shard_index {
    const nib__shard *file; /* the index itself, for messages */
    nib__json *json;
    nib__json_value *entries; /* [n] members of weight_map */
    uint32_t *by_file;        /* [n] places in entries */
    size_t n;
} shard_index;

static int compare_files(const void *ctx, uint32_t a, uint32_t b)
{
    const shard_index *x = ctx;
    size_t na, nb;
    const char *ta = nib__json_string(x->json, x->entries[a], &na);
    const char *tb = nib__json_string(x->json, x->entries[b], &nb);
    int order = memcmp(ta, tb, na < nb ? na : nb);
    return order != 0 ? order : (na > nb) - (na < nb);
}

/* A plain name in the same directory. */
static bool is_plain_name(const char *name, size_t len)
{
    return len > 0 && len <= 255 && name[0] != '.' && memchr(name, '/', len) == NULL &&
           memchr(name, '\\', len) == NULL && memchr(name, '\0', len) == NULL;
}

static nib_status check_entry(const shard_index *x, nib__json_value entry, nib_error *err)
{
    size_t len, name_len;
    const char *file = nib__json_string(x->json, entry, &len);
    const char *name = nib__json_key(x->json, entry, &name_len);
    nib__shown tensor = nib__show(name, name_len);
    if (file == NULL) {
        return nib__shard_fail(x->file, err, NIB_ERR_FORMAT,
                               "weight_map: tensor %s: expected a file name in a string",
                               tensor.text);
    }
    if (is_plain_name(file, len)) return NIB_OK;
    nib__shown shown = nib__show(file, len);
    return nib__shard_fail(x->file, err, NIB_ERR_FORMAT,
                           "weight_map: tensor %s: expected the name of a file beside the index, "
                           "got \"%s\"",
                           tensor.text, shown.text);
}

/* Members of weight_map, sorted by file. */
static nib_status parse_index(const nib__hf *hf, shard_index *x, nib_error *err)
{
    const nib__map *map = &x->file->map;
    if (map->size > NIB__HF_MAX_HEADER) {
        return nib__shard_fail(x->file, err, NIB_ERR_LIMIT, "expected at most %d bytes, got %zu",
                               NIB__HF_MAX_HEADER, map->size);
    }
    nib_status status =
        nib__json_parse(&hf->mem, x->file->path, (const char *)map->data, map->size, &x->json, err);
    if (status != NIB_OK) return status;
    nib__json_value weights = nib__json_get(x->json, 0, "weight_map");
    x->n = nib__json_count(x->json, weights);
    if (nib__json_type_of(x->json, weights) != NIB__JSON_OBJECT || x->n == 0) {
        return nib__shard_fail(x->file, err, NIB_ERR_FORMAT,
                               "expected a weight_map of tensors and their files");
    }
    x->entries = nib__alloc_raw(&hf->mem, x->n, sizeof *x->entries);
    x->by_file = nib__alloc_raw(&hf->mem, x->n, sizeof *x->by_file);
    if (x->entries == NULL || x->by_file == NULL)
        return nib__shard_fail(x->file, err, NIB_ERR_MEMORY, "out of memory");
    nib__json_value entry = nib__json_first(x->json, weights);
    for (uint32_t i = 0; i < x->n; i++, entry = nib__json_next(x->json, entry)) {
        status = check_entry(x, entry, err);
        if (status != NIB_OK) return status;
        x->entries[i] = entry;
        x->by_file[i] = i;
    }
    nib__sort_index(x->by_file, x->n, compare_files, x);
    return NIB_OK;
}

static nib_status read_shards(nib__source *source, const shard_index *x, read_fn *read,
                              nib_error *err)
{
    for (size_t i = 0; i < x->n; i++) {
        if (i > 0 && compare_files(x, x->by_file[i - 1], x->by_file[i]) == 0) continue;
        size_t len;
        const char *name = nib__json_string(x->json, x->entries[x->by_file[i]], &len);
        if (source->hf->n_shards == NIB__HF_MAX_SHARDS) {
            return nib__shard_fail(x->file, err, NIB_ERR_LIMIT, "expected at most %d files",
                                   NIB__HF_MAX_SHARDS);
        }
        int32_t status = read_shard(source, name, len, read, err);
        if (status == NIB__ABSENT) {
            nib__shown shown = nib__show(name, len);
            return nib__shard_fail(x->file, err, NIB_ERR_IO,
                                   "the file %s that weight_map names is missing", shown.text);
        }
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

/* Every tensor of the index is in the file that it names. */
static nib_status check_index(nib__source *source, const shard_index *x, nib_error *err)
{
    const nib__hf *hf = source->hf;
    nib_status status = nib__source_index(source, err);
    for (size_t i = 0; i < x->n && status == NIB_OK; i++) {
        size_t len;
        const char *name = nib__json_key(x->json, x->entries[i], &len);
        const nib__tensor *t = strlen(name) == len ? nib__source_tensor(source, name) : NULL;
        const char *file = nib__json_string(x->json, x->entries[i], &len);
        if (t == NULL && hf->n_empty != 0) continue; /* it may be one without elements */
        if (t != NULL && strcmp(hf->shards[t->part].path + strlen(hf->dir), file) == 0) continue;
        nib__shown shown = nib__show(name, strlen(name)), in = nib__show(file, len);
        status = nib__shard_fail(x->file, err, NIB_ERR_FORMAT, "weight_map: tensor %s is not in %s",
                                 shown.text, in.text);
    }
    return status;
}

/* `file` is mapped for the time of the call. */
static nib_status read_indexed(nib__source *source, const nib__shard *file, read_fn *read,
                               nib_error *err)
{
    const nib_allocator *mem = &source->mem;
    shard_index x = {.file = file};
    nib_status status = parse_index(source->hf, &x, err);
    if (status == NIB_OK) status = read_shards(source, &x, read, err);
    if (status == NIB_OK) status = check_index(source, &x, err);
    nib__free(mem, x.entries);
    nib__free(mem, x.by_file);
    nib__json_free(x.json);
    return status;
}

/* NIB__ABSENT if there is no such file. */
static int32_t read_index_file(nib__source *source, const char *name, read_fn *read, nib_error *err)
{
    nib__hf *hf = source->hf;
    nib__shard file = {.map.fd = -1};
    int32_t status = nib__hf_path(hf, name, strlen(name), &file.path, err);
    if (status != NIB_OK) return status;
    status = nib__map_open_if(file.path, &file.map, err);
    if (status == NIB_OK) {
        status = read_indexed(source, &file, read, err);
        nib__map_close(&file.map);
    }
    nib__free(&hf->mem, file.path);
    return status == NIB__NO_FILE ? NIB__ABSENT : status;
}

/* ---- the directory ---- */

/* A file that the caller named: of which kind is in its name. */
static int32_t read_named(nib__source *source, const char *name, nib_error *err)
{
    static const char json[] = ".json";
    size_t len = strlen(name), n = sizeof json - 1;
    read_fn *read = strstr(name, ".safetensors") != NULL ? nib__safetensors_read : nib__torch_read;
    bool index = len > n && strcmp(name + len - n, json) == 0;
    int32_t status =
        index ? read_index_file(source, name, read, err) : read_shard(source, name, len, read, err);
    if (status != NIB__ABSENT) return status;
    return nib__fail_file(err, NIB_ERR_IO, NIB_NO_OFFSET, source->hf->path, "no such file");
}

static nib_status read_weights(nib__source *source, nib_error *err)
{
    int32_t status = NIB__ABSENT;
    for (size_t i = 0; i < N_LAYOUTS && status == NIB__ABSENT; i++) {
        const char *name = layouts[i].name;
        status = layouts[i].index ? read_index_file(source, name, layouts[i].read, err)
                                  : read_shard(source, name, strlen(name), layouts[i].read, err);
    }
    if (status != NIB__ABSENT) return status;
    return nib__fail_file(err, NIB_ERR_IO, NIB_NO_OFFSET, source->hf->path,
                          "no weights in this directory: expected model.safetensors, "
                          "pytorch_model.bin, or one of these with .index.json");
}

/* dir: `path` itself, or where the file `path` lies; *name: that file, or NULL. */
static nib_status split_path(nib__hf *hf, const char *path, const char **name, nib_error *err)
{
    size_t len = strlen(path);
    bool directory = nib__map_is_directory(path);
    const char *slash = strrchr(path, '/');
    size_t dir = directory ? len : slash != NULL ? (size_t)(slash + 1 - path) : 0;
    *name = directory ? NULL : path + dir;
    hf->path = nib__strndup(&hf->mem, path, len);
    hf->dir = nib__alloc(&hf->mem, dir + 2, 1);
    if (hf->path == NULL || hf->dir == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a file name");
    memcpy(hf->dir, path, dir);
    if (directory && dir > 0 && path[dir - 1] != '/') hf->dir[dir] = '/';
    return NIB_OK;
}

nib_status nib__hf_open(nib__source *source, const char *path, nib_error *err)
{
    const char *name = NULL;
    nib__hf *hf = nib__alloc(&source->mem, 1, sizeof *hf);
    if (hf == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a directory");
    source->hf = hf;
    hf->mem = source->mem;
    int32_t status = split_path(hf, path, &name, err);
    if (status == NIB_OK) status = nib__hf_config_open(hf, "config.json", &hf->config, err);
    if (status == NIB__ABSENT)
        return nib__fail_file(err, NIB_ERR_IO, NIB_NO_OFFSET, hf->config.path,
                              "no such file, but a model directory needs one");
    if (status == NIB_OK)
        status = nib__hf_config_open(hf, "generation_config.json", &hf->generation, err);
    if (status == NIB_OK || status == NIB__ABSENT) status = nib__hf_files_new(hf, err);
    if (status != NIB_OK) return status;
    return name != NULL ? read_named(source, name, err) : read_weights(source, err);
}

void nib__hf_free(nib__hf *hf)
{
    if (hf == NULL) return;
    nib_allocator mem = hf->mem;
    for (size_t i = 0; i < hf->n_shards; i++) {
        nib__map_close(&hf->shards[i].map);
        nib__free(&mem, hf->shards[i].path);
        nib__free(&mem, hf->shards[i].names);
        for (nib__copy *copy = hf->shards[i].copies, *next; copy != NULL; copy = next) {
            next = copy->next;
            nib__free(&mem, copy);
        }
    }
    nib__free(&mem, hf->shards);
    nib__hf_config_free(hf, &hf->config);
    nib__hf_config_free(hf, &hf->generation);
    nib__hf_files_free(hf->files);
    nib__free(&mem, hf->path);
    nib__free(&mem, hf->dir);
    nib__free(&mem, hf);
}
