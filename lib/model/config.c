/* SPDX-License-Identifier: MIT
 * File metadata -> checked configuration. Keys: the GGUF specification. After this stage nobody
 * checks a hyperparameter again. */
#include <math.h>
#include <string.h>

#include "model/arch.h"

/* Reads keys of one architecture. The first failure sticks: later reads return their lower bound,
 * which every computation below can bear. */
typedef struct key_reader {
    const nib__source *source;
    const char *arch;
    nib_error *err;
    nib_status status;
    char key[96];
} key_reader;

static const char *key_of(key_reader *r, const char *name)
{
    nib__text(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

/* `number` as "-1.25e-06": messages only, six digits. */
static const char *real_text(double number, char text[32])
{
    if (isnan(number)) return "NaN";
    if (isinf(number)) return number < 0 ? "-infinity" : "infinity";
    double m = fabs(number);
    int exponent = 0;
    for (; m >= 10; m /= 10) exponent++;
    for (; m != 0 && m < 1; m *= 10) exponent--;
    unsigned digits = (unsigned)(m * 100000 + 0.5); /* 1.00000 is 100000 */
    if (digits >= 1000000) {                        /* 9.999999 was rounded up to 10.0000 */
        digits /= 10;
        exponent++;
    }
    char fraction[8];
    nib__text(fraction, sizeof fraction, "%u", 100000 + digits % 100000);
    nib__text(text, 32, "%s%u.%se%d", number < 0 ? "-" : "", digits / 100000, fraction + 1,
              exponent);
    return text;
}

/* A count in [lo, hi]; `fallback` if the key is absent, an error if the fallback is 0. */
static uint32_t read_count(key_reader *r, const char *name, uint32_t lo, uint32_t hi,
                           uint32_t fallback)
{
    uint32_t value = 0;
    if (r->status != NIB_OK) return lo;
    int32_t got = nib__meta_u32(r->source, key_of(r, name), &value, r->err);
    if (got < 0) {
        r->status = got;
        return lo;
    }
    if (got == NIB__ABSENT) {
        if (fallback != 0) return fallback;
        r->status =
            nib__fail(r->err, NIB_ERR_FORMAT, "%s: key %s: expected %u..%u, got no such key",
                      nib__source_path(r->source), r->key, lo, hi);
        return lo;
    }
    if (value < lo || value > hi) {
        r->status = nib__fail(r->err, NIB_ERR_FORMAT, "%s: key %s: expected %u..%u, got %u",
                              nib__source_path(r->source), r->key, lo, hi, value);
        return lo;
    }
    return value;
}

/* The same for a key that may be one number or an array with one number per layer. Layers of
 * different shapes are well formed, but not something this library can run. */
static uint32_t read_layer_count(key_reader *r, const char *name, uint32_t lo, uint32_t hi,
                                 uint32_t fallback, uint32_t n_layer)
{
    if (r->status != NIB_OK) return lo;
    if (nib__meta_type_of(r->source, key_of(r, name)) != NIB__META_ARRAY) {
        return read_count(r, name, lo, hi, fallback);
    }
    nib__array array;
    nib__meta_type type = NIB__META_U32;
    int32_t got = nib__meta_array(r->source, r->key, type, &array, NULL);
    if (got != NIB_OK) got = nib__meta_array(r->source, r->key, NIB__META_I32, &array, r->err);
    if (got != NIB_OK) {
        r->status = NIB_ERR_FORMAT;
        return lo;
    }
    if (array.count < n_layer) {
        r->status = nib__fail(
            r->err, NIB_ERR_FORMAT, "%s: key %s: expected a number for each of %u layers, got %llu",
            nib__source_path(r->source), r->key, n_layer, (unsigned long long)array.count);
        return lo;
    }
    uint32_t value = nib__array_u32(&array, 0);
    for (uint64_t i = 0; i < n_layer; i++) {
        uint32_t other = nib__array_u32(&array, i);
        if (other == value) continue;
        r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                              "%s: key %s: expected the same number in all layers, got %u and %u",
                              nib__source_path(r->source), r->key, value, other);
        return lo;
    }
    if (value < lo || value > hi) {
        r->status = nib__fail(r->err, NIB_ERR_FORMAT, "%s: key %s: expected %u..%u, got %u",
                              nib__source_path(r->source), r->key, lo, hi, value);
        return lo;
    }
    return value;
}

/* A number in [lo, hi]; `fallback` if the key is absent, an error if the fallback is 0. */
static float read_real(key_reader *r, const char *name, float lo, float hi, float fallback)
{
    float value = 0;
    char text[32], low[32], high[32];
    if (r->status != NIB_OK) return lo;
    int32_t got = nib__meta_f32(r->source, key_of(r, name), &value, r->err);
    if (got < 0) {
        r->status = got;
        return lo;
    }
    if (got == NIB__ABSENT && fallback != 0) return fallback;
    if (got == NIB__ABSENT || !(value >= lo && value <= hi)) { /* NaN is in no range */
        r->status =
            nib__fail(r->err, NIB_ERR_FORMAT, "%s: key %s: expected a number in %s..%s, got %s",
                      nib__source_path(r->source), r->key, real_text((double)lo, low),
                      real_text((double)hi, high),
                      got == NIB__ABSENT ? "no such key" : real_text((double)value, text));
        return lo;
    }
    return value;
}

static nib_status refuse(key_reader *r, nib_status code, const char *expected, uint32_t got)
{
    if (r->status == NIB_OK) {
        r->status = nib__fail(r->err, code, "%s: key %s: expected %s, got %u",
                              nib__source_path(r->source), r->key, expected, got);
    }
    return r->status;
}

/* Features that change what a model computes, and that no architecture of ours has (yet): computing
 * without them would give wrong text without a word. */
static void refuse_features(key_reader *r)
{
    static const char *const keys[] = {
        "expert_count",
        "attention.sliding_window",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logit_scale",
        "residual_scale",
        "embedding_scale",
        "attention.scale",
        "rope.scaling.yarn_log_multiplier",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && r->status == NIB_OK; i++) {
        uint32_t count = 0;
        float real = 0;
        key_of(r, keys[i]);
        if (nib__meta_type_of(r->source, r->key) < 0) continue;
        if (nib__meta_u32(r->source, r->key, &count, NULL) == NIB_OK && count == 0) continue;
        if (nib__meta_f32(r->source, r->key, &real, NULL) == NIB_OK && real == 0) continue;
        r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                              "%s: key %s: %s models with this feature cannot be run yet",
                              nib__source_path(r->source), r->key, r->arch);
    }
}

