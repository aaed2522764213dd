/* SPDX-License-Identifier: MIT
 * A model: opened once, immutable, shared by sessions through a reference count. */
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm.h"
#include "model/arch.h"

/* ---- settings ---- */

/* The only reads of the environment in the library. */
static void read_environment(const nib_model_options *o, const char **isa, const char **precision,
                             const char **gemm)
{
    *isa = o->isa != NULL ? o->isa : getenv("NIB_ISA");
    *precision = o->precision == NIB_PRECISION_DEFAULT ? getenv("NIB_PRECISION") : NULL;
    *gemm = o->gemm == NIB_GEMM_DEFAULT ? getenv("NIB_GEMM") : NULL;
}

static nib_status choose_precision(uint32_t option, const char *name, uint32_t *precision,
                                   nib_error *err)
{
    static const char *const names[] = {"default", "exact", "fast", "f32"};
    if (option > NIB_PRECISION_F32) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "option precision: expected 0..%d, got %u",
                         (int)NIB_PRECISION_F32, option);
    }
    *precision = option;
    if (name == NULL || name[0] == '\0') return NIB_OK;
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *precision = i;
        return NIB_OK;
    }
    return nib__fail(err, NIB_ERR_ARGUMENT,
                     "NIB_PRECISION: expected default, exact, fast or f32, got \"%s\"", name);
}

static nib_status choose_gemm(uint32_t option, const char *name, uint32_t *choice, nib_error *err)
{
    static const char *const names[] = {"default", "native", "onednn", "openblas"};
    *choice = option;
    if (name == NULL || name[0] == '\0') return NIB_OK;
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *choice = i;
        return NIB_OK;
    }
    return nib__fail(err, NIB_ERR_ARGUMENT,
                     "NIB_GEMM: expected default, native, onednn or openblas, got \"%s\"", name);
}

static nib_status choose_kernels(nib_model *m, const nib_model_options *options, nib_error *err)
{
    const char *isa_name = NULL, *precision_name = NULL, *gemm_name = NULL;
    uint32_t gemm = NIB_GEMM_DEFAULT;
    nib__isa isa = NIB__ISA_SCALAR;
    read_environment(options, &isa_name, &precision_name, &gemm_name);
    nib_status status = nib__isa_choose(isa_name, &isa, err);
    if (status == NIB_OK)
        status = choose_precision(options->precision, precision_name, &m->precision, err);
    if (status == NIB_OK) status = choose_gemm(options->gemm, gemm_name, &gemm, err);
    if (status != NIB_OK) return status;
    nib__kernels_init(&m->kernels, isa, m->precision);
    return nib__gemm_init(&m->kernels, gemm, m->precision, err);
}

/* ---- identity ---- */

/* FNV-1a, 64 bits. */
static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t mix_number(uint64_t hash, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(number >> (8 * i));
    return mix(hash, bytes, sizeof bytes);
}

static uint64_t mix_config(uint64_t hash, const nib__config *c)
{
    const uint32_t counts[] = {
        c->n_layer,       c->n_embd,     c->n_head,
        c->n_head_kv,     c->head_dim,   c->n_ff,
        c->n_vocab,       c->n_rot,      c->norm,
        c->act,           c->rope,       c->rope_scaling,
        c->rope_ctx_orig, c->window,     c->residual,
        c->positions,     c->pos_offset, c->n_pos,
        c->tied,          c->both_ways,  c->attn_scale_by_layer,
        c->rel_buckets,   c->rel_reach,  c->n_types,
        c->qkv_shards,    c->cross,
    };
    const float reals[] = {
        c->norm_eps,        c->rope_base,      c->rope_factor,    c->rope_attn_factor,
        c->rope_beta_fast,  c->rope_beta_slow, c->attn_scale,     c->embd_scale,
        c->rope_base_local, c->rope_low_freq,  c->rope_high_freq, c->out_scale,
    };
    hash = mix(hash, c->arch, strlen(c->arch));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        hash = mix_number(hash, counts[i]);
    for (size_t i = 0; i < sizeof c->full / sizeof c->full[0]; i++)
        hash = mix_number(hash, c->full[i]);
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        uint32_t bits;
        memcpy(&bits, &reals[i], sizeof bits);
        hash = mix_number(hash, bits);
    }
    return hash;
}

