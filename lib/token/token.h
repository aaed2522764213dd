/* SPDX-License-Identifier: MIT
 * Text <-> token ids. Takes its vocabulary from file metadata, knows nothing of tensors. A
 * tokenizer is immutable after it is made and may be used by any number of threads. */
#ifndef NIB_TOKEN_TOKEN_H
#define NIB_TOKEN_TOKEN_H

#include "file/source.h"

typedef struct nib__tokenizer nib__tokenizer;

/* Reads tokenizer.ggml.* of a GGUF file, or the tokenizer files of a directory; what is not known is
 * NIB_ERR_UNSUPPORTED and named. Copies all it needs: the source may be closed afterwards.
 * A directory without tokenizer files gives a tokenizer that refuses text and has no special ids. The
 * size is at least the vocab_size of a directory's config.json: the ids above have no text. */
nib_status nib__tokenizer_new(const nib_allocator *mem, const nib__source *source,
                              nib__tokenizer **tokenizer, nib_error *err);

/* The files of a Hugging Face directory by name, wherever they are. */
typedef struct nib__token_files {
    /* NIB_OK, NIB__ABSENT or an error; the bytes stay until the tokenizer is made. */
    int32_t (*get)(const void *ctx, const char *name, nib__str *bytes, nib_error *err);
    const void *ctx;
    const char *where; /* for messages */
} nib__token_files;
nib_status nib__tokenizer_from_files(const nib_allocator *mem, const nib__token_files *files,
                                     nib__tokenizer **tokenizer, nib_error *err);
void nib__tokenizer_free(nib__tokenizer *tokenizer);

const char *nib__tokenizer_name(const nib__tokenizer *t); /* "bpe/qwen2", "spm", "unigram", "wpm" */
uint32_t nib__tokenizer_size(const nib__tokenizer *t);    /* ids are 0 .. size-1 */
int32_t nib__tokenizer_special(const nib__tokenizer *t, uint32_t which); /* NIB_TOKEN_*; -1: none */
int32_t nib__tokenizer_is_end(const nib__tokenizer *t, int32_t id);
int32_t nib__tokenizer_is_control(const nib__tokenizer *t, int32_t id); /* special, no text */
int32_t nib__tokenizer_find(const nib__tokenizer *t, const char *text, size_t len); /* exact; -1 */

/* A growing list of ids; the caller frees it with nib__ids_free. */
typedef struct nib__ids {
    nib_allocator mem;
    int32_t *items;
    size_t count, cap;
} nib__ids;
nib__ids nib__ids_make(const nib_allocator *mem);
int32_t nib__ids_push(nib__ids *ids, int32_t id); /* 0: out of memory */
void nib__ids_free(nib__ids *ids);

/* Appends the ids of text[len] to `ids`; flags are NIB_TOKENIZE_*. On failure `ids` is as before.
 */
nib_status nib__tokenize(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags,
                         nib__ids *ids, nib_error *err);
/* The same without a SentencePiece-style leading space: the continuation of other text (the
 * suffix and the middle of a fill-in-the-middle prompt). */
nib_status nib__tokenize_continuation(const nib__tokenizer *t, const char *text, size_t len,
                                      nib__ids *ids, nib_error *err);
/* Appends the tokens that NIB_TOKENIZE_BOS puts before a text, or behind it. */
nib_status nib__tokenizer_frame(const nib__tokenizer *t, bool behind, nib__ids *ids,
                                nib_error *err);

/* Raw bytes of one id as they stand in running text (control tokens: none, unless
 * NIB_TOKENIZE_SPECIAL). Valid as long as the tokenizer. `id` must be in range. */
nib__str nib__token_bytes(const nib__tokenizer *t, int32_t id, uint32_t flags);
size_t nib__tokenizer_max_bytes(const nib__tokenizer *t);

/* ids -> bytes, exactly as the reference decoder; the semantics of nib_detokenize. */
nib_status nib__detokenize(const nib__tokenizer *t, const int32_t *ids, size_t n, uint32_t flags,
                           char *text, size_t cap, size_t *len, nib_error *err);
nib_status nib__detok_push(const nib__tokenizer *t, nib_detok *state, int32_t id, char *text,
                           size_t cap, size_t *len, nib_error *err);

#endif
