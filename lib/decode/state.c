/* SPDX-License-Identifier: MIT
 * A session on disk. All numbers little-endian:
 *
 *     offset size
 *      0      8   magic "NIBSTATE"
 *      8      4   version: 1; 2 for encoder-decoders
 *     12      4   NIB_KV_*
 *     16      8   identity of the model
 *     24     16   u32 n_layer, n_head_kv, head_dim, n_vocab
 *     40     12   u32 n_tokens, n_evaluated, has_logits
 *     52      4   version 1: 0; version 2: u32 n_source
 *     56          i32 tokens[n_tokens]; i32 source[n_source]; if has_logits: f32 logits[n_vocab]
 *                 for each layer, for each KV head, with n = n_evaluated:
 *                     keys [ceil(n/16)][head_dim][16], positions from n on are 0
 *                     values [n][head_dim]; q8 only: f32 k_scale[n], v_scale[n]
 *     end    8    XXH64, seed 0, of everything before it
 *
 * Logits are kept because the prompt may have been evaluated by other kernels than a single token:
 * with them, going on after a restore gives the bits that going on at once would have given.
 *
 * Of a source its tokens are kept: encoding them again gives the same bits, and takes no longer
 * than reading what the encoder made of them would.
 *
 * A file is written under a temporary name, synced, and renamed, so that under its own name there
 * is always a whole one. Reading trusts nothing: sizes are computed from the session, the checksum
 * is verified, and only then does the session change. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/outfile.h"
#include "decode/complete.h"

enum { DECODER = 1, OVER_ENCODER = 2, HEADER = 56, TRAILER = 8, LANES = 16 };

typedef struct header {
    uint32_t version, kv_type;
    uint64_t identity;
    uint32_t n_layer, n_head_kv, head_dim, n_vocab;
    uint32_t n_tokens, n_evaluated, has_logits, n_source;
} header;

static header header_of(const nib_session *s)
{
    bool over = s->source.decoder != NULL;
    return (header){.version = over ? OVER_ENCODER : DECODER,
                    .kv_type = s->kv.type,
                    .identity = s->model->identity,
                    .n_layer = s->kv.n_layer,
                    .n_head_kv = s->kv.n_head_kv,
                    .head_dim = s->kv.head_dim,
                    .n_vocab = s->model->config.n_vocab,
                    .n_tokens = s->n_tokens,
                    .n_evaluated = s->n_evaluated,
                    .has_logits = s->logits_valid,
                    .n_source = over ? s->source.n : 0};
}

static void encode(const header *h, uint8_t bytes[HEADER])
{
    memcpy(bytes, "NIBSTATE", 8);
    nib__put_le32(bytes + 8, h->version);
    nib__put_le32(bytes + 12, h->kv_type);
    nib__put_le64(bytes + 16, h->identity);
    const uint32_t rest[] = {h->n_layer,  h->n_head_kv,   h->head_dim,   h->n_vocab,
                             h->n_tokens, h->n_evaluated, h->has_logits, h->n_source};
    for (int i = 0; i < 8; i++) nib__put_le32(bytes + 24 + 4 * i, rest[i]);
}

static header decode(const uint8_t bytes[HEADER])
{
    return (header){.version = nib__le32(bytes + 8),
                    .kv_type = nib__le32(bytes + 12),
                    .identity = nib__le64(bytes + 16),
                    .n_layer = nib__le32(bytes + 24),
                    .n_head_kv = nib__le32(bytes + 28),
                    .head_dim = nib__le32(bytes + 32),
                    .n_vocab = nib__le32(bytes + 36),
                    .n_tokens = nib__le32(bytes + 40),
                    .n_evaluated = nib__le32(bytes + 44),
                    .has_logits = nib__le32(bytes + 48),
                    .n_source = nib__le32(bytes + 52)};
}

/* Bytes of the file that this header describes; false if that overflows. */
static bool file_size(const header *h, size_t *size)
{
    size_t n = h->n_evaluated, blocks = nib__align_up(n, LANES), head, all, tokens, source, logits;
    size_t element = nib__kv_element(h->kv_type);
    size_t scales = h->kv_type == NIB_KV_Q8 ? 2 * n * sizeof(float) : 0;
    return nib__mul(blocks + n, h->head_dim * element, &head) && nib__add(head, scales, &head) &&
           nib__mul(head, (size_t)h->n_layer * h->n_head_kv, &all) &&
           nib__mul(h->n_tokens, sizeof(int32_t), &tokens) &&
           nib__mul(h->n_source, sizeof(int32_t), &source) && nib__add(tokens, source, &tokens) &&
           nib__mul(h->has_logits ? h->n_vocab : 0, sizeof(float), &logits) &&
           nib__add(all, tokens, size) && nib__add(*size, logits, size) &&
           nib__add(*size, HEADER + TRAILER, size);
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct writer {
    nib__outfile file;
    nib__hash hash;
    nib_error *err;
} writer;

static nib_status put(writer *w, const void *data, size_t size)
{
    nib__hash_add(&w->hash, data, size);
    return nib__outfile_put(&w->file, data, size, w->err);
}

/* Keys of n positions in blocks of 16; what lies behind position n - 1 is forgotten text, and is
 * written as 0. */
static nib_status put_keys(writer *w, const nib__kv_head *kv, size_t n, size_t element)
{
    size_t whole = n / LANES, rest = n % LANES, row = LANES * element;
    const uint8_t *k = kv->k;
    nib_status status = put(w, k, whole * kv->dim * row);
    k += whole * kv->dim * row;
    for (uint32_t d = 0; rest != 0 && d < kv->dim && status == NIB_OK; d++) {
        uint8_t lanes[LANES * sizeof(float)] = {0};
        memcpy(lanes, k + d * row, rest * element);
        status = put(w, lanes, row);
    }
    return status;
}

static nib_status put_head(writer *w, const nib__kv_head *kv, size_t n)
{
    bool q8 = kv->type == NIB_KV_Q8;
    size_t element = nib__kv_element(kv->type);
    nib_status status = put_keys(w, kv, n, element);
    if (status == NIB_OK) status = put(w, kv->v, n * kv->dim * element);
    if (status == NIB_OK && q8) status = put(w, kv->k_scale, n * sizeof(float));
    if (status == NIB_OK && q8) status = put(w, kv->v_scale, n * sizeof(float));
    return status;
}

static nib_status put_session(writer *w, const nib_session *s)
{
    uint8_t bytes[HEADER], trailer[TRAILER];
    header h = header_of(s);
    encode(&h, bytes);
    nib_status status = put(w, bytes, sizeof bytes);
    if (status == NIB_OK) status = put(w, s->tokens, s->n_tokens * sizeof *s->tokens);
    if (status == NIB_OK && h.n_source != 0)
        status = put(w, s->source.ids, h.n_source * sizeof *s->source.ids);
    if (status == NIB_OK && h.has_logits) status = put(w, s->logits, h.n_vocab * sizeof *s->logits);
    for (uint32_t i = 0; i < h.n_layer * h.n_head_kv && status == NIB_OK; i++) {
        nib__kv_head kv = nib__kv_view(&s->kv, i / h.n_head_kv, i % h.n_head_kv);
        status = put_head(w, &kv, h.n_evaluated);
    }
    nib__put_le64(trailer, nib__hash_value(&w->hash));
    return status == NIB_OK ? put(w, trailer, sizeof trailer) : status;
}

/* An encoder alone has no stream, and its cache room for one position only. */
static nib_status check_stream(const nib_session *s, nib_error *err)
{
    if (!s->model->config.both_ways) return NIB_OK;
    return nib__fail(err, NIB_ERR_UNSUPPORTED,
                     "architecture %s gives hidden states: there is no stream to save or load",
                     s->model->config.arch);
}

nib_status nib__session_save(const nib_session *s, const char *path, nib_error *err)
{
    enum { PRIVATE = 0600, BUFFER = 64 << 10 }; /* a session is somebody's text */
    writer w = {.err = err};
    nib__hash_init(&w.hash, 0);
    nib_status status = check_stream(s, err);
    if (status != NIB_OK) return status;
    status = nib__outfile_open(&w.file, &s->mem, path, PRIVATE, BUFFER, err);
    if (status == NIB_OK) status = put_session(&w, s);
    if (status == NIB_OK) status = nib__outfile_commit(&w.file, err);
    nib__outfile_close(&w.file);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static nib_status read_all(int fd, uint8_t *to, size_t size, uint64_t offset, const char *path,
                           nib_error *err)
{
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, to + at, size - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            return nib__fail_at(err, NIB_ERR_IO, offset + at, "%s: cannot read: %s (errno %d)",
                                path, nib__errno_str(errno), errno);
        }
        if (n == 0) {
            return nib__fail_at(err, NIB_ERR_FORMAT, offset + at,
                                "%s: the file ends, expected %zu bytes more", path, size - at);
        }
        at += (size_t)n;
    }
    return NIB_OK;
}

