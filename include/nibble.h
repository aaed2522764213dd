/* SPDX-License-Identifier: MIT
 *
 * nibble: complete code with a language model, on the CPU, inside your process.
 *
 *     nib_model *model;  nib_session *session;  nib_error err;
 *     if (nib_model_open("model.gguf", NULL, &model, &err)) return puts(err.text), 1;
 *     if (nib_session_new(model, NULL, &session, &err)) return puts(err.text), 1;
 *     char text[4096];  size_t len;
 *     if (nib_complete(session, "int add(int a, int b) {", 23, NULL, text, sizeof text, &len, &err))
 *         return puts(err.text), 1;
 *     fwrite(text, 1, len, stdout);
 *     nib_session_free(session);  nib_model_free(model);
 *
 * This header is the specification: what is not in it is not API.
 *
 * Rules that hold everywhere
 *  - Functions that can fail return a status: NIB_OK (0) or a negative NIB_ERR_*. On failure no out
 *    parameter is written (unless its comment says otherwise) and nothing has to be freed.
 *  - `err` may be NULL. On failure it says what failed and where; on success it is left alone.
 *  - Options structs are filled by their nib_*_options_init(&o, sizeof o), then edited. NULL means
 *    the defaults. They only ever grow at the end, so an older caller works with a newer library.
 *  - A nib_model is immutable: any number of threads and sessions may use it at once.
 *    A nib_session or nib_batch belongs to one thread at a time; only nib_session_cancel and
 *    nib_batch_cancel may be called from another thread (or a signal handler) while a call is running.
 *  - The library never aborts, exits, prints, or starts a thread unless told to, and has no mutable
 *    global state. It reads three environment variables when a model is opened and the options leave
 *    them open: NIB_ISA, NIB_PRECISION and NIB_GEMM.
 *  - Text is bytes with a length. It may hold NUL and invalid UTF-8; both survive unchanged.
 */
#ifndef NIBBLE_H
#define NIBBLE_H

#include <stddef.h>
#include <stdint.h>

#define NIB_VERSION_MAJOR 0
#define NIB_VERSION_MINOR 1
#define NIB_VERSION_PATCH 0

#if defined(__GNUC__)
#define NIB_API __attribute__((visibility("default")))
#else
#define NIB_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version and status ---------------------------------------------------------------------- */

/* Version of the library that is running: major << 16 | minor << 8 | patch. */
NIB_API uint32_t nib_version(void);

/* One line naming the instruction sets and options compiled in. Static storage. */
NIB_API const char *nib_build_info(void);

typedef int32_t nib_status;

enum {
    NIB_OK = 0,
    NIB_ERR_ARGUMENT = -1,    /* an argument or option is outside its documented range */
    NIB_ERR_MEMORY = -2,      /* the allocator returned NULL */
    NIB_ERR_CANCELLED = -3,   /* nib_session_cancel, or a callback asked to stop */
    NIB_ERR_LIMIT = -4,       /* does not fit: context, buffer or configured limit */
    NIB_ERR_STATE = -5,       /* the call is not possible now (e.g. no logits yet) */
    NIB_ERR_THREAD = -6,      /* not given now: where threads cannot be started, fewer do the work */
    NIB_ERR_IO = -20,         /* the operating system refused a file operation */
    NIB_ERR_FORMAT = -21,     /* a file breaks the rules of its format */
    NIB_ERR_UNSUPPORTED = -22,/* well formed, but not something this library can run */
    NIB_ERR_MISMATCH = -23    /* a saved session belongs to another model or version */
};

/* Name of a status, e.g. "file format". Static storage; never NULL, whatever the value. */
NIB_API const char *nib_status_str(nib_status status);

/* The message of the last failure, kept in memory of the caller. */
typedef struct nib_error {
    nib_status code;
    uint32_t reserved;
    uint64_t offset; /* byte offset in the file, or UINT64_MAX where that means nothing */
    char text[256];  /* one line, UTF-8, NUL terminated: file, tensor or key, expected and got */
} nib_error;

/* ---- hooks ----------------------------------------------------------------------------------- */

/* Memory for one model or session. `alloc` returns memory aligned to `align` (a power of two) or
 * NULL; `free` accepts NULL. Both may be called from several threads while a model is opened with
 * n_threads > 1, and by every thread that uses the model afterwards. Default: aligned malloc. The
 * struct is copied; `user` must outlive the handle. */
typedef struct nib_allocator {
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*free)(void *user, void *ptr);
    void *user;
} nib_allocator;

/* The host's own thread pool. `run` must call task(arg, i) once for every i in [0, n_tasks), in any
 * order, on any threads, and return when all are done. `n_threads` is how many it can run at once. */
typedef struct nib_parallel {
    void (*run)(void *user, uint32_t n_tasks, void (*task)(void *arg, uint32_t i), void *arg);
    void *user;
    uint32_t n_threads;
} nib_parallel;

/* ---- model ----------------------------------------------------------------------------------- */

typedef struct nib_model nib_model;

