/* SPDX-License-Identifier: MIT
 * Public functions about beam search: check arguments, call one stage, translate status. */
#include <string.h>

#include "base/options.h"
#include "decode/beam.h"
#include "decode/beam_rank.h"
#include "decode/prompt.h"

static const nib_beam_options default_options = {
    .struct_size = sizeof(nib_beam_options),
    .n_beams = 4,
    .max_tokens = 128,
    .n_results = 1,
    .length_penalty = 1,
    .first_id = -1,
    .last_id = -1,
};

void nib_beam_options_init(nib_beam_options *options, size_t size)
{
    nib__options_init(options, size, &default_options, sizeof default_options);
}

static nib_status read_options(const nib_session *s, const nib_beam_options *given,
                               nib_beam_options *o, nib_error *err)
{
    *o = default_options;
    nib_status status = NIB_OK;
    if (given != NULL) status = nib__options_read(o, sizeof *o, given, "nib_beam_options", err);
    return status == NIB_OK ? nib__beam_check(o, s->model->config.n_vocab, err) : status;
}

nib_status nib_beam_begin(nib_session *session, const char *prompt, size_t len,
                          const nib_beam_options *options, nib_error *err)
{
    nib_beam_options o;
    if (session == NULL || (prompt == NULL && len != 0))
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_beam_begin: an argument is NULL");
    nib_status status = read_options(session, options, &o, err);
    if (status != NIB_OK) return status;
    /* They may be what an earlier search found, whose results end with its prompt. */
    int32_t end_ids[NIB__MAX_END_IDS];
    if (o.n_end_ids != 0) memcpy(end_ids, o.end_ids, o.n_end_ids * sizeof *end_ids);
    o.end_ids = end_ids;
    nib__prompt made;
    status = nib__prompt_make(session, prompt, len, &made, err);
    if (status == NIB_OK) status = nib__prompt_set(session, &made, err);
    if (status == NIB_OK) status = nib__search_begin(session, &o, err);
    nib__prompt_free(&made);
    return status;
}

nib_status nib_beam_begin_tokens(nib_session *session, const nib_beam_options *options,
                                 nib_error *err)
{
    nib_beam_options o;
    if (session == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_beam_begin_tokens: an argument is NULL");
    nib_status status = read_options(session, options, &o, err);
    return status == NIB_OK ? nib__search_begin(session, &o, err) : status;
}

nib_status nib_beam_memory(const nib_session *session, const nib_beam_options *options,
                           uint64_t *bytes, nib_error *err)
{
    nib_beam_options o;
    if (session == NULL || bytes == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_beam_memory: an argument is NULL");
    nib_status status = read_options(session, options, &o, err);
    return status == NIB_OK ? nib__search_size(session, &o, bytes, err) : status;
}

nib_status nib_beam_get_result(const nib_session *session, uint32_t index, nib_beam_result *result,
                               nib_error *err)
{
    nib_beam_result full;
    if (session == NULL || result == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_beam_get_result: an argument is NULL");
    nib_status status = nib__search_result(session, index, &full, err);
    if (status != NIB_OK) return status;
    return nib__options_write(result, &full, sizeof full, "nib_beam_result", err);
}