/* Embedding models of the same architectures look both ways. */
static void refuse_both_ways(key_reader *r)
{
    int32_t causal = 1;
    if (r->status != NIB_OK) return;
    int32_t got = nib__meta_bool(r->source, key_of(r, "attention.causal"), &causal, r->err);
    if (got < 0) {
        r->status = got;
    } else if (!causal) {
        r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                              "%s: key %s: expected true, got false: only models that complete "
                              "text can be run",
                              nib__source_path(r->source), r->key);
    }
}

static nib_status read_arch(const nib__source *source, const nib__arch **arch, nib_error *err)
{
    static const char key[] = "general.architecture";
    nib__str name;
    int32_t got = nib__meta_str(source, key, &name, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT) {
        return nib__fail(err, NIB_ERR_FORMAT, "%s: key %s: expected a name, got no such key",
                         nib__source_path(source), key);
    }
    *arch = nib__arch_find(name.data, name.len);
    if (*arch != NULL) return NIB_OK;
    char known[128];
    nib__arch_list(known, sizeof known);
    int shown = name.len > 40 ? 40 : (int)name.len;
    return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s: key %s: expected one of %s, got \"%.*s\"",
                     nib__source_path(source), key, known, shown, name.data);
}

static void read_heads(key_reader *r, nib__config *c)
{
    c->n_head = read_layer_count(r, "attention.head_count", 1, 1024, 0, c->n_layer);
    c->n_head_kv = read_layer_count(r, "attention.head_count_kv", 1, 1024, c->n_head, c->n_layer);
    if (c->n_head % c->n_head_kv != 0) {
        refuse(r, NIB_ERR_FORMAT, "a divisor of the number of heads", c->n_head_kv);
    }
    uint32_t by_width = c->n_embd % c->n_head == 0 ? c->n_embd / c->n_head : 0;
    if (by_width > 1024) by_width = 0; /* then the key must be there, and says so if it is not */
    c->head_dim = read_count(r, "attention.key_length", 2, 1024, by_width);
    if (c->head_dim % 2 != 0) refuse(r, NIB_ERR_FORMAT, "an even head size", c->head_dim);
    uint32_t value_dim = read_count(r, "attention.value_length", 2, 1024, c->head_dim);
    if (value_dim != c->head_dim) {
        refuse(r, NIB_ERR_UNSUPPORTED, "the same size of keys and values", value_dim);
    }
    c->attn_scale = (float)(1.0 / sqrt((double)c->head_dim));
}