enum { /* nib_model_options.precision: how activations are rounded on their way into a matmul */
    NIB_PRECISION_DEFAULT = 0, /* decode: 16-bit activations; prefill: the best fast path of the CPU */
    NIB_PRECISION_EXACT = 1,   /* the decode path everywhere: prefill and decode give the same bits */
    NIB_PRECISION_FAST = 2,    /* 8-bit activations in decode, too: within the accuracy gate of prefill */
    NIB_PRECISION_F32 = 3      /* float32 activations, weights decoded on the fly: slow reference */
};

enum { /* nib_model_options.flags */
    NIB_OPEN_INSPECT = 1,      /* read metadata and tokenizer, no weights; the only way to open a
                                  file that holds a tokenizer only */
    NIB_OPEN_VERIFY = 2        /* repacked files: compare the weights with their checksum first
                                  (FORMAT if damaged); UNSUPPORTED for other files */
};

enum { /* nib_model_options.load */
    NIB_LOAD_AS_STORED = 0,    /* as in the file, losing nothing */
    NIB_LOAD_F32 = 1,
    NIB_LOAD_F16 = 2,
    NIB_LOAD_BF16 = 3,
    NIB_LOAD_INT8 = 4          /* 8-bit codes with one scale per output row */
};

enum { /* nib_model_options.gemm: who multiplies the rows of a prompt with float and int8 weights */
    NIB_GEMM_DEFAULT = 0,      /* what was measured to be fastest on such a CPU */
    NIB_GEMM_NATIVE = 1,       /* this library; coded weights and few rows are always its own */
    NIB_GEMM_ONEDNN = 2,       /* UNSUPPORTED if libdnnl.so.2 cannot be loaded */
    NIB_GEMM_OPENBLAS = 3      /* float weights only; UNSUPPORTED if libopenblas.so.0 cannot be */
};

typedef struct nib_model_options {
    uint32_t struct_size;
    uint32_t flags;            /* NIB_OPEN_* */
    uint32_t n_threads;        /* threads used while loading; 0 or 1: the calling thread only */
    uint32_t precision;        /* NIB_PRECISION_*; DEFAULT also lets NIB_PRECISION= decide */
    const char *isa;           /* highest instruction set allowed ("scalar", "avx2", "avx512vnni",
                                  "avx512bf16", "amx", "neon", "dotprod", ...); NULL: NIB_ISA=,
                                  else all */
    const nib_allocator *allocator; /* NULL: aligned malloc */
    int32_t (*progress)(void *user, double fraction); /* 0 to 1, ascending, on the calling thread;
                                  non-zero return cancels the load */
    void *progress_user;
    uint32_t load;             /* NIB_LOAD_*: numbers of linear maps in memory */
    uint32_t gemm;             /* NIB_GEMM_*; DEFAULT also lets NIB_GEMM= decide */
    const char *cache_dir;     /* NULL: none; else a folder for packed weights, as told below */
} nib_model_options;

NIB_API void nib_model_options_init(nib_model_options *options, size_t size);

/* Opens a model, which is one of
 *  - a GGUF file (v2 or v3; of a split model any part);
 *  - a Hugging Face directory: config.json, weights, and the files of the tokenizer. Weights are, the
 *    first that exists: model.safetensors, model.safetensors.index.json with its shards,
 *    pytorch_model.bin (PyTorch 1.6 or later), pytorch_model.bin.index.json with its shards;
 *  - a weight file or index in such a directory, to choose one of several.
 * Files are mapped, not copied, and nothing in them is trusted: a pickle is read as data and cannot
 * run anything. On success *model has one reference, owned by the caller. The files must not be
 * changed in place while the model is open (replacing one by a rename is fine); if one is, the next
 * evaluation fails with NIB_ERR_IO.
 * Errors: ARGUMENT, MEMORY, CANCELLED, IO, FORMAT, UNSUPPORTED; the message names the file, and the
 * key, field or tensor.
 * cache_dir: the first time that a GGUF file is opened with it, its packed weights are also written to
 * a file in that folder, which takes about the size of the model and a second or two per gigabyte,
 * synced, before this returns (progress is called with 1; it can still cancel). From then on that file
 * is mapped and used where it lies, as one with NIB_SCHEME_REPACK: no work, no memory of its own, the
 * same bits. It is private to the user, one per model, and replaced when the model's file changes in
 * any way; a damaged one is replaced, too. The folder is made if its parent exists; removing its files
 * clears it. What cannot be read or written there is no error: nib_model_info.cache says how it went.
 * Other models, and other options of `load` and `flags`, are opened without it. */
NIB_API nib_status nib_model_open(const char *path, const nib_model_options *options,
                                  nib_model **model, nib_error *err);

/* A GGUF file in memory, which must stay valid and unchanged until the model is freed. */
NIB_API nib_status nib_model_open_memory(const void *data, size_t size,
                                         const nib_model_options *options, nib_model **model,
                                         nib_error *err);

/* Adds a reference; every reference needs its own nib_model_free. Any thread. */
NIB_API nib_model *nib_model_retain(nib_model *model);