static uint64_t mix_tensor(uint64_t hash, const nib__tensor *t)
{
    enum { SAMPLE = 64 };
    size_t sample = t->size < SAMPLE ? t->size : SAMPLE;
    hash = mix(hash, t->name, strlen(t->name) + 1);
    hash = mix_number(hash, t->format->format);
    for (int d = 0; d < NIB__MAX_DIMS; d++) hash = mix_number(hash, t->ne[d]);
    hash = mix(hash, t->data, sample);
    return mix(hash, t->data + t->size - sample, sample);
}

/* Configuration and tensor directory, plus a few bytes of every tensor: two fine-tunes of one base
 * model have the same directory, but a saved session of one is worthless to the other. A checkpoint
 * of a directory is the same in one file or in shards: there the order of tensors does not count,
 * nor what no model computes with. */
static uint64_t identity_of(const nib_model *m)
{
    static const uint64_t start = UINT64_C(0xcbf29ce484222325);
    uint64_t hash = mix_config(start, &m->config), sum = 0;
    bool ordered = nib__source_naming(m->source) == NIB__NAMING_GGUF;
    size_t n = nib__source_tensor_count(m->source);
    for (size_t i = 0; i < n; i++) {
        const nib__tensor *t = nib__source_tensor_at(m->source, i);
        if (ordered)
            hash = mix_tensor(hash, t);
        else if (t->format->decode != NULL)
            sum += mix_tensor(start, t);
        nib__source_drop(m->source, t, 0, t->size);
    }
    return ordered ? hash : mix_number(hash, sum);
}

/* ---- open, retain, release ---- */

static nib_status make_frequencies(nib_model *m, nib_error *err)
{
    if (m->layers == NULL) return NIB_OK; /* inspection */
    const float *divisors = m->rope_freqs;
    for (uint32_t i = 0; divisors != NULL && i < m->config.n_rot / 2; i++) {
        if (divisors[i] > 0 && divisors[i] < 1e30f) continue;
        return nib__fail(err, NIB_ERR_FORMAT,
                         "%s: tensor rope_freqs.weight: expected numbers above 0, "
                         "got another at %u",
                         nib__source_path(m->source), i);
    }
    uint32_t half = m->config.n_rot / 2;
    bool local = m->config.rope_base_local != 0;
    if (half == 0) return NIB_OK;
    m->rope_inv = nib__alloc(&m->mem, half, sizeof *m->rope_inv);
    if (local) m->rope_inv_local = nib__alloc(&m->mem, half, sizeof *m->rope_inv_local);
    if (m->rope_inv == NULL || (local && m->rope_inv_local == NULL)) {
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for rotary frequencies",
                         nib__source_path(m->source));
    }
    nib__rope_frequencies(&m->config, divisors, m->rope_inv);
    if (local) nib__rope_plain(m->config.n_rot, m->config.rope_base_local, m->rope_inv_local);
    return NIB_OK;
}

/* A table of biases by distance, from the numbers that the file has for ranges of distances. */
static nib_status make_biases(nib_model *m, nib_error *err)
{
    size_t n = 2 * (size_t)m->config.rel_reach + 1;
    if (m->layers == NULL || m->layers[0].rel_bias == NULL) return NIB_OK;
    m->rel_table = nib__alloc(&m->mem, n * m->config.n_head, sizeof *m->rel_table);
    if (m->rel_table == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for relative positions",
                         nib__source_path(m->source));
    }
    nib__relative_bias(&m->config, m->layers[0].rel_bias, m->rel_table);
    return NIB_OK;
}

/* The encoder is a model of its own but for tokenizer and source. */
static nib_status open_encoder(nib_model *m, const nib__arch *arch,
                               const nib_model_options *options, nib_error *err)
{
    nib_model *e = nib__alloc(&m->mem, 1, sizeof *e);
    if (e == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for the encoder",
                         nib__source_path(m->source));
    }
    m->encoder = e;
    e->mem = m->mem;
    e->source = m->source;
    e->kernels = m->kernels;
    e->precision = m->precision;
    nib_status status = nib__config_read_as(m->source, arch, m->config.n_vocab, &e->config, err);
    if (status == NIB_OK && e->config.n_embd != m->config.n_embd) {
        return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s: encoder and decoder of different widths",
                         nib__source_path(m->source));
    }
    if (status == NIB_OK) status = nib__weights_load(e, arch, options, err);
    if (status == NIB_OK) status = make_biases(e, err);
    return status;
}