/* Everything that can be told from the header and the size of the file. */
static nib_status check_header(const nib_session *s, const uint8_t *bytes, const header *h,
                               uint64_t actual, const char *path, nib_error *err)
{
    header own = header_of(s);
    size_t expected = 0;
    if (memcmp(bytes, "NIBSTATE", 8) != 0)
        return nib__fail_at(err, NIB_ERR_FORMAT, 0, "%s: not a saved session", path);
    if (h->version != own.version) {
        return nib__fail_at(err, NIB_ERR_MISMATCH, 8, "%s: version: expected %u, got %u", path,
                            own.version, h->version);
    }
    if (h->identity != own.identity || h->n_layer != own.n_layer || h->head_dim != own.head_dim ||
        h->n_head_kv != own.n_head_kv || h->n_vocab != own.n_vocab) {
        return nib__fail_at(err, NIB_ERR_MISMATCH, 16, "%s: saved with another model", path);
    }
    if (h->kv_type != own.kv_type) {
        return nib__fail_at(err, NIB_ERR_MISMATCH, 12, "%s: cache type: expected %u, got %u", path,
                            own.kv_type, h->kv_type);
    }
    bool no_source = h->n_source == 0 && h->n_evaluated != 0;
    if (h->n_evaluated > h->n_tokens || h->has_logits > 1 ||
        (h->has_logits && h->n_evaluated == 0) ||
        (h->version == DECODER ? h->n_source != 0 : no_source))
        return nib__fail_at(err, NIB_ERR_FORMAT, 40, "%s: impossible counts", path);
    if (h->n_tokens > s->options.n_ctx) {
        return nib__fail_at(err, NIB_ERR_LIMIT, 40, "%s: %u tokens do not fit n_ctx %u", path,
                            h->n_tokens, s->options.n_ctx);
    }
    if (h->n_source > s->source.capacity) {
        return nib__fail_at(err, NIB_ERR_LIMIT, 52, "%s: a source of %u tokens, room is for %u",
                            path, h->n_source, s->source.capacity);
    }
    if (!file_size(h, &expected) || expected != actual) {
        return nib__fail_at(err, NIB_ERR_FORMAT, actual,
                            "%s: the file has %llu bytes, expected %zu", path,
                            (unsigned long long)actual, expected);
    }
    return NIB_OK;
}