/* Drops a reference. NULL is a no-op. Sessions hold their own reference. Any thread. */
NIB_API void nib_model_free(nib_model *model);

enum { /* nib_model_info.kind */
    NIB_MODEL_DECODER = 0,
    NIB_MODEL_ENCODER_DECODER = 1, /* T5, CodeT5, BART, PLBART: see nib_session_set_source */
    NIB_MODEL_ENCODER = 2          /* RoBERTa, CodeBERT: hidden states only, nib_session_embed */
};

enum { /* nib_model_info.cache */
    NIB_CACHE_NONE = 0,        /* not asked for, or not for such a model */
    NIB_CACHE_USED = 1,        /* the weights are those of a file in cache_dir */
    NIB_CACHE_WRITTEN = 2,     /* they were packed, and such a file was written */
    NIB_CACHE_FAILED = 3       /* they were packed, and none could be written */
};

typedef struct nib_model_info {
    uint32_t struct_size;
    uint32_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab;
    uint32_t n_ctx_train;      /* positions the model was trained for */
    uint32_t fim_family;       /* NIB_FIM_*: fill-in-the-middle format, or NIB_FIM_NONE */
    uint64_t n_params;
    uint64_t file_bytes;       /* bytes of tensor data in the file */
    uint64_t weight_bytes;     /* bytes that loading the weights takes, or took; of a repacked file
                                  the bytes used where they lie, which processes share */
    uint64_t kv_bytes_per_token; /* of a session with the f16 cache */
    char architecture[32];     /* e.g. "llama" */
    char name[96];
    char formats[128];         /* e.g. "Q4_K:169 Q6_K:29 F32:141" */
    char tokenizer[64];        /* e.g. "bpe/qwen2" */
    char isa[32];              /* instruction set chosen for this model */
    uint32_t repacked;         /* 1: a file made by nib_quantize with NIB_SCHEME_REPACK, or one of
                                  cache_dir */
    uint32_t kind;             /* NIB_MODEL_* */
    uint32_t n_encoder_layer;  /* 0 for decoders; n_layer are the decoder's, if there is one */
    int32_t start_id;          /* encoder-decoders: the token that a stream begins with; -1: it
                                  depends on the task (PLBART's language code) */
    uint32_t cache;            /* NIB_CACHE_* */
    uint32_t reserved;
    char cache_note[256];      /* FAILED: why */
} nib_model_info;

/* Fills *info up to the size given by nib_model_info.struct_size, which the caller sets. Any thread.
 * Errors: ARGUMENT (NULL, or a struct_size that cannot be). */
NIB_API nib_status nib_model_get_info(const nib_model *model, nib_model_info *info);

/* ---- tokens ---------------------------------------------------------------------------------- */

enum { /* flags of nib_tokenize and nib_detokenize */
    NIB_TOKENIZE_BOS = 1,      /* put the model's begin (and end) tokens where it expects them */
    NIB_TOKENIZE_SPECIAL = 2   /* let text such as "<|endoftext|>" become the special token;
                                  in nib_detokenize: write special tokens as their text */
};

/* Text to token ids. Writes at most `cap` ids and always sets *n_ids to the number needed; if that
 * is more than `cap` the status is NIB_ERR_LIMIT. `ids` may be NULL when cap is 0. Linear time and
 * constant stack for any input. Errors: ARGUMENT, MEMORY, LIMIT, UNSUPPORTED. */
NIB_API nib_status nib_tokenize(const nib_model *model, const char *text, size_t len, uint32_t flags,
                                int32_t *ids, size_t cap, size_t *n_ids, nib_error *err);

/* Token ids to the exact bytes they stand for; same buffer rule. Errors: ARGUMENT (an id outside the
 * vocabulary), MEMORY, LIMIT. */
NIB_API nib_status nib_detokenize(const nib_model *model, const int32_t *ids, size_t n_ids,
                                  uint32_t flags, char *text, size_t cap, size_t *len,
                                  nib_error *err);

/* Streaming detokenizer: holds back an unfinished UTF-8 sequence, so that what it writes is never
 * half a code point (bytes that can no longer become valid UTF-8 are passed on as they are). */
typedef struct nib_detok {
    uint32_t n_pending;
    uint32_t n_seen;          /* tokens seen; the first one drops a SentencePiece leading space */
    uint8_t pending[8];
} nib_detok;

NIB_API void nib_detok_init(nib_detok *state);

/* Feeds one id (or flushes with id = -1). Writes at most `cap` bytes; a token can need as many as
 * nib_token_max_bytes(model) + 8. LIMIT, and an unchanged state, if cap is too small. */
NIB_API nib_status nib_detok_push(const nib_model *model, nib_detok *state, int32_t id, char *text,
                                  size_t cap, size_t *len, nib_error *err);

/* The most bytes that one token of the vocabulary stands for. */
NIB_API size_t nib_token_max_bytes(const nib_model *model);

