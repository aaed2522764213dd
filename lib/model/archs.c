/* SPDX-License-Identifier: MIT
 * The table of architectures, and what only some of them read from their metadata. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "model/arch.h"

#define ROLE(name) ((nib__roles)1 << NIB__ROLE_##name)
#define NORMS_OF_HEADS (ROLE(Q_NORM) | ROLE(Q_NORM_BIAS) | ROLE(K_NORM) | ROLE(K_NORM_BIAS))

/* ---- keys of single families ---- */

/* GPT-2 (transformers); SantaCoder's own code adds heads that share one key head. */
static void special_gpt2(nib__key_reader *r, nib__config *c)
{
    static const char *const heads[] = {"multihead", "multiquery"};
    if (nib__key_choice(r, "attention_head_type", heads, 2, 0) == 1) c->n_head_kv = 1;
    if (!nib__key_bool(r, "scale_attn_weights", true)) c->attn_scale = 1;
    c->attn_scale_by_layer = nib__key_bool(r, "scale_attn_by_inverse_layer_idx", false);
}

/* The layers `first`, `first` + `step` ... have no window. */
static void see_all(nib__config *c, uint32_t first, uint32_t step)
{
    for (uint32_t layer = first; layer < c->n_layer; layer += step)
        c->full[layer / 32] |= 1u << layer % 32;
}

static bool is(nib__str text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* A list that calls each layer `full` or `windowed`; false: there is none. */
static bool read_layer_types(nib__key_reader *r, const char *key, const char *full,
                             const char *windowed, nib__config *c)
{
    nib__array types;
    nib__str type;
    size_t at = 0;
    if (!nib__key_array(r, key, NIB__META_STRING, &types)) return false;
    if (types.count != c->n_layer)
        nib__key_refuse(r, NIB_ERR_FORMAT, "a type for each layer", (uint32_t)types.count);
    for (uint32_t i = 0; r->status == NIB_OK && nib__array_next_str(&types, &at, &type); i++) {
        if (is(type, full))
            see_all(c, i, c->n_layer);
        else if (!is(type, windowed))
            r->status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                                  "%s%s: key %s: layer %u: expected %s or %s, got \"%.*s\"",
                                  nib__source_path(r->source), r->file, r->key, i, full, windowed,
                                  type.len > 40 ? 40 : (int)type.len, type.data);
    }
    return true;
}

/* Of two layers the first sees everything, unless they are listed, and q.k is not scaled. */
static void special_gptneo(nib__key_reader *r, nib__config *c)
{
    c->attn_scale = 1;
    c->window = nib__key_count(r, "window_size", 1, 1u << 30, 256);
    if (!read_layer_types(r, "attention_layers", "global", "local", c)) see_all(c, 0, 2);
}

static void special_bigcode(nib__key_reader *r, nib__config *c)
{
    if (!nib__key_bool(r, "scale_attn_weights", true)) c->attn_scale = 1;
    if (nib__key_bool(r, "multi_query", true)) c->n_head_kv = 1;
}

/* CodeGen and GPT-J rotate the first rotary_dim dimensions; 64 is transformers' default. */
static void special_gptj(nib__key_reader *r, nib__config *c)
{
    c->n_rot = nib__key_count(r, "rotary_dim", 2, c->head_dim, c->head_dim >= 64 ? 64 : 0);
    if (c->n_rot % 2 != 0)
        nib__key_refuse(r, NIB_ERR_FORMAT, "an even number of dimensions", c->n_rot);
}

/* CodeGen 2 was trained on eight accelerators instead of four, which only the code beside its
 * checkpoints says; its configuration has head_dim, that of CodeGen has not. */
static void special_codegen(nib__key_reader *r, nib__config *c)
{
    special_gptj(r, c);
    c->qkv_shards = 4;
    if (nib__key_there(r, "head_dim")) {
        c->qkv_shards = 8;
        uint32_t dim = nib__key_count(r, "head_dim", 1, 65536, 0);
        if (dim != c->head_dim) nib__key_refuse(r, NIB_ERR_UNSUPPORTED, "n_embd / n_head", dim);
    }
    nib__key_of(r, "n_head");
    if (c->n_head % c->qkv_shards != 0)
        nib__key_refuse(r, NIB_ERR_FORMAT,
                        c->qkv_shards == 4 ? "a multiple of 4" : "a multiple of 8", c->n_head);
}

