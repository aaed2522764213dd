/* SPDX-License-Identifier: MIT
 * The only output of this stage: named tensors with bytes, and metadata with typed getters. Nothing
 * read from it may be trusted beyond what the comments here promise. */
#ifndef NIB_FILE_SOURCE_H
#define NIB_FILE_SOURCE_H

#include "base/map.h"
#include "quant/format.h"

enum { NIB__MAX_DIMS = 4 };

/* Checkpoints of Hugging Face also hold tensors that cannot be computed with (position ids, masks,
 * float64): their format->decode is NULL, and whoever wants one must refuse it by name. Tensors
 * without elements are left out.
 * Promises: ne[i] >= 1 (1 beyond n_dims); the product fits size_t; ne[0] is a multiple of the block
 * size; data[0..size) lies inside the file, at any alignment, and size is exactly what format and shape
 * need; of a packed tensor, what its panels need. It overlaps no other tensor, but in a
 * pytorch_model.bin, where tied weights share bytes. Views there whose rows do not follow each other
 * were copied into memory of the source's. */
typedef struct nib__tensor {
    const char *name; /* NUL terminated, unique in the source */
    const nib__format_info *format;
    uint32_t n_dims;
    size_t ne[NIB__MAX_DIMS]; /* ne[0] is contiguous: the input dimension K; ne[1] the rows N */
    const uint8_t *data;
    size_t size;   /* bytes */
    uint32_t part; /* which file of a split model holds it */
    bool packed;   /* data are the panels of lib/kernels, not rows: repacked files (packed.h) */
    bool copied;   /* data are not in the file */
} nib__tensor;

typedef struct nib__source nib__source;

/* Opens a GGUF file (and, if it is split, its other parts), a Hugging Face directory, or a weight
 * file of one (*.safetensors; its directory must hold the config.json). The source owns mappings and
 * names. Tensors of a GGUF of a type that cannot be computed with are an error that names them. */
nib_status nib__source_open(const nib_allocator *mem, const char *path, nib__source **source,
                            nib_error *err);
nib_status nib__source_open_memory(const nib_allocator *mem, const void *data, size_t size,
                                   nib__source **source, nib_error *err);
void nib__source_close(nib__source *source); /* NULL is a no-op */

/* What was opened, and the file that holds a tensor, as messages name them: the end of a long path,
 * which must not take the room of the message; "(memory)" for memory. */
const char *nib__source_path(const nib__source *source);
const char *nib__source_path_of(const nib__source *source, const nib__tensor *tensor);

/* What the names of tensors and metadata follow. */
typedef enum nib__naming {
    NIB__NAMING_GGUF, /* the GGUF specification: "blk.0.attn_q.weight", "llama.block_count" */
    NIB__NAMING_HF    /* a Hugging Face directory: tensors as in the checkpoint; metadata are the
                         fields of config.json, nested ones with dots ("rope_scaling.factor"), and
                         "generation_config." with those of generation_config.json; null counts
                         as absent */
} nib__naming;
nib__naming nib__source_naming(const nib__source *source);

/* A small file beside the weights (directories only): "tokenizer.json", "vocab.json",
 * "tokenizer_config.json". Mapped as long as the source is open. NIB_OK; NIB__ABSENT; NIB_ERR_IO;
 * NIB_ERR_FORMAT: it is empty. One thread at a time. */
struct nib__str;
int32_t nib__source_file(const nib__source *source, const char *name, struct nib__str *bytes,
                         nib_error *err);
size_t nib__source_tensor_count(const nib__source *source);
const nib__tensor *nib__source_tensor_at(const nib__source *source, size_t i);
const nib__tensor *nib__source_tensor(const nib__source *source, const char *name); /* NULL: none */

/* 1: a repacked file (packed.h): all vectors are float32 and, like all panels, aligned. */
int32_t nib__source_repacked(const nib__source *source);
/* Repacked files: NIB_OK and the identity of the model they were made from; NIB__ABSENT; FORMAT. */
int32_t nib__source_identity(const nib__source *source, uint64_t *identity, nib_error *err);
/* Compares the data with the checksum in the file. FORMAT: damaged; UNSUPPORTED: there is none. */
nib_status nib__source_verify(const nib__source *source, nib_error *err);

/* NIB_ERR_IO if a mapped file changed since it was opened. */
nib_status nib__source_check(const nib__source *source, nib_error *err);
/* All of the file will be read again and again. */
void nib__source_stream(const nib__source *source);
/* Only a few rows here and there will be read from now on; nothing of it stays resident. */
void nib__source_rest(const nib__source *source);
/* These bytes of the tensor are about to be read; they will not be read again soon. */
void nib__source_need(const nib__source *source, const nib__tensor *tensor, size_t at, size_t size);
void nib__source_drop(const nib__source *source, const nib__tensor *tensor, size_t at, size_t size);

/* ---- metadata: key/value pairs of GGUF, fields of config.json ---- */

/* Ids of the GGUF specification. */
typedef enum nib__meta_type {
    NIB__META_U8,
    NIB__META_I8,
    NIB__META_U16,
    NIB__META_I16,
    NIB__META_U32,
    NIB__META_I32,
    NIB__META_F32,
    NIB__META_BOOL,
    NIB__META_STRING,
    NIB__META_ARRAY,
    NIB__META_U64,
    NIB__META_I64,
    NIB__META_F64,
    NIB__META_OBJECT = 100, /* not GGUF: an object of config.json; its fields are keys with dots */
    NIB__META_NULL = -2     /* not GGUF: there, but null, which all others take for absent */
} nib__meta_type;

typedef struct nib__str {
    const char *data; /* not NUL terminated; may hold any byte */
    size_t len;
} nib__str;

/* A bounds-checked array in the file. Elements are read with the nib__array_* getters. */
typedef struct nib__array {
    nib__meta_type type;
    uint64_t count;
    const uint8_t *data; /* strings: an index of offsets was checked when the file was opened */
    size_t size;
} nib__array;

/* Each getter: NIB_OK and *value; 1 (positive) if the key is absent, *value untouched; or
 * NIB_ERR_FORMAT with a message if the key has another type or is out of range for it. Any integer
 * type is accepted where the value fits; f64 is accepted for f32. */
enum { NIB__ABSENT = 1 };
int32_t nib__meta_u32(const nib__source *s, const char *key, uint32_t *value, nib_error *err);
int32_t nib__meta_i64(const nib__source *s, const char *key, int64_t *value, nib_error *err);
int32_t nib__meta_f32(const nib__source *s, const char *key, float *value, nib_error *err);
int32_t nib__meta_bool(const nib__source *s, const char *key, int32_t *value, nib_error *err);
int32_t nib__meta_str(const nib__source *s, const char *key, nib__str *value, nib_error *err);
/* The element type must be the one asked for, but u32 and i32 stand for each other (raw bits). */
int32_t nib__meta_array(const nib__source *s, const char *key, nib__meta_type type,
                        nib__array *value, nib_error *err);
/* Type of a key, or -1 if it is absent (an array gives NIB__META_ARRAY); null is negative, too. */
int32_t nib__meta_type_of(const nib__source *s, const char *key);

uint32_t nib__array_u32(const nib__array *a, uint64_t i); /* for u32 and i32 arrays: the raw bits */
float nib__array_f32(const nib__array *a, uint64_t i);
/* Strings have no fixed size, so they are walked: start with *at = 0; false when done. */
int32_t nib__array_next_str(const nib__array *a, size_t *at, nib__str *value);

#endif