enum {
    NIB_TOKEN_BOS = 0, NIB_TOKEN_EOS = 1, NIB_TOKEN_EOT = 2, NIB_TOKEN_PAD = 3,
    NIB_TOKEN_FIM_PREFIX = 4, NIB_TOKEN_FIM_SUFFIX = 5, NIB_TOKEN_FIM_MIDDLE = 6,
    NIB_TOKEN_FIM_PAD = 7, NIB_TOKEN_REPO = 8, NIB_TOKEN_FILE = 9, NIB_TOKEN_UNK = 10
};

/* Id of a special token, or -1 if the model has none. */
NIB_API int32_t nib_token_special(const nib_model *model, uint32_t which);

/* 1 if the id ends a generation for this model, else 0. */
NIB_API int32_t nib_token_is_end(const nib_model *model, int32_t id);

/* ---- session --------------------------------------------------------------------------------- */

typedef struct nib_session nib_session;

enum { NIB_KV_F16 = 0, NIB_KV_Q8 = 1 };

typedef struct nib_session_options {
    uint32_t struct_size;
    uint32_t n_ctx;            /* positions the KV cache can hold; 0: min(trained context, 4096) */
    uint32_t n_threads;        /* 0 or 1: the calling thread only; 2 .. 256: a pool that is parked
                                  whenever no call is running, and takes none of the process's
                                  signals. Fewer are used if fewer start. */
    uint32_t kv_type;          /* NIB_KV_* */
    uint32_t n_batch;          /* most prompt tokens evaluated in one pass; 0: 512. UniXcoder: most
                                  tokens of a source, which see each other (else LIMIT) */
    uint32_t reserved;
    const nib_parallel *parallel;   /* the host's threads instead of n_threads */
    const nib_allocator *allocator; /* NULL: the model's */
} nib_session_options;

NIB_API void nib_session_options_init(nib_session_options *options, size_t size);

/* Bytes that a session with these options would take, its KV cache among them. The model may have been
 * opened with NIB_OPEN_INSPECT. Errors: ARGUMENT, MEMORY (more than there are addresses for), STATE (a
 * file that holds a tokenizer only). */
NIB_API nib_status nib_session_memory(const nib_model *model, const nib_session_options *options,
                                      uint64_t *bytes, nib_error *err);

/* A session, owned by the caller, with a reference to the model of its own. Takes nib_session_memory
 * bytes at once, and no more until something else is asked of it: the text of a completion, a beam
 * search. Errors: ARGUMENT, MEMORY, STATE (the model has no weights: NIB_OPEN_INSPECT). */
NIB_API nib_status nib_session_new(nib_model *model, const nib_session_options *options,
                                   nib_session **session, nib_error *err);

/* NULL is a no-op. Must not run together with any other call on this session. */
NIB_API void nib_session_free(nib_session *session);

/* A new session with the same options, tokens, source and KV cache, that then goes its own way; owned
 * by the caller. It has threads of its own, and no completion in progress. Errors: MEMORY. */
NIB_API nib_status nib_session_fork(const nib_session *session, nib_session **fork, nib_error *err);

/* Makes `ids` the token stream of the session. The KV cache of the longest common prefix is kept:
 * its length goes to *reused (may be NULL). Evaluates nothing yet; nib_session_step or _eval does.
 * Ends a completion in progress. Errors: ARGUMENT (id out of range), LIMIT (longer than n_ctx). */
NIB_API nib_status nib_session_set_tokens(nib_session *session, const int32_t *ids, size_t n_ids,
                                          size_t *reused, nib_error *err);

/* Appends ids to the stream; same errors. */
NIB_API nib_status nib_session_append(nib_session *session, const int32_t *ids, size_t n_ids,
                                      nib_error *err);

/* Forgets all tokens from position n_tokens on. Growing is an ARGUMENT error. */
NIB_API nib_status nib_session_truncate(nib_session *session, size_t n_tokens, nib_error *err);

/* The token stream; valid until the next call on the session. *n_evaluated (may be NULL) is how
 * many of them are in the KV cache. */
NIB_API nib_status nib_session_tokens(const nib_session *session, const int32_t **ids,
                                      size_t *n_ids, size_t *n_evaluated);

/* Evaluates all tokens not yet in the KV cache; blocks. After a failure the passes that were finished
 * count, and another call goes on. Errors: CANCELLED, IO (the model's file was changed), STATE (an
 * encoder-decoder without a source; a model that is only an encoder). */
NIB_API nib_status nib_session_eval(nib_session *session, nib_error *err);

enum { NIB_EVAL_STEPWISE = 1 }; /* one token at a time, through the decode path */

/* Appends ids and writes the logits after each: logits[n_ids][n_vocab]. For evaluation and tests. On
 * failure the stream ends where it did, and what `logits` holds is undefined.
 * Errors: as nib_session_append and nib_session_eval. */
NIB_API nib_status nib_session_eval_logits(nib_session *session, const int32_t *ids, size_t n_ids,
                                           uint32_t flags, float *logits, nib_error *err);

/* Logits after the last token: float[n_vocab], valid until the next call on the session.
 * STATE if the last token has not been evaluated. */
