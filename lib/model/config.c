/* SPDX-License-Identifier: MIT
 * File metadata -> checked configuration: what all architectures have. What only some have is read
 * by their row's `special` in archs.c. After this stage nobody checks a hyperparameter again. */
#include <math.h>
#include <string.h>

#include "model/arch.h"

/* Features that change what a model computes, and that no architecture of ours has (yet): computing
 * without them would give wrong text without a word. */
static void refuse_features(nib__key_reader *r, const nib__arch *arch)
{
    nib__naming naming = arch->naming;
    static const char *const gguf[] = {
        "expert_count",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logit_scale",
        "residual_scale",
        "embedding_scale",
        "attention.scale",
        "rope.scaling.yarn_log_multiplier",
    };
    static const char *const hf[] = {
        "num_experts",
        "num_local_experts",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "use_bidirectional_attention",
    };
    static const char *const encoder[] = {"is_encoder_decoder"};
    static const char *const cross[] = {"add_cross_attention"};
    if (naming == NIB__NAMING_GGUF)
        nib__key_refuse_all(r, gguf, sizeof gguf / sizeof gguf[0]);
    else
        nib__key_refuse_all(r, hf, sizeof hf / sizeof hf[0]);
    if (naming != NIB__NAMING_HF) return;
    const nib__stack *stack = arch->stack;
    if (stack == NULL) nib__key_refuse_all(r, encoder, 1);
    if (stack == NULL || !(stack->cross || stack->both_ways)) nib__key_refuse_all(r, cross, 1);
    static const char quantized[] = "quantization_config.quant_method";
    if (r->status != NIB_OK) return;
    if (nib__meta_type_of(r->source, quantized) < 0) return;
    r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                          "%s%s: key %s: quantized checkpoints are read as GGUF only",
                          nib__source_path(r->source), r->file, quantized);
}

/* Embedding models of the same architectures look both ways. */
static void refuse_both_ways(nib__key_reader *r)
{
    bool causal = nib__key_bool(r, "attention.causal", true);
    if (r->status == NIB_OK && !causal) {
        r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                              "%s%s: key %s: expected true, got false: only models that complete "
                              "text can be run",
                              nib__source_path(r->source), r->file, r->key);
    }
}

static nib_status read_arch(const nib__source *source, const nib__arch **arch, nib_error *err)
{
    nib__naming naming = nib__source_naming(source);
    bool gguf = naming == NIB__NAMING_GGUF;
    const char *key = gguf ? "general.architecture" : "model_type";
    const char *file = gguf ? "" : "/config.json";
    nib__str name;
    int32_t got = nib__meta_str(source, key, &name, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT) {
        return nib__fail(err, NIB_ERR_FORMAT, "%s%s: key %s: expected a name, got no such key",
                         nib__source_path(source), file, key);
    }
    *arch = nib__arch_find(naming, name.data, name.len);
    if (*arch != NULL) return NIB_OK;
    char known[192];
    nib__arch_list(naming, known, sizeof known);
    int shown = name.len > 40 ? 40 : (int)name.len;
    /* the long list last: behind it a long path would leave no room for the name */
    return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s%s: key %s: got \"%.*s\", expected one of %s",
                     nib__source_path(source), file, key, shown, name.data, known);
}

static void read_heads(nib__key_reader *r, const nib__keys *keys, nib__config *c)
{
    c->n_head = nib__key_layer_count(r, keys->n_head, 1, 1024, keys->usual_head, c->n_layer);
    uint32_t usual_kv = keys->usual_head_kv != 0 ? keys->usual_head_kv : c->n_head;
    c->n_head_kv = nib__key_layer_count(r, keys->n_head_kv, 1, 1024, usual_kv, c->n_layer);
    if (c->n_head % c->n_head_kv != 0) {
        nib__key_refuse(r, NIB_ERR_FORMAT, "a divisor of the number of heads", c->n_head_kv);
    }
    uint32_t by_width = c->n_embd % c->n_head == 0 ? c->n_embd / c->n_head : 0;
    if (by_width > 1024) by_width = 0; /* then the key must be there, and says so if it is not */
    if (keys->head_dim == NULL && by_width == 0) {
        nib__key_of(r, keys->n_head);
        nib__key_refuse(r, NIB_ERR_FORMAT, "a divisor of the width, and heads of at most 1024",
                        c->n_head);
        by_width = 2;
    }
    if (keys->usual_dim != 0) by_width = keys->usual_dim;
    c->head_dim = nib__key_count(r, keys->head_dim, 1, 1024, by_width);
    if (c->rope != NIB__ROPE_NONE && c->head_dim % 2 != 0 && !nib__key_there(r, keys->n_rot) &&
        keys->rot_fraction == NULL) {
        nib__key_of(r, keys->head_dim != NULL ? keys->head_dim : keys->n_head);
        nib__key_refuse(r, NIB_ERR_FORMAT, "an even head size", c->head_dim);
    }
    uint32_t value_dim = nib__key_count(r, keys->value_dim, 1, 1024, c->head_dim);
    if (value_dim != c->head_dim) {
        nib__key_refuse(r, NIB_ERR_UNSUPPORTED, "the same size of keys and values", value_dim);
    }
    c->attn_scale = (float)(1.0 / sqrt((double)c->head_dim));
}

