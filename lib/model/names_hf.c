/* SPDX-License-Identifier: MIT
 * Tensor names of transformers' checkpoints, one table per family. The first prefix is what
 * transformers writes today; older checkpoints, and those of the bare model, lack it. */
#include "model/arch.h"

#define ONE(role, text)                                                                            \
    {                                                                                              \
        NIB__ROLE_##role, text, NIB__ALONE                                                         \
    }
#define BOTH_AS(role, text, fusion, bias_fusion)                                                   \
    {NIB__ROLE_##role, text ".weight", fusion},                                                    \
    {                                                                                              \
        NIB__ROLE_##role##_BIAS, text ".bias", bias_fusion                                         \
    }
#define BOTH(role, text) BOTH_AS(role, text, NIB__ALONE, NIB__ALONE)
#define FUSED(text, fusion, bias_fusion)                                                           \
    BOTH_AS(Q, text, fusion, bias_fusion), BOTH_AS(K, text, fusion, bias_fusion),                  \
        BOTH_AS(V, text, fusion, bias_fusion)
#define END                                                                                        \
    {                                                                                              \
        NIB__ROLE_COUNT, NULL, NIB__ALONE                                                          \
    }

/* Masks and frequencies that were saved with the weights. */
static const char *const buffers[] = {
    "attn.bias",
    "attn.masked_bias",
    "attn.causal_mask",
    "attention.bias",
    "attention.masked_bias",
    "attn.attention.bias",
    "attn.attention.masked_bias",
    "attention.rotary_emb.inv_freq",
    "self_attn.rotary_emb.inv_freq",
    "rotary_emb.inv_freq",
    "embed_positions.weights",
    "embed_positions._float_tensor",
    "version", /* of fairseq's files */
    NULL,
};

/* ---- GPT-2 and its relatives ---- */

static const char *const prefixes_gpt2[] = {"transformer.", "", NULL};

/* The second names of q, k and v are SantaCoder's. */
static const nib__name gpt2[] = {
    BOTH(ATTN_NORM, "ln_1"),
    FUSED("attn.c_attn", NIB__QKV_TURNED, NIB__QKV),
    BOTH_AS(Q, "attn.q_attn", NIB__TURNED, NIB__ALONE),
    BOTH_AS(K, "attn.kv_attn", NIB__KV_TURNED, NIB__KV),
    BOTH_AS(V, "attn.kv_attn", NIB__KV_TURNED, NIB__KV),
    BOTH_AS(O, "attn.c_proj", NIB__TURNED, NIB__ALONE),
    BOTH(FFN_NORM, "ln_2"),
    BOTH_AS(UP, "mlp.c_fc", NIB__TURNED, NIB__ALONE),
    BOTH_AS(DOWN, "mlp.c_proj", NIB__TURNED, NIB__ALONE),
    ONE(EMBEDDING, "wte.weight"),
    ONE(POSITIONS, "wpe.weight"),
    BOTH(OUT_NORM, "ln_f"),
    ONE(HEAD, "lm_head.weight"),
    END,
};

/* With one key head q, k, v follow each other; with as many as query heads each head has its own.
 */
static const nib__name bigcode[] = {
    BOTH(ATTN_NORM, "ln_1"),
    FUSED("attn.c_attn", NIB__QKV_PER_HEAD, NIB__QKV_PER_HEAD),
    FUSED("attn.c_attn", NIB__QKV, NIB__QKV),
    BOTH(O, "attn.c_proj"),
    BOTH(FFN_NORM, "ln_2"),
    BOTH(UP, "mlp.c_fc"),
    BOTH(DOWN, "mlp.c_proj"),
    ONE(EMBEDDING, "wte.weight"),
    ONE(POSITIONS, "wpe.weight"),
    BOTH(OUT_NORM, "ln_f"),
    ONE(HEAD, "lm_head.weight"),
    END,
};

static const nib__name gptj[] = {
    BOTH(ATTN_NORM, "ln_1"),
    ONE(Q, "attn.q_proj.weight"),
    ONE(K, "attn.k_proj.weight"),
    ONE(V, "attn.v_proj.weight"),
    ONE(O, "attn.out_proj.weight"),
    BOTH(UP, "mlp.fc_in"),
    BOTH(DOWN, "mlp.fc_out"),
    ONE(EMBEDDING, "wte.weight"),
    BOTH(OUT_NORM, "ln_f"),
    BOTH(HEAD, "lm_head"),
    END,
};

static const nib__name gptneo[] = {
    BOTH(ATTN_NORM, "ln_1"),
    ONE(Q, "attn.attention.q_proj.weight"),
    ONE(K, "attn.attention.k_proj.weight"),
    ONE(V, "attn.attention.v_proj.weight"),
    BOTH(O, "attn.attention.out_proj"),
    BOTH(FFN_NORM, "ln_2"),
    BOTH(UP, "mlp.c_fc"),
    BOTH(DOWN, "mlp.c_proj"),
    ONE(EMBEDDING, "wte.weight"),
    ONE(POSITIONS, "wpe.weight"),
    BOTH(OUT_NORM, "ln_f"),
    ONE(HEAD, "lm_head.weight"),
    END,
};

static const nib__name codegen[] = {
    BOTH(ATTN_NORM, "ln_1"),
    {NIB__ROLE_Q, "attn.qkv_proj.weight", NIB__QVK_SHARDS},
    {NIB__ROLE_K, "attn.qkv_proj.weight", NIB__QVK_SHARDS},
    {NIB__ROLE_V, "attn.qkv_proj.weight", NIB__QVK_SHARDS},
    ONE(O, "attn.out_proj.weight"),
    BOTH(UP, "mlp.fc_in"),
    BOTH(DOWN, "mlp.fc_out"),
    ONE(EMBEDDING, "wte.weight"),
    BOTH(OUT_NORM, "ln_f"),
    BOTH(HEAD, "lm_head"),
    END,
};

const nib__names nib__names_gpt2 = {"h.", prefixes_gpt2, gpt2, buffers};
const nib__names nib__names_bigcode = {"h.", prefixes_gpt2, bigcode, buffers};
const nib__names nib__names_gptj = {"h.", prefixes_gpt2, gptj, buffers};
const nib__names nib__names_gptneo = {"h.", prefixes_gpt2, gptneo, buffers};
const nib__names nib__names_codegen = {"h.", prefixes_gpt2, codegen, buffers};

/* ---- GPT-NeoX ---- */

static const char *const prefixes_neox[] = {"gpt_neox.", "", NULL};

static const nib__name neox[] = {
    BOTH(ATTN_NORM, "input_layernorm"),
    FUSED("attention.query_key_value", NIB__QKV_PER_HEAD, NIB__QKV_PER_HEAD),
    BOTH(O, "attention.dense"),
    BOTH(FFN_NORM, "post_attention_layernorm"),
    BOTH(UP, "mlp.dense_h_to_4h"),
    BOTH(DOWN, "mlp.dense_4h_to_h"),
    ONE(EMBEDDING, "embed_in.weight"),
    BOTH(OUT_NORM, "final_layer_norm"),
    ONE(HEAD, "embed_out.weight"),
    END,
};

const nib__names nib__names_neox = {"layers.", prefixes_neox, neox, buffers};

/* ---- Llama and its relatives ---- */

static const char *const prefixes_llama[] = {"model.", "", NULL};

#define ATTENTION                                                                                  \
    BOTH(Q, "self_attn.q_proj"), BOTH(K, "self_attn.k_proj"), BOTH(V, "self_attn.v_proj")
#define GATED_MLP BOTH(GATE, "mlp.gate_proj"), BOTH(UP, "mlp.up_proj"), BOTH(DOWN, "mlp.down_proj")
#define ENDS ONE(EMBEDDING, "embed_tokens.weight"), BOTH(HEAD, "lm_head")

static const nib__name llama[] = {
    ONE(ATTN_NORM, "input_layernorm.weight"),
    ATTENTION,
    BOTH(O, "self_attn.o_proj"),
    ONE(Q_NORM, "self_attn.q_norm.weight"),
    ONE(K_NORM, "self_attn.k_norm.weight"),
    ONE(FFN_NORM, "post_attention_layernorm.weight"),
    GATED_MLP,
    ENDS,
    ONE(OUT_NORM, "norm.weight"),
    END,
};

static const nib__name gemma[] = {
    {NIB__ROLE_ATTN_NORM, "input_layernorm.weight", NIB__ONE_LESS},
    ATTENTION,
    BOTH(O, "self_attn.o_proj"),
    {NIB__ROLE_FFN_NORM, "post_attention_layernorm.weight", NIB__ONE_LESS},
    GATED_MLP,
    ENDS,
    {NIB__ROLE_OUT_NORM, "norm.weight", NIB__ONE_LESS},
    END,
};

static const nib__name gemma3[] = {
    {NIB__ROLE_ATTN_NORM, "input_layernorm.weight", NIB__ONE_LESS},
    ATTENTION,
    BOTH(O, "self_attn.o_proj"),
    {NIB__ROLE_Q_NORM, "self_attn.q_norm.weight", NIB__ONE_LESS},
    {NIB__ROLE_K_NORM, "self_attn.k_norm.weight", NIB__ONE_LESS},
    {NIB__ROLE_ATTN_POST_NORM, "post_attention_layernorm.weight", NIB__ONE_LESS},
    {NIB__ROLE_FFN_NORM, "pre_feedforward_layernorm.weight", NIB__ONE_LESS},
    GATED_MLP,
    {NIB__ROLE_FFN_POST_NORM, "post_feedforward_layernorm.weight", NIB__ONE_LESS},
    ENDS,
    {NIB__ROLE_OUT_NORM, "norm.weight", NIB__ONE_LESS},
    END,
};

static const nib__name starcoder2[] = {
    BOTH(ATTN_NORM, "input_layernorm"),
    ATTENTION,
    BOTH(O, "self_attn.o_proj"),
    BOTH(FFN_NORM, "post_attention_layernorm"),
    BOTH(UP, "mlp.c_fc"),
    BOTH(DOWN, "mlp.c_proj"),
    ENDS,
    BOTH(OUT_NORM, "norm"),
    END,
};

static const nib__name stablelm[] = {
    BOTH(ATTN_NORM, "input_layernorm"),
    ATTENTION,
    ONE(O, "self_attn.o_proj.weight"),
    BOTH(FFN_NORM, "post_attention_layernorm"),
    GATED_MLP,
    ENDS,
    BOTH(OUT_NORM, "norm"),
    END,
};

static const nib__name phi[] = {
    BOTH(ATTN_NORM, "input_layernorm"),
    ATTENTION,
    BOTH(O, "self_attn.dense"),
    BOTH(Q_NORM, "self_attn.q_layernorm"),
    BOTH(K_NORM, "self_attn.k_layernorm"),
    BOTH(UP, "mlp.fc1"),
    BOTH(DOWN, "mlp.fc2"),
    ENDS,
    BOTH(OUT_NORM, "final_layernorm"),
    END,
};

const nib__names nib__names_llama = {"layers.", prefixes_llama, llama, buffers};
const nib__names nib__names_gemma = {"layers.", prefixes_llama, gemma, buffers};
const nib__names nib__names_gemma3 = {"layers.", prefixes_llama, gemma3, buffers};
/* What sees images stands beside the text model. */
static const char *const prefixes_images[] = {
    "language_model.model.", "model.language_model.", "language_model.", "model.", "", NULL};
static const char *const images[] = {"vision_tower.", "multi_modal_projector.", NULL};
const nib__names nib__names_gemma3_images = {"layers.", prefixes_images, gemma3, images};
const nib__names nib__names_starcoder2 = {"layers.", prefixes_llama, starcoder2, buffers};
const nib__names nib__names_stablelm = {"layers.", prefixes_llama, stablelm, buffers};
const nib__names nib__names_phi = {"layers.", prefixes_llama, phi, buffers};

/* ---- fairseq's decoders ---- */

static const char *const prefixes_opt[] = {"model.decoder.", "decoder.", "", NULL};

#define FAIRSEQ_LAYER                                                                              \
    BOTH(ATTN_NORM, "self_attn_layer_norm"), ATTENTION, BOTH(O, "self_attn.out_proj"),             \
        BOTH(FFN_NORM, "final_layer_norm"), BOTH(UP, "fc1"), BOTH(DOWN, "fc2")

static const nib__name xglm[] = {
    FAIRSEQ_LAYER,
    ENDS,
    BOTH(OUT_NORM, "layer_norm"),
    END,
};

static const nib__name opt[] = {
    FAIRSEQ_LAYER,
    ENDS,
    ONE(POSITIONS, "embed_positions.weight"),
    ONE(WORD_IN, "project_in.weight"),
    ONE(WORD_OUT, "project_out.weight"),
    BOTH(OUT_NORM, "final_layer_norm"),
    END,
};

const nib__names nib__names_xglm = {"layers.", prefixes_llama, xglm, buffers};
const nib__names nib__names_opt = {"layers.", prefixes_opt, opt, buffers};