static void special_neox(nib__key_reader *r, nib__config *c)
{
    if (!nib__key_bool(r, "use_parallel_residual", true)) c->residual = NIB__RESIDUAL_SEQUENTIAL;
}

/* One norm serves both blocks where they are in parallel. */
static void special_stablelm(nib__key_reader *r, nib__config *c)
{
    static const char *const norms[] = {"qk_layernorm"};
    if (nib__key_bool(r, "use_parallel_residual", false)) c->residual = NIB__RESIDUAL_PARALLEL;
    nib__key_refuse_all(r, norms, 1);
}

/* The words of transformers 4.53 and later. */
static const char LAYER_TYPES[] = "layer_types", FULL[] = "full_attention",
                  SLIDING[] = "sliding_attention";

/* null says that there is none; without the field it has the usual size. */
static void read_window(nib__key_reader *r, nib__config *c)
{
    static const char key[] = "sliding_window";
    if (nib__meta_type_of(r->source, nib__key_of(r, key)) == NIB__META_NULL) return;
    c->window = nib__key_count(r, key, 1, 1u << 30, 4096);
}

/* Qwen 2 and 3: the layers from max_window_layers on, or those that newer files list. */
static void special_qwen(nib__key_reader *r, nib__config *c)
{
    uint32_t first = 28; /* usual; 0 is a value, too */
    if (!nib__key_bool(r, "use_sliding_window", false)) return;
    read_window(r, c);
    if (read_layer_types(r, LAYER_TYPES, FULL, SLIDING, c)) return;
    if (nib__key_there(r, "max_window_layers"))
        (void)nib__meta_u32(r->source, r->key, &first, NULL);
    for (uint32_t layer = 0; layer < first && layer < c->n_layer; layer++)
        see_all(c, layer, c->n_layer);
}

static void special_gemma(nib__key_reader *r, nib__config *c)
{
    (void)r;
    c->embd_scale = (float)sqrt((double)c->n_embd);
}

/* Gemma 3: five layers with a window and a base of their own, then one without. */
static void special_gemma3_hf(nib__key_reader *r, nib__config *c)
{
    special_gemma(r, c);
    float width = nib__key_real(r, "query_pre_attn_scalar", 1e-3f, 1e6f, 256);
    c->attn_scale = (float)(1.0 / sqrt((double)width));
    c->window = nib__key_count(r, "sliding_window", 1, 1u << 30, 4096);
    uint32_t period = nib__key_count(r, "sliding_window_pattern", 1, NIB__MAX_LAYERS, 6);
    static const char *const plain[] = {"default"};
    const char *later = "rope_parameters.sliding_attention.rope_theta"; /* transformers 5 */
    const char *base = nib__key_there(r, later) ? later : "rope_local_base_freq";
    c->rope_base_local = nib__key_real(r, base, 2.0f, 1e12f, 10000);
    (void)nib__key_choice(r, "rope_parameters.sliding_attention.rope_type", plain, 1, 0);
    if (!nib__key_there(r, "rope_theta") && !nib__key_there(r, "rope_parameters"))
        c->rope_base = 1e6f;
    if (!read_layer_types(r, LAYER_TYPES, FULL, SLIDING, c)) see_all(c, period - 1, period);
}

static void special_gemma3_gguf(nib__key_reader *r, nib__config *c)
{
    special_gemma(r, c);
    if (!nib__key_there(r, "rope.freq_base")) c->rope_base = 1e6f;
    c->window = nib__key_count(r, "attention.sliding_window", 1, 1u << 30, 0);
    uint32_t period = nib__key_count(r, "attention.sliding_window_pattern", 1, NIB__MAX_LAYERS, 6);
    see_all(c, period - 1, period);
    c->rope_base_local = nib__key_real(r, "rope.freq_base_swa", 2.0f, 1e12f, 10000);
    if (c->n_layer == 62) /* the 27B model; GGUF has no key for it */
        c->attn_scale = (float)sqrt((double)c->n_head / (double)c->n_embd);
}

/* Positions from 2 on, as fairseq counts (0 and 1 were padding). */
static void special_xglm(nib__key_reader *r, nib__config *c)
{
    c->pos_offset = 2;
    c->pad_id = (int32_t)nib__key_count(r, "pad_token_id", 0, INT32_MAX, 1);
    if (nib__key_bool(r, "scale_embedding", true)) c->embd_scale = (float)sqrt((double)c->n_embd);
}

