/* SPDX-License-Identifier: MIT
 * What distinguishes one architecture from another: a row of the table in archs.c, with the names of
 * its tensors (names_gguf.c, names_hf.c) and of its hyperparameters (keys.c). A new one is a row
 * there, plus a field of nib__layer and a line of the forward pass for what is really new. */
#ifndef NIB_MODEL_ARCH_H
#define NIB_MODEL_ARCH_H

#include "model/keys.h"
#include "model/model.h"

/* What a tensor is for. Those up to NIB__LAYER_ROLES exist once per layer. */
typedef enum nib__role {
    NIB__ROLE_ATTN_NORM,
    NIB__ROLE_ATTN_NORM_BIAS,
    NIB__ROLE_Q,
    NIB__ROLE_K,
    NIB__ROLE_V,
    NIB__ROLE_O,
    NIB__ROLE_Q_BIAS,
    NIB__ROLE_K_BIAS,
    NIB__ROLE_V_BIAS,
    NIB__ROLE_O_BIAS,
    NIB__ROLE_Q_NORM,
    NIB__ROLE_K_NORM,
    NIB__ROLE_Q_NORM_BIAS,
    NIB__ROLE_K_NORM_BIAS,
    NIB__ROLE_ATTN_POST_NORM,
    NIB__ROLE_FFN_NORM,
    NIB__ROLE_FFN_NORM_BIAS,
    NIB__ROLE_GATE,
    NIB__ROLE_UP,
    NIB__ROLE_DOWN,
    NIB__ROLE_GATE_BIAS,
    NIB__ROLE_UP_BIAS,
    NIB__ROLE_DOWN_BIAS,
    NIB__ROLE_FFN_POST_NORM,
    NIB__ROLE_CROSS_NORM,
    NIB__ROLE_CROSS_NORM_BIAS,
    NIB__ROLE_CROSS_Q,
    NIB__ROLE_CROSS_K,
    NIB__ROLE_CROSS_V,
    NIB__ROLE_CROSS_O,
    NIB__ROLE_CROSS_Q_BIAS,
    NIB__ROLE_CROSS_K_BIAS,
    NIB__ROLE_CROSS_V_BIAS,
    NIB__ROLE_CROSS_O_BIAS,
    NIB__ROLE_REL_BIAS,
    NIB__LAYER_ROLES,
    NIB__ROLE_EMBEDDING = NIB__LAYER_ROLES,
    NIB__ROLE_POSITIONS,
    NIB__ROLE_TYPES,
    NIB__ROLE_WORD_IN,
    NIB__ROLE_WORD_OUT,
    NIB__ROLE_EMBD_NORM,
    NIB__ROLE_EMBD_NORM_BIAS,
    NIB__ROLE_OUT_NORM,
    NIB__ROLE_OUT_NORM_BIAS,
    NIB__ROLE_HEAD,
    NIB__ROLE_HEAD_BIAS,
    NIB__ROLE_ROPE_FREQS,
    NIB__ROLE_COUNT
} nib__role;

/* How a tensor holds what belongs to a role. */
typedef enum nib__fusion {
    NIB__ALONE,        /* [rows][columns], as it is needed */
    NIB__TURNED,       /* [columns][rows]: "Conv1D" of GPT-2 */
    NIB__ONE_LESS,     /* a norm that stores its weights minus 1: Gemma */
    NIB__QKV,          /* rows of q, then k, then v */
    NIB__QKV_TURNED,   /* the same as columns */
    NIB__KV,           /* rows of k, then v */
    NIB__KV_TURNED,    /* the same as columns */
    NIB__QKV_PER_HEAD, /* of each head in turn its rows of q, k, v; as many heads each */
    NIB__QVK_SHARDS    /* config.qkv_shards equal parts, each with rows of q, v, k: CodeGen, from its
                          training on so many accelerators */
} nib__fusion;

/* Where a role may be found. A role may have several names, a tensor several roles. */
typedef struct nib__name {
    nib__role role;
    const char *text; /* behind prefix and, for roles of layers, the number of the layer */
    nib__fusion fusion;
} nib__name;

typedef struct nib__names {
    const char *layer;             /* before the number of a layer: "blk." */
    const char *const *prefixes;   /* of every name, "" included; NULL ends the list */
    const nib__name *list;         /* role NIB__ROLE_COUNT ends the list */
    const char *const *ignored;    /* buffers that some files hold; like `text`, or all that begins
                                      with one that ends in a dot; NULL ends the list */
} nib__names;

/* Rows of a tensor that are a role's: runs of `run` rows, `stride` apart, from `base` on. */
typedef struct nib__row_map {
    size_t base, run, stride;
    size_t file_rows; /* of the whole tensor */
    bool turned;      /* the file has [columns][file_rows] */
    bool one_less;
} nib__row_map;

typedef struct nib__stack nib__stack;