static void read_scaling_type(key_reader *r, nib__config *c)
{
    nib__str type = {"none", 4};
    if (r->status != NIB_OK) return;
    int32_t got = nib__meta_str(r->source, key_of(r, "rope.scaling.type"), &type, r->err);
    if (got < 0) {
        r->status = got;
        return;
    }
    static const struct {
        const char *name;
        nib__rope_scaling scaling;
    } types[] = {{"none", NIB__ROPE_PLAIN}, {"linear", NIB__ROPE_LINEAR}, {"yarn", NIB__ROPE_YARN}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strlen(types[i].name) != type.len || memcmp(types[i].name, type.data, type.len) != 0)
            continue;
        c->rope_scaling = types[i].scaling;
        return;
    }
    r->status = nib__fail(
        r->err, NIB_ERR_UNSUPPORTED, "%s: key %s: expected none, linear or yarn, got \"%.*s\"",
        nib__source_path(r->source), r->key, type.len > 40 ? 40 : (int)type.len, type.data);
}

static void read_rope(key_reader *r, nib__config *c)
{
    c->n_rot = read_count(r, "rope.dimension_count", 2, c->head_dim, c->head_dim);
    if (c->n_rot % 2 != 0) refuse(r, NIB_ERR_FORMAT, "an even number of dimensions", c->n_rot);
    c->rope_base = read_real(r, "rope.freq_base", 2.0f, 1e12f, 10000.0f);
    read_scaling_type(r, c);
    c->rope_factor = 1;
    c->rope_attn_factor = 1;
    c->rope_ctx_orig = c->n_ctx_train;
    if (nib__meta_type_of(r->source, key_of(r, "rope.scaling.type")) < 0) {
        /* Files of 2023 have this key alone. */
        c->rope_factor = read_real(r, "rope.scale_linear", 1e-3f, 1e6f, 1);
        if (c->rope_factor != 1) c->rope_scaling = NIB__ROPE_LINEAR;
        return;
    }
    if (c->rope_scaling == NIB__ROPE_PLAIN) return;
    c->rope_factor = read_real(r, "rope.scaling.factor", 1e-3f, 1e6f, 0);
    if (c->rope_scaling != NIB__ROPE_YARN) return;
    /* YaRN (Peng et al. 2023), with the keys and defaults of the GGUF specification. */
    c->rope_ctx_orig =
        read_count(r, "rope.scaling.original_context_length", 1, 1u << 30, c->n_ctx_train);
    c->rope_beta_fast = read_real(r, "rope.scaling.yarn_beta_fast", 1e-3f, 1e6f, 32);
    c->rope_beta_slow = read_real(r, "rope.scaling.yarn_beta_slow", 1e-3f, 1e6f, 1);
    float attn = read_real(r, "rope.scaling.attn_factor", 1e-3f, 1e3f, 1);
    double grown = c->rope_factor > 1 ? 1.0 + 0.1 * log((double)c->rope_factor) : 1.0;
    c->rope_attn_factor = (float)((double)attn * grown);
}

nib_status nib__config_read(const nib__source *source, uint32_t n_vocab, nib__config *config,
                            const nib__arch **arch_out, nib_error *err)
{
    const nib__arch *arch = NULL;
    nib_status status = read_arch(source, &arch, err);
    if (status != NIB_OK) return status;

    key_reader r = {.source = source, .arch = arch->name, .err = err};
    nib__config c = {.norm = arch->norm, .act = arch->act, .rope = arch->rope};
    nib__text(c.arch, sizeof c.arch, "%s", arch->name);
    c.n_layer = read_count(&r, "block_count", 1, NIB__MAX_LAYERS, 0);
    c.n_ctx_train = read_count(&r, "context_length", 1, 1u << 30, 0);
    c.n_embd = read_count(&r, "embedding_length", 1, 1u << 18, 0);
    c.n_ff = read_layer_count(&r, "feed_forward_length", 1, 1u << 20, 0, c.n_layer);
    c.norm_eps = read_real(&r, "attention.layer_norm_rms_epsilon", 1e-30f, 1.0f, 0);
    read_heads(&r, &c);
    read_rope(&r, &c);
    c.n_vocab = read_count(&r, "vocab_size", 1, 1u << 26, n_vocab);
    if (c.n_vocab != n_vocab) {
        r.status = r.status != NIB_OK
                       ? r.status
                       : nib__fail(err, NIB_ERR_FORMAT,
                                   "%s: key %s: expected %u, the number of "
                                   "tokens, got %u",
                                   nib__source_path(source), r.key, n_vocab, c.n_vocab);
    }
    refuse_features(&r);
    refuse_both_ways(&r);
    if (r.status != NIB_OK) return r.status;
    *config = c;
    *arch_out = arch;
    return NIB_OK;
}