/* The 350M model has norms behind its blocks, none at the end, and embeddings of another width. */
static void special_opt(nib__key_reader *r, nib__config *c)
{
    c->pos_offset = 2;
    c->n_pos += 2;
    c->n_word = nib__key_count(r, "word_embed_proj_dim", 1, 1u << 18, c->n_embd);
    if (c->n_word == c->n_embd) c->without = ROLE(WORD_IN) | ROLE(WORD_OUT);
    if (!nib__key_bool(r, "do_layer_norm_before", true)) c->residual = NIB__RESIDUAL_POST;
    if (c->residual == NIB__RESIDUAL_POST || nib__key_bool(r, "_remove_final_layer_norm", false))
        c->without |= ROLE(OUT_NORM) | ROLE(OUT_NORM_BIAS);
}

static void special_phi(nib__key_reader *r, nib__config *c)
{
    if (!nib__key_bool(r, "qk_layernorm", false)) c->without = NORMS_OF_HEADS;
}

/* Windows are read where a published model has them; elsewhere they would be a surprise. */
static void refuse_window(nib__key_reader *r, nib__config *c)
{
    static const char *const window[] = {"attention.sliding_window"};
    (void)c;
    nib__key_refuse_all(r, window, 1);
}

static void special_neox_gguf(nib__key_reader *r, nib__config *c)
{
    special_neox(r, c);
    refuse_window(r, c);
}

/* ---- the table ---- */

#define QKVO (ROLE(Q) | ROLE(K) | ROLE(V) | ROLE(O))
#define QKV_BIASES (ROLE(Q_BIAS) | ROLE(K_BIAS) | ROLE(V_BIAS))
#define ATTN_BIASES (QKV_BIASES | ROLE(O_BIAS))
#define QK_NORMS (ROLE(Q_NORM) | ROLE(K_NORM))
#define MLP (ROLE(UP) | ROLE(DOWN))
#define MLP_BIASES (ROLE(UP_BIAS) | ROLE(DOWN_BIAS))
#define ENDS (ROLE(EMBEDDING) | ROLE(OUT_NORM))

/* Llama and its relatives: RMS norms, gated MLP. */
#define GATED_1 (QKVO | MLP | ROLE(GATE) | ROLE(ATTN_NORM) | ENDS)
#define GATED (GATED_1 | ROLE(FFN_NORM))
#define GATED_BIASES (ATTN_BIASES | MLP_BIASES | ROLE(GATE_BIAS))
/* GPT: LayerNorms with biases, plain MLP; one norm per layer, or two. */
#define PLAIN_1                                                                                    \
    (QKVO | MLP | MLP_BIASES | ROLE(ATTN_NORM) | ROLE(ATTN_NORM_BIAS) | ENDS | ROLE(OUT_NORM_BIAS))
#define PLAIN_2 (PLAIN_1 | ROLE(FFN_NORM) | ROLE(FFN_NORM_BIAS))

/* Short words for the columns of the table. */
#define GGUF NIB__NAMING_GGUF
#define HF NIB__NAMING_HF
#define RMS NIB__NORM_RMS
#define LAYER NIB__NORM_LAYER
#define SILU NIB__ACT_SILU
#define GELU NIB__ACT_GELU
#define TANH NIB__ACT_GELU_TANH
#define RELU NIB__ACT_RELU
#define NONE NIB__ROPE_NONE
#define PAIRS NIB__ROPE_INTERLEAVED
#define HALVES NIB__ROPE_HALF
#define SEQ NIB__RESIDUAL_SEQUENTIAL
#define PAR NIB__RESIDUAL_PARALLEL
#define NO_POS NIB__POS_NONE
#define TABLE NIB__POS_LEARNED
#define WAVES NIB__POS_SINUSOIDAL

#define ALONE NULL

#define GGUF_RMS &nib__names_gguf, &nib__keys_gguf_rms
#define GGUF_LAYER &nib__names_gguf, &nib__keys_gguf_layer
#define HF_AS(names, keys) &nib__names_##names, &nib__keys_##keys

