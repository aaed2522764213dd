/* SPDX-License-Identifier: MIT
 * The table of encoder-decoders and encoders. An encoder-decoder is two rows: its decoder, which is
 * found by the model_type, and the encoder that the decoder's row points at. */
#include <math.h>

#include "model/arch.h"

/* ---- keys of their own ---- */

/* T5 (Raffel et al. 2020): no scaling of q.k; with a tied head the last hidden state is divided by
 * the root of the width. */
static void read_buckets(nib__key_reader *r, const char *buckets, const char *reach, nib__config *c)
{
    c->attn_scale = 1;
    c->rel_buckets = nib__key_count(r, buckets, 4, 4096, 32);
    c->rel_reach = nib__key_count(r, reach, 2, 65536, 128);
    if (c->rel_reach <= c->rel_buckets / (c->both_ways ? 4 : 2))
        nib__key_refuse(r, NIB_ERR_FORMAT, "more than a bucket for each distance", c->rel_reach);
}

static void special_t5_encoder(nib__key_reader *r, nib__config *c)
{
    static const char *const mlps[] = {"relu",       "gated-relu", "gated-gelu", "gated-gelu_new",
                                       "gated-silu", "silu",       "gelu_new",   "gelu"};
    static const nib__act acts[] = {NIB__ACT_RELU,      NIB__ACT_RELU, NIB__ACT_GELU_TANH,
                                    NIB__ACT_GELU_TANH, NIB__ACT_SILU, NIB__ACT_SILU,
                                    NIB__ACT_GELU_TANH, NIB__ACT_GELU};
    if (nib__key_there(r, "dense_act_fn")) /* what counts where both are there */
        nib__key_activation(r, "dense_act_fn", c);
    else
        c->act =
            acts[nib__key_choice(r, "feed_forward_proj", mlps, sizeof mlps / sizeof mlps[0], 0)];
    read_buckets(r, "relative_attention_num_buckets", "relative_attention_max_distance", c);
}

static void read_start(nib__key_reader *r, nib__config *c)
{
    c->start_id = (int32_t)nib__key_count(r, "decoder_start_token_id", 0, c->n_vocab - 1, 1u << 30);
    if (c->start_id == 1 << 30) c->start_id = -1; /* the caller says: PLBART's language */
}

static void special_t5(nib__key_reader *r, nib__config *c)
{
    special_t5_encoder(r, c);
    read_start(r, c);
    if (c->tied) c->out_scale = (float)(1.0 / sqrt((double)c->n_embd));
}

/* GGUF has no key for the activation (as llama.cpp: GELU with a gate, ReLU without), for the
 * largest distance (128 in all published models), and for a tied head, which is one that is not
 * there. */
static void special_t5_encoder_gguf(nib__key_reader *r, nib__config *c)
{
    const char *gate = c->cross ? "dec.blk.0.ffn_gate.weight" : "enc.blk.0.ffn_gate.weight";
    bool gated = nib__source_tensor(r->source, gate) != NULL;
    c->act = gated ? NIB__ACT_GELU_TANH : NIB__ACT_RELU;
    read_buckets(r, "attention.relative_buckets_count", NULL, c);
}

static void special_t5_gguf(nib__key_reader *r, nib__config *c)
{
    special_t5_encoder_gguf(r, c);
    read_start(r, c);
    if (nib__source_tensor(r->source, "output.weight") == NULL)
        c->out_scale = (float)(1.0 / sqrt((double)c->n_embd));
}

/* BART (Lewis et al. 2020): positions from 2 on, as fairseq counts. */
static void special_bart_encoder(nib__key_reader *r, nib__config *c)
{
    c->pos_offset = 2;
    c->n_pos += 2;
    static const char *const types[] = {"bart", "plbart"};
    bool scaled = nib__key_choice(r, "model_type", types, 2, 0) == 1; /* usual */
    if (nib__key_bool(r, "scale_embedding", scaled)) c->embd_scale = (float)sqrt((double)c->n_embd);
}

