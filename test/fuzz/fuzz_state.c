/* SPDX-License-Identifier: MIT
 * Fuzz target: a saved session that was damaged. The input is a list of changes to a file that the
 * target saves itself, so that the corpus outlives changes of the format:
 *
 * byte 0: bit 0: q8 instead of f16 cache; bit 1: logits saved; bit 2: leave the checksum wrong; bit
 * 3: a session of an encoder-decoder, which has a source.
 *
 * bytes 1 and 2: new size of the file, old size + (little-endian value - 32768).
 *
 * Then three bytes per change: offset (little endian) and the new value of that byte.
 *
 * Broken are a crash, a session that changes when the load fails, and one that cannot go on after
 * a load that succeeds. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "fixture.h"
#include "nibble.h"
#include "temp_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_IDS = 5, N_KINDS = 8, OVER_ENCODER = 4, MAX_GROWTH = 1 << 16 };
static const int32_t ids[N_IDS] = {40, 41, 42, 43, 44};

static void require(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "fuzz_state: %s\n", what);
    abort();
}

/* A session in a known state, with the file it saves. */
typedef struct subject {
    nib_session *session;
    uint8_t *file;
    size_t size;
} subject;

static nib_model *open_model(size_t kind)
{
    static nib_model *models[2];
    nib_model **model = &models[(kind & OVER_ENCODER) != 0];
    nib_error err = {0};
    if (*model != NULL) return *model;
    const char *path =
        kind & OVER_ENCODER ? "fixtures/seq2seq/t5_gated" : "fuzz/corpus/model/llama_bpe.gguf";
    require(nib_model_open(fixture_path(path), NULL, model, &err) == NIB_OK, err.text);
    return *model;
}

/* Tokens evaluated if their logits are wanted, else the last one is not. */
static void prepare(nib_session *session, size_t kind)
{
    int with_logits = kind >> 1 & 1;
    size_t n = with_logits ? N_IDS : N_IDS - 1;
    if (kind & OVER_ENCODER)
        require(nib_session_set_source(session, ids + 1, 3, NULL) == NIB_OK, "set_source");
    require(nib_session_set_tokens(session, ids, n, NULL, NULL) == NIB_OK, "set_tokens");
    require(nib_session_eval(session, NULL) == NIB_OK, "eval");
    if (with_logits) return;
    require(nib_session_append(session, ids + n, 1, NULL) == NIB_OK, "append");
}

static uint8_t *save(nib_session *session, size_t *size)
{
    temp_dir folder;
    temp_dir_make(&folder);
    const char *path = temp_dir_file(&folder, "state");
    require(nib_session_save(session, path, NULL) == NIB_OK, "save");
    uint8_t *file = file_read(path, size);
    temp_dir_remove(&folder);
    require(file != NULL, "saved file");
    return file;
}

static subject *subject_of(size_t kind)
{
    static subject subjects[N_KINDS];
    subject *s = &subjects[kind];
    if (s->session != NULL) return s;
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = 32;
    options.kv_type = kind & 1 ? NIB_KV_Q8 : NIB_KV_F16;
    require(nib_session_new(open_model(kind), &options, &s->session, NULL) == NIB_OK, "session");
    prepare(s->session, kind);
    s->file = save(s->session, &s->size);
    require(s->size > 64 && s->size < MAX_GROWTH, "size of the saved file");
    return s;
}

/* The damaged file, from malloc. */
static uint8_t *damage(const subject *s, const uint8_t *data, size_t size, size_t *file_size)
{
    long wanted = (long)s->size + (data[1] | data[2] << 8) - 32768;
    *file_size = wanted < 0 ? 0 : (size_t)wanted;
    uint8_t *file = calloc(*file_size + 1, 1);
    require(file != NULL, "out of memory");
    memcpy(file, s->file, s->size < *file_size ? s->size : *file_size);
    for (size_t i = 3; i + 3 <= size; i += 3) {
        size_t at = (size_t)(data[i] | data[i + 1] << 8);
        if (at < *file_size) file[at] = data[i + 2];
    }
    if (!(data[0] & 4) && *file_size >= 8) { /* behind the checksum is where the parser is */
        nib__hash hash;
        nib__hash_init(&hash, 0);
        nib__hash_add(&hash, file, *file_size - 8);
        uint64_t value = nib__hash_value(&hash);
        for (int i = 0; i < 8; i++) file[*file_size - 8 + i] = (uint8_t)(value >> 8 * i);
    }
    return file;
}

/* nib_session_load from memory. */
static nib_status load(nib_session *session, const uint8_t *file, size_t size, nib_error *err)
{
    char path[64];
    int fd = memfd_create("state", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, file, size) == (ssize_t)size, "memfd");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    nib_status status = nib_session_load(session, path, err);
    close(fd);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    size_t kind = (data[0] & 3) | (data[0] & 8 ? OVER_ENCODER : 0), file_size, n_before, n_after,
           n_vocab;
    subject *s = subject_of(kind);
    const int32_t *tokens;
    const float *logits;
    nib_error err = {0};
    prepare(s->session, kind);
    uint8_t *file = damage(s, data, size, &file_size);
    nib_status status = load(s->session, file, file_size, &err);
    free(file);
    require(nib_session_tokens(s->session, &tokens, &n_after, &n_before) == NIB_OK, "tokens");
    if (status != NIB_OK) {
        require(err.code == status && err.text[0] != '\0', "no message");
        require(n_after == N_IDS && memcmp(tokens, ids, sizeof ids) == 0, "session changed");
        return 0;
    }
    for (size_t i = 0; i < n_after; i++) require(tokens[i] >= 0, "token out of range");
    if (n_after >= 32) return 0; /* full */
    require(nib_session_append(s->session, ids, 1, &err) == NIB_OK, err.text);
    status = nib_session_eval(s->session, &err);
    if (status == NIB_ERR_STATE && kind & OVER_ENCODER) return 0; /* saved before it had a source */
    require(status == NIB_OK, err.text);
    require(nib_session_logits(s->session, &logits, &n_vocab, &err) == NIB_OK, err.text);
    return 0;
}
