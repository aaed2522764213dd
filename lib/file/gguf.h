/* SPDX-License-Identifier: MIT
 * One parsed GGUF file (a part of a model, or all of it), shared by the files of this stage.
 *
 * gguf_parse.c  bytes -> nib__gguf: the only code that reads the untrusted header
 * gguf_meta.c   typed getters over the checked key/value pairs
 * gguf_packed.c the additions of repacked files
 * source.c      one or several parts -> nib__source */
#ifndef NIB_FILE_GGUF_H
#define NIB_FILE_GGUF_H

#include "file/shown.h"
#include "file/source.h"

enum {
    NIB__GGUF_MAX_KEYS = 1 << 20,
    NIB__GGUF_MAX_TENSORS = 1 << 20,
    NIB__GGUF_MAX_KEY_LEN = 65535,  /* GGUF specification */
    NIB__GGUF_MAX_NAME_LEN = 255,   /* the specification says 64; some writers do not care */
    NIB__GGUF_MAX_STRING = 1 << 30, /* bytes of a string, elements of an array */
    NIB__GGUF_ALIGNMENT = 32        /* where general.alignment is absent */
};

/* One key. 24 bytes, because a key can take as little as 14 bytes of a hostile file. */
typedef struct nib__gguf_key {
    const uint8_t *record; /* in the file: u64 length of the name, the name (no NUL), u32 type */
    const uint8_t *value;  /* first byte after the type; its extent was checked */
    uint32_t name_len;
    uint32_t type; /* nib__meta_type */
} nib__gguf_key;

typedef struct nib__gguf {
    nib_allocator mem;
    nib__map map;
    char *path;            /* as opened; "(memory)" */
    nib__gguf_key *keys;   /* [n_keys + 1], in file order; of the last only .record counts */
    uint32_t *keys_sorted; /* [n_keys] indices, by name */
    size_t n_keys;
    nib__tensor *tensors; /* [n_tensors], in file order */
    size_t n_tensors;
    char *names; /* NUL-terminated names of the tensors, one after the other */
    size_t data_start; /* offset of the data section; beyond the file if that has no data */
    bool packed;       /* a repacked file, see packed.h */
} nib__gguf;

/* Parses and checks gguf->map; mem, map and path were set by the caller. On failure, too, what was
 * allocated is in *gguf for nib__gguf_free to release. */
nib_status nib__gguf_parse(nib__gguf *gguf, nib_error *err);
/* Frees memory and path and closes the mapping; a zeroed struct is a no-op. */
void nib__gguf_free(nib__gguf *gguf);

static inline const char *nib__gguf_key_name(const nib__gguf_key *key)
{
    return (const char *)key->record + 8;
}

/* First byte after the key's value, which is where the next record begins. */
static inline const uint8_t *nib__gguf_value_end(const nib__gguf_key *key)
{
    return key[1].record;
}

/* NULL if there is no such key. */
const nib__gguf_key *nib__gguf_find(const nib__gguf *gguf, const char *key);
/* As the getters of source.h: any integer type whose value lies in [min, max]. */
int32_t nib__gguf_i64(const nib__gguf *gguf, const char *key, int64_t min, int64_t max,
                      int64_t *value, nib_error *err);

/* Bytes of a fixed-size metadata type; 0 for strings, arrays and unknown types. */
size_t nib__gguf_type_size(uint32_t type);
const char *nib__gguf_type_name(uint32_t type);

/* "path: byte N: message", with the tail of a long path; NIB_NO_OFFSET leaves the byte out. */
nib_status nib__gguf_fail(const nib__gguf *gguf, nib_error *err, nib_status code, uint64_t offset,
                          const char *format, ...) __attribute__((format(printf, 5, 6)));

static inline nib__shown nib__show_key(const nib__gguf_key *key)
{
    return nib__show(nib__gguf_key_name(key), key->name_len);
}

#endif
