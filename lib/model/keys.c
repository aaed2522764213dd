/* SPDX-License-Identifier: MIT
 * Names of hyperparameters: keys of the GGUF specification, fields of the config.json that
 * transformers writes; and reading them. After the configuration is made nobody checks one again.
 */
#include "model/keys.h"

#include <math.h>
#include <string.h>

#include "base/status.h"

#define GGUF_KEYS                                                                                  \
    .n_ctx = "context_length", .n_embd = "embedding_length", .n_ff = "feed_forward_length",        \
    .n_head = "attention.head_count", .n_head_kv = "attention.head_count_kv",                      \
    .head_dim = "attention.key_length", .value_dim = "attention.value_length",                     \
    .n_vocab = "vocab_size", .n_rot = "rope.dimension_count", .rope_base = "rope.freq_base"

const nib__keys nib__keys_gguf_rms = {GGUF_KEYS, .n_layer = "block_count",
                                      .eps = "attention.layer_norm_rms_epsilon"};
const nib__keys nib__keys_gguf_layer = {GGUF_KEYS, .n_layer = "block_count",
                                        .eps = "attention.layer_norm_epsilon"};
/* The decoder; the encoder's are those of every RMS norm model. */
const nib__keys nib__keys_gguf_t5 = {GGUF_KEYS, .n_layer = "decoder_block_count",
                                     .n_layer_else = "block_count",
                                     .eps = "attention.layer_norm_rms_epsilon"};

/* GPT-2 (2019) and those after it: GPT-J, CodeGen, GPT-BigCode. */
const nib__keys nib__keys_gpt2 = {
    .n_layer = "n_layer",
    .n_ctx = "n_positions",
    .n_embd = "n_embd",
    .n_ff = "n_inner",
    .n_head = "n_head",
    .n_vocab = "vocab_size",
    .eps = "layer_norm_epsilon",
    .act = "activation_function",
    .n_rot = "rotary_dim",
};

const nib__keys nib__keys_gptneo = {.n_layer = "num_layers",
                                    .n_ctx = "max_position_embeddings",
                                    .n_embd = "hidden_size",
                                    .n_ff = "intermediate_size",
                                    .n_head = "num_heads",
                                    .n_vocab = "vocab_size",
                                    .eps = "layer_norm_epsilon",
                                    .act = "activation_function"};

#define HF_KEYS                                                                                    \
    .n_layer = "num_hidden_layers", .n_ctx = "max_position_embeddings", .n_embd = "hidden_size",   \
    .n_ff = "intermediate_size", .n_head = "num_attention_heads", .n_vocab = "vocab_size"

const nib__keys nib__keys_llama = {HF_KEYS,
                                   .n_head_kv = "num_key_value_heads",
                                   .head_dim = "head_dim",
                                   .eps = "rms_norm_eps",
                                   .usual_eps = 1e-6f,
                                   .act = "hidden_act",
                                   .rope_base = "rope_theta"};
const nib__keys nib__keys_gemma = {HF_KEYS,
                                   .n_head_kv = "num_key_value_heads",
                                   .head_dim = "head_dim",
                                   .eps = "rms_norm_eps",
                                   .usual_eps = 1e-6f,
                                   .act = "hidden_activation",
                                   .rope_base = "rope_theta"};
/* The text of Gemma 3 where it sees images, too: only what is not as in the 4B model is written. */
const nib__keys nib__keys_gemma3_images = {HF_KEYS,
                                           .n_head_kv = "num_key_value_heads",
                                           .head_dim = "head_dim",
                                           .eps = "rms_norm_eps",
                                           .act = "hidden_activation",
                                           .rope_base = "rope_theta",
                                           .inner = "text_config",
                                           .usual_ctx = 131072,
                                           .usual_head = 8,
                                           .usual_head_kv = 4,
                                           .usual_dim = 256,
                                           .usual_vocab = 262208,
                                           .usual_eps = 1e-6f};
const nib__keys nib__keys_phi = {HF_KEYS,
                                 .n_head_kv = "num_key_value_heads",
                                 .eps = "layer_norm_eps",
                                 .act = "hidden_act",
                                 .rot_fraction = "partial_rotary_factor",
                                 .usual_fraction = 0.5f,
                                 .rope_base = "rope_theta"};
const nib__keys nib__keys_neox = {HF_KEYS,
                                  .eps = "layer_norm_eps",
                                  .act = "hidden_act",
                                  .rot_fraction = "rotary_pct",
                                  .usual_fraction = 0.25f,
                                  .rope_base = "rotary_emb_base"};
