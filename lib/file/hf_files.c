/* SPDX-License-Identifier: MIT
 * The small files beside the weights of a Hugging Face directory: mapped when they are first asked
 * for, as long as the source is open. */
#include <string.h>

#include "file/source_private.h"

typedef struct side_file {
    char *path;
    nib__map map;
} side_file;

struct nib__hf_files {
    nib_allocator mem;
    side_file *items;
    size_t n, cap;
};

nib_status nib__hf_files_new(nib__hf *hf, nib_error *err)
{
    hf->files = nib__alloc(&hf->mem, 1, sizeof *hf->files);
    if (hf->files == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a directory");
    hf->files->mem = hf->mem;
    return NIB_OK;
}

void nib__hf_files_free(nib__hf_files *files)
{
    if (files == NULL) return;
    nib_allocator mem = files->mem;
    for (size_t i = 0; i < files->n; i++) {
        nib__map_close(&files->items[i].map);
        nib__free(&mem, files->items[i].path);
    }
    nib__free(&mem, files->items);
    nib__free(&mem, files);
}

int32_t nib__source_file(const nib__source *source, const char *name, nib__str *bytes,
                         nib_error *err)
{
    if (source->hf == NULL) return NIB__ABSENT;
    nib__hf_files *files = source->hf->files;
    char *path;
    void *items = files->items;
    bool grown = nib__grow(&files->mem, &items, &files->cap, files->n + 1, sizeof *files->items);
    files->items = items;
    if (!grown) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for %s", name);
    int32_t status = nib__hf_path(source->hf, name, strlen(name), &path, err);
    if (status != NIB_OK) return status;
    for (size_t i = 0; i < files->n; i++) {
        if (strcmp(files->items[i].path, path) != 0) continue;
        nib__free(&files->mem, path);
        *bytes = (nib__str){(const char *)files->items[i].map.data, files->items[i].map.size};
        return NIB_OK;
    }
    nib__map map;
    status = nib__map_open_if(path, &map, err);
    if (status != NIB_OK) {
        nib__free(&files->mem, path);
        return status == NIB__NO_FILE ? NIB__ABSENT : status;
    }
    files->items[files->n++] = (side_file){path, map};
    *bytes = (nib__str){(const char *)map.data, map.size};
    return NIB_OK;
}
