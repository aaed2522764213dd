/* SPDX-License-Identifier: MIT
 * File metadata -> checked configuration; tensor names -> roles; file rows -> packed weights.
 * The result is immutable and shared by sessions. */
#ifndef NIB_MODEL_MODEL_H
#define NIB_MODEL_MODEL_H

#include <stdatomic.h>

#include "base/pool.h"
#include "file/source.h"
#include "kernels/kernels.h"
#include "token/token.h"

enum { NIB__MAX_LAYERS = 512 };

typedef enum nib__norm { NIB__NORM_RMS, NIB__NORM_LAYER } nib__norm;
typedef enum nib__rope_style {
    NIB__ROPE_NONE,
    NIB__ROPE_INTERLEAVED,
    NIB__ROPE_HALF
} nib__rope_style;
typedef enum nib__rope_scaling {
    NIB__ROPE_PLAIN,
    NIB__ROPE_LINEAR,
    NIB__ROPE_YARN,
    NIB__ROPE_LLAMA3,
    NIB__ROPE_DYNAMIC /* plain as far as the model was trained, and not to be used beyond */
} nib__rope_scaling;

/* How a position enters the model, besides rotation: added to the embedding of a token. */
typedef enum nib__positions {
    NIB__POS_NONE,
    NIB__POS_LEARNED,   /* row pos + pos_offset of a table */
    NIB__POS_SINUSOIDAL /* all sines of position pos + pos_offset, then all cosines */
} nib__positions;

/* How a layer's two blocks meet the residual stream x. */
typedef enum nib__residual {
    NIB__RESIDUAL_SEQUENTIAL, /* x += attention(norm(x)); x += mlp(norm(x)) */
    NIB__RESIDUAL_PARALLEL,   /* x += attention(norm(x)) + mlp(norm(x)), with one norm or two */
    NIB__RESIDUAL_POST        /* x = norm(x + attention(x)); x = norm(x + mlp(x)) */
} nib__residual;

typedef uint64_t nib__roles; /* a set of nib__role: bit 1 << role */

/* Every field was range-checked against the others and the tensors. */
typedef struct nib__config {
    char arch[32];
    uint32_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab, n_ctx_train;
    uint32_t n_word; /* width of embedding and head: n_embd, but for OPT 350M */
    uint32_t n_rot;  /* rotated dimensions of a head; 0: none */
    float norm_eps;
    nib__norm norm;
    nib__act act;
    nib__residual residual;
    nib__positions positions;
    uint32_t pos_offset, n_pos; /* learned: rows of the table, of which the first are not used */
    int32_t pad_id;   /* encoders: takes no position (RoBERTa); sinusoids: this row is 0; -1 */
    float embd_scale; /* multiplies embedding rows */
    nib__rope_style rope;
    nib__rope_scaling rope_scaling;
    float rope_base, rope_factor;
    float rope_base_local;  /* of layers with a window, never scaled; 0: as the others */
    uint32_t rope_ctx_orig; /* yarn, llama3: context before scaling */
    float rope_attn_factor; /* multiplies cos and sin; 1 but for yarn */
    float rope_beta_fast,
        rope_beta_slow;                  /* yarn: turns in the original context, ends of the ramp */
    float rope_low_freq, rope_high_freq; /* llama3: turns in the original context, likewise */
    float attn_scale;                    /* multiplies q.k */
    uint32_t qkv_shards;                 /* parts that fused q, k, v were trained in (CodeGen) */
    bool attn_scale_by_layer;            /* and is divided by 1, 2, 3 ... in layers 0, 1, 2 ... */
    uint32_t window;                     /* sliding window, 0: none */
    uint32_t
        full[NIB__MAX_LAYERS / 32];  /* a bit for each layer that sees everything all the same */
    bool tied;                       /* the head is the embedding, whatever else is there */
    bool both_ways;                  /* a row sees all rows: encoders */
    bool joint_prompt;               /* so do the rows of nib_complete's prompt: UniXcoder */
    bool cross;                      /* every layer also looks at what an encoder made */
    uint32_t rel_buckets, rel_reach; /* biases of scores by distance (T5); 0 buckets: none */
    uint32_t n_types;                /* rows of a table of which the first is added; 0: none */
    float out_scale;                 /* multiplies what the last norm gives (T5, tied head) */
    int32_t start_id;                /* decoder over an encoder: what a stream begins with; -1 */
    nib__roles without;              /* what this one of its architecture has no tensors for */
} nib__config;

/* y = norm(x) * w + b. b may be NULL; w is NULL where there is no norm at all. */
typedef struct nib__affine {
    const float *w, *b; /* [n] */
} nib__affine;

