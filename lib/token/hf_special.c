/* SPDX-License-Identifier: MIT
 * Special tokens of a Hugging Face directory: what "post_processor" puts around a text, and which
 * ids have a role. Roles come from tokenizer_config.json and special_tokens_map.json by text, and
 * from generation_config.json and config.json by id. */
#include "token/pipeline.h"

/* ---- what stands around a text ---- */

typedef struct frame {
    int32_t before[NIB__MAX_FRAME], after[NIB__MAX_FRAME];
    uint32_t n_before, n_after;
} frame;

typedef struct reader {
    nib__tokenizer *t;
    const nib__json *j;
    frame part;
    nib_error *err;
} reader;

static nib_status bad_frame(const reader *r)
{
    return nib__fail(r->err, NIB_ERR_FORMAT,
                     "tokenizer.json: post_processor: more than %d tokens, or one without an id of "
                     "the vocabulary",
                     NIB__MAX_FRAME);
}

static nib_status put(reader *r, bool behind, int64_t id)
{
    uint32_t *n = behind ? &r->part.n_after : &r->part.n_before;
    int32_t *list = behind ? r->part.after : r->part.before;
    if (*n == NIB__MAX_FRAME || id < 0 || id >= r->t->vocab.n) return bad_frame(r);
    list[(*n)++] = (int32_t)id;
    return NIB_OK;
}

/* ["</s>", 2] */
static nib_status put_pair(reader *r, nib__json_value v, const char *key, bool behind)
{
    int64_t id = -1;
    nib__json_value text = nib__json_first(r->j, nib__json_get(r->j, v, key));
    nib__json_integer(r->j, nib__json_next(r->j, text), &id);
    return put(r, behind, id);
}

static nib_status read_template(reader *r, nib__json_value v)
{
    bool behind = false;
    nib__json_value tokens = nib__json_get(r->j, v, "special_tokens");
    nib__json_value list = nib__json_get(r->j, v, "single");
    for (v = nib__json_first(r->j, list); v != NIB__JSON_NONE; v = nib__json_next(r->j, v)) {
        nib__json_value sequence = nib__json_get(r->j, v, "Sequence");
        if (sequence != NIB__JSON_NONE) {
            if (behind || !nib__json_equals(r->j, nib__json_get(r->j, sequence, "id"), "A"))
                return nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                                 "tokenizer.json: post_processor: single has not just one text");
            behind = true;
            continue;
        }
        nib__json_value token = nib__json_get(r->j, v, "SpecialToken");
        const char *name = nib__json_string(r->j, nib__json_get(r->j, token, "id"), &(size_t){0});
        if (name == NULL) return bad_frame(r);
        nib__json_value ids = nib__json_get(r->j, nib__json_get(r->j, tokens, name), "ids");
        if (nib__json_count(r->j, ids) == 0) return bad_frame(r);
        for (ids = nib__json_first(r->j, ids); ids != NIB__JSON_NONE;
             ids = nib__json_next(r->j, ids)) {
            int64_t id = -1;
            nib__json_integer(r->j, ids, &id);
            nib_status status = put(r, behind, id);
            if (status != NIB_OK) return status;
        }
    }
    if (behind) return NIB_OK;
    return nib__fail(r->err, NIB_ERR_FORMAT,
                     "tokenizer.json: post_processor: single without the text");
}

static nib_status read_processor(reader *r, nib__json_value v)
{
    nib__json_value type = nib__json_get(r->j, v, "type");
    if (nib__json_equals(r->j, type, "ByteLevel")) return NIB_OK; /* offsets only */
    if (nib__json_equals(r->j, type, "TemplateProcessing")) return read_template(r, v);
    if (!nib__json_equals(r->j, type, "RobertaProcessing") &&
        !nib__json_equals(r->j, type, "BertProcessing"))
        return nib__hf_unknown(r->err, "tokenizer.json: post_processor", r->j, type);
    nib_status status = put_pair(r, v, "cls", false);
    return status == NIB_OK ? put_pair(r, v, "sep", true) : status;
}

