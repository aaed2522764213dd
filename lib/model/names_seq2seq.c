/* SPDX-License-Identifier: MIT
 * Tensor names of transformers' encoder-decoders and encoders: a table for each of the two stacks.
 */
#include "model/arch.h"

#define ONE(role, text)                                                                            \
    {                                                                                              \
        NIB__ROLE_##role, text, NIB__ALONE                                                         \
    }
#define BOTH(role, text) ONE(role, text ".weight"), ONE(role##_BIAS, text ".bias")
#define END                                                                                        \
    {                                                                                              \
        NIB__ROLE_COUNT, NULL, NIB__ALONE                                                          \
    }

/* ---- T5 ---- */

static const char *const t5_prefixes[] = {"decoder.", "", NULL};
static const char *const t5_encoder_prefixes[] = {"encoder.", "", NULL};
/* Attention over the encoder has no biases; checkpoints of 2019 have them all the same. */
static const char *const t5_ignored[] = {"layer.1.EncDecAttention.relative_attention_bias.weight",
                                         NULL};

#define T5_ATTENTION                                                                               \
    ONE(ATTN_NORM, "layer.0.layer_norm.weight"), ONE(Q, "layer.0.SelfAttention.q.weight"),         \
        ONE(K, "layer.0.SelfAttention.k.weight"), ONE(V, "layer.0.SelfAttention.v.weight"),        \
        ONE(O, "layer.0.SelfAttention.o.weight"),                                                  \
        ONE(REL_BIAS, "layer.0.SelfAttention.relative_attention_bias.weight")
/* The gate is what the activation is applied to. */
#define T5_MLP(number)                                                                             \
    ONE(FFN_NORM, "layer." number ".layer_norm.weight"),                                           \
        ONE(UP, "layer." number ".DenseReluDense.wi.weight"),                                      \
        ONE(GATE, "layer." number ".DenseReluDense.wi_0.weight"),                                  \
        ONE(UP, "layer." number ".DenseReluDense.wi_1.weight"),                                    \
        ONE(DOWN, "layer." number ".DenseReluDense.wo.weight")
#define T5_ENDS                                                                                    \
    ONE(EMBEDDING, "shared.weight"), ONE(EMBEDDING, "embed_tokens.weight"),                        \
        ONE(OUT_NORM, "final_layer_norm.weight"), ONE(HEAD, "lm_head.weight")

static const nib__name t5[] = {
    T5_ATTENTION,
    ONE(CROSS_NORM, "layer.1.layer_norm.weight"),
    ONE(CROSS_Q, "layer.1.EncDecAttention.q.weight"),
    ONE(CROSS_K, "layer.1.EncDecAttention.k.weight"),
    ONE(CROSS_V, "layer.1.EncDecAttention.v.weight"),
    ONE(CROSS_O, "layer.1.EncDecAttention.o.weight"),
    T5_MLP("2"),
    T5_ENDS,
    END,
};
static const nib__name t5_encoder[] = {T5_ATTENTION, T5_MLP("1"), T5_ENDS, END};

const nib__names nib__names_t5 = {"block.", t5_prefixes, t5, t5_ignored};
const nib__names nib__names_t5_encoder = {"block.", t5_encoder_prefixes, t5_encoder, t5_ignored};

/* ---- BART, PLBART ---- */

static const char *const bart_prefixes[] = {"model.decoder.", "decoder.", "model.", "", NULL};
static const char *const bart_encoder_prefixes[] = {"model.encoder.", "encoder.", "model.", "",
                                                    NULL};
static const char *const bart_ignored[] = {"version", NULL}; /* of fairseq's files */

#define BART_LAYER                                                                                 \
    BOTH(Q, "self_attn.q_proj"), BOTH(K, "self_attn.k_proj"), BOTH(V, "self_attn.v_proj"),         \
        BOTH(O, "self_attn.out_proj"), BOTH(ATTN_NORM, "self_attn_layer_norm"), BOTH(UP, "fc1"),   \
        BOTH(DOWN, "fc2"), BOTH(FFN_NORM, "final_layer_norm")
#define BART_ENDS                                                                                  \
    ONE(EMBEDDING, "shared.weight"), ONE(EMBEDDING, "embed_tokens.weight"),                        \
        ONE(POSITIONS, "embed_positions.weight"), BOTH(EMBD_NORM, "layernorm_embedding"),          \
        ONE(HEAD, "lm_head.weight"), ONE(HEAD_BIAS, "final_logits_bias")

static const nib__name bart[] = {
    BART_LAYER,
    BOTH(CROSS_Q, "encoder_attn.q_proj"),
    BOTH(CROSS_K, "encoder_attn.k_proj"),
    BOTH(CROSS_V, "encoder_attn.v_proj"),
    BOTH(CROSS_O, "encoder_attn.out_proj"),
    BOTH(CROSS_NORM, "encoder_attn_layer_norm"),
    BART_ENDS,
    END,
};
static const nib__name bart_encoder[] = {BART_LAYER, BART_ENDS, END};

const nib__names nib__names_bart = {"layers.", bart_prefixes, bart, bart_ignored};
const nib__names nib__names_bart_encoder = {"layers.", bart_encoder_prefixes, bart_encoder,
                                            bart_ignored};

/* ---- RoBERTa ---- */

static const char *const roberta_prefixes[] = {"roberta.", "", NULL};
/* Heads of its training tasks, which hidden states do not need. The last seven are a head that maps
 * them once more, which a decoder cannot do without: UniXcoder has none. */
static const char *const roberta_ignored[] = {"embeddings.position_ids",
                                              "pooler.dense.weight",
                                              "pooler.dense.bias",
                                              "embeddings.token_type_ids",
                                              "lm_head.bias",
                                              "lm_head.dense.weight",
                                              "lm_head.dense.bias",
                                              "lm_head.decoder.weight",
                                              "lm_head.decoder.bias",
                                              "lm_head.layer_norm.weight",
                                              "lm_head.layer_norm.bias",
                                              NULL};
static const char *const roberta_decoder_ignored[] = {"embeddings.position_ids",
                                                      "pooler.dense.weight", "pooler.dense.bias",
                                                      "embeddings.token_type_ids", NULL};

static const nib__name roberta[] = {
    BOTH(Q, "attention.self.query"),
    BOTH(K, "attention.self.key"),
    BOTH(V, "attention.self.value"),
    BOTH(O, "attention.output.dense"),
    BOTH(ATTN_NORM, "attention.output.LayerNorm"),
    BOTH(UP, "intermediate.dense"),
    BOTH(DOWN, "output.dense"),
    BOTH(FFN_NORM, "output.LayerNorm"),
    ONE(EMBEDDING, "embeddings.word_embeddings.weight"),
    ONE(POSITIONS, "embeddings.position_embeddings.weight"),
    ONE(TYPES, "embeddings.token_type_embeddings.weight"),
    BOTH(EMBD_NORM, "embeddings.LayerNorm"),
    END,
};

const nib__names nib__names_roberta = {"encoder.layer.", roberta_prefixes, roberta,
                                       roberta_ignored};
const nib__names nib__names_roberta_decoder = {"encoder.layer.", roberta_prefixes, roberta,
                                               roberta_decoder_ignored};