const nib__keys nib__keys_stablelm = {HF_KEYS,
                                      .n_head_kv = "num_key_value_heads",
                                      .eps = "layer_norm_eps",
                                      .act = "hidden_act",
                                      .rot_fraction = "partial_rotary_factor",
                                      .usual_fraction = 0.25f,
                                      .rope_base = "rope_theta"};
const nib__keys nib__keys_starcoder2 = {HF_KEYS,
                                        .n_head_kv = "num_key_value_heads",
                                        .eps = "norm_epsilon",
                                        .act = "hidden_act",
                                        .window = "sliding_window",
                                        .rope_base = "rope_theta"};
const nib__keys nib__keys_xglm = {.n_layer = "num_layers",
                                  .n_ctx = "max_position_embeddings",
                                  .n_embd = "d_model",
                                  .n_ff = "ffn_dim",
                                  .n_head = "attention_heads",
                                  .n_vocab = "vocab_size",
                                  .act = "activation_function"};
const nib__keys nib__keys_opt = {.n_layer = "num_hidden_layers",
                                 .n_ctx = "max_position_embeddings",
                                 .n_embd = "hidden_size",
                                 .n_ff = "ffn_dim",
                                 .n_head = "num_attention_heads",
                                 .n_vocab = "vocab_size",
                                 .act = "activation_function"};

/* T5 has no positions that could run out; 512 is what the published ones were trained with. */
#define T5_KEYS                                                                                    \
    .n_ctx = "n_positions", .usual_ctx = 512, .n_embd = "d_model", .n_ff = "d_ff",                 \
    .n_head = "num_heads", .head_dim = "d_kv", .n_vocab = "vocab_size",                            \
    .eps = "layer_norm_epsilon", .usual_eps = 1e-6f
const nib__keys nib__keys_t5 = {T5_KEYS, .n_layer = "num_decoder_layers",
                                .n_layer_else = "num_layers"};
const nib__keys nib__keys_t5_encoder = {T5_KEYS, .n_layer = "num_layers"};

#define BART_KEYS                                                                                  \
    .n_ctx = "max_position_embeddings", .n_embd = "d_model", .n_vocab = "vocab_size",              \
    .act = "activation_function"
const nib__keys nib__keys_bart = {BART_KEYS, .n_layer = "decoder_layers", .n_ff = "decoder_ffn_dim",
                                  .n_head = "decoder_attention_heads"};
const nib__keys nib__keys_bart_encoder = {BART_KEYS, .n_layer = "encoder_layers",
                                          .n_ff = "encoder_ffn_dim",
                                          .n_head = "encoder_attention_heads"};
const nib__keys nib__keys_roberta = {HF_KEYS, .eps = "layer_norm_eps", .usual_eps = 1e-12f,
                                     .act = "hidden_act"};

const char *nib__key_of(nib__key_reader *r, const char *name)
{
    nib__text(r->key, sizeof r->key, "%s%s%s", r->prefix, r->prefix[0] != '\0' ? "." : "", name);
    return r->key;
}

bool nib__key_there(nib__key_reader *r, const char *name)
{
    return name != NULL && nib__meta_type_of(r->source, nib__key_of(r, name)) >= 0;
}

/* `number` as "-1.25000e-6": messages only, six digits. */
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

static uint32_t count_in_range(nib__key_reader *r, uint32_t lo, uint32_t hi, uint32_t value)
{
    if (value >= lo && value <= hi) return value;
    r->status = nib__fail(r->err, NIB_ERR_FORMAT, "%s%s: key %s: expected %u..%u, got %u",
                          nib__source_path(r->source), r->file, r->key, lo, hi, value);
    return lo;
}

uint32_t nib__key_count(nib__key_reader *r, const char *name, uint32_t lo, uint32_t hi,
                        uint32_t fallback)
{
    uint32_t value = 0;
    if (r->status != NIB_OK) return lo;
    if (name == NULL) return fallback;
    if (!nib__key_there(r, name)) {
        if (fallback != 0) return fallback;
        r->status =
            nib__fail(r->err, NIB_ERR_FORMAT, "%s%s: key %s: expected %u..%u, got no such key",
                      nib__source_path(r->source), r->file, r->key, lo, hi);
        return lo;
    }
    int32_t got = nib__meta_u32(r->source, r->key, &value, r->err);
    if (got < 0) {
        r->status = got;
        return lo;
    }
    return count_in_range(r, lo, hi, value);
}