/* clang-format off */
static const nib__arch archs[] = {
    /* name, kind of file, names and keys, norm, activation, rotation, blocks, positions,
     *     required roles,
     *     optional roles, tied, special, stack */
    /* The converter permuted the rows of q and k, so that the pairs of RoPE are neighbours. */
    {"llama", GGUF, GGUF_RMS, RMS, SILU, PAIRS, SEQ, NO_POS,
     GATED,
     GATED_BIASES | ROLE(HEAD) | ROLE(ROPE_FREQS), false, refuse_window, ALONE},
    {"qwen2", GGUF, GGUF_RMS, RMS, SILU, HALVES, SEQ, NO_POS,
     GATED | QKV_BIASES,
     ROLE(HEAD) | ROLE(ROPE_FREQS), false, refuse_window, ALONE},
    {"qwen3", GGUF, GGUF_RMS, RMS, SILU, HALVES, SEQ, NO_POS,
     GATED | QK_NORMS,
     ROLE(HEAD) | ROLE(ROPE_FREQS), false, refuse_window, ALONE},
    {"gemma", GGUF, GGUF_RMS, RMS, TANH, HALVES, SEQ, NO_POS,
     GATED,
     ROLE(HEAD), false, special_gemma, ALONE},
    {"gemma3", GGUF, GGUF_RMS, RMS, TANH, HALVES, SEQ, NO_POS,
     GATED | QK_NORMS | ROLE(ATTN_POST_NORM) | ROLE(FFN_POST_NORM),
     ROLE(HEAD), false, special_gemma3_gguf, ALONE},
    {"gpt2", GGUF, GGUF_LAYER, LAYER, TANH, NONE, SEQ, TABLE,
     PLAIN_2 | ATTN_BIASES | ROLE(POSITIONS),
     ROLE(HEAD), false, refuse_window, ALONE},
    {"starcoder", GGUF, GGUF_LAYER, LAYER, TANH, NONE, SEQ, TABLE,
     PLAIN_2 | ATTN_BIASES | ROLE(POSITIONS),
     ROLE(HEAD), false, refuse_window, ALONE},
    {"starcoder2", GGUF, GGUF_LAYER, LAYER, TANH, HALVES, SEQ, NO_POS,
     PLAIN_2 | ATTN_BIASES,
     ROLE(HEAD) | ROLE(ROPE_FREQS), false, refuse_window, ALONE},
    {"gptneox", GGUF, GGUF_LAYER, LAYER, GELU, HALVES, PAR, NO_POS,
     PLAIN_2 | ATTN_BIASES,
     ROLE(HEAD), false, special_neox_gguf, ALONE},
    {"phi2", GGUF, GGUF_LAYER, LAYER, TANH, HALVES, PAR, NO_POS,
     PLAIN_1 | ATTN_BIASES,
     ROLE(HEAD) | ROLE(HEAD_BIAS) | ROLE(ROPE_FREQS), false, refuse_window, ALONE},

    {"codegen", HF, HF_AS(codegen, gpt2), LAYER, TANH, PAIRS, PAR, NO_POS,
     PLAIN_1 | ROLE(HEAD) | ROLE(HEAD_BIAS),
     0, false, special_codegen, ALONE},
    {"gpt2", HF, HF_AS(gpt2, gpt2), LAYER, TANH, NONE, SEQ, TABLE,
     PLAIN_2 | ATTN_BIASES | ROLE(POSITIONS),
     ROLE(HEAD), true, special_gpt2, ALONE},
    {"gpt_bigcode", HF, HF_AS(bigcode, gpt2), LAYER, TANH, NONE, SEQ, TABLE,
     PLAIN_2 | ATTN_BIASES | ROLE(POSITIONS),
     ROLE(HEAD), true, special_bigcode, ALONE},
    {"gptj", HF, HF_AS(gptj, gpt2), LAYER, TANH, PAIRS, PAR, NO_POS,
     PLAIN_1 | ROLE(HEAD) | ROLE(HEAD_BIAS),
     0, false, special_gptj, ALONE},
    {"gpt_neo", HF, HF_AS(gptneo, gptneo), LAYER, TANH, NONE, SEQ, TABLE,
     PLAIN_2 | ROLE(O_BIAS) | ROLE(POSITIONS),
     ROLE(HEAD), true, special_gptneo, ALONE},
    {"gpt_neox", HF, HF_AS(neox, neox), LAYER, GELU, HALVES, PAR, NO_POS,
     PLAIN_2,
     ATTN_BIASES | ROLE(HEAD), false, special_neox, ALONE},
    {"starcoder2", HF, HF_AS(starcoder2, starcoder2), LAYER, TANH, HALVES, SEQ, NO_POS,
     PLAIN_2 & ~MLP_BIASES,
     ATTN_BIASES | MLP_BIASES | ROLE(HEAD), true, NULL, ALONE},
    {"xglm", HF, HF_AS(xglm, xglm), LAYER, GELU, NONE, SEQ, WAVES,
     PLAIN_2 | ATTN_BIASES,
     ROLE(HEAD), true, special_xglm, ALONE},
    {"llama", HF, HF_AS(llama, llama), RMS, SILU, HALVES, SEQ, NO_POS,
     GATED,
     GATED_BIASES | ROLE(HEAD), false, NULL, ALONE},
    {"mistral", HF, HF_AS(llama, llama), RMS, SILU, HALVES, SEQ, NO_POS,
     GATED,
     ROLE(HEAD), false, read_window, ALONE},
    {"qwen2", HF, HF_AS(llama, llama), RMS, SILU, HALVES, SEQ, NO_POS,
     GATED | QKV_BIASES,
     ROLE(HEAD), false, special_qwen, ALONE},
    {"qwen3", HF, HF_AS(llama, llama), RMS, SILU, HALVES, SEQ, NO_POS,
     GATED | QK_NORMS,
     ATTN_BIASES | ROLE(HEAD), false, special_qwen, ALONE},
    {"gemma", HF, HF_AS(gemma, gemma), RMS, TANH, HALVES, SEQ, NO_POS,
     GATED,
     ATTN_BIASES | ROLE(HEAD), true, special_gemma, ALONE},
    {"gemma3_text", HF, HF_AS(gemma3, gemma), RMS, TANH, HALVES, SEQ, NO_POS,
     GATED | QK_NORMS | ROLE(ATTN_POST_NORM) | ROLE(FFN_POST_NORM),
     ATTN_BIASES | ROLE(HEAD), true, special_gemma3_hf, ALONE},
    {"gemma3", HF, HF_AS(gemma3_images, gemma3_images), RMS, TANH, HALVES, SEQ, NO_POS,
     GATED | QK_NORMS | ROLE(ATTN_POST_NORM) | ROLE(FFN_POST_NORM),
     ATTN_BIASES | ROLE(HEAD), true, special_gemma3_hf, ALONE},
    {"phi", HF, HF_AS(phi, phi), LAYER, TANH, HALVES, PAR, NO_POS,
     PLAIN_1 | ATTN_BIASES | NORMS_OF_HEADS | ROLE(HEAD) | ROLE(HEAD_BIAS),
     0, false, special_phi, ALONE},
    {"stablelm", HF, HF_AS(stablelm, stablelm), LAYER, SILU, HALVES, SEQ, NO_POS,
     GATED_1 | ROLE(ATTN_NORM_BIAS) | ROLE(OUT_NORM_BIAS),
     QKV_BIASES | ROLE(FFN_NORM) | ROLE(FFN_NORM_BIAS) | ROLE(HEAD), false, special_stablelm, ALONE},
    {"opt", HF, HF_AS(opt, opt), LAYER, RELU, NONE, SEQ, TABLE,
     (PLAIN_2 & ~MLP_BIASES) | ROLE(POSITIONS) | ROLE(WORD_IN) | ROLE(WORD_OUT),
     ATTN_BIASES | MLP_BIASES | ROLE(HEAD), true, special_opt, ALONE},
};
/* clang-format on */

enum { N_ARCHS = sizeof archs / sizeof archs[0] };

static const nib__arch *arch_at(size_t i)
{
    return i < N_ARCHS ? &archs[i] : &nib__archs_seq2seq[i - N_ARCHS];
}

const nib__arch *nib__arch_find(nib__naming naming, const char *name, size_t len)
{
    for (size_t i = 0; i < N_ARCHS + nib__n_archs_seq2seq; i++) {
        const nib__arch *arch = arch_at(i);
        if (arch->naming != naming || strlen(arch->name) != len) continue;
        if (memcmp(arch->name, name, len) == 0) return arch;
    }
    return NULL;
}

size_t nib__arch_list(nib__naming naming, char *text, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; i < N_ARCHS + nib__n_archs_seq2seq; i++) {
        const nib__arch *arch = arch_at(i);
        if (arch->naming != naming) continue;
        len += nib__text(text + len, cap - len, "%s%s", len == 0 ? "" : ", ", arch->name);
    }
    return len;
}
