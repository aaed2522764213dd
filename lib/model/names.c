/* SPDX-License-Identifier: MIT
 * The tables of architectures and of tensor names (those of the GGUF specification). */
#include <string.h>

#include "model/arch.h"

#define ROLE(name) (1u << NIB__ROLE_##name)

/* What every decoder-only transformer with a gated MLP has. */
enum {
    LAYER_LINEARS = ROLE(Q) | ROLE(K) | ROLE(V) | ROLE(O) | ROLE(GATE) | ROLE(UP) | ROLE(DOWN),
    QKV_BIASES = ROLE(Q_BIAS) | ROLE(K_BIAS) | ROLE(V_BIAS),
    DECODER = LAYER_LINEARS | ROLE(ATTN_NORM) | ROLE(FFN_NORM) | ROLE(EMBEDDING) | ROLE(OUT_NORM)
};

static const nib__arch archs[] = {
    /* The converter permuted the rows of q and k, so that the pairs of RoPE are neighbours. */
    {"llama", NIB__NORM_RMS, NIB__ACT_SILU, NIB__ROPE_INTERLEAVED, DECODER,
     QKV_BIASES | ROLE(O_BIAS) | ROLE(HEAD) | ROLE(ROPE_FREQS)},
    {"qwen2", NIB__NORM_RMS, NIB__ACT_SILU, NIB__ROPE_HALF, DECODER | QKV_BIASES,
     ROLE(HEAD) | ROLE(ROPE_FREQS)},
};

enum { N_ARCHS = sizeof archs / sizeof archs[0] };

const nib__arch *nib__arch_find(const char *name, size_t len)
{
    for (size_t i = 0; i < N_ARCHS; i++) {
        if (strlen(archs[i].name) == len && memcmp(archs[i].name, name, len) == 0) return &archs[i];
    }
    return NULL;
}

size_t nib__arch_list(char *text, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; i < N_ARCHS; i++) {
        len += nib__text(text + len, cap - len, "%s%s", i == 0 ? "" : ", ", archs[i].name);
    }
    return len;
}

/* ---- shapes ---- */

static size_t embd(const nib__config *c)
{
    return c->n_embd;
}

static size_t queries(const nib__config *c)
{
    return (size_t)c->n_head * c->head_dim;
}

static size_t keys(const nib__config *c)
{
    return (size_t)c->n_head_kv * c->head_dim;
}

static size_t ff(const nib__config *c)
{
    return c->n_ff;
}

static size_t vocab(const nib__config *c)
{
    return c->n_vocab;
}

static size_t rotations(const nib__config *c)
{
    return c->n_rot / 2;
}

#define IN_LAYER(field) offsetof(nib__layer, field)
#define IN_MODEL(field) offsetof(nib_model, field)

static const nib__role_info roles[NIB__ROLE_COUNT] = {
    [NIB__ROLE_ATTN_NORM] = {"attn_norm.weight", NIB__KIND_VECTOR, IN_LAYER(attn_norm), embd, NULL},
    [NIB__ROLE_Q] = {"attn_q.weight", NIB__KIND_LINEAR, IN_LAYER(q), queries, embd},
    [NIB__ROLE_K] = {"attn_k.weight", NIB__KIND_LINEAR, IN_LAYER(k), keys, embd},
    [NIB__ROLE_V] = {"attn_v.weight", NIB__KIND_LINEAR, IN_LAYER(v), keys, embd},
    [NIB__ROLE_O] = {"attn_output.weight", NIB__KIND_LINEAR, IN_LAYER(o), embd, queries},
    [NIB__ROLE_Q_BIAS] = {"attn_q.bias", NIB__KIND_VECTOR, IN_LAYER(q.bias), queries, NULL},
    [NIB__ROLE_K_BIAS] = {"attn_k.bias", NIB__KIND_VECTOR, IN_LAYER(k.bias), keys, NULL},
    [NIB__ROLE_V_BIAS] = {"attn_v.bias", NIB__KIND_VECTOR, IN_LAYER(v.bias), keys, NULL},
    [NIB__ROLE_O_BIAS] = {"attn_output.bias", NIB__KIND_VECTOR, IN_LAYER(o.bias), embd, NULL},
    [NIB__ROLE_FFN_NORM] = {"ffn_norm.weight", NIB__KIND_VECTOR, IN_LAYER(ffn_norm), embd, NULL},
    [NIB__ROLE_GATE] = {"ffn_gate.weight", NIB__KIND_LINEAR, IN_LAYER(gate), ff, embd},
    [NIB__ROLE_UP] = {"ffn_up.weight", NIB__KIND_LINEAR, IN_LAYER(up), ff, embd},
    [NIB__ROLE_DOWN] = {"ffn_down.weight", NIB__KIND_LINEAR, IN_LAYER(down), embd, ff},
    [NIB__ROLE_EMBEDDING] = {"token_embd.weight", NIB__KIND_ROWS, IN_MODEL(embedding), vocab, embd},
    [NIB__ROLE_OUT_NORM] = {"output_norm.weight", NIB__KIND_VECTOR, IN_MODEL(out_norm), embd, NULL},
    [NIB__ROLE_HEAD] = {"output.weight", NIB__KIND_LINEAR, IN_MODEL(head), vocab, embd},
    [NIB__ROLE_ROPE_FREQS] = {"rope_freqs.weight", NIB__KIND_VECTOR, IN_MODEL(rope_freqs),
                              rotations, NULL},
};

const nib__role_info *nib__role_of(nib__role role)
{
    return &roles[role];
}

void nib__role_name(nib__role role, uint32_t layer, char *text, size_t cap)
{
    if (role < NIB__LAYER_ROLES)
        nib__text(text, cap, "blk.%u.%s", layer, roles[role].name);
    else
        nib__text(text, cap, "%s", roles[role].name);
}

/* "blk.12.attn_q.weight" -> 12 and the rest of the name; NULL if it does not start that way. */
static const char *skip_layer(const char *name, uint32_t *layer)
{
    if (strncmp(name, "blk.", 4) != 0) return NULL;
    const char *p = name + 4;
    uint32_t value = 0;
    if (*p == '0' && p[1] != '.') return NULL; /* "blk.01." would be a second name of layer 1 */
    for (; *p >= '0' && *p <= '9' && value < NIB__MAX_LAYERS; p++) {
        value = value * 10 + (uint32_t)(*p - '0');
    }
    if (p == name + 4 || *p != '.') return NULL;
    *layer = value;
    return p + 1;
}

bool nib__role_parse(const char *name, nib__role *role, uint32_t *layer)
{
    const char *rest = skip_layer(name, layer);
    int first = rest != NULL ? 0 : NIB__LAYER_ROLES;
    int last = rest != NULL ? NIB__LAYER_ROLES : NIB__ROLE_COUNT;
    if (rest == NULL) {
        rest = name;
        *layer = 0;
    }
    for (int i = first; i < last; i++) {
        if (strcmp(rest, roles[i].name) != 0) continue;
        *role = (nib__role)i;
        return true;
    }
    return false;
}
