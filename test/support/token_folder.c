/* SPDX-License-Identifier: MIT */
#include "token_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

typedef struct file_list {
    const token_file *files;
    size_t n;
} file_list;

static int32_t get_listed(const void *ctx, const char *name, nib__str *bytes, nib_error *err)
{
    const file_list *list = ctx;
    (void)err;
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->files[i].name, name) == 0) {
            *bytes = (nib__str){list->files[i].data, list->files[i].size};
            return NIB_OK;
        }
    return NIB__ABSENT;
}

nib_status tokenizer_from_memory(const nib_allocator *mem, const token_file *files, size_t n,
                                 nib__tokenizer **t, nib_error *err)
{
    file_list list = {files, n};
    nib__token_files source = {get_listed, &list, "memory"};
    return nib__tokenizer_from_files(mem, &source, t, err);
}

enum { MAX_FILES = 16 };

typedef struct folder {
    const char *path;
    uint8_t *data[MAX_FILES];
    size_t n;
} folder;

static int32_t get_read(const void *ctx, const char *name, nib__str *bytes, nib_error *err)
{
    folder *f = (folder *)(uintptr_t)ctx;
    char path[1024];
    size_t size;
    (void)err;
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    uint8_t *data = f->n < MAX_FILES ? file_read(path, &size) : NULL;
    if (data == NULL) return NIB__ABSENT;
    f->data[f->n++] = data;
    *bytes = (nib__str){(const char *)data, size};
    return NIB_OK;
}

nib_status tokenizer_from_folder(const nib_allocator *mem, const char *path, nib__tokenizer **t,
                                 nib_error *err)
{
    folder f = {.path = path};
    nib__token_files source = {get_read, &f, path};
    nib_status status = nib__tokenizer_from_files(mem, &source, t, err);
    for (size_t i = 0; i < f.n; i++) free(f.data[i]);
    return status;
}