uint32_t nib__key_layer_count(nib__key_reader *r, const char *name, uint32_t lo, uint32_t hi,
                              uint32_t fallback, uint32_t n_layer)
{
    if (r->status != NIB_OK) return lo;
    if (name == NULL || nib__meta_type_of(r->source, nib__key_of(r, name)) != NIB__META_ARRAY) {
        return nib__key_count(r, name, lo, hi, fallback);
    }
    nib__array array;
    int32_t got = nib__meta_array(r->source, r->key, NIB__META_U32, &array, NULL);
    if (got != NIB_OK) got = nib__meta_array(r->source, r->key, NIB__META_I32, &array, r->err);
    if (got != NIB_OK) {
        r->status = NIB_ERR_FORMAT;
        return lo;
    }
    if (array.count < n_layer) {
        r->status = nib__fail(r->err, NIB_ERR_FORMAT,
                              "%s%s: key %s: expected a number for each of %u layers, got %llu",
                              nib__source_path(r->source), r->file, r->key, n_layer,
                              (unsigned long long)array.count);
        return lo;
    }
    uint32_t value = nib__array_u32(&array, 0);
    for (uint64_t i = 0; i < n_layer; i++) {
        uint32_t other = nib__array_u32(&array, i);
        if (other == value) continue;
        r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                              "%s%s: key %s: expected the same number in all layers, got %u and %u",
                              nib__source_path(r->source), r->file, r->key, value, other);
        return lo;
    }
    return count_in_range(r, lo, hi, value);
}

bool nib__key_array(nib__key_reader *r, const char *name, nib__meta_type type, nib__array *array)
{
    if (r->status != NIB_OK || !nib__key_there(r, name)) return false;
    int32_t got = nib__meta_array(r->source, r->key, type, array, r->err);
    if (got != NIB_OK) r->status = got;
    return got == NIB_OK;
}

float nib__key_real(nib__key_reader *r, const char *name, float lo, float hi, float fallback)
{
    float value = 0;
    char text[32], low[32], high[32];
    if (r->status != NIB_OK) return lo;
    if (name == NULL) return fallback;
    int32_t got = NIB__ABSENT;
    if (nib__key_there(r, name)) got = nib__meta_f32(r->source, r->key, &value, r->err);
    if (got < 0) {
        r->status = got;
        return lo;
    }
    if (got == NIB__ABSENT && fallback != 0) return fallback;
    if (got == NIB__ABSENT || !(value >= lo && value <= hi)) { /* NaN is in no range */
        r->status =
            nib__fail(r->err, NIB_ERR_FORMAT, "%s%s: key %s: expected a number in %s..%s, got %s",
                      nib__source_path(r->source), r->file, r->key, real_text((double)lo, low),
                      real_text((double)hi, high),
                      got == NIB__ABSENT ? "no such key" : real_text((double)value, text));
        return lo;
    }
    return value;
}

bool nib__key_bool(nib__key_reader *r, const char *name, bool fallback)
{
    int32_t value = 0;
    if (r->status != NIB_OK || !nib__key_there(r, name)) return fallback;
    int32_t got = nib__meta_bool(r->source, r->key, &value, r->err);
    if (got < 0) r->status = got;
    return value != 0;
}

uint32_t nib__key_choice(nib__key_reader *r, const char *name, const char *const *names, uint32_t n,
                         uint32_t fallback)
{
    nib__str got = {NULL, 0};
    if (r->status != NIB_OK || !nib__key_there(r, name)) return fallback;
    int32_t status = nib__meta_str(r->source, r->key, &got, r->err);
    if (status < 0) {
        r->status = status;
        return fallback;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (strlen(names[i]) == got.len && memcmp(names[i], got.data, got.len) == 0) return i;
    }
    char known[96];
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) {
        len += nib__text(known + len, sizeof known - len, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    r->status =
        nib__fail(r->err, NIB_ERR_UNSUPPORTED, "%s%s: key %s: got \"%.*s\", expected one of %s",
                  nib__source_path(r->source), r->file, r->key, got.len > 40 ? 40 : (int)got.len,
                  got.data, known);
    return fallback;
}

nib_status nib__key_refuse(nib__key_reader *r, nib_status code, const char *expected, uint32_t got)
{
    if (r->status == NIB_OK) {
        r->status = nib__fail(r->err, code, "%s%s: key %s: expected %s, got %u",
                              nib__source_path(r->source), r->file, r->key, expected, got);
    }
    return r->status;
}

void nib__key_refuse_all(nib__key_reader *r, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n && r->status == NIB_OK; i++) {
        int64_t count = 0;
        int32_t truth = 0;
        float real = 0;
        if (!nib__key_there(r, names[i])) continue;
        if (nib__meta_i64(r->source, r->key, &count, NULL) == NIB_OK && count == 0) continue;
        if (nib__meta_f32(r->source, r->key, &real, NULL) == NIB_OK && real == 0) continue;
        if (nib__meta_bool(r->source, r->key, &truth, NULL) == NIB_OK && truth == 0) continue;
        r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                              "%s%s: key %s: %s models with this feature cannot be run yet",
                              nib__source_path(r->source), r->file, r->key, r->arch);
    }
}