/* Everything but the source, which stays with the caller of nib__model_open on failure. */
static void release_parts(nib_model *m)
{
    nib_allocator mem = m->mem;
    if (m->encoder != NULL) release_parts(m->encoder); /* which has none itself */
    nib__free(&mem, m->rel_table);
    nib__tokenizer_free(m->tokenizer);
    nib__free(&mem, m->layers);
    nib__free(&mem, m->weights);
    nib__free(&mem, m->rope_inv);
    nib__free(&mem, m->rope_inv_local);
    nib__free(&mem, m);
}

static nib_status check_load(const nib_model_options *options, nib_error *err)
{
    if (options->load <= NIB_LOAD_INT8) return NIB_OK;
    return nib__fail(err, NIB_ERR_ARGUMENT, "option load: expected 0..%d, got %u",
                     (int)NIB_LOAD_INT8, options->load);
}

/* A file that holds a tokenizer and nothing else can be inspected: of the configuration only the
 * name and the size of the vocabulary are known. */
static bool vocabulary_only(nib_model *m, const nib_model_options *options)
{
    nib__str arch;
    if ((options->flags & NIB_OPEN_INSPECT) == 0 || nib__source_tensor_count(m->source) != 0 ||
        m->tokenizer == NULL)
        return false;
    if (nib__meta_str(m->source, "general.architecture", &arch, NULL) == NIB_OK)
        nib__text(m->config.arch, sizeof m->config.arch, "%.*s",
                  (int)(arch.len < 31 ? arch.len : 31), arch.data);
    m->config.n_vocab = nib__tokenizer_size(m->tokenizer);
    return true;
}

static nib_status identify(nib_model *m, nib_error *err)
{
    int32_t known = nib__source_identity(m->source, &m->identity, err);
    if (known != NIB__ABSENT) return known;
    m->identity = identity_of(m);
    return NIB_OK;
}

static nib_status fill(nib_model *m, const nib_model_options *options, nib_error *err)
{
    const nib__arch *arch = NULL;
    nib_status status = choose_kernels(m, options, err);
    if (status == NIB_OK) status = check_load(options, err);
    if (status == NIB_OK && (options->flags & NIB_OPEN_VERIFY) != 0)
        status = nib__source_verify(m->source, err);
    if (status == NIB_OK) status = nib__tokenizer_new(&m->mem, m->source, &m->tokenizer, err);
    if (status != NIB_OK) return status;
    if (vocabulary_only(m, options)) return NIB_OK;
    uint32_t n_tokens = nib__tokenizer_size(m->tokenizer);
    status = nib__config_read(m->source, n_tokens, &m->config, &arch, err);
    if (status == NIB_OK) status = identify(m, err);
    if (status == NIB_OK && arch->stack != NULL && arch->stack->encoder != NULL)
        status = open_encoder(m, arch->stack->encoder, options, err);
    if (status == NIB_OK) status = nib__weights_load(m, arch, options, err);
    if (status == NIB_OK) status = make_frequencies(m, err);
    if (status == NIB_OK) status = make_biases(m, err);
    if (status != NIB_OK) return status;
    if (m->encoder != NULL) {
        m->weight_bytes += m->encoder->weight_bytes;
        if (m->encoder->embedding->data == m->embedding->data)
            m->encoder->embedding_panels = m->embedding_panels;
    }
    if (!nib__source_repacked(m->source)) nib__source_rest(m->source);
    return NIB_OK;
}

nib_status nib__model_open(nib__source *source, const nib_model_options *options, nib_model **model,
                           nib_error *err)
{
    static const nib_model_options defaults = {.struct_size = sizeof defaults};
    if (options == NULL) options = &defaults;
    nib_allocator mem = nib__allocator(options->allocator);
    nib_model *m = nib__alloc(&mem, 1, sizeof *m);
    if (m == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY, "%s: out of memory for the model",
                         nib__source_path(source));
    }
    m->mem = mem;
    m->source = source;
    atomic_init(&m->refs, 1);
    nib_status status = fill(m, options, err);
    if (status != NIB_OK) {
        release_parts(m);
        return status;
    }
    *model = m;
    return NIB_OK;
}

nib_model *nib__model_retain(nib_model *model)
{
    atomic_fetch_add_explicit(&model->refs, 1, memory_order_relaxed);
    return model;
}

void nib__model_release(nib_model *model)
{
    if (model == NULL) return;
    /* Acquire and release: whoever frees sees everything that the other holders did before. */
    if (atomic_fetch_sub_explicit(&model->refs, 1, memory_order_acq_rel) != 1) return;
    nib__source *source = model->source;
    release_parts(model);
    nib__source_close(source);
}
