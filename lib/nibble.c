/* SPDX-License-Identifier: MIT
 * Public functions about models and tokens: check arguments, call one stage, translate status. */
#include "nibble.h"

#include <string.h>

#include "base/options.h"
#include "decode/fim.h"
#include "model/cache.h"

/* ---- version --------------------------------------------------------------------------------- */

uint32_t nib_version(void)
{
    return (uint32_t)NIB_VERSION_MAJOR << 16 | NIB_VERSION_MINOR << 8 | NIB_VERSION_PATCH;
}

const char *nib_build_info(void)
{
#if defined(__x86_64__)
    return "nibble 0.1.0, x86-64: scalar avx2 avxvnni avx512 avx512vnni avx512bf16 amx";
#elif defined(__aarch64__)
    return "nibble 0.1.0, AArch64: scalar neon dotprod i8mm";
#else
    return "nibble 0.1.0: scalar";
#endif
}

/* ---- model ----------------------------------------------------------------------------------- */

static const nib_model_options default_model_options = {.struct_size = sizeof(nib_model_options)};

void nib_model_options_init(nib_model_options *options, size_t size)
{
    nib__options_init(options, size, &default_model_options, sizeof default_model_options);
}

static nib_status check_model_options(const nib_model_options *given, nib_model_options *o,
                                      nib_error *err)
{
    *o = default_model_options;
    if (given == NULL) return NIB_OK;
    nib_status status = nib__options_read(o, sizeof *o, given, "nib_model_options", err);
    if (status != NIB_OK) return status;
    if ((o->flags & ~(uint32_t)(NIB_OPEN_INSPECT | NIB_OPEN_VERIFY)) != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "flags: unknown bits in %x", o->flags);
    if (o->precision > NIB_PRECISION_F32) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "precision: expected 0 to %d, got %u",
                         (int)NIB_PRECISION_F32, o->precision);
    }
    if (o->allocator != NULL && (o->allocator->alloc == NULL || o->allocator->free == NULL))
        return nib__fail(err, NIB_ERR_ARGUMENT, "allocator: expected two functions, got NULL");
    return NIB_OK;
}

/* The last part of opening, from a source that is taken over. */
static nib_status open_source(nib__source *source, const nib_model_options *o, nib_model **model,
                              nib_error *err)
{
    nib_status status = nib__model_open_cached(source, o, model, err);
    if (status != NIB_OK) return status;
    const nib__config *c = &(*model)->config;
    bool pair = (*model)->encoder != NULL;
    if (!c->both_ways) /* a later stage than model/ */
        (*model)->fim_family = nib__fim_detect((*model)->tokenizer, pair ? c->arch : NULL);
    return NIB_OK;
}

