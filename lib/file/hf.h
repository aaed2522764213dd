/* SPDX-License-Identifier: MIT
 * A Hugging Face directory, shared by the files of this stage.
 *
 * hf_open.c      which files a directory holds, shards and their index
 * hf_files.c     the small files that others read
 * hf_meta.c      config.json and generation_config.json behind the typed getters
 * safetensors.c  one weight file -> tensors
 * torch.c        the same for torch.save, over zip.c and pickle.c
 * dtype.c        element types and shapes of such files */
#ifndef NIB_FILE_HF_H
#define NIB_FILE_HF_H

#include "base/json.h"
#include "file/shown.h"
#include "file/source.h"

enum {
    NIB__HF_MAX_CONFIG = 1 << 24,           /* bytes of config.json */
    NIB__HF_MAX_HEADER = 100 * 1000 * 1000, /* bytes; the limit of the safetensors package */
    NIB__HF_MAX_SHARDS = 1024,
    NIB__HF_MAX_TENSORS = 1 << 20
};

/* Elements of a view, one after the other; they stand behind it. */
typedef struct nib__copy {
    struct nib__copy *next;
    size_t size; /* bytes of them */
} nib__copy;

/* One weight file. */
typedef struct nib__shard {
    nib__map map;
    char *path;
    char *names; /* NUL-terminated names of its tensors, one after the other */
    nib__copy *copies;
    size_t copied; /* bytes of all of them */
} nib__shard;

/* An array of a configuration in the encoding of GGUF, which nib__array reads. */
typedef struct nib__hf_array {
    nib__json_value value;
    nib__meta_type type;
    uint64_t count;
    size_t at, size; /* in the bytes of its document */
} nib__hf_array;

typedef struct nib__hf_config {
    char *path;
    nib__json *json; /* NULL: there is no such file */
    nib__hf_array *arrays;
    size_t n_arrays, cap_arrays;
    uint8_t *bytes;
    size_t n_bytes, cap_bytes;
} nib__hf_config;

typedef struct nib__hf_files nib__hf_files; /* small files, mapped when asked for */

typedef struct nib__hf {
    nib_allocator mem;
    char *path; /* as opened */
    char *dir;  /* what to put before a file's name: "" or a path with a slash at its end */
    nib__hf_config config, generation;
    nib__shard *shards;
    size_t n_shards, cap_shards;
    size_t n_empty; /* tensors without elements, which are left out */
    nib__hf_files *files;
} nib__hf;

void nib__hf_free(nib__hf *hf); /* NULL is a no-op */

/* *path: the directory's name and name[len] behind it, from the allocator. */
nib_status nib__hf_path(const nib__hf *hf, const char *name, size_t len, char **path,
                        nib_error *err);

nib_status nib__hf_files_new(nib__hf *hf, nib_error *err);
void nib__hf_files_free(nib__hf_files *files); /* NULL is a no-op */

/* ---- metadata (hf_meta.c) ---- */

/* Reads DIR/name; NIB__ABSENT if there is no such file. */
int32_t nib__hf_config_open(const nib__hf *hf, const char *name, nib__hf_config *config,
                            nib_error *err);
/* The same from text; config->path is set. On failure, too, nib__hf_config_free releases it. */
nib_status nib__hf_config_parse(const nib__hf *hf, nib__hf_config *config, const char *text,
                                size_t size, nib_error *err);
void nib__hf_config_free(const nib__hf *hf, nib__hf_config *config);

/* As the getters of source.h. */
int32_t nib__hf_i64(const nib__hf *hf, const char *key, int64_t min, int64_t max, int64_t *value,
                    nib_error *err);
int32_t nib__hf_f32(const nib__hf *hf, const char *key, float *value, nib_error *err);
int32_t nib__hf_bool(const nib__hf *hf, const char *key, int32_t *value, nib_error *err);
int32_t nib__hf_str(const nib__hf *hf, const char *key, nib__str *value, nib_error *err);
int32_t nib__hf_get_array(const nib__hf *hf, const char *key, nib__meta_type type,
                          nib__array *value, nib_error *err);
int32_t nib__hf_type_of(const nib__hf *hf, const char *key);

/* ---- weights ---- */

/* Append the tensors of shard `part`, whose mapping and path are set, to the source. */
nib_status nib__safetensors_read(nib__source *source, uint32_t part, nib_error *err);
nib_status nib__torch_read(nib__source *source, uint32_t part, nib_error *err);

/* "path: message" */
nib_status nib__shard_fail(const nib__shard *shard, nib_error *err, nib_status code,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- element types and shapes (dtype.c) ---- */

/* By the name in a safetensors header ("F32", "I64"); NULL if unknown. What cannot be computed with
 * has no decode function and the format NIB__STORED. */
const nib__format_info *nib__dtype_find(const char *name, size_t len);
/* Sets n_dims, ne (the reverse of shape[n], which has the contiguous dimension last) and size.
 * false: n > 4, or the product does not fit. A dimension may be 0. */
bool nib__tensor_set_shape(nib__tensor *tensor, const nib__format_info *format, const size_t *shape,
                           size_t n);

#endif
