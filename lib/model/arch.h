/* SPDX-License-Identifier: MIT
 * What distinguishes one architecture from another: a row of the table in names.c. A new one is a
 * row there, plus a field of nib__layer and a line of the forward pass for what is really new. */
#ifndef NIB_MODEL_ARCH_H
#define NIB_MODEL_ARCH_H

#include "model/model.h"

/* What a tensor is for. Those up to NIB__LAYER_ROLES exist once per layer. */
typedef enum nib__role {
    NIB__ROLE_ATTN_NORM,
    NIB__ROLE_Q,
    NIB__ROLE_K,
    NIB__ROLE_V,
    NIB__ROLE_O,
    NIB__ROLE_Q_BIAS,
    NIB__ROLE_K_BIAS,
    NIB__ROLE_V_BIAS,
    NIB__ROLE_O_BIAS,
    NIB__ROLE_FFN_NORM,
    NIB__ROLE_GATE,
    NIB__ROLE_UP,
    NIB__ROLE_DOWN,
    NIB__LAYER_ROLES,
    NIB__ROLE_EMBEDDING = NIB__LAYER_ROLES,
    NIB__ROLE_OUT_NORM,
    NIB__ROLE_HEAD,
    NIB__ROLE_ROPE_FREQS,
    NIB__ROLE_COUNT
} nib__role;

typedef struct nib__arch {
    const char *name; /* general.architecture */
    nib__norm norm;
    nib__act act;
    nib__rope_style rope;
    uint32_t required, optional; /* sets of roles: bit 1 << role */
} nib__arch;

/* How the weights of a role are kept. */
typedef enum nib__kind {
    NIB__KIND_VECTOR, /* float32: norms, biases */
    NIB__KIND_LINEAR, /* packed */
    NIB__KIND_ROWS    /* left in the file, rows read one by one: the embedding */
} nib__kind;

typedef struct nib__role_info {
    const char *name; /* "attn_q.weight"; in the file "blk.N." stands before it */
    nib__kind kind;
    size_t place; /* offset of its field in nib__layer, or in nib_model */
    size_t (*rows)(const nib__config *c);
    size_t (*columns)(const nib__config *c); /* NULL: a vector of `rows` numbers */
} nib__role_info;

/* NULL if the name is not one we know. */
const nib__arch *nib__arch_find(const char *name, size_t len);
/* Names of all architectures, for messages: "llama, qwen2". */
size_t nib__arch_list(char *text, size_t cap);

const nib__role_info *nib__role_of(nib__role role);

/* Full name of a tensor; `layer` counts only for layer roles. */
void nib__role_name(nib__role role, uint32_t layer, char *text, size_t cap);
/* The other way: false if no role has this name. */
bool nib__role_parse(const char *name, nib__role *role, uint32_t *layer);

/* Metadata -> configuration, every field checked. `n_vocab` is what the tokenizer counted. */
nib_status nib__config_read(const nib__source *source, uint32_t n_vocab, nib__config *config,
                            const nib__arch **arch, nib_error *err);

/* inv[n_rot/2]: angle per position of every rotated pair. `divisors` (llama3) may be NULL. */
void nib__rope_frequencies(const nib__config *config, const float *divisors, float *inv);

/* Finds and checks all tensors, and packs them unless this is an inspection. Fills the layers,
 * out_norm, head, rope_freqs, embedding, weights and the byte counts of the model. */
nib_status nib__weights_load(nib_model *model, const nib__arch *arch,
                             const nib_model_options *options, nib_error *err);

#endif