/* One linear map y = x W^T + bias. */
typedef struct nib__linear {
    nib__packed w;     /* [n][k] */
    const float *bias; /* [n] or NULL */
} nib__linear;

typedef struct nib__layer {
    nib__affine attn_norm, ffn_norm; /* [n_embd]; ffn_norm.w NULL: attn_norm serves both */
    nib__affine attn_post_norm, ffn_post_norm; /* [n_embd] of what a block adds (Gemma 3) */
    nib__affine q_norm, k_norm;                /* [head_dim] norm of each head; w NULL: none */
    nib__linear q, k, v, o;
    nib__affine cross_norm; /* attention over an encoder: its norm, and its maps */
    nib__linear cross_q, cross_k, cross_v, cross_o;
    const float *rel_bias;      /* [rel_buckets][n_head], in the first layer */
    nib__linear gate, up, down; /* gate.w.layout NULL: down(f(up x)), not down(f(gate x) * up x) */
    uint32_t window;            /* of this layer; 0: none */
    float attn_scale;
    bool rope_local; /* rotates by rope_inv_local */
} nib__layer;

struct nib_model {
    nib_allocator mem;
    atomic_uint refs;
    nib__config config;
    nib__kernels kernels;
    nib__tokenizer *tokenizer;
    nib__source *source;           /* kept for embedding rows, which are read where they lie */
    const nib__tensor *embedding;  /* [n_vocab][n_word] */
    const nib__tensor *positions;  /* [n_pos][n_embd], or NULL */
    const nib__tensor *types;      /* [n_types][n_embd], or NULL */
    nib__layer *layers;            /* [n_layer]; NULL if opened for inspection only */
    nib__affine embd_norm;         /* [n_embd] of the embeddings, only with NIB__RESIDUAL_POST */
    nib__affine out_norm;          /* [n_embd] */
    nib__packed embedding_panels;  /* the same numbers, where head and embedding are one; data NULL:
                                      rows are read from the file */
    nib__linear head;              /* [n_vocab][n_word]; packed from the embedding when tied */
    nib__linear word_in, word_out; /* [n_embd][n_word], [n_word][n_embd]: between the layers and
                                      embedding, head; layout NULL: n_word is n_embd */
    const float *rope_freqs;       /* [n_rot/2] divisors of the frequencies (llama3), or NULL */
    float *rope_inv;               /* [n_rot/2] final inverse frequencies, scaling applied */
    float *rope_inv_local;         /* [n_rot/2] of layers with a window, or NULL: the same */
    float *rel_table;              /* [n_head][2 * rel_reach + 1] rel_bias by distance, or NULL */
    nib_model *encoder;            /* of an encoder-decoder: shares source and embedding; or NULL */
    uint8_t *weights;              /* one block: packed panels, norms, biases; NULL if all of them
                                      are used where they lie in a repacked file */
    uint64_t weight_bytes, file_bytes, n_params;
    uint64_t identity; /* hash of configuration and tensor directory, for saved sessions */
    uint32_t precision;
    uint32_t kinds;      /* bit nib__weight_kind: some linear map has weights of this kind */
    uint32_t fim_family; /* NIB_FIM_* */
    uint32_t cache;      /* NIB_CACHE_* */
    char cache_note[256]; /* FAILED: why */
};

/* `options` is complete (no shorter struct of an older caller) or NULL. */
nib_status nib__model_open(nib__source *source /* taken over on success */,
                           const nib_model_options *options, nib_model **model, nib_error *err);
nib_model *nib__model_retain(nib_model *model);
void nib__model_release(nib_model *model); /* NULL is a no-op */

/* Fills every field but struct_size. */
void nib__model_info(const nib_model *model, nib_model_info *info);

/* Most positions a stream can have: learned ones end with their table. */
uint32_t nib__model_max_positions(const nib_model *model);

/* ARGUMENT if one of ids[n] is none of the vocabulary; LIMIT if one of the positions from pos0 on
 * is beyond nib__model_max_positions; IO if the file has changed. */
nib_status nib__model_check_ids(const nib_model *model, const int32_t *ids, size_t n, size_t pos0,
                                nib_error *err);
/* A token that has none: it gets the last row before those of positions. */
#define NIB__NO_POSITION SIZE_MAX

/* What the layers begin with: the embedding row of an id, which was checked, scaled, plus its
 * position where that is added, to out[n_embd]; with a map of embeddings, the row alone to
 * word[n_word], the rest to `out`. `scratch` holds n_embd numbers. */
void nib__model_embed(const nib_model *model, int32_t id, size_t pos, float *scratch, float *word,
                      float *out);

#endif
