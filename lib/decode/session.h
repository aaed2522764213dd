/* SPDX-License-Identifier: MIT
 * A session: one stream of tokens, its KV cache, and the pass in progress.
 *
 * The stream has three parts: [0, n_evaluated) is in the cache, a pass in progress works on the next
 * few, the rest waits. `logits` belong to token n_evaluated - 1, if they are valid. */
#ifndef NIB_DECODE_SESSION_H
#define NIB_DECODE_SESSION_H

#include "decode/encode.h"

typedef struct nib__completion nib__completion; /* complete.c */
typedef struct nib__search nib__search;         /* beam.c */

struct nib_session {
    nib_allocator mem;
    nib_model *model;             /* one reference */
    nib_session_options options;  /* as resolved: no zeros left */
    nib_parallel parallel;        /* what options.parallel points to, unless NULL */
    nib__exec exec;
    nib__kv kv;
    nib__activations act;
    nib__encoding source;         /* of an encoder-decoder; an encoder alone */
    uint8_t *block;               /* memory behind tokens, logits, scratch and act */
    int32_t *tokens;              /* [n_ctx] */
    uint32_t n_tokens;            /* length of the stream */
    uint32_t n_evaluated;         /* of them in the KV cache */
    float *logits;                /* [n_vocab] after token n_evaluated - 1 */
    uint32_t logits_valid;
    nib__pass pass;               /* in progress while pass_active */
    uint32_t pass_active;
    uint64_t pass_ns;             /* time spent on it so far */
    uint64_t batch_mark;          /* of the batch's pass in progress that has a row of this session;
                                     0, and the row is lost, after anything that would change it */
    int32_t joint_mark, joint_end; /* UniXcoder's <encoder-decoder>, or -1, and </s> */
    double row_ns;                /* measured: time per row of a long pass; 0: not yet */
    atomic_int cancel;
    nib__completion *completion;  /* NULL: none; there is at most one of these two */
    nib__search *search;
    nib_session_stats stats;
};

/* Checks the options of a caller (complete, or NULL) and replaces zeros by defaults. */
nib_status nib__session_resolve(const nib_model *model, const nib_session_options *options,
                                nib_session_options *resolved, nib_error *err);

/* ARGUMENT if a session or batch cannot run on these threads. */
nib_status nib__check_threads(uint32_t n_threads, const nib_parallel *parallel, nib_error *err);
/* STATE if the model was opened without its weights. */
nib_status nib__check_weights(const nib_model *model, nib_error *err);

/* Working memory that a thread needs for the model and its encoder. */
size_t nib__session_slot_bytes(const nib_model *model);

/* Bytes of a session with resolved options; MEMORY if that overflows. */
nib_status nib__session_size(const nib_model *model, const nib_session_options *options,
                             uint64_t *bytes, nib_error *err);

nib_status nib__session_new(nib_model *model, const nib_session_options *resolved,
                            nib_session **session, nib_error *err);
void nib__session_free(nib_session *s); /* NULL is a no-op */
nib_status nib__session_fork(const nib_session *s, nib_session **fork, nib_error *err);

/* Edits of the stream; ids are checked. None of them evaluates. */
nib_status nib__session_set(nib_session *s, const int32_t *ids, size_t n, uint32_t *reused,
                            nib_error *err);
nib_status nib__session_append(nib_session *s, const int32_t *ids, size_t n, nib_error *err);
void nib__session_cut(nib_session *s, uint32_t n_tokens); /* to at most n_tokens */

/* The text that a decoder over an encoder looks at. The stream is to be evaluated anew. */
nib_status nib__session_set_source(nib_session *s, const int32_t *ids, size_t n, nib_error *err);
/* What the encoder makes of ids: out[n][n_embd], or their mean out[n_embd]. */
nib_status nib__session_embed(nib_session *s, const int32_t *ids, size_t n, uint32_t flags,
                              float *out, nib_error *err);

/* For the evaluation of a stream. Whether something has to be encoded first: true for encoders alone,
 * which have no stream that could be evaluated. */
bool nib__source_missing(const nib_session *s);
/* Does that, or says why it cannot be done; see nib__encoding_run. */
nib_status nib__source_encode(nib_session *s, uint64_t deadline_ns, nib_error *err);

/* Appends one token, checked by the caller against n_ctx. */
void nib__session_push(nib_session *s, int32_t id);

/* Evaluates pending tokens until all are in the cache and the logits are valid, or the deadline
 * (nib__now_ns; 0: none) passed. Returns NIB_OK in both cases: see nib__session_ready. CANCELLED
 * clears the flag and leaves the cache valid up to the last finished pass. */
nib_status nib__session_advance(nib_session *s, uint64_t deadline_ns, nib_error *err);

/* How many tokens at the start of the stream see each other, and are evaluated in one pass: those of
 * `<s> <encoder-decoder> </s> source </s>` (UniXcoder), of an unfinished source all; else 0. */
uint32_t nib__session_joint(const nib_session *s);

/* 1 if nothing is pending. */
int32_t nib__session_ready(const nib_session *s);

/* For batches. CANCELLED if somebody asked for it; the request is then forgotten. */
nib_status nib__session_check_cancel(nib_session *s, nib_error *err);
/* 1 if exactly one token is to be evaluated, from its beginning. */
int32_t nib__session_one_pending(const nib_session *s);
/* The pending token was evaluated elsewhere: logits[n_vocab] after it, and the time it took. */
void nib__session_take_row(nib_session *s, const float *logits, uint64_t ns);

/* Appends ids and writes the logits after each to logits[n][n_vocab]; on failure they are cut off
 * again. `rows` is the most to evaluate in one pass. */
nib_status nib__session_eval_logits(nib_session *s, const int32_t *ids, size_t n, uint32_t rows,
                                    float *logits, nib_error *err);

/* state.c: see nib_session_save and nib_session_load. */
nib_status nib__session_save(const nib_session *s, const char *path, nib_error *err);
nib_status nib__session_load(nib_session *s, const char *path, nib_error *err);

#endif
