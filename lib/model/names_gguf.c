/* SPDX-License-Identifier: MIT
 * Tensor names of the GGUF specification, the same for all architectures. */
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
