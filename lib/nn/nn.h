/* SPDX-License-Identifier: MIT
 * Layers over packed weights: they see kernels, a thread pool and a cancel flag; no file, no text.
 */
#ifndef NIB_NN_NN_H
#define NIB_NN_NN_H

#include "model/model.h"

/* ---- running pieces -------------------------------------------------------------------------- */

enum { NIB__RATES = 3 * NIB__WEIGHT_KINDS + 2 }; /* maps of one, few, many rows; attention */

/* What every layer needs to run; one per session, used by one thread at a time. */
typedef struct nib__exec {
    const nib__kernels *kernels;
    nib__pool *pool;      /* NULL: the calling thread only */
    atomic_int *cancel;   /* non-zero: stop; looked at before every piece of work; may be NULL */
    atomic_int *cancel_all; /* the same, of whoever runs several of these; NULL: nobody */
    uint8_t *scratch;     /* [n_slots][slot_bytes] working memory of kernels, 64-byte aligned */
    size_t slot_bytes;    /* nib__exec_slot_bytes */
    uint32_t n_slots;     /* nib__pool_threads(pool) */
    uint64_t deadline_ns; /* no piece starts after this, but for the first; 0: none */
    uint32_t first;       /* pieces of the next region that are already done; else 0 */
    float ns_per_mac[NIB__RATES]; /* measured, per kind of work; 0: not yet. Decides only how work
                                is cut into pieces, never the result */
} nib__exec;

/* Working memory one slot needs for this model: a multiple of 64. */
size_t nib__exec_slot_bytes(const nib_model *model);

/* Some pieces are left: their number is exec->first, and the same call goes on from there. */
enum { NIB__PARTIAL = 1 };

/* Runs task(arg, i, scratch) for i in [exec->first, n) on the pool, each with a scratch slot of its
 * own. Pieces start in ascending order; a single one runs on the calling thread. NIB_OK when all
 * are done; NIB__PARTIAL once the deadline has passed (at least one piece was run, and exactly the
 * first exec->first are done); NIB_ERR_CANCELLED. */
nib_status nib__exec_run(nib__exec *exec, uint32_t n,
                         void (*task)(void *arg, uint32_t i, void *scratch), void *arg);

/* Rows per piece for work that does about `cost` simple operations per row; m if it is not worth
 * waking other threads for. */
uint32_t nib__exec_rows(const nib__exec *exec, uint32_t m, size_t cost);

/* Notes how long a region of `kind` took that was run from its first piece to its last. */
void nib__exec_learn(nib__exec *exec, uint32_t kind, uint32_t n_pieces, uint64_t start_ns,
                     double macs);

/* ---- linear maps ----------------------------------------------------------------------------- */

/* Rounded activations of m rows, made once per distinct input and shared by every linear map that
 * reads it (q, k and v; gate and up). */
typedef struct nib__input {
    uint32_t m, k;
    uint8_t *rows[NIB__WEIGHT_KINDS]; /* [m] rows, as each kind of weights wants them */
    bool exact;  /* use the decode strategy, however many rows */
} nib__input;

/* y[m][ldy] = x W^T + bias */
typedef struct nib__output {
    const nib__linear *map;
    float *y;
    size_t ldy;
} nib__output;

/* Rounds row x[k] to place `row` of the input, in each form that the maps want. */
void nib__input_round(const nib__exec *exec, const nib__input *input, const nib__output *outputs,
                      uint32_t n_outputs, const float *x, uint32_t row);

/* All maps in one parallel region. Up to 16 rows are multiplied with the decode strategy, more with
 * prefill. A row's result depends on that choice, but on no other row and on no number of threads.
 */
enum { NIB__MAX_OUTPUTS = 4 };
nib_status nib__linear_run(nib__exec *exec, const nib__input *input, const nib__output *outputs,
                           uint32_t n_outputs);

/* Says which map will be next to multiply one row, so that threads that wait meanwhile fetch what
 * they will probably read of it. */
void nib__linear_ahead(const nib__exec *exec, const nib__linear *map);

/* act(gate x) * (up x), rounded for the map `down`, in one region, where its strategy can do that:
 * `to` are rounded rows as in nib__input.rows, in memory of their own. */
bool nib__gated_fits(const nib__exec *exec, const nib__input *input, const nib__linear *gate,
                     const nib__linear *up, const nib__linear *down);
nib_status nib__gated_run(nib__exec *exec, const nib__input *input, const nib__linear *gate,
                          const nib__linear *up, nib__act act, uint8_t *to);

/* Bytes of one rounded row of k numbers for weights of a kind: the larger of both strategies. */
size_t nib__input_row_bytes(const nib__kernels *kernels, uint32_t kind, uint32_t k);

/* ---- rows: what happens between two linear maps ---------------------------------------------- */

/* What a norm is between two blocks, and what becomes of the residual stream x. */
typedef enum nib__norm_order {
    NIB__NORM_OF_SUM,      /* x += delta; h = norm(x) */
    NIB__NORM_BEFORE_SUM,  /* h = norm(x); x += delta: blocks in parallel */
    NIB__NORM_INTO_STREAM  /* x = h = norm(x + delta): post-norm */
} nib__norm_order;

