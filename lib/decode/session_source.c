/* SPDX-License-Identifier: MIT
 * A session's source: the text that the decoder of an encoder-decoder looks at, and hidden states
 * of encoders. */
#include <string.h>

#include "decode/complete.h"

nib_status nib__session_set_source(nib_session *s, const int32_t *ids, size_t n, nib_error *err)
{
    if (s->source.decoder == NULL) {
        return nib__fail(err, NIB_ERR_STATE, "architecture %s has no encoder that it decodes from",
                         s->model->config.arch);
    }
    bool same = n != 0 && n == s->source.n && memcmp(ids, s->source.ids, n * sizeof *ids) == 0;
    if (same) return NIB_OK;
    nib_status status = nib__encoding_set(&s->source, ids, n, err);
    if (status != NIB_OK) return status;
    nib__complete_end(s);
    s->pass_active = 0;
    s->batch_mark = 0;
    s->n_evaluated = 0;
    s->logits_valid = 0;
    return NIB_OK;
}

nib_status nib__session_embed(nib_session *s, const int32_t *ids, size_t n, uint32_t flags,
                              float *out, nib_error *err)
{
    nib__encoding *e = &s->source;
    if (e->encoder == NULL)
        return nib__fail(err, NIB_ERR_STATE, "architecture %s has no encoder",
                         s->model->config.arch);
    nib_status status = nib__encoding_set(e, ids, n, err);
    if (status != NIB_OK) return status;
    nib__complete_end(s);
    s->batch_mark = 0;
    s->pass_active = 0;                              /* its rows are overwritten */
    status = nib__encoding_run(e, &s->exec, 0, err); /* without a deadline: to the end */
    if (status == NIB_ERR_CANCELLED) (void)atomic_exchange(&s->cancel, 0);
    if (e->decoder != NULL) { /* and the stream was about another source */
        s->n_evaluated = 0;
        s->logits_valid = 0;
    }
    if (status != NIB_OK) return status;
    size_t width = e->encoder->config.n_embd;
    if ((flags & NIB_EMBED_MEAN) == 0) {
        memcpy(out, e->act.x, n * width * sizeof *out);
        return NIB_OK;
    }
    for (size_t i = 0; i < width; i++) {
        double sum = 0;
        for (size_t row = 0; row < n; row++) sum += (double)e->act.x[row * width + i];
        out[i] = (float)(sum / (double)n);
    }
    return NIB_OK;
}

bool nib__source_missing(const nib_session *s)
{
    const nib__encoding *e = &s->source;
    return e->encoder != NULL && (e->decoder == NULL || !e->done);
}

nib_status nib__source_encode(nib_session *s, uint64_t deadline_ns, nib_error *err)
{
    if (s->source.decoder == NULL)
        return nib__fail(err, NIB_ERR_STATE, "architecture %s gives hidden states, not text",
                         s->model->config.arch);
    if (s->source.n == 0)
        return nib__fail(err, NIB_ERR_STATE, "an encoder-decoder needs a source text first");
    return nib__encoding_run(&s->source, &s->exec, deadline_ns, err);
}