/* ---- rotary positions ---- */

static void read_yarn(nib__key_reader *r, const char *fast, const char *slow, nib__config *c)
{
    c->rope_beta_fast = nib__key_real(r, fast, 1e-3f, 1e6f, 32);
    c->rope_beta_slow = nib__key_real(r, slow, 1e-3f, 1e6f, 1);
    c->rope_attn_factor =
        (float)(c->rope_factor > 1 ? 1.0 + 0.1 * log((double)c->rope_factor) : 1.0);
}

/* Scaling with the keys and defaults of the GGUF specification. */
static void read_scaling_gguf(nib__key_reader *r, nib__config *c)
{
    static const char *const types[] = {"none", "linear", "yarn"};
    static const nib__rope_scaling scalings[] = {NIB__ROPE_PLAIN, NIB__ROPE_LINEAR, NIB__ROPE_YARN};
    c->rope_scaling = scalings[nib__key_choice(r, "rope.scaling.type", types, 3, 0)];
    if (r->status == NIB_OK && !nib__key_there(r, "rope.scaling.type")) {
        /* Files of 2023 have this key alone. */
        c->rope_factor = nib__key_real(r, "rope.scale_linear", 1e-3f, 1e6f, 1);
        if (c->rope_factor != 1) c->rope_scaling = NIB__ROPE_LINEAR;
        return;
    }
    if (c->rope_scaling == NIB__ROPE_PLAIN) return;
    c->rope_factor = nib__key_real(r, "rope.scaling.factor", 1e-3f, 1e6f, 0);
    if (c->rope_scaling != NIB__ROPE_YARN) return;
    c->rope_ctx_orig =
        nib__key_count(r, "rope.scaling.original_context_length", 1, 1u << 30, c->n_ctx_train);
    read_yarn(r, "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", c);
    float attn = nib__key_real(r, "rope.scaling.attn_factor", 1e-3f, 1e3f, 1);
    c->rope_attn_factor = (float)((double)attn * (double)c->rope_attn_factor);
}

/* Where transformers 5 has base, fraction and scaling; Gemma 3 has them by type of layer. */
static const char LATER[] = "rope_parameters", LATER_FULL[] = "rope_parameters.full_attention";

static const char *scaling_place(nib__key_reader *r)
{
    if (nib__key_there(r, LATER_FULL)) return LATER_FULL;
    const char *place = nib__key_there(r, LATER) ? LATER : "rope_scaling";
    if (r->status == NIB_OK && nib__key_there(r, place) &&
        nib__meta_type_of(r->source, r->key) != NIB__META_OBJECT)
        r->status = nib__fail(r->err, NIB_ERR_FORMAT, "%s%s: key %s: expected an object",
                              nib__source_path(r->source), r->file, r->key);
    return place;
}

typedef struct rope_name {
    char text[64];
} rope_name;

static rope_name in_place(const char *place, const char *name)
{
    rope_name full;
    nib__text(full.text, sizeof full.text, "%s.%s", place, name);
    return full;
}