NIB_API nib_status nib_session_logits(const nib_session *session, const float **logits,
                                      size_t *n_vocab, nib_error *err);

/* Encoder-decoders: makes `ids` the source text, which the decoder looks at. It is encoded once, when
 * the stream is evaluated next, and kept until another source is set; setting the same again costs
 * nothing. The stream stays, but is evaluated anew; it begins with nib_model_info.start_id. Ends a
 * completion in progress. Errors: ARGUMENT, LIMIT (more than n_ctx tokens, or than the encoder has
 * positions), STATE (the model has no encoder that it decodes from). */
NIB_API nib_status nib_session_set_source(nib_session *session, const int32_t *ids, size_t n_ids,
                                          nib_error *err);

enum { NIB_EMBED_MEAN = 1 }; /* one vector: the mean over all tokens */

/* Encoders, and the encoders of encoder-decoders: hidden states of the last layer for `ids`, which
 * see each other in both directions: out[n_ids][n_embd], or out[n_embd] with NIB_EMBED_MEAN. Blocks.
 * Takes the place of the source of an encoder-decoder. Errors: as nib_session_set_source, CANCELLED. */
NIB_API nib_status nib_session_embed(nib_session *session, const int32_t *ids, size_t n_ids,
                                     uint32_t flags, float *out, nib_error *err);

/* Asks the running call, or the next one, to stop: it returns NIB_ERR_CANCELLED within a few
 * milliseconds and the session stays usable, with the KV cache valid up to the last finished
 * chunk. Any thread; async-signal-safe. */
NIB_API void nib_session_cancel(nib_session *session);

/* Writes tokens, source tokens and KV cache to a file (beside its place, synced, renamed). A source is
 * encoded again when the restored stream goes on. Errors: IO, MEMORY, UNSUPPORTED (encoders). */
NIB_API nib_status nib_session_save(const nib_session *session, const char *path, nib_error *err);

/* Replaces the session's stream by a saved one. On failure the session is unchanged.
 * Errors: IO, MEMORY, FORMAT (damaged), MISMATCH (other model, cache type or version), LIMIT (n_ctx),
 * UNSUPPORTED (encoders). */
NIB_API nib_status nib_session_load(nib_session *session, const char *path, nib_error *err);

typedef struct nib_session_stats {
    uint32_t struct_size;
    uint32_t n_threads;        /* threads that really run */
    uint64_t n_prefill;        /* prompt tokens evaluated since the session was made */
    uint64_t n_decode;         /* tokens evaluated one at a time */
    uint64_t n_reused;         /* prompt tokens that were still in the KV cache */
    uint64_t prefill_ns, decode_ns, sample_ns; /* time taken, since the session was made */
    uint64_t memory_bytes;     /* owned by this session */
} nib_session_stats;

/* As nib_model_get_info; not while another thread uses the session. */
NIB_API nib_status nib_session_get_stats(const nib_session *session, nib_session_stats *stats);

/* ---- sampling and completion ----------------------------------------------------------------- */

typedef struct nib_logit_bias {
    int32_t id;
    float bias;                /* added to the logit; -INFINITY bans the token */
} nib_logit_bias;

typedef struct nib_text {
    const char *data;
    size_t len;
} nib_text;

typedef struct nib_complete_options {
    uint32_t struct_size;
    uint32_t max_tokens;       /* default 128 */
    /* Sampling, applied in this order: bias, penalties, temperature, top_k, typical, top_p, min_p,
     * draw. Temperature 0 (the default) is greedy: the largest logit, smallest id on a tie. */
    float temperature;
    uint32_t top_k;            /* 0: off */
    float top_p;               /* 1: off */
    float min_p;               /* 0: off */
    float typical_p;           /* 1: off */
    float repeat_penalty;      /* 1: off; over the last penalty_window tokens, as are the next two */
    float frequency_penalty;   /* 0: off */
    float presence_penalty;    /* 0: off */
    uint32_t penalty_window;   /* default 64 */
    uint64_t seed;             /* same seed, same text: draws depend on (seed, position) only */
    const nib_logit_bias *bias;
    size_t n_bias;
    /* Stopping */
    const nib_text *stops;     /* stop strings; the text ends before the first one found */
    size_t n_stops;
    uint32_t single_line;      /* stop before the first newline that follows a non-blank character */
    uint32_t stop_indent;      /* n > 0: stop before the newline above a non-blank line indented by
                                  less than n (spaces and tabs count 1; not the cursor's line) */
    uint32_t stop_suffix;      /* stop where the text starts to repeat the suffix: its first non-blank
                                  line as a whole line, or its beginning up to the 8th non-blank
                                  byte (ARGUMENT without a suffix) */
    uint32_t max_time_ms;      /* 0: off; after that stop at the next line end */
    /* Reporting */
    uint32_t n_logprobs;       /* most likely alternatives kept per token, at most 32 */
    uint32_t ignore_end;       /* 1: end tokens do not stop (benchmarks) */
} nib_complete_options;

