/* SPDX-License-Identifier: MIT
 * Text -> the ids of a prompt, with the begin and end tokens that the model expects. */
#include "decode/prompt.h"

#include <string.h>

/* An end token that a tokenizer puts behind every text would end the completion before it began. */
static void drop_end(const nib__tokenizer *t, nib__ids *ids)
{
    int32_t eos = nib__tokenizer_special(t, NIB_TOKEN_EOS);
    if (ids->count > 1 && eos >= 0 && ids->items[ids->count - 1] == eos) ids->count--;
}

nib_status nib__prompt_start(const nib_model *model, nib__ids *ids, nib_error *err)
{
    size_t before = ids->count;
    int32_t start = model->config.start_id;
    nib_status status = NIB_OK;
    if (start < 0) {
        status = nib__tokenizer_frame(model->tokenizer, true, ids, err);
        start = ids->count > before ? ids->items[ids->count - 1]
                                    : nib__tokenizer_special(model->tokenizer, NIB_TOKEN_EOS);
        ids->count = before;
    }
    if (status != NIB_OK || start < 0 || nib__ids_push(ids, start)) return status;
    return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a prompt");
}

int32_t nib__prompt_mode(const nib_model *model, const char *mode)
{
    if (strcmp(model->config.arch, "roberta") != 0 || model->config.both_ways) return -1;
    return nib__tokenizer_find(model->tokenizer, mode, strlen(mode));
}

static nib_status put_prompt(const nib_model *model, const char *text, size_t len, nib__ids *ids,
                             nib_error *err)
{
    const nib__tokenizer *t = model->tokenizer;
    bool joint = model->config.joint_prompt;
    int32_t mode = nib__prompt_mode(model, joint ? "<encoder-decoder>" : "<decoder-only>");
    nib_status status;
    if (mode < 0) {
        status = nib__tokenize(t, text, len, NIB_TOKENIZE_BOS, ids, err);
        if (model->encoder == NULL) drop_end(t, ids);
        return status;
    }
    status = nib__tokenizer_frame(t, false, ids, err);
    if (status == NIB_OK && !nib__ids_push(ids, mode))
        status = nib__fail(err, NIB_ERR_MEMORY, "out of memory for a prompt");
    if (status == NIB_OK) status = nib__tokenizer_frame(t, true, ids, err);
    if (status == NIB_OK) status = nib__tokenize(t, text, len, 0, ids, err);
    return status == NIB_OK && joint ? nib__tokenizer_frame(t, true, ids, err) : status;
}

nib_status nib__prompt_make(const nib_session *s, const char *text, size_t len, nib__prompt *prompt,
                            nib_error *err)
{
    *prompt = (nib__prompt){nib__ids_make(&s->mem), nib__ids_make(&s->mem)};
    bool pair = s->model->encoder != NULL;
    nib__ids *ids = pair ? &prompt->source : &prompt->stream;
    nib_status status = put_prompt(s->model, text != NULL ? text : "", len, ids, err);
    return status == NIB_OK && pair ? nib__prompt_start(s->model, &prompt->stream, err) : status;
}

void nib__prompt_free(nib__prompt *prompt)
{
    nib__ids_free(&prompt->source);
    nib__ids_free(&prompt->stream);
}

nib_status nib__prompt_set(nib_session *s, const nib__prompt *prompt, nib_error *err)
{
    const nib__ids *source = &prompt->source, *stream = &prompt->stream;
    uint32_t reused;
    nib_status status = NIB_OK;
    if (s->model->encoder != NULL)
        status = nib__session_set_source(s, source->items, source->count, err);
    if (status != NIB_OK) return status;
    return nib__session_set(s, stream->items, stream->count, &reused, err);
}
