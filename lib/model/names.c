/* SPDX-License-Identifier: MIT
 * From the roles of an architecture to tensors of a file and back, through a table of names; which
 * rows of a fused tensor belong to a role; which shape each role must have. */
#include <string.h>

#include "model/arch.h"

/* ---- shapes ---- */

static size_t embd(const nib__config *c)
{
    return c->n_embd;
}

static size_t word(const nib__config *c)
{
    return c->n_word;
}

static size_t queries(const nib__config *c)
{
    return (size_t)c->n_head * c->head_dim;
}

static size_t keys(const nib__config *c)
{
    return (size_t)c->n_head_kv * c->head_dim;
}

static size_t head(const nib__config *c)
{
    return c->head_dim;
}

static size_t ff(const nib__config *c)
{
    return c->n_ff;
}

static size_t vocab(const nib__config *c)
{
    return c->n_vocab;
}

static size_t positions(const nib__config *c)
{
    return c->n_pos;
}

static size_t types(const nib__config *c)
{
    return c->n_types;
}

static size_t buckets(const nib__config *c)
{
    return c->rel_buckets;
}

static size_t heads(const nib__config *c)
{
    return c->n_head;
}

static size_t rotations(const nib__config *c)
{
    return c->n_rot / 2;
}

#define IN_LAYER(field) offsetof(nib__layer, field)
#define IN_MODEL(field) offsetof(nib_model, field)