NIB_API void nib_complete_options_init(nib_complete_options *options, size_t size);

enum { /* why a completion ended */
    NIB_STOP_NONE = 0, NIB_STOP_END_TOKEN = 1, NIB_STOP_LENGTH = 2, NIB_STOP_STRING = 3,
    NIB_STOP_LINE = 4, NIB_STOP_INDENT = 5, NIB_STOP_SUFFIX = 6, NIB_STOP_TIME = 7,
    NIB_STOP_CONTEXT = 8
};

typedef struct nib_logprob {
    int32_t id;
    float logprob;             /* natural log, under the model's own law (temperature 1, no filter) */
} nib_logprob;

/* What one nib_session_step brought. Pointers are valid until the next call on the session. */
typedef struct nib_step {
    uint32_t struct_size;
    uint32_t done;             /* 1: nothing is left to do */
    uint32_t stop_reason;      /* NIB_STOP_*, once done */
    uint32_t n_left;           /* prompt tokens still to evaluate */
    const char *text;          /* new text: whole code points, never part of a stop string */
    size_t text_len;
    const nib_logprob *tokens; /* tokens drawn in this step, with their log probabilities; an end
                                  token is among them, but not in the session's stream */
    size_t n_tokens;
    const nib_logprob *top;    /* [n_tokens][n_logprobs], most likely first */
} nib_step;

/* Starts a completion of `prompt`. Tokens in common with the session's stream are reused. Nothing is
 * evaluated yet. The options, their stops and biases are copied. Of an encoder-decoder the prompt
 * becomes the source (nib_session_set_source), and the text is what the decoder makes of it.
 * Errors: ARGUMENT, MEMORY, LIMIT (prompt longer than the context). */
NIB_API nib_status nib_complete_begin(nib_session *session, const char *prompt, size_t len,
                                      const nib_complete_options *options, nib_error *err);

/* The same from the tokens the session already holds. */
NIB_API nib_status nib_complete_begin_tokens(nib_session *session,
                                             const nib_complete_options *options, nib_error *err);

/* Works for about `budget_us` microseconds (0: until there is something to report), then returns:
 * an event loop needs no thread. Without a completion in progress it evaluates pending tokens.
 * After a failure (CANCELLED, MEMORY) the completion can go on: the next step reports what was lost.
 * step->struct_size must be set by the caller. */
NIB_API nib_status nib_session_step(nib_session *session, uint64_t budget_us, nib_step *step,
                                    nib_error *err);

/* begin + step until done; text goes to `text` (LIMIT if cap is too small: the text that fitted is
 * there, *len says how much). */
NIB_API nib_status nib_complete(nib_session *session, const char *prompt, size_t len,
                                const nib_complete_options *options, char *text, size_t cap,
                                size_t *text_len, nib_error *err);

/* ---- beam search ----------------------------------------------------------------------------- */

enum { /* nib_beam_options.early_stopping: when to stop once n_beams texts have ended */
    NIB_BEAM_STOP_LIKELY = 0,  /* when the best unfinished one is worse as it stands ("False") */
    NIB_BEAM_STOP_EARLY = 1,   /* at once ("True") */
    NIB_BEAM_STOP_NEVER = 2    /* when no unfinished one could become better ("never") */
};

enum { /* nib_beam_options.rules */
    NIB_BEAM_RULES_MODEL = 0,  /* those of the checkpoint (generation_config.json), but for what stands
                                  in the options: forced_bos_token_id, forced_eos_token_id,
                                  min_length, min_new_tokens, no_repeat_ngram_size,
                                  repetition_penalty, suppress_tokens and begin_suppress_tokens;
                                  others that change a text are UNSUPPORTED */
    NIB_BEAM_RULES_OPTIONS = 1 /* those of the options alone */
};

/* The settings of `generate` in transformers, with their meaning there. */
typedef struct nib_beam_options {
    uint32_t struct_size;
    uint32_t n_beams;          /* default 4; 1 .. 16 */
    uint32_t max_tokens;       /* default 128; "max_new_tokens" */
    uint32_t n_results;        /* default 1; at most n_beams; "num_return_sequences" */
    double length_penalty;     /* default 1; -10 .. 10: a text's score is the sum of its tokens' log
                                  probabilities over its length to this power, so that positive
                                  values favour long texts and negative ones short texts */
    uint32_t early_stopping;   /* NIB_BEAM_STOP_* */
    uint32_t n_end_ids;        /* at most 32; 0: the end tokens of the model */
    const int32_t *end_ids;    /* copied */
    uint32_t rules;            /* NIB_BEAM_RULES_* */
    uint32_t min_tokens;       /* no text ends before so many: "min_new_tokens"; 0: no rule */
    uint32_t no_repeat_ngram;  /* no run of so many tokens comes twice, the prompt's (of an
                                  encoder-decoder: not the source's) included; 0: no rule */
    int32_t first_id;          /* what a text begins with if the prompt is one token; default -1: any */
    int32_t last_id;           /* what a text of max_tokens ends with; default -1: any */
    uint32_t reserved;
    double repetition_penalty; /* 0: no rule; else 0.001 .. 1000: log probabilities of tokens that are
                                  there already are multiplied by it */
} nib_beam_options;

