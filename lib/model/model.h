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
    NIB__ROPE_YARN
} nib__rope_scaling;
typedef enum nib__act { NIB__ACT_SILU, NIB__ACT_GELU, NIB__ACT_GELU_TANH } nib__act;

/* Every field was range-checked against the others and the tensors. */
typedef struct nib__config {
    char arch[32];
    uint32_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab, n_ctx_train;
    uint32_t n_rot; /* rotated dimensions of a head */
    float norm_eps;
    nib__norm norm;
    nib__act act;
    nib__rope_style rope;
    nib__rope_scaling rope_scaling;
    float rope_base, rope_factor;
    uint32_t rope_ctx_orig; /* yarn: context before scaling */
    float rope_attn_factor; /* multiplies cos and sin; 1 but for yarn */
    float rope_beta_fast,
        rope_beta_slow; /* yarn: turns in the original context, ends of the ramp */
    float attn_scale;   /* multiplies q.k */
    uint32_t window;    /* sliding window, 0: none */
} nib__config;

/* One linear map y = x W^T + bias. */
typedef struct nib__linear {
    nib__packed w;     /* [n][k] */
    const float *bias; /* [n] or NULL */
} nib__linear;

typedef struct nib__layer {
    const float *attn_norm, *ffn_norm; /* [n_embd] */
    nib__linear q, k, v, o;
    nib__linear gate, up, down;
} nib__layer;

struct nib_model {
    nib_allocator mem;
    atomic_uint refs;
    nib__config config;
    nib__kernels kernels;
    nib__tokenizer *tokenizer;
    nib__source *source;          /* kept for embedding rows, which are read where they lie */
    const nib__tensor *embedding; /* [n_vocab][n_embd] */
    nib__layer *layers;           /* [n_layer]; NULL if opened for inspection only */
    const float *out_norm;        /* [n_embd] */
    nib__linear head;             /* [n_vocab][n_embd]; packed from the embedding when tied */
    const float *rope_freqs;      /* [n_rot/2] divisors of the frequencies (llama3), or NULL */
    float *rope_inv;              /* [n_rot/2] final inverse frequencies, scaling applied */
    uint8_t *weights;             /* one block: packed panels, norms, biases */
    uint64_t weight_bytes, file_bytes, n_params;
    uint64_t identity; /* hash of configuration and tensor directory, for saved sessions */
    uint32_t precision;
    uint32_t kinds;      /* bit nib__weight_kind: some linear map has weights of this kind */
    uint32_t fim_family; /* NIB_FIM_* */
};

/* `options` is complete (no shorter struct of an older caller) or NULL. */
nib_status nib__model_open(nib__source *source /* taken over on success */,
                           const nib_model_options *options, nib_model **model, nib_error *err);
nib_model *nib__model_retain(nib_model *model);
void nib__model_release(nib_model *model); /* NULL is a no-op */

/* Fills every field but struct_size. */
void nib__model_info(const nib_model *model, nib_model_info *info);

/* ARGUMENT if one of ids[n] is none of the vocabulary; IO if the file has changed. */
nib_status nib__model_check_ids(const nib_model *model, const int32_t *ids, size_t n,
                                nib_error *err);
/* Embedding rows of ids[n], which were checked, to out[n][n_embd]. */
void nib__model_embed(const nib_model *model, const int32_t *ids, size_t n, float *out);

#endif
