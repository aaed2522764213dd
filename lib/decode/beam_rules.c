/* SPDX-License-Identifier: MIT
 * The rules of a checkpoint's generation_config.json in beam search. */
#include "decode/beam_rules.h"

#include <math.h>

#include "model/keys.h"

/* ---- reading --------------------------------------------------------------------------------- */

enum { NOT_THERE = 1 << 30 };

static int32_t read_id(nib__key_reader *r, const char *key, uint32_t n_vocab)
{
    uint32_t id = nib__key_count(r, key, 0, n_vocab - 1, NOT_THERE);
    return id == NOT_THERE ? -1 : (int32_t)id;
}

static uint32_t read_count(nib__key_reader *r, const char *key)
{
    uint32_t count = nib__key_count(r, key, 0, NOT_THERE - 1, NOT_THERE);
    return count == NOT_THERE ? 0 : count;
}

static void read_ids(nib__key_reader *r, const char *key, uint32_t n_vocab, nib__array *ids)
{
    if (!nib__key_array(r, key, NIB__META_U32, ids)) return;
    for (uint64_t i = 0; r->status == NIB_OK && i < ids->count; i++) {
        uint32_t id = nib__array_u32(ids, i);
        if (id >= n_vocab) nib__key_refuse(r, NIB_ERR_FORMAT, "ids of the vocabulary", id);
    }
}

/* config.json is asked only if there is no generation_config.json, which transformers marks. */
static nib_status read_checkpoint(nib__rules *rules, const nib_model *model, uint32_t n_prompt,
                                  nib_error *err)
{
    static const char *const unknown[] = {
        "bad_words_ids",
        "diversity_penalty",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "force_words_ids",
        "forced_decoder_ids",
        "sequence_bias",
    };
    const nib__source *source = model->source;
    bool own = nib__meta_type_of(source, "generation_config.transformers_version") >= 0;
    nib__key_reader r = {
        .source = source,
        .file = own ? "/generation_config.json" : "/config.json",
        .prefix = own ? "generation_config" : "",
        .arch = model->config.arch,
        .err = err,
    };
    if (nib__source_naming(source) != NIB__NAMING_HF) return NIB_OK;
    rules->first_id = read_id(&r, "forced_bos_token_id", model->config.n_vocab);
    rules->last_id = read_id(&r, "forced_eos_token_id", model->config.n_vocab);
    rules->ngram = read_count(&r, "no_repeat_ngram_size");
    rules->repetition = (double)nib__key_real(&r, "repetition_penalty", 1e-3f, 1e3f, 1);
    rules->min_length = read_count(&r, "min_length");
    if (nib__key_there(&r, "min_new_tokens"))
        rules->min_length = n_prompt + read_count(&r, "min_new_tokens");
    read_ids(&r, "suppress_tokens", model->config.n_vocab, &rules->never);
    read_ids(&r, "begin_suppress_tokens", model->config.n_vocab, &rules->never_first);
    nib__key_refuse_all(&r, unknown, sizeof unknown / sizeof unknown[0]);
    return r.status;
}

nib_status nib__rules_read(nib__rules *rules, const nib_beam_options *o, const nib_model *model,
                           uint32_t n_prompt, nib_error *err)
{
    *rules = (nib__rules){.first_id = -1, .last_id = -1, .repetition = 1};
    nib_status status = NIB_OK;
    if (o->rules == NIB_BEAM_RULES_MODEL) status = read_checkpoint(rules, model, n_prompt, err);
    rules->max_tokens = o->max_tokens;
    if (o->first_id >= 0) rules->first_id = o->first_id;
    if (o->last_id >= 0) rules->last_id = o->last_id;
    if (o->min_tokens != 0) rules->min_length = n_prompt + o->min_tokens;
    if (o->no_repeat_ngram != 0) rules->ngram = o->no_repeat_ngram;
    if (o->repetition_penalty != 0) rules->repetition = o->repetition_penalty;
    return status;
}

/* ---- applying -------------------------------------------------------------------------------- */

static int32_t id_at(const nib__so_far *text, uint32_t i)
{
    return i < text->n_prompt ? text->prompt[i] : text->ids[i - text->n_prompt];
}

int32_t nib__rules_forced(const nib__rules *rules, const nib__so_far *text)
{
    if (rules->last_id >= 0 && text->n + 1 == rules->max_tokens) return rules->last_id;
    return text->n_prompt + text->n == 1 ? rules->first_id : -1;
}

bool nib__rules_end(const nib__rules *rules, const nib__so_far *text)
{
    return text->n_prompt + text->n >= rules->min_length;
}

static bool is_repeated(const nib__so_far *text, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (id_at(text, i) == id_at(text, at)) return true;
    }
    return false;
}

/* Keskar et al. 2019, section 4.1. */
static void penalize(const nib__rules *rules, const nib__so_far *text, double log_total,
                     float *logits)
{
    for (uint32_t i = 0; i < text->n_prompt + text->n; i++) {
        if (is_repeated(text, i)) continue; /* once each */
        float *logit = &logits[id_at(text, i)];
        *logit = (float)(((double)*logit - log_total) * rules->repetition + log_total);
    }
}

static void forbid(const nib__array *ids, float *logits)
{
    for (uint64_t i = 0; i < ids->count; i++) logits[nib__array_u32(ids, i)] = -INFINITY;
}

void nib__rules_apply(const nib__rules *rules, const nib__so_far *text, double log_total,
                      float *logits)
{
    uint32_t n = text->n_prompt + text->n, ngram = rules->ngram;
    if (rules->repetition != 1) penalize(rules, text, log_total, logits);
    for (uint32_t first = 0; ngram != 0 && first + ngram <= n; first++) {
        uint32_t same = 0;
        while (same < ngram - 1 && id_at(text, first + same) == id_at(text, n - ngram + 1 + same))
            same++;
        if (same == ngram - 1) logits[id_at(text, first + same)] = -INFINITY;
    }
    /* A first id that is forced stands before the text. */
    uint32_t begin = text->n_prompt == 1 && rules->first_id >= 0 ? 1 : 0;
    if (text->n == begin) forbid(&rules->never_first, logits);
    forbid(&rules->never, logits);
}
