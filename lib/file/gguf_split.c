/* SPDX-License-Identifier: MIT
 * One GGUF file, or all parts of a split one. Part i of n is named PREFIX-0000i-of-0000n.gguf,
 * counted from 1; keys split.no (from 0), split.count and split.tensors.count; all other metadata
 * is in the first part. */
#include <string.h>

#include "file/source_private.h"

/* ---- one part ---- */

typedef struct split {
    uint32_t no, count;
    int64_t n_tensors; /* of the whole model */
} split;

/* A file without split keys is part 0 of 1. */
static nib_status read_split(const nib__gguf *gguf, split *sp, nib_error *err)
{
    int64_t no = 0, count = 1, n_tensors = 0;
    int32_t status = nib__gguf_i64(gguf, "split.count", 0, UINT16_MAX, &count, err);
    if (status < 0) return status;
    if (count < 2) count = 1;
    if (count > 1) {
        status = nib__gguf_i64(gguf, "split.no", 0, count - 1, &no, err);
        if (status == NIB_OK)
            status = nib__gguf_i64(gguf, "split.tensors.count", 0, NIB__GGUF_MAX_TENSORS,
                                   &n_tensors, err);
        if (status < 0) return status;
        if (status == NIB__ABSENT) {
            return nib__gguf_fail(gguf, err, NIB_ERR_FORMAT, NIB_NO_OFFSET,
                                  "split.count is %lld, but split.no or split.tensors.count is "
                                  "missing",
                                  (long long)count);
        }
    }
    *sp = (split){(uint32_t)no, (uint32_t)count, n_tensors};
    return NIB_OK;
}

/* Takes over the mapping, on failure too. */
static nib_status parse_part(const nib_allocator *mem, const nib__map *map, const char *path,
                             size_t path_len, nib__gguf *part, split *sp, nib_error *err)
{
    *part = (nib__gguf){.mem = *mem, .map = *map};
    part->path = nib__strndup(mem, path, path_len);
    nib_status status;
    if (part->path == NULL) {
        status = nib__fail(err, NIB_ERR_MEMORY, "out of memory for a file name");
    } else {
        status = nib__gguf_parse(part, err);
        if (status == NIB_OK) status = read_split(part, sp, err);
    }
    if (status != NIB_OK) nib__gguf_free(part);
    return status;
}

/* ---- the other parts ---- */

enum { SUFFIX_LEN = 20 }; /* "-00001-of-00003.gguf" */

static void put_five_digits(char *at, uint32_t value)
{
    for (int i = 4; i >= 0; i--, value /= 10) at[i] = (char)('0' + value % 10);
}

/* Makes the file name of part `no` of `count` out of any part's name, in place. */
static void name_part(char *path, size_t len, uint32_t no, uint32_t count)
{
    char *suffix = path + len - SUFFIX_LEN;
    memcpy(suffix, "-00000-of-00000.gguf", SUFFIX_LEN);
    put_five_digits(suffix + 1, no + 1);
    put_five_digits(suffix + 10, count);
}

/* The parts opened so far are source->parts[0 .. no). */
static nib_status open_part(nib__source *source, const char *path, size_t len, const split *whole,
                            uint32_t no, nib_error *err)
{
    void *parts = source->parts;
    bool grown = nib__grow(&source->mem, &parts, &source->cap_parts, source->n_parts + 1,
                           sizeof *source->parts);
    source->parts = parts;
    if (!grown) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for part %u", no + 1);

    nib__map map;
    nib__gguf *part = &source->parts[source->n_parts];
    split sp;
    nib_status status = nib__map_open(path, &map, err);
    if (status == NIB_OK) status = parse_part(&source->mem, &map, path, len, part, &sp, err);
    if (status != NIB_OK) return status;
    source->n_parts++;
    if (sp.no != no || sp.count != whole->count || sp.n_tensors != whole->n_tensors) {
        return nib__gguf_fail(part, err, NIB_ERR_FORMAT, NIB_NO_OFFSET,
                              "expected part %u of %u with %lld tensors in all, got part %u of %u "
                              "with %lld",
                              no + 1, whole->count, (long long)whole->n_tensors, sp.no + 1,
                              sp.count, (long long)sp.n_tensors);
    }
    return NIB_OK;
}