/* A later processor frames what the earlier ones made. */
static nib_status wrap(reader *r)
{
    nib__pipeline *p = r->t->pipe;
    const frame *f = &r->part;
    if (p->n_before + f->n_before > NIB__MAX_FRAME || p->n_after + f->n_after > NIB__MAX_FRAME)
        return bad_frame(r);
    memmove(p->before + f->n_before, p->before, p->n_before * sizeof *p->before);
    memcpy(p->before, f->before, f->n_before * sizeof *p->before);
    memcpy(p->after + p->n_after, f->after, f->n_after * sizeof *p->after);
    p->n_before += f->n_before;
    p->n_after += f->n_after;
    return NIB_OK;
}

nib_status nib__hf_frame(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err)
{
    reader r = {.t = hf->t, .j = j, .err = err};
    if (nib__json_type_of(j, v) == NIB__JSON_NULL) return NIB_OK;
    nib__hf_walk walk = nib__hf_walk_start(j, v, "processors");
    nib_status status = nib__hf_walk_next(&walk, &v, err);
    while (status == NIB_OK && v != NIB__JSON_NONE) {
        r.part = (frame){0};
        status = read_processor(&r, v);
        if (status == NIB_OK) status = wrap(&r);
        if (status == NIB_OK) status = nib__hf_walk_next(&walk, &v, err);
    }
    return status;
}

/* ---- roles ---- */

/* config.json of CodeGen 2 says that "#" ends a text: what bytes are spelled in has no role. */
static bool is_text(const nib__tokenizer *t, int64_t id)
{
    return t->byte_level && t->vocab.type[id] == NIB__TYPE_NORMAL &&
           nib__vocab_text(&t->vocab, (uint32_t)id).len != 0;
}

/* "eos_token_id" of a file: an id or a list of them; one outside the vocabulary, as -1, is none.
 * Sets *id to the first; with `end`, all of them end a generation. */
static nib_status read_ids(nib__tokenizer *t, const char *file, const nib__json *j, const char *key,
                           bool end, int32_t *id, nib_error *err)
{
    if (j == NULL) return NIB_OK;
    nib__json_value v = nib__json_get(j, 0, key);
    bool list = nib__json_type_of(j, v) == NIB__JSON_ARRAY;
    if (list) v = nib__json_first(j, v);
    for (; v != NIB__JSON_NONE; v = list ? nib__json_next(j, v) : NIB__JSON_NONE) {
        int64_t value = -1;
        if (!nib__json_integer(j, v, &value) && nib__json_type_of(j, v) != NIB__JSON_NULL)
            return nib__fail(err, NIB_ERR_FORMAT, "%s: %s: expected an id or a list of ids", file,
                             key);
        if (value < 0 || value >= t->vocab.n) continue;
        if (is_text(t, value)) continue;
        if (*id < 0) *id = (int32_t)value;
        if (end) t->vocab.end[value] = 1;
    }
    return NIB_OK;
}

nib_status nib__hf_special(nib__hf *hf, nib_error *err)
{
    static const struct {
        uint32_t which;
        const char *role, *id;
    } ROLES[] = {{NIB_TOKEN_BOS, "bos_token", "bos_token_id"},
                 {NIB_TOKEN_EOS, "eos_token", "eos_token_id"},
                 {NIB_TOKEN_UNK, "unk_token", "unk_token_id"},
                 {NIB_TOKEN_PAD, "pad_token", "pad_token_id"}};
    nib__tokenizer *t = hf->t;
    nib_status status = NIB_OK;
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++) {
        int32_t *id = &t->ids[ROLES[i].which];
        bool end = ROLES[i].which == NIB_TOKEN_EOS;
        nib__str text = nib__hf_role(hf, ROLES[i].role);
        if (text.data != NULL) *id = nib__vocab_find(&t->vocab, text.data, text.len);
        const char *key = ROLES[i].id;
        status = read_ids(t, "generation_config.json", hf->generation, key, end, id, err);
        if (status == NIB_OK) status = read_ids(t, "config.json", hf->config, key, end, id, err);
        if (status != NIB_OK) return status;
    }
    if (t->ids[NIB_TOKEN_UNK] < 0) t->ids[NIB_TOKEN_UNK] = t->pipe->unknown;
    nib__special_mark(t, t->ids[NIB_TOKEN_BOS], false);
    nib__special_find(t);
    return NIB_OK;
}