static void special_bart(nib__key_reader *r, nib__config *c)
{
    special_bart_encoder(r, c);
    read_start(r, c);
}

/* RoBERTa (Liu et al. 2019): max_position_embeddings counts the two rows that are not used. */
static void special_roberta(nib__key_reader *r, nib__config *c)
{
    static const char *const absolute[] = {"absolute"};
    (void)nib__key_choice(r, "position_embedding_type", absolute, 1, 0);
    c->pad_id = (int32_t)nib__key_count(r, "pad_token_id", 0, 1000, 1);
    c->pos_offset = (uint32_t)c->pad_id + 1;
    if (c->n_pos <= c->pos_offset)
        nib__key_refuse(r, NIB_ERR_FORMAT, "fewer than max_position_embeddings", c->pos_offset - 1);
    else
        c->n_ctx_train = c->n_pos - c->pos_offset;
    c->n_types = nib__key_count(r, "type_vocab_size", 1, 65536, 2);
    c->joint_prompt = !c->both_ways && nib__key_bool(r, "is_encoder_decoder", false);
}

/* ---- the table ---- */

#define ROLE(name) ((nib__roles)1 << NIB__ROLE_##name)

#define QKVO (ROLE(Q) | ROLE(K) | ROLE(V) | ROLE(O))
#define CROSS (ROLE(CROSS_Q) | ROLE(CROSS_K) | ROLE(CROSS_V) | ROLE(CROSS_O) | ROLE(CROSS_NORM))
#define T5_STACK                                                                                   \
    (QKVO | ROLE(ATTN_NORM) | ROLE(FFN_NORM) | ROLE(UP) | ROLE(DOWN) | ROLE(EMBEDDING) |           \
     ROLE(OUT_NORM))
#define BART_STACK                                                                                 \
    (QKVO | ROLE(Q_BIAS) | ROLE(K_BIAS) | ROLE(V_BIAS) | ROLE(O_BIAS) | ROLE(ATTN_NORM) |          \
     ROLE(ATTN_NORM_BIAS) | ROLE(FFN_NORM) | ROLE(FFN_NORM_BIAS) | ROLE(UP) | ROLE(UP_BIAS) |      \
     ROLE(DOWN) | ROLE(DOWN_BIAS) | ROLE(EMBEDDING) | ROLE(POSITIONS) | ROLE(EMBD_NORM) |          \
     ROLE(EMBD_NORM_BIAS))
#define CROSS_BIASES                                                                               \
    (ROLE(CROSS_Q_BIAS) | ROLE(CROSS_K_BIAS) | ROLE(CROSS_V_BIAS) | ROLE(CROSS_O_BIAS) |           \
     ROLE(CROSS_NORM_BIAS))

/* UniXcoder (Guo et al. 2022) as a decoder: RoBERTa that looks back only, its head the embedding.
 */
#define ROBERTA(table, with)                                                                       \
    {                                                                                              \
        .name = "roberta", .naming = NIB__NAMING_HF, .names = table, .keys = &nib__keys_roberta,   \
        .norm = NIB__NORM_LAYER, .act = NIB__ACT_GELU, .residual = NIB__RESIDUAL_POST,             \
        .positions = NIB__POS_LEARNED, .required = BART_STACK | ROLE(TYPES), .tied = true,         \
        .special = special_roberta, .stack = with,                                                 \
    }

static const nib__stack one_way = {.both_ways = false};
static const nib__arch roberta_decoder = ROBERTA(&nib__names_roberta_decoder, &one_way);
static const nib__stack encoder = {.both_ways = true};
static const nib__stack encoder_or_decoder = {.both_ways = true, .decoder = &roberta_decoder};
static const nib__stack half = {.both_ways = true, .half = true};