/* ids[n] at an offset in the file. */
static nib_status check_ids(const uint8_t *ids, uint32_t n, uint32_t n_vocab, size_t offset,
                            const char *path, nib_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = nib__le32(ids + 4 * i);
        if (id < n_vocab) continue;
        return nib__fail_at(err, NIB_ERR_FORMAT, offset + 4 * i,
                            "%s: token %zu: id %u out of range", path, i, id);
    }
    return NIB_OK;
}

static nib_status check_tokens(const nib_session *s, const header *h, const uint8_t *body,
                               const char *path, nib_error *err)
{
    size_t tokens = 4 * (size_t)h->n_tokens;
    nib_status status = check_ids(body, h->n_tokens, h->n_vocab, HEADER, path, err);
    if (status != NIB_OK || h->n_source == 0) return status;
    uint32_t n_vocab = s->source.encoder->config.n_vocab;
    return check_ids(body + tokens, h->n_source, n_vocab, HEADER + tokens, path, err);
}

static void take_head(const nib__kv_head *kv, size_t n, nib__cursor *from)
{
    bool q8 = kv->type == NIB_KV_Q8;
    size_t row = kv->dim * nib__kv_element(kv->type);
    size_t keys = nib__align_up(n, LANES) * row, scales = n * sizeof(float);
    memcpy(kv->k, nib__cursor_take(from, keys), keys);
    memcpy(kv->v, nib__cursor_take(from, n * row), n * row);
    if (!q8) return;
    memcpy(kv->k_scale, nib__cursor_take(from, scales), scales);
    memcpy(kv->v_scale, nib__cursor_take(from, scales), scales);
}