/* `named` is the part that the caller named; it is opened again in its turn, so that all parts are
 * treated alike. */
static nib_status open_parts(nib__source *source, const nib__gguf *named, const split *whole,
                             nib_error *err)
{
    size_t len = strlen(named->path);
    char *path = nib__strndup(&source->mem, named->path, len);
    if (path == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a file name");
    nib_status status = NIB_OK;
    if (len >= SUFFIX_LEN) name_part(path, len, whole->no, whole->count);
    if (len < SUFFIX_LEN || strcmp(path, named->path) != 0) {
        status = nib__gguf_fail(
            named, err, NIB_ERR_FORMAT, NIB_NO_OFFSET,
            "part %u of %u of a split model: expected a file name ending in %s", whole->no + 1,
            whole->count, len < SUFFIX_LEN ? "-NNNNN-of-NNNNN.gguf" : path + len - SUFFIX_LEN);
    }
    for (uint32_t no = 0; no < whole->count && status == NIB_OK; no++) {
        name_part(path, len, no, whole->count);
        status = open_part(source, path, len, whole, no, err);
    }
    nib__free(&source->mem, path);
    return status;
}

/* ---- all tensors ---- */

/* One array of tensors: the only part's own, or a copy of all. */
static nib_status join_tensors(nib__source *source, const split *whole, nib_error *err)
{
    const nib__gguf *first = &source->parts[0];
    for (size_t p = 0; p < source->n_parts; p++) source->n_tensors += source->parts[p].n_tensors;
    if (source->n_parts == 1) {
        source->tensors = first->tensors;
        return NIB_OK;
    }
    if (source->n_tensors != (uint64_t)whole->n_tensors) {
        return nib__gguf_fail(first, err, NIB_ERR_FORMAT, NIB_NO_OFFSET,
                              "split.tensors.count is %lld, but the %zu parts hold %zu tensors",
                              (long long)whole->n_tensors, source->n_parts, source->n_tensors);
    }
    if (source->n_tensors == 0) return NIB_OK;
    source->tensors = nib__alloc_raw(&source->mem, source->n_tensors, sizeof *source->tensors);
    if (source->tensors == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for %zu tensors", source->n_tensors);
    }
    nib__tensor *at = source->tensors;
    for (size_t p = 0; p < source->n_parts; p++) {
        const nib__gguf *part = &source->parts[p];
        for (size_t i = 0; i < part->n_tensors; i++, at++) {
            *at = part->tensors[i];
            at->part = (uint32_t)p;
        }
    }
    return NIB_OK;
}

/* Takes over the mapping, on failure too. */
nib_status nib__gguf_open(nib__source *source, const nib__map *map, const char *path,
                          nib_error *err)
{
    nib__gguf named;
    split whole;
    nib_status status = parse_part(&source->mem, map, path, strlen(path), &named, &whole, err);
    if (status != NIB_OK) return status;
    if (whole.count > 1 && map->fd < 0) {
        status = nib__gguf_fail(&named, err, NIB_ERR_UNSUPPORTED, NIB_NO_OFFSET,
                                "part %u of %u of a split model cannot be opened from memory",
                                whole.no + 1, whole.count);
    } else if (whole.count > 1) {
        status = open_parts(source, &named, &whole, err);
    } else {
        source->parts = nib__alloc(&source->mem, 1, sizeof *source->parts);
        if (source->parts == NULL) {
            status = nib__fail(err, NIB_ERR_MEMORY, "out of memory for a model file");
        } else {
            source->parts[0] = named;
            source->n_parts = 1;
            return join_tensors(source, &whole, err);
        }
    }
    nib__gguf_free(&named);
    return status != NIB_OK ? status : join_tensors(source, &whole, err);
}