/* Scaling in the words of transformers; older files say "type". */
static void read_scaling_hf(nib__key_reader *r, const char *place, nib__config *c)
{
    static const char *const types[] = {"default", "linear", "yarn", "llama3", "dynamic"};
    static const nib__rope_scaling scalings[] = {NIB__ROPE_PLAIN, NIB__ROPE_LINEAR, NIB__ROPE_YARN,
                                                 NIB__ROPE_LLAMA3, NIB__ROPE_DYNAMIC};
    rope_name key = in_place(place, "rope_type");
    if (!nib__key_there(r, key.text)) key = in_place(place, "type");
    c->rope_scaling = scalings[nib__key_choice(r, key.text, types, 5, 0)];
    if (c->rope_scaling == NIB__ROPE_PLAIN || c->rope_scaling == NIB__ROPE_DYNAMIC) return;
    c->rope_factor = nib__key_real(r, in_place(place, "factor").text, 1e-3f, 1e6f, 0);
    if (c->rope_scaling == NIB__ROPE_LINEAR) return;
    key = in_place(place, "original_max_position_embeddings");
    c->rope_ctx_orig = nib__key_count(r, key.text, 1, 1u << 30, c->n_ctx_train);
    if (c->rope_scaling == NIB__ROPE_LLAMA3) {
        c->rope_low_freq =
            nib__key_real(r, in_place(place, "low_freq_factor").text, 1e-3f, 1e6f, 0);
        c->rope_high_freq =
            nib__key_real(r, in_place(place, "high_freq_factor").text, 1e-3f, 1e6f, 0);
        if (!(c->rope_high_freq > c->rope_low_freq))
            nib__key_refuse(r, NIB_ERR_FORMAT, "a number above low_freq_factor",
                            (uint32_t)c->rope_high_freq);
        return;
    }
    rope_name fast = in_place(place, "beta_fast"), mscale = in_place(place, "mscale");
    const char *const other_factor[] = {mscale.text};
    read_yarn(r, fast.text, in_place(place, "beta_slow").text, c);
    key = in_place(place, "attention_factor");
    if (!nib__key_there(r, key.text)) nib__key_refuse_all(r, other_factor, 1);
    c->rope_attn_factor = nib__key_real(r, key.text, 1e-3f, 1e3f, c->rope_attn_factor);
}

static void read_rope(nib__key_reader *r, const nib__arch *arch, nib__config *c)
{
    const nib__keys *keys = arch->keys;
    bool gguf = arch->naming == NIB__NAMING_GGUF;
    c->rope_factor = 1;
    c->rope_attn_factor = 1;
    c->rope_ctx_orig = c->n_ctx_train;
    if (c->rope == NIB__ROPE_NONE) return;
    const char *place = gguf ? "" : scaling_place(r);
    bool later = place == LATER || place == LATER_FULL;
    c->n_rot = nib__key_count(r, keys->n_rot, 2, c->head_dim, c->head_dim);
    rope_name part = in_place(place, "partial_rotary_factor");
    const char *fraction_key = later && nib__key_there(r, part.text) ? part.text
                               : keys->rot_fraction != NULL          ? keys->rot_fraction
                                                                     : "partial_rotary_factor";
    if (!gguf && keys->n_rot == NULL) {
        float usual = keys->usual_fraction != 0 ? keys->usual_fraction : 1.0f;
        float fraction = nib__key_real(r, fraction_key, 1e-4f, 1.0f, usual);
        c->n_rot = (uint32_t)((double)c->head_dim * (double)fraction + 1e-4);
        if (c->n_rot < 2) nib__key_refuse(r, NIB_ERR_FORMAT, "two dimensions or more", c->n_rot);
    }
    if (c->n_rot % 2 != 0)
        nib__key_refuse(r, NIB_ERR_FORMAT, "an even number of dimensions", c->n_rot);
    rope_name base = in_place(place, "rope_theta");
    c->rope_base =
        nib__key_real(r, later ? base.text : keys->rope_base, 2.0f, 1e12f, later ? 0 : 10000.0f);
    if (gguf)
        read_scaling_gguf(r, c);
    else
        read_scaling_hf(r, place, c);
}

/* ---- all ---- */

void nib__key_activation(nib__key_reader *r, const char *key, nib__config *c)
{
    static const char *const names[] = {"silu",
                                        "swish",
                                        "gelu",
                                        "gelu_python",
                                        "gelu_new",
                                        "gelu_fast",
                                        "gelu_pytorch_tanh",
                                        "gelu_accurate",
                                        "relu"};
    static const nib__act acts[] = {NIB__ACT_SILU,      NIB__ACT_SILU,      NIB__ACT_GELU,
                                    NIB__ACT_GELU,      NIB__ACT_GELU_TANH, NIB__ACT_GELU_TANH,
                                    NIB__ACT_GELU_TANH, NIB__ACT_GELU_TANH, NIB__ACT_RELU};
    if (!nib__key_there(r, key)) return;
    c->act = acts[nib__key_choice(r, key, names, sizeof names / sizeof names[0], 0)];
}