NIB_API void nib_beam_options_init(nib_beam_options *options, size_t size);

/* Starts a search for the likeliest texts after `prompt`: n_beams candidates grow together, each with
 * its own KV cache, in one pass over the weights. As nib_complete_begin in all else; in particular the
 * prompt of an encoder-decoder becomes its source, which all beams share.
 * nib_session_step (or nib_batch_step) does the work; with a budget of 0 it returns after a token of
 * every beam. The last step (done) brings the best text as its text. The session's stream is the prompt
 * and stays so. Any edit of it, or another begin, ends the search. After a failure (CANCELLED, MEMORY)
 * it can go on. Errors: ARGUMENT, MEMORY, LIMIT (no room in the context). */
NIB_API nib_status nib_beam_begin(nib_session *session, const char *prompt, size_t len,
                                  const nib_beam_options *options, nib_error *err);

/* The same from the tokens the session already holds. */
NIB_API nib_status nib_beam_begin_tokens(nib_session *session, const nib_beam_options *options,
                                         nib_error *err);

/* Bytes that a search from the session's stream takes while it lasts, on top of nib_session_memory and
 * without its texts: mostly n_beams - 1 KV caches of stream and max_tokens. Errors: ARGUMENT, LIMIT. */
NIB_API nib_status nib_beam_memory(const nib_session *session, const nib_beam_options *options,
                                   uint64_t *bytes, nib_error *err);

/* Pointers are valid until the search ends: with the next edit, begin or load, or the session. That
 * edit may be given them: nib_session_append(session, result.ids, result.n_ids, &err). */
typedef struct nib_beam_result {
    uint32_t struct_size;
    uint32_t n_results;        /* how many there are: n_results of the options, unless the model's
                                  vocabulary offers fewer texts */
    const int32_t *ids;        /* after the prompt, without the end token */
    size_t n_ids;
    const char *text;
    size_t text_len;
    double score;
    uint32_t ended;            /* 1: by an end token; 0: by max_tokens or the context */
    uint32_t reserved;
} nib_beam_result;

/* Text number `index` of a search that is done, best first. The caller sets struct_size.
 * Errors: ARGUMENT (not so many), STATE (no search, or not done). */
NIB_API nib_status nib_beam_get_result(const nib_session *session, uint32_t index,
                                       nib_beam_result *result, nib_error *err);

/* ---- batches: many sessions in one step ------------------------------------------------------ */

/* Threads and working memory for steps of many sessions of one model. For one thread at a time. */
typedef struct nib_batch nib_batch;

typedef struct nib_batch_options {
    uint32_t struct_size;
    uint32_t n_threads;        /* as in nib_session_options; the sessions' own threads are not used */
    uint32_t max_rows;         /* most sessions in one pass over the weights; 0: 16, the most */
    uint32_t reserved;
    const nib_parallel *parallel;
    const nib_allocator *allocator; /* NULL: the model's */
} nib_batch_options;

NIB_API void nib_batch_options_init(nib_batch_options *options, size_t size);

/* A batch, owned by the caller, with a reference to the model of its own.
 * Errors: ARGUMENT, MEMORY, STATE (the model has no weights). */
NIB_API nib_status nib_batch_new(nib_model *model, const nib_batch_options *options,
                                 nib_batch **batch, nib_error *err);

/* NULL is a no-op. The sessions it has stepped stay as they are. */
NIB_API void nib_batch_free(nib_batch *batch);

/* Does for each of sessions[n] what nib_session_step does, with the same results bit by bit, but reads
 * the weights once for up to max_rows sessions that generate. Any mixture of sessions of the model:
 * with prompts, generating, searching (beams of one session are a pass of their own), done, without a
 * completion; the array may change between two steps.
 * budget_us: for all together (0: until each has something to report). What an interrupted step has
 * done of a token is lost unless the next step has the same sessions again, among others or alone.
 * statuses[n]: how it went with each session (CANCELLED by nib_session_cancel, MEMORY ...), which
 * does not concern the others. steps[n]: what each brought, if its status is OK; the caller sets
 * struct_size of the first, which is the distance between two. errors[n] may be NULL.
 * Errors of the call itself, after which statuses are undefined and every session is usable:
 * ARGUMENT (a session of another model, or twice in the array), CANCELLED (nib_batch_cancel), IO. */
NIB_API nib_status nib_batch_step(nib_batch *batch, nib_session *const *sessions, size_t n,
                                  uint64_t budget_us, nib_step *steps, nib_status *statuses,
                                  nib_error *errors, nib_error *err);

/* As nib_session_cancel, for the step in progress or the next one. */
NIB_API void nib_batch_cancel(nib_batch *batch);

/* ---- fill in the middle ---------------------------------------------------------------------- */