static const nib__role_info roles[NIB__ROLE_COUNT] = {
    [NIB__ROLE_ATTN_NORM] = {NIB__KIND_VECTOR, IN_LAYER(attn_norm.w), embd, NULL},
    [NIB__ROLE_ATTN_NORM_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(attn_norm.b), embd, NULL},
    [NIB__ROLE_Q] = {NIB__KIND_LINEAR, IN_LAYER(q), queries, embd},
    [NIB__ROLE_K] = {NIB__KIND_LINEAR, IN_LAYER(k), keys, embd},
    [NIB__ROLE_V] = {NIB__KIND_LINEAR, IN_LAYER(v), keys, embd},
    [NIB__ROLE_O] = {NIB__KIND_LINEAR, IN_LAYER(o), embd, queries},
    [NIB__ROLE_Q_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(q.bias), queries, NULL},
    [NIB__ROLE_K_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(k.bias), keys, NULL},
    [NIB__ROLE_V_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(v.bias), keys, NULL},
    [NIB__ROLE_O_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(o.bias), embd, NULL},
    [NIB__ROLE_Q_NORM] = {NIB__KIND_VECTOR, IN_LAYER(q_norm.w), head, NULL},
    [NIB__ROLE_K_NORM] = {NIB__KIND_VECTOR, IN_LAYER(k_norm.w), head, NULL},
    [NIB__ROLE_Q_NORM_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(q_norm.b), head, NULL},
    [NIB__ROLE_K_NORM_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(k_norm.b), head, NULL},
    [NIB__ROLE_ATTN_POST_NORM] = {NIB__KIND_VECTOR, IN_LAYER(attn_post_norm.w), embd, NULL},
    [NIB__ROLE_FFN_NORM] = {NIB__KIND_VECTOR, IN_LAYER(ffn_norm.w), embd, NULL},
    [NIB__ROLE_FFN_NORM_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(ffn_norm.b), embd, NULL},
    [NIB__ROLE_GATE] = {NIB__KIND_LINEAR, IN_LAYER(gate), ff, embd},
    [NIB__ROLE_UP] = {NIB__KIND_LINEAR, IN_LAYER(up), ff, embd},
    [NIB__ROLE_DOWN] = {NIB__KIND_LINEAR, IN_LAYER(down), embd, ff},
    [NIB__ROLE_GATE_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(gate.bias), ff, NULL},
    [NIB__ROLE_UP_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(up.bias), ff, NULL},
    [NIB__ROLE_DOWN_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(down.bias), embd, NULL},
    [NIB__ROLE_FFN_POST_NORM] = {NIB__KIND_VECTOR, IN_LAYER(ffn_post_norm.w), embd, NULL},
    [NIB__ROLE_CROSS_NORM] = {NIB__KIND_VECTOR, IN_LAYER(cross_norm.w), embd, NULL},
    [NIB__ROLE_CROSS_NORM_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(cross_norm.b), embd, NULL},
    [NIB__ROLE_CROSS_Q] = {NIB__KIND_LINEAR, IN_LAYER(cross_q), queries, embd},
    [NIB__ROLE_CROSS_K] = {NIB__KIND_LINEAR, IN_LAYER(cross_k), keys, embd},
    [NIB__ROLE_CROSS_V] = {NIB__KIND_LINEAR, IN_LAYER(cross_v), keys, embd},
    [NIB__ROLE_CROSS_O] = {NIB__KIND_LINEAR, IN_LAYER(cross_o), embd, queries},
    [NIB__ROLE_CROSS_Q_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(cross_q.bias), queries, NULL},
    [NIB__ROLE_CROSS_K_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(cross_k.bias), keys, NULL},
    [NIB__ROLE_CROSS_V_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(cross_v.bias), keys, NULL},
    [NIB__ROLE_CROSS_O_BIAS] = {NIB__KIND_VECTOR, IN_LAYER(cross_o.bias), embd, NULL},
    [NIB__ROLE_REL_BIAS] = {NIB__KIND_TABLE, IN_LAYER(rel_bias), buckets, heads},
    [NIB__ROLE_EMBEDDING] = {NIB__KIND_ROWS, IN_MODEL(embedding), vocab, word},
    [NIB__ROLE_POSITIONS] = {NIB__KIND_ROWS, IN_MODEL(positions), positions, embd},
    [NIB__ROLE_TYPES] = {NIB__KIND_ROWS, IN_MODEL(types), types, embd},
    [NIB__ROLE_WORD_IN] = {NIB__KIND_LINEAR, IN_MODEL(word_in), embd, word},
    [NIB__ROLE_WORD_OUT] = {NIB__KIND_LINEAR, IN_MODEL(word_out), word, embd},
    [NIB__ROLE_EMBD_NORM] = {NIB__KIND_VECTOR, IN_MODEL(embd_norm.w), embd, NULL},
    [NIB__ROLE_EMBD_NORM_BIAS] = {NIB__KIND_VECTOR, IN_MODEL(embd_norm.b), embd, NULL},
    [NIB__ROLE_OUT_NORM] = {NIB__KIND_VECTOR, IN_MODEL(out_norm.w), embd, NULL},
    [NIB__ROLE_OUT_NORM_BIAS] = {NIB__KIND_VECTOR, IN_MODEL(out_norm.b), embd, NULL},
    [NIB__ROLE_HEAD] = {NIB__KIND_LINEAR, IN_MODEL(head), vocab, word},
    [NIB__ROLE_HEAD_BIAS] = {NIB__KIND_VECTOR, IN_MODEL(head.bias), vocab, NULL},
    [NIB__ROLE_ROPE_FREQS] = {NIB__KIND_VECTOR, IN_MODEL(rope_freqs), rotations, NULL},
};

const nib__role_info *nib__role_of(nib__role role)
{
    return &roles[role];
}

/* ---- fused tensors ---- */

static uint32_t part_of(nib__role role)
{
    switch ((int)role) {
    case NIB__ROLE_K:
    case NIB__ROLE_K_BIAS: return 1;
    case NIB__ROLE_V:
    case NIB__ROLE_V_BIAS: return 2;
    default: return 0;
    }
}

/* false: a model of this shape does not use this arrangement. */
static bool map_rows(const nib__name *name, const nib__config *c, nib__row_map *map)
{
    size_t n = roles[name->role].rows(c), q = queries(c), k = keys(c);
    uint32_t part = part_of(name->role);
    *map = (nib__row_map){.run = n, .file_rows = n};
    switch (name->fusion) {
    case NIB__ALONE: return true;
    case NIB__TURNED: map->turned = true; return true;
    case NIB__ONE_LESS: map->one_less = true; return true;
    case NIB__QKV_TURNED:
    case NIB__QKV:
        map->turned = name->fusion == NIB__QKV_TURNED;
        map->base = part == 0 ? 0 : part == 1 ? q : q + k;
        map->file_rows = q + 2 * k;
        return true;
    case NIB__KV_TURNED:
    case NIB__KV:
        map->turned = name->fusion == NIB__KV_TURNED;
        map->base = part == 1 ? 0 : k;
        map->file_rows = 2 * k;
        return true;
    case NIB__QKV_PER_HEAD:
        map->run = c->head_dim;
        map->stride = 3 * (size_t)c->head_dim;
        map->base = part * map->run;
        map->file_rows = 3 * q;
        return c->n_head == c->n_head_kv;
    case NIB__QVK_SHARDS:
        if (c->qkv_shards == 0 || c->n_head % c->qkv_shards != 0) return false;
        map->run = q / c->qkv_shards;
        map->stride = 3 * map->run;
        map->base = (part == 0 ? 0 : part == 2 ? 1 : 2) * map->run;
        map->file_rows = 3 * q;
        return true;
    }
    return false;
}

