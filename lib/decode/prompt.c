/* SPDX-License-Identifier: MIT
 * Text -> the ids of a prompt, with the begin and end tokens that the model expects. */
#include "decode/prompt.h"

/* An end token that a tokenizer puts behind every text would end the completion before it began. */
static void drop_end(const nib__tokenizer *t, nib__ids *ids)
{
    int32_t eos = nib__tokenizer_special(t, NIB_TOKEN_EOS);
    if (ids->count > 1 && eos >= 0 && ids->items[ids->count - 1] == eos) ids->count--;
}

/* The text becomes the source, with begin and end tokens; the stream begins with the token that the
 * model says, or, as fairseq's models do, with the end token. */
static nib_status take_source(nib_session *s, nib__ids *ids, nib_error *err)
{
    nib_status status = nib__session_set_source(s, ids->items, ids->count, err);
    if (status != NIB_OK) return status;
    int32_t start = s->model->config.start_id;
    if (start < 0) start = nib__tokenizer_special(s->model->tokenizer, NIB_TOKEN_EOS);
    ids->count = 0;
    if (start >= 0 && !nib__ids_push(ids, start))
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a prompt");
    return NIB_OK;
}

nib_status nib__prompt(nib_session *s, const char *text, size_t len, nib__ids *stream,
                       nib_error *err)
{
    const nib__tokenizer *t = s->model->tokenizer;
    nib_status status =
        nib__tokenize(t, text != NULL ? text : "", len, NIB_TOKENIZE_BOS, stream, err);
    if (status != NIB_OK) return status;
    if (s->model->encoder != NULL) return take_source(s, stream, err);
    drop_end(t, stream);
    return NIB_OK;
}