static void read_vocab(nib__key_reader *r, nib__naming naming, const char *key, uint32_t n_vocab,
                       nib__config *c)
{
    c->n_vocab = nib__key_count(r, key, 1, 1u << 26, n_vocab);
    /* GGUF lists every row of the embedding as a token; other checkpoints may have rows that no
     * token uses, and tokenizers with tokens that were added later. */
    if (naming != NIB__NAMING_GGUF || c->n_vocab == n_vocab || r->status != NIB_OK) return;
    r->status =
        nib__fail(r->err, NIB_ERR_FORMAT, "%s%s: key %s: expected %u, the number of tokens, got %u",
                  nib__source_path(r->source), r->file, r->key, n_vocab, c->n_vocab);
}

bool nib__config_windowed(const nib__config *c, uint32_t layer)
{
    return c->window != 0 && (c->full[layer / 32] >> layer % 32 & 1u) == 0;
}

nib_status nib__config_read_as(const nib__source *source, const nib__arch *arch, uint32_t n_vocab,
                               nib__config *config, nib_error *err)
{
    bool gguf = arch->naming == NIB__NAMING_GGUF;
    const nib__keys *keys = arch->keys;
    nib__key_reader r = {
        .source = source,
        .file = gguf ? "" : "/config.json",
        .prefix = gguf                  ? arch->name
                  : keys->inner != NULL ? keys->inner
                                        : "",
        .arch = arch->name,
        .err = err,
    };
    nib__config c = {
        .norm = arch->norm,
        .act = arch->act,
        .rope = arch->rope,
        .residual = arch->residual,
        .positions = arch->positions,
        .embd_scale = 1,
        .out_scale = 1,
        .start_id = -1,
        .pad_id = -1,
        .both_ways = arch->stack != NULL && arch->stack->both_ways,
        .cross = arch->stack != NULL && arch->stack->cross,
    };
    nib__text(c.arch, sizeof c.arch, "%s", arch->name);
    const char *n_layer = keys->n_layer;
    if (keys->n_layer_else != NULL && !nib__key_there(&r, n_layer)) n_layer = keys->n_layer_else;
    c.n_layer = nib__key_count(&r, n_layer, 1, NIB__MAX_LAYERS, 0);
    c.n_ctx_train = nib__key_count(&r, keys->n_ctx, 1, 1u << 30, keys->usual_ctx);
    c.n_embd = nib__key_count(&r, keys->n_embd, 1, 1u << 18, 0);
    c.n_word = c.n_embd;
    c.n_pos = c.n_ctx_train;
    bool wide = keys == &nib__keys_gpt2 || keys == &nib__keys_gptneo; /* null is usual */
    uint32_t usual_ff = wide ? 4 * c.n_embd : 0;
    c.n_ff = nib__key_layer_count(&r, keys->n_ff, 1, 1u << 20, usual_ff, c.n_layer);
    float usual_eps = keys->usual_eps != 0 || gguf ? keys->usual_eps : 1e-5f;
    c.norm_eps = nib__key_real(&r, keys->eps, 1e-30f, 1.0f, usual_eps);
    read_heads(&r, keys, &c);
    read_rope(&r, arch, &c);
    uint32_t usual_vocab = keys->usual_vocab != 0 ? keys->usual_vocab : n_vocab;
    read_vocab(&r, arch->naming, keys->n_vocab, usual_vocab, &c);
    nib__key_activation(&r, keys->act, &c);
    if (nib__key_there(&r, keys->window))
        c.window = nib__key_count(&r, keys->window, 1, 1u << 30, 0);
    c.tied = arch->tied;
    if (!gguf) c.tied = nib__key_bool(&r, "tie_word_embeddings", arch->tied);
    refuse_features(&r, arch);
    if (gguf && !c.both_ways) refuse_both_ways(&r);
    if (arch->special != NULL && r.status == NIB_OK) arch->special(&r, &c);
    static const char *const by_type[] = {LATER_FULL};
    if (!gguf && c.rope_base_local == 0) nib__key_refuse_all(&r, by_type, 1);
    if (r.status == NIB_OK) *config = c;
    return r.status;
}

nib_status nib__config_read(const nib__source *source, uint32_t n_vocab, nib__config *config,
                            const nib__arch **arch, nib_error *err)
{
    nib_status status = read_arch(source, arch, err);
    if (status != NIB_OK) return status;
    const nib__stack *stack = (*arch)->stack;
    int32_t is_decoder = 0;
    if (stack != NULL && stack->decoder != NULL)
        status = nib__meta_bool(source, "is_decoder", &is_decoder, err);
    if (status < 0) return status;
    if (is_decoder) *arch = stack->decoder;
    return nib__config_read_as(source, *arch, n_vocab, config, err);
}