static const nib__arch t5_encoder = {
    .name = "t5",
    .naming = NIB__NAMING_HF,
    .names = &nib__names_t5_encoder,
    .keys = &nib__keys_t5_encoder,
    .norm = NIB__NORM_RMS,
    .residual = NIB__RESIDUAL_SEQUENTIAL,
    .required = T5_STACK,
    .optional = ROLE(GATE) | ROLE(REL_BIAS),
    .special = special_t5_encoder,
    .stack = &half,
};

#define T5_ENCODER_GGUF(architecture, with)                                                        \
    {                                                                                              \
        .name = architecture, .naming = NIB__NAMING_GGUF, .names = &nib__names_gguf_t5_encoder,    \
        .keys = &nib__keys_gguf_rms, .norm = NIB__NORM_RMS, .residual = NIB__RESIDUAL_SEQUENTIAL,  \
        .required = T5_STACK, .optional = ROLE(GATE) | ROLE(REL_BIAS),                             \
        .special = special_t5_encoder_gguf, .stack = with,                                         \
    }

static const nib__arch t5_encoder_gguf = T5_ENCODER_GGUF("t5", &half);

static const nib__arch bart_encoder = {
    .name = "bart",
    .naming = NIB__NAMING_HF,
    .names = &nib__names_bart_encoder,
    .keys = &nib__keys_bart_encoder,
    .norm = NIB__NORM_LAYER,
    .act = NIB__ACT_GELU,
    .residual = NIB__RESIDUAL_POST,
    .positions = NIB__POS_LEARNED,
    .required = BART_STACK,
    .special = special_bart_encoder,
    .stack = &half,
};

static const nib__stack over_t5 = {.cross = true, .encoder = &t5_encoder};
static const nib__stack over_t5_gguf = {.cross = true, .encoder = &t5_encoder_gguf};
static const nib__stack over_bart = {.cross = true, .encoder = &bart_encoder};

#define BART(model_type)                                                                           \
    {                                                                                              \
        .name = model_type, .naming = NIB__NAMING_HF, .names = &nib__names_bart,                   \
        .keys = &nib__keys_bart, .norm = NIB__NORM_LAYER, .act = NIB__ACT_GELU,                    \
        .residual = NIB__RESIDUAL_POST, .positions = NIB__POS_LEARNED,                             \
        .required = BART_STACK | CROSS | CROSS_BIASES, .optional = ROLE(HEAD) | ROLE(HEAD_BIAS),   \
        .tied = true, .special = special_bart, .stack = &over_bart,                                \
    }

const nib__arch nib__archs_seq2seq[] = {
    {
        .name = "t5",
        .naming = NIB__NAMING_HF,
        .names = &nib__names_t5,
        .keys = &nib__keys_t5,
        .norm = NIB__NORM_RMS,
        .residual = NIB__RESIDUAL_SEQUENTIAL,
        .required = T5_STACK | CROSS,
        .optional = ROLE(GATE) | ROLE(REL_BIAS) | ROLE(HEAD),
        .tied = true,
        .special = special_t5,
        .stack = &over_t5,
    },
    {
        .name = "t5",
        .naming = NIB__NAMING_GGUF,
        .names = &nib__names_gguf_t5,
        .keys = &nib__keys_gguf_t5,
        .norm = NIB__NORM_RMS,
        .residual = NIB__RESIDUAL_SEQUENTIAL,
        .required = T5_STACK | CROSS,
        .optional = ROLE(GATE) | ROLE(REL_BIAS) | ROLE(HEAD),
        .special = special_t5_gguf,
        .stack = &over_t5_gguf,
    },
    T5_ENCODER_GGUF("t5encoder", &encoder),
    BART("bart"),
    BART("plbart"),
    ROBERTA(&nib__names_roberta, &encoder_or_decoder),
};
const size_t nib__n_archs_seq2seq = sizeof nib__archs_seq2seq / sizeof nib__archs_seq2seq[0];