/* ---- names ---- */

void nib__name_text(const nib__names *names, const char *prefix, const nib__name *name,
                    uint32_t layer, char *text, size_t cap)
{
    if (name->role < NIB__LAYER_ROLES)
        nib__text(text, cap, "%s%s%u.%s", prefix, names->layer, layer, name->text);
    else
        nib__text(text, cap, "%s%s", prefix, name->text);
}

const nib__tensor *nib__name_find(const nib__names *names, const nib__source *source,
                                  const nib__config *config, nib__role role, uint32_t layer,
                                  nib__row_map *map)
{
    char text[96];
    for (const nib__name *name = names->list; name->role != NIB__ROLE_COUNT; name++) {
        if (name->role != role || !map_rows(name, config, map)) continue;
        for (const char *const *prefix = names->prefixes; *prefix != NULL; prefix++) {
            nib__name_text(names, *prefix, name, layer, text, sizeof text);
            const nib__tensor *t = nib__source_tensor(source, text);
            if (t != NULL) return t;
        }
    }
    return NULL;
}

/* "12.attn_q.weight" -> 12 and the rest of the name; NULL if it does not start that way. */
static const char *skip_number(const char *text, uint32_t *layer)
{
    const char *p = text;
    uint32_t value = 0;
    if (*p == '0' && p[1] != '.') return NULL; /* "01." would be a second name of layer 1 */
    for (; *p >= '0' && *p <= '9' && value < NIB__MAX_LAYERS; p++) {
        value = value * 10 + (uint32_t)(*p - '0');
    }
    if (p == text || *p != '.') return NULL;
    *layer = value;
    return p + 1;
}

/* The name behind prefix and layer; *in_layer says whether there is a layer. */
static const char *strip(const nib__names *names, const char *prefix, const char *text,
                         uint32_t *layer, bool *in_layer)
{
    size_t len = strlen(prefix), layer_len = strlen(names->layer);
    if (strncmp(text, prefix, len) != 0) return NULL;
    text += len;
    *layer = 0;
    *in_layer = strncmp(text, names->layer, layer_len) == 0;
    return *in_layer ? skip_number(text + layer_len, layer) : text;
}

nib__roles nib__name_parse(const nib__names *names, const char *text, uint32_t *layer)
{
    for (const char *const *prefix = names->prefixes; *prefix != NULL; prefix++) {
        bool in_layer = false;
        const char *rest = strip(names, *prefix, text, layer, &in_layer);
        nib__roles found = 0;
        if (rest == NULL) continue;
        for (const nib__name *name = names->list; name->role != NIB__ROLE_COUNT; name++) {
            if ((name->role < NIB__LAYER_ROLES) == in_layer && strcmp(rest, name->text) == 0)
                found |= (nib__roles)1 << name->role;
        }
        if (found != 0) return found;
    }
    return 0;
}

bool nib__name_ignored(const nib__names *names, const char *text)
{
    for (const char *const *prefix = names->prefixes; *prefix != NULL; prefix++) {
        bool in_layer = false;
        uint32_t layer = 0;
        const char *rest = strip(names, *prefix, text, &layer, &in_layer);
        if (rest == NULL) continue;
        for (const char *const *name = names->ignored; *name != NULL; name++) {
            size_t len = strlen(*name);
            bool all_of = len > 0 && (*name)[len - 1] == '.';
            if (all_of ? strncmp(rest, *name, len) == 0 : strcmp(rest, *name) == 0) return true;
        }
    }
    return false;
}