nib_status nib_model_open(const char *path, const nib_model_options *options, nib_model **model,
                          nib_error *err)
{
    nib_model_options o;
    if (path == NULL || model == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_model_open: path or model is NULL");
    nib_status status = check_model_options(options, &o, err);
    if (status != NIB_OK) return status;
    nib_allocator mem = nib__allocator(o.allocator);
    nib__source *source;
    status = nib__source_open(&mem, path, &source, err);
    return status == NIB_OK ? open_source(source, &o, model, err) : status;
}

nib_status nib_model_open_memory(const void *data, size_t size, const nib_model_options *options,
                                 nib_model **model, nib_error *err)
{
    nib_model_options o;
    if (data == NULL || model == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_model_open_memory: data or model is NULL");
    nib_status status = check_model_options(options, &o, err);
    if (status != NIB_OK) return status;
    nib_allocator mem = nib__allocator(o.allocator);
    nib__source *source;
    status = nib__source_open_memory(&mem, data, size, &source, err);
    return status == NIB_OK ? open_source(source, &o, model, err) : status;
}

nib_model *nib_model_retain(nib_model *model)
{
    return model != NULL ? nib__model_retain(model) : NULL;
}

void nib_model_free(nib_model *model)
{
    nib__model_release(model);
}

nib_status nib_model_get_info(const nib_model *model, nib_model_info *info)
{
    if (model == NULL || info == NULL) return NIB_ERR_ARGUMENT;
    nib_model_info full = {.struct_size = sizeof full};
    nib__model_info(model, &full);
    return nib__options_write(info, &full, sizeof full, "nib_model_info", NULL);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static nib_status check_text(const char *text, size_t len, uint32_t flags, nib_error *err)
{
    if (text == NULL && len != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "text: expected %zu bytes, got NULL", len);
    if ((flags & ~(uint32_t)(NIB_TOKENIZE_BOS | NIB_TOKENIZE_SPECIAL)) != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "flags: unknown bits in %x", flags);
    return NIB_OK;
}

/* The buffer rule of functions that return ids. */
static nib_status hand_out(const nib__ids *found, int32_t *ids, size_t cap, size_t *n_ids,
                           nib_error *err)
{
    size_t n = found->count < cap ? found->count : cap;
    if (n != 0) memcpy(ids, found->items, n * sizeof *ids);
    *n_ids = found->count;
    if (found->count <= cap) return NIB_OK;
    return nib__fail(err, NIB_ERR_LIMIT, "%zu tokens do not fit a buffer of %zu", found->count,
                     cap);
}

nib_status nib_tokenize(const nib_model *model, const char *text, size_t len, uint32_t flags,
                        int32_t *ids, size_t cap, size_t *n_ids, nib_error *err)
{
    if (model == NULL || n_ids == NULL || (ids == NULL && cap != 0))
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_tokenize: model, ids or n_ids is NULL");
    nib_status status = check_text(text, len, flags, err);
    if (status != NIB_OK) return status;
    nib__ids found = nib__ids_make(&model->mem);
    status = nib__tokenize(model->tokenizer, text != NULL ? text : "", len, flags, &found, err);
    if (status == NIB_OK) status = hand_out(&found, ids, cap, n_ids, err);
    nib__ids_free(&found);
    return status;
}

nib_status nib_detokenize(const nib_model *model, const int32_t *ids, size_t n_ids, uint32_t flags,
                          char *text, size_t cap, size_t *len, nib_error *err)
{
    if (model == NULL || len == NULL || (text == NULL && cap != 0) || (ids == NULL && n_ids != 0))
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_detokenize: model, ids, text or len is NULL");
    nib_status status = check_text("", 0, flags, err);
    if (status != NIB_OK) return status;
    uint32_t size = nib__tokenizer_size(model->tokenizer);
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= size) {
            return nib__fail(err, NIB_ERR_ARGUMENT, "token %zu: expected an id of 0 to %u, got %d",
                             i, size - 1, (int)ids[i]);
        }
    }
    return nib__detokenize(model->tokenizer, ids, n_ids, flags, text, cap, len, err);
}

void nib_detok_init(nib_detok *state)
{
    if (state != NULL) *state = (nib_detok){0};
}

nib_status nib_detok_push(const nib_model *model, nib_detok *state, int32_t id, char *text,
                          size_t cap, size_t *len, nib_error *err)
{
    if (model == NULL || state == NULL || len == NULL || (text == NULL && cap != 0))
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_detok_push: an argument is NULL");
    if (state->n_pending > sizeof state->pending)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_detok_push: the state was not initialised");
    uint32_t size = nib__tokenizer_size(model->tokenizer);
    if (id < -1 || (id >= 0 && (uint32_t)id >= size)) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "expected an id of 0 to %u, or -1, got %d",
                         size - 1, (int)id);
    }
    return nib__detok_push(model->tokenizer, state, id, text, cap, len, err);
}

size_t nib_token_max_bytes(const nib_model *model)
{
    return model != NULL ? nib__tokenizer_max_bytes(model->tokenizer) : 0;
}

int32_t nib_token_special(const nib_model *model, uint32_t which)
{
    if (model == NULL || which > NIB_TOKEN_UNK) return -1;
    return nib__tokenizer_special(model->tokenizer, which);
}

int32_t nib_token_is_end(const nib_model *model, int32_t id)
{
    if (model == NULL || id < 0 || (uint32_t)id >= nib__tokenizer_size(model->tokenizer)) return 0;
    return nib__tokenizer_is_end(model->tokenizer, id) != 0;
}

/* ---- fill in the middle ---------------------------------------------------------------------- */

static const nib_fim default_fim = {.struct_size = sizeof(nib_fim)};

void nib_fim_init(nib_fim *fim, size_t size)
{
    nib__options_init(fim, size, &default_fim, sizeof default_fim);
}

nib_status nib_fim_build(const nib_model *model, const nib_fim *fim, int32_t *ids, size_t cap,
                         size_t *n_ids, nib_error *err)
{
    if (model == NULL || fim == NULL || n_ids == NULL || (ids == NULL && cap != 0))
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_fim_build: an argument is NULL");
    nib_fim full = default_fim;
    nib_status status = nib__options_read(&full, sizeof full, fim, "nib_fim", err);
    if (status != NIB_OK) return status;
    uint32_t budget = full.max_tokens != 0 ? full.max_tokens : model->config.n_ctx_train;
    nib__ids found = nib__ids_make(&model->mem);
    status = nib__fim_build(model->tokenizer, model->fim_family, &full, budget, NULL, &found, err);
    if (status == NIB_OK) status = hand_out(&found, ids, cap, n_ids, err);
    nib__ids_free(&found);
    return status;
}