/* From here on nothing can fail: the size of the body was computed from this header. */
static void restore(nib_session *s, const header *h, const uint8_t *body, size_t size)
{
    nib__cursor from = {.base = body, .size = size};
    nib__complete_end(s);
    s->pass_active = 0;
    s->batch_mark = 0;
    size_t tokens = h->n_tokens * sizeof *s->tokens, logits = h->n_vocab * sizeof *s->logits;
    size_t source = h->n_source * sizeof *s->source.ids;
    memcpy(s->tokens, nib__cursor_take(&from, tokens), tokens);
    if (source != 0) memcpy(s->source.ids, nib__cursor_take(&from, source), source);
    s->source.n = h->n_source;
    s->source.active = s->source.done = false;
    if (h->has_logits) memcpy(s->logits, nib__cursor_take(&from, logits), logits);
    for (uint32_t i = 0; i < h->n_layer * h->n_head_kv; i++) {
        nib__kv_head kv = nib__kv_view(&s->kv, i / h->n_head_kv, i % h->n_head_kv);
        take_head(&kv, h->n_evaluated, &from);
    }
    s->n_tokens = h->n_tokens;
    s->n_evaluated = h->n_evaluated;
    s->logits_valid = h->has_logits;
}

static nib_status load_file(nib_session *s, int fd, const char *path, nib_error *err)
{
    struct stat st;
    uint8_t bytes[HEADER];
    if (fstat(fd, &st) != 0)
        return nib__fail(err, NIB_ERR_IO, "%s: cannot stat: %s (errno %d)", path,
                         nib__errno_str(errno), errno);
    if (!S_ISREG(st.st_mode))
        return nib__fail(err, NIB_ERR_IO, "%s: expected a regular file", path);
    nib_status status = read_all(fd, bytes, HEADER, 0, path, err);
    if (status != NIB_OK) return status;
    header h = decode(bytes);
    status = check_header(s, bytes, &h, (uint64_t)st.st_size, path, err);
    if (status != NIB_OK) return status;

    size_t size = (size_t)st.st_size - HEADER;
    uint8_t *body = nib__alloc_raw(&s->mem, size, 1);
    if (body == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for %zu bytes", path, size);
    status = read_all(fd, body, size, HEADER, path, err);
    if (status != NIB_OK) goto done;
    size -= TRAILER;
    nib__hash hash;
    nib__hash_init(&hash, 0);
    nib__hash_add(&hash, bytes, HEADER);
    nib__hash_add(&hash, body, size);
    if (nib__hash_value(&hash) != nib__le64(body + size)) {
        status = nib__fail_at(err, NIB_ERR_FORMAT, HEADER + size,
                              "%s: the checksum does not fit: the file is damaged", path);
        goto done;
    }
    status = check_tokens(s, &h, body, path, err);
    if (status == NIB_OK) restore(s, &h, body, size);
done:
    nib__free(&s->mem, body);
    return status;
}

nib_status nib__session_load(nib_session *s, const char *path, nib_error *err)
{
    nib_status status = check_stream(s, err);
    if (status != NIB_OK) return status;
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return nib__fail(err, NIB_ERR_IO, "%s: cannot open: %s (errno %d)", path,
                         nib__errno_str(errno), errno);
    status = load_file(s, fd, path, err);
    close(fd);
    return status;
}
