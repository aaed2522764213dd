/* SPDX-License-Identifier: MIT
 * Tensor names of the GGUF specification, the same for all architectures but T5. */
#include "model/arch.h"

#define BOTH(role, text)                                                                           \
    {NIB__ROLE_##role, text ".weight", NIB__ALONE},                                                \
    {                                                                                              \
        NIB__ROLE_##role##_BIAS, text ".bias", NIB__ALONE                                          \
    }
#define FUSED(role)                                                                                \
    {NIB__ROLE_##role, "attn_qkv.weight", NIB__QKV},                                               \
    {                                                                                              \
        NIB__ROLE_##role##_BIAS, "attn_qkv.bias", NIB__QKV                                         \
    }

static const nib__name list[] = {
    BOTH(ATTN_NORM, "attn_norm"),
    BOTH(Q, "attn_q"),
    BOTH(K, "attn_k"),
    BOTH(V, "attn_v"),
    FUSED(Q),
    FUSED(K),
    FUSED(V),
    BOTH(O, "attn_output"),
    {NIB__ROLE_Q_NORM, "attn_q_norm.weight", NIB__ALONE},
    {NIB__ROLE_K_NORM, "attn_k_norm.weight", NIB__ALONE},
    {NIB__ROLE_ATTN_POST_NORM, "post_attention_norm.weight", NIB__ALONE},
    BOTH(FFN_NORM, "ffn_norm"),
    BOTH(GATE, "ffn_gate"),
    BOTH(UP, "ffn_up"),
    BOTH(DOWN, "ffn_down"),
    {NIB__ROLE_FFN_POST_NORM, "post_ffw_norm.weight", NIB__ALONE},
    {NIB__ROLE_EMBEDDING, "token_embd.weight", NIB__ALONE},
    {NIB__ROLE_POSITIONS, "position_embd.weight", NIB__ALONE},
    BOTH(OUT_NORM, "output_norm"),
    BOTH(HEAD, "output"),
    {NIB__ROLE_ROPE_FREQS, "rope_freqs.weight", NIB__ALONE},
    {NIB__ROLE_COUNT, NULL, NIB__ALONE},
};

static const char *const prefixes[] = {"", NULL};
static const char *const ignored[] = {NULL};

const nib__names nib__names_gguf = {"blk.", prefixes, list, ignored};

/* ---- T5: two stacks ---- */

#define ONE(role, text)                                                                            \
    {                                                                                              \
        NIB__ROLE_##role, text ".weight", NIB__ALONE                                               \
    }
#define T5                                                                                         \
    ONE(ATTN_NORM, "attn_norm"), ONE(Q, "attn_q"), ONE(K, "attn_k"), ONE(V, "attn_v"),             \
        ONE(O, "attn_o"), ONE(REL_BIAS, "attn_rel_b"), ONE(FFN_NORM, "ffn_norm"),                  \
        ONE(GATE, "ffn_gate"), ONE(UP, "ffn_up"), ONE(DOWN, "ffn_down"),                           \
        ONE(EMBEDDING, "token_embd"), ONE(OUT_NORM, "output_norm")

static const nib__name t5[] = {
    T5,
    ONE(CROSS_NORM, "cross_attn_norm"),
    ONE(CROSS_Q, "cross_attn_q"),
    ONE(CROSS_K, "cross_attn_k"),
    ONE(CROSS_V, "cross_attn_v"),
    ONE(CROSS_O, "cross_attn_o"),
    ONE(HEAD, "output"),
    {NIB__ROLE_COUNT, NULL, NIB__ALONE},
};
static const nib__name t5_encoder[] = {T5, {NIB__ROLE_COUNT, NULL, NIB__ALONE}};

static const char *const t5_prefixes[] = {"dec.", "", NULL};
static const char *const t5_encoder_prefixes[] = {"enc.", "", NULL};
/* No model has used it: see names_seq2seq.c. */
static const char *const t5_ignored[] = {"cross_attn_rel_b.weight", NULL};

const nib__names nib__names_gguf_t5 = {"blk.", t5_prefixes, t5, t5_ignored};
const nib__names nib__names_gguf_t5_encoder = {"blk.", t5_encoder_prefixes, t5_encoder, ignored};
