/* SPDX-License-Identifier: MIT */
#include "decode/begin.h"

#include "decode/complete.h"
#include "decode/fim.h"
#include "decode/prompt.h"
#include "token/buffer.h"

/* Starts a completion of a prompt (NULL: of the tokens that the session holds). The prompt comes
 * after all that options may be refused for, and after the texts of the caller were copied, which
 * may be what the completion in progress has found. */
static nib_status begin(nib_session *s, const nib__prompt *prompt, const nib_complete_options *o,
                        const nib__around *around, nib_error *err)
{
    nib__completion *completion;
    nib_status status = nib__completion_new(s, o, around, &completion, err);
    if (status != NIB_OK) return status;
    size_t n = prompt != NULL ? prompt->stream.count : s->n_tokens;
    if (n == 0) {
        status = nib__fail(err, NIB_ERR_ARGUMENT,
                           "the prompt is empty, and the model has no token to begin with");
    } else if (prompt != NULL) {
        status = nib__prompt_set(s, prompt, err);
    }
    if (status != NIB_OK) {
        nib__completion_free(completion);
        return status;
    }
    nib__complete_attach(s, completion);
    return NIB_OK;
}

nib_status nib__begin_tokens(nib_session *s, const nib_complete_options *o, nib_error *err)
{
    return begin(s, NULL, o, &(nib__around){0}, err);
}

nib_status nib__begin_prompt(nib_session *s, const char *prompt, size_t len,
                             const nib_complete_options *o, nib_error *err)
{
    nib__prompt made;
    nib_status status = nib__prompt_make(s, prompt, len, &made, err);
    if (status == NIB_OK) status = begin(s, &made, o, &(nib__around){0}, err);
    nib__prompt_free(&made);
    return status;
}

/* ---- fill in the middle ---------------------------------------------------------------------- */

/* The last n bytes. */
static nib_text end_of(nib_text text, size_t n)
{
    return (nib_text){text.data + (text.len - n), n};
}

/* The text of ids that continue others. */
static nib_status text_of(const nib__tokenizer *t, const nib__ids *ids, nib__buffer *text,
                          nib_error *err)
{
    nib_detok detok = {.n_seen = 1};
    size_t cap = nib__tokenizer_max_bytes(t) + 8, len;
    char *piece = nib__alloc_raw(&ids->mem, cap, 1);
    nib_status status = NIB_OK;
    bool fits = piece != NULL;
    for (size_t i = 0; i <= ids->count && fits && status == NIB_OK; i++) {
        int32_t id = i < ids->count ? ids->items[i] : -1;
        status = nib__detok_push(t, &detok, id, piece, cap, &len, err);
        if (status == NIB_OK) fits = nib__buffer_add(text, piece, len);
    }
    nib__free(&ids->mem, piece);
    return fits ? status : nib__fail(err, NIB_ERR_MEMORY, "out of memory for a prompt");
}

static nib_status begin_pair(nib_session *s, const nib_fim *fim, const nib_complete_options *o,
                             uint32_t budget, nib_error *err)
{
    const nib_model *model = s->model;
    nib__fim_pair pair = {.source = nib__ids_make(&s->mem),
                          .target = nib__ids_make(&s->mem),
                          .echo = nib__ids_make(&s->mem)};
    nib__buffer echo = {.mem = &s->mem};
    nib__around around = {.suffix = fim->suffix, .inside = true};
    size_t held = 0;
    if (budget > s->source.capacity) budget = s->source.capacity;
    nib_status status = nib__prompt_start(model, &pair.target, err);
    if (status == NIB_OK)
        status = nib__fim_build_pair(model->tokenizer, model->fim_family, fim, budget, &held, &pair,
                                     err);
    if (status == NIB_OK && pair.start >= 0) pair.target.items[0] = pair.start;
    if (status == NIB_OK) status = text_of(model->tokenizer, &pair.echo, &echo, err);
    if (status == NIB_OK) {
        if (held != 0) around.healed = end_of(fim->prefix, held);
        around.echo = (nib_text){echo.data, echo.len};
        around.sentinels = pair.sentinels;
        status = begin(s, &(nib__prompt){pair.source, pair.target}, o, &around, err);
    }
    nib__free(&s->mem, echo.data);
    nib__ids_free(&pair.source);
    nib__ids_free(&pair.target);
    nib__ids_free(&pair.echo);
    return status;
}

nib_status nib__begin_fim(nib_session *s, const nib_fim *fim, const nib_complete_options *o,
                          nib_error *err)
{
    /* Room for the answer, but never more than half of the context. */
    uint32_t n_ctx = s->options.n_ctx, answer = o->max_tokens;
    if (answer > n_ctx / 2) answer = n_ctx / 2;
    uint32_t budget = fim->max_tokens != 0 ? fim->max_tokens : n_ctx - answer;
    const nib_model *model = s->model;
    if (model->encoder != NULL) return begin_pair(s, fim, o, budget, err);
    nib__prompt prompt = {.stream = nib__ids_make(&s->mem)};
    size_t held = 0;
    nib_status status = nib__fim_build(model->tokenizer, model->fim_family, fim, budget, &held,
                                       &prompt.stream, err);
    nib__around around = {.suffix = fim->suffix, .inside = true};
    if (held != 0) around.healed = end_of(fim->prefix, held);
    if (status == NIB_OK) status = begin(s, &prompt, o, &around, err);
    nib__ids_free(&prompt.stream);
    return status;
}