/* h[m][n] as above, rounded for the maps that follow. */
typedef struct nib__norm_rows {
    float *x, *delta;       /* [m][n]; delta NULL: zero */
    nib__affine delta_norm; /* applied to delta first, unless its w is NULL */
    nib__affine norm;       /* w NULL: h = x */
    nib__norm_order order;
    nib__norm kind;
    float eps;
    const nib__input *input;
    const nib__output *outputs;
    uint32_t n_outputs;
} nib__norm_rows;
nib_status nib__norm_run(nib__exec *exec, const nib__norm_rows *job);

/* x[m][k] is rounded for the maps that follow. */
nib_status nib__round_run(nib__exec *exec, const float *x, const nib__input *input,
                          const nib__output *outputs, uint32_t n_outputs);

/* act(x) * up is rounded for the map that follows; x is overwritten; up may be NULL: 1. */
nib_status nib__activate_run(nib__exec *exec, nib__act act, const float *x, const float *up,
                             const nib__input *input, const nib__output *output);

/* Where one row belongs, in a pass over rows of different streams. */
typedef struct nib__kv nib__kv;
typedef struct nib__row_place {
    const nib__kv *kv;
    uint32_t pos;
} nib__row_place;

/* Where a pass starts: embeddings and rotation angles of m rows from position pos0 on. */
typedef struct nib__embed_rows {
    const nib_model *model;
    const int32_t *ids; /* [m], checked */
    uint32_t m, pos0;
    const nib__row_place *places; /* [m], or NULL: consecutive positions */
    float *x;       /* [m][n_embd] */
    float *word;    /* [m][n_word], of models whose embeddings are mapped */
    float *cos_sin, *cos_sin_local; /* [m][n_rot/2][2]; the second of layers with a window */
} nib__embed_rows;
nib_status nib__embed_run(nib__exec *exec, const nib__embed_rows *job);

/* ---- attention ------------------------------------------------------------------------------- */

/* Keys and values of all layers for up to `capacity` positions. */
struct nib__kv {
    nib_allocator mem;
    uint32_t n_layer, n_head_kv, head_dim, capacity, type;
    size_t head_bytes; /* k + v (+ scales) of one head of one layer */
    uint8_t *data;     /* [n_layer][n_head_kv][head_bytes] */
};

/* The cache type for the caller's option: f32 takes the place of f16 with NIB_PRECISION_F32, and where
 * all linear maps have float32 weights. */
uint32_t nib__kv_type(const nib_model *model, uint32_t option);
size_t nib__kv_element(uint32_t type); /* bytes of one number of a key or value */

nib_status nib__kv_init(nib__kv *kv, const nib_allocator *mem, const nib__config *config,
                        uint32_t capacity, uint32_t type, nib_error *err);
void nib__kv_free(nib__kv *kv);
size_t nib__kv_bytes(const nib__config *config, uint32_t capacity, uint32_t type);
nib__kv_head nib__kv_view(const nib__kv *kv, uint32_t layer, uint32_t head);
/* Copies positions [first, end) of all layers, or of one, to a cache of the same model and type. The
 * positions before `first` must be the same in both: up to 15 of them are copied too. */
void nib__kv_copy(const nib__kv *to, const nib__kv *from, uint32_t first, uint32_t end);
void nib__kv_copy_layer(const nib__kv *to, const nib__kv *from, uint32_t layer, uint32_t first,
                        uint32_t end);

/* Attention of m rows at positions pos0 .. in one layer. */
typedef struct nib__attention_rows {
    const nib__config *config;
    const nib__kv *kv;
    uint32_t layer, m, pos0;
    const nib__row_place *places; /* [m] at most 16, in the place of kv and pos0; or NULL */
    uint32_t window;              /* a row sees so many positions up to its own; 0: all */
    uint32_t n_keys;              /* not 0: every row sees exactly these */
    const float *bias;            /* [n_head][2 * bias_reach + 1] of scores by distance, or NULL */
    uint32_t bias_reach;
    float scale, eps;             /* of q.k; of the norms */
    nib__affine q_norm, k_norm;   /* [head_dim] of each head before it is rotated; w NULL: none */
    float *q;             /* [m][n_head * head_dim]; NULL: only keys and values are stored */
    float *k, *v;         /* [m][n_head_kv * head_dim] */
    const float *cos_sin; /* [m][n_rot/2][2] */
    float *out;           /* [m][n_head * head_dim] */
    bool exact;           /* use decode's attention, however many rows */
} nib__attention_rows;

/* Norms and rotates q and k and stores k and v of all rows. */
nib_status nib__attention_store(nib__exec *exec, const nib__attention_rows *job);

/* out = attention(q) over everything stored up to each row's own position. */
nib_status nib__attention_run(nib__exec *exec, const nib__attention_rows *job);

#endif