enum { /* nib_model_info.fim_family */
    NIB_FIM_NONE = 0, NIB_FIM_QWEN = 1, NIB_FIM_STARCODER = 2, NIB_FIM_SANTACODER = 3,
    NIB_FIM_STARCODER2 = 4, NIB_FIM_CODELLAMA = 5, NIB_FIM_CODEGEMMA = 6, NIB_FIM_DEEPSEEK = 7,
    NIB_FIM_CODESTRAL = 8, NIB_FIM_INCODER = 9, NIB_FIM_CODEGEN2 = 10, NIB_FIM_GENERIC = 11,
    /* Encoder-decoders */
    NIB_FIM_T5 = 12,           /* CodeT5, T5: sentinels */
    NIB_FIM_BYT5 = 13,         /* bytes for sentinels: text that has bytes 0xfe or 0xff is refused */
    NIB_FIM_BART = 14          /* BART, PLBART: a mask */
};

enum { /* nib_fim.layout: where the typed part of the cursor's line goes */
    NIB_FIM_LAYOUT_DEFAULT = 0,
    NIB_FIM_LAYOUT_LINE_LAST = 1, /* after the middle marker, but for its indentation: a keystroke
                                     re-evaluates only the line; default of decoders */
    NIB_FIM_LAYOUT_PREFIX = 2     /* in the prefix: a keystroke re-evaluates the whole suffix; default
                                     of encoder-decoders, as they were trained */
};

typedef struct nib_fim_file {
    nib_text path;
    nib_text content;
} nib_fim_file;

typedef struct nib_fim {
    uint32_t struct_size;
    uint32_t layout;           /* NIB_FIM_LAYOUT_* */
    nib_text prefix;           /* text before the cursor */
    nib_text suffix;           /* text after the cursor */
    nib_text repo;             /* optional: repository name */
    nib_text path;             /* optional: path of this file */
    const nib_fim_file *files; /* optional: other files, least relevant first */
    size_t n_files;
    uint32_t max_tokens;       /* prompt budget; 0: what the context allows. Prefix is cut from its
                                  top and suffix from its bottom, at line starts, 3 to 1 */
    uint32_t reserved;
    nib_text language;         /* optional, PLBART: "python", "java", "en_XX"; otherwise what the
                                  tokenizer's files say. ARGUMENT if the vocabulary has no such tag */
} nib_fim;

NIB_API void nib_fim_init(nib_fim *fim, size_t size);

/* Builds the token sequence the model was trained on, of an encoder-decoder its source; same buffer
 * rule as nib_tokenize. Marker text inside the user's code stays plain text. UNSUPPORTED if the model
 * has no such format. */
NIB_API nib_status nib_fim_build(const nib_model *model, const nib_fim *fim, int32_t *ids, size_t cap,
                                 size_t *n_ids, nib_error *err);

/* Starts a fill-in-the-middle completion; as nib_complete_begin. The text reported starts at the
 * cursor. With NIB_FIM_LAYOUT_LINE_LAST the word the cursor is in is left out of the prompt and drawn
 * again, only tokens that agree with what was typed being allowed: it may be the beginning of a token
 * that the model knows as a whole. Those tokens are reported too; max_tokens counts from the cursor.
 * Encoder-decoders get the text with a hole as their source; blanks at the cursor are always left out
 * and drawn again. The stream begins with what the decoder
 * writes before the middle: a sentinel (T5), or all of the prefix (BART). A sentinel ends the middle,
 * or the beginning of the suffix, as the tokenizer gives it back, up to its 16th non-blank byte; a
 * shorter suffix only where an end token follows (stop_reason NIB_STOP_SUFFIX). */
NIB_API nib_status nib_fim_begin(nib_session *session, const nib_fim *fim,
                                 const nib_complete_options *options, nib_error *err);

/* ---- writing models -------------------------------------------------------------------------- */

enum { /* nib_quantize_options.scheme */
    NIB_SCHEME_REPACK = 1      /* the same numbers, laid out as this library computes with them: such
                                  a file is used where it lies, without work or memory of its own,
                                  and gives the same bits. Not for other programs. */
};

typedef struct nib_quantize_options {
    uint32_t struct_size;
    uint32_t scheme;           /* NIB_SCHEME_*; required */
    uint32_t n_threads;        /* 0 or 1: the calling thread only */
    uint32_t reserved;
    const nib_allocator *allocator; /* NULL: aligned malloc */
    int32_t (*progress)(void *user, double fraction); /* as in nib_model_options */
    void *progress_user;
} nib_quantize_options;

NIB_API void nib_quantize_options_init(nib_quantize_options *options, size_t size);

/* Reads the model at `in` and writes it to `out`, in a few megabytes of memory. The file appears
 * under its name only once it is whole and synced; until then, and on failure, what was there stays.
 * Errors: as nib_model_open; ARGUMENT (unknown scheme), IO (also for writing), CANCELLED. */
NIB_API nib_status nib_quantize(const char *in, const char *out, const nib_quantize_options *options,
                                nib_error *err);

#ifdef __cplusplus
}
#endif
#endif