typedef struct nib__arch {
    const char *name; /* general.architecture, or model_type of config.json */
    nib__naming naming;
    const nib__names *names;
    const nib__keys *keys;
    nib__norm norm;
    nib__act act; /* unless a key says otherwise */
    nib__rope_style rope;
    nib__residual residual;
    nib__positions positions;
    nib__roles required, optional;
    bool tied; /* unless a key or, in GGUF, a tensor says otherwise */
    void (*special)(nib__key_reader *r, nib__config *c); /* keys of its own; may be NULL */
    const nib__stack *stack; /* NULL: a decoder alone */
} nib__arch;

/* What is different in encoders, and in decoders over them. */
struct nib__stack {
    bool both_ways, cross;
    bool half; /* the encoder of an encoder-decoder: other tensors of the file are the decoder's */
    const nib__arch *encoder; /* of an encoder-decoder; its own row is the decoder's */
    const nib__arch *decoder; /* the row in the place of this one where is_decoder is true */
};

/* How the weights of a role are kept. */
typedef enum nib__kind {
    NIB__KIND_VECTOR, /* float32: norms, biases */
    NIB__KIND_TABLE,  /* float32 [rows][columns] */
    NIB__KIND_LINEAR, /* packed */
    NIB__KIND_ROWS    /* left in the file, rows read one by one: the embedding */
} nib__kind;

typedef struct nib__role_info {
    nib__kind kind;
    size_t place; /* offset of its field in nib__layer, or in nib_model */
    size_t (*rows)(const nib__config *c);
    size_t (*columns)(const nib__config *c); /* NULL: a vector of `rows` numbers */
} nib__role_info;

/* The rows of encoder-decoders and encoders (archs_seq2seq.c). */
extern const nib__arch nib__archs_seq2seq[];
extern const size_t nib__n_archs_seq2seq;

/* NULL if the name is not one we know. */
const nib__arch *nib__arch_find(nib__naming naming, const char *name, size_t len);
/* Names of all architectures of one sort, for messages: "llama, qwen2". */
size_t nib__arch_list(nib__naming naming, char *text, size_t cap);

extern const nib__names nib__names_gguf, nib__names_gguf_t5, nib__names_gguf_t5_encoder;
extern const nib__names nib__names_gpt2, nib__names_bigcode, nib__names_codegen, nib__names_gptj,
    nib__names_gptneo, nib__names_neox, nib__names_llama, nib__names_gemma, nib__names_gemma3,
    nib__names_gemma3_images, nib__names_starcoder2,
    nib__names_phi, nib__names_xglm, nib__names_opt, nib__names_stablelm;
extern const nib__names nib__names_t5, nib__names_t5_encoder, nib__names_bart,
    nib__names_bart_encoder, nib__names_roberta, nib__names_roberta_decoder;

const nib__role_info *nib__role_of(nib__role role);

/* Full name of a tensor for role `name`; `layer` counts only for layer roles. */
void nib__name_text(const nib__names *names, const char *prefix, const nib__name *name,
                    uint32_t layer, char *text, size_t cap);
/* The tensor of a role and how it holds it; NULL: none of the names is there. */
const nib__tensor *nib__name_find(const nib__names *names, const nib__source *source,
                                  const nib__config *config, nib__role role, uint32_t layer,
                                  nib__row_map *map);
/* The set of roles that a tensor of this name has, and its layer; 0: none. */
nib__roles nib__name_parse(const nib__names *names, const char *text, uint32_t *layer);
bool nib__name_ignored(const nib__names *names, const char *text);

/* Metadata -> configuration, every field checked. `n_vocab` is what the tokenizer counted, 0 if
 * there is none. */
nib_status nib__config_read(const nib__source *source, uint32_t n_vocab, nib__config *config,
                            const nib__arch **arch, nib_error *err);

/* The same for one row of the table: the encoder of an encoder-decoder. */
nib_status nib__config_read_as(const nib__source *source, const nib__arch *arch, uint32_t n_vocab,
                               nib__config *config, nib_error *err);

/* The activation that a field of config.json names; as it was if there is no such field. */
void nib__key_activation(nib__key_reader *r, const char *key, nib__config *c);

/* Whether attention of this layer has the window. */
bool nib__config_windowed(const nib__config *c, uint32_t layer);

/* inv[n_rot/2]: angle per position of every rotated pair. `divisors` (llama3) may be NULL. */
void nib__rope_frequencies(const nib__config *config, const float *divisors, float *inv);
/* The same without scaling, for another base. */
void nib__rope_plain(uint32_t n_rot, float base, float *inv);

/* rel_bias of T5 by distance: table[n_head][2 * rel_reach + 1]. */
void nib__relative_bias(const nib__config *config, const float *rel_bias, float *table);

/* Finds and checks all tensors, and packs them unless this is an inspection. Fills the layers,
 * out_norm, head, rope_freqs, embedding, weights and the byte counts of the model. */
nib_status nib__weights_load(nib_model *model, const nib__arch *arch,
                             const nib_model_options *options, nib_error *err);

#endif
