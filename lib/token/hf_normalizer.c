/* SPDX-License-Identifier: MIT
 * "normalizer" of a tokenizer.json as steps of pipeline.h. */
#include "token/pipeline.h"

typedef struct reader {
    nib__tokenizer *t;
    const nib__json *j;
    nib_error *err;
} reader;

static const nib__str NONE = {"", 0};

static nib__str string(const reader *r, nib__json_value v, const char *key)
{
    nib__str text;
    text.data = nib__json_string(r->j, nib__json_get(r->j, v, key), &text.len);
    return text;
}

static nib_status add(reader *r, nib__step_kind kind)
{
    return nib__step_add(r->t, kind, NONE, NONE, r->err);
}

static nib_status missing(reader *r, const char *what)
{
    return nib__fail(r->err, NIB_ERR_FORMAT, "tokenizer.json: normalizer: %s is missing", what);
}

static nib_status read_prepend(reader *r, nib__json_value v)
{
    nib__str text = string(r, v, "prepend");
    if (text.data == NULL) return missing(r, "prepend");
    return nib__step_add(r->t, NIB__STEP_PREPEND, NONE, text, r->err);
}

static nib_status read_replace(reader *r, nib__json_value v)
{
    nib__json_value pattern = nib__json_get(r->j, v, "pattern");
    nib__json_value regex = nib__json_get(r->j, pattern, "Regex");
    nib__str from = string(r, pattern, "String"), to = string(r, v, "content");
    if (to.data == NULL) return missing(r, "content of Replace");
    if (from.data != NULL && from.len != 0)
        return nib__step_add(r->t, NIB__STEP_REPLACE, from, to, r->err);
    static const char WHAT[] = "tokenizer.json: normalizer: Replace regex";
    from = string(r, pattern, "Regex");
    if (from.data == NULL) return nib__hf_unknown(r->err, WHAT, r->j, regex);
    nib_status status = nib__step_add(r->t, NIB__STEP_REPLACE, NONE, to, r->err);
    if (status != NIB_OK) return status;
    nib__step *step = &r->t->pipe->steps[r->t->pipe->n_steps - 1];
    return nib__regex_make(&r->t->mem, WHAT, from, &step->regex, r->err);
}

static nib_status read_strip(reader *r, nib__json_value v)
{
    nib_status status = add(r, NIB__STEP_STRIP);
    if (status != NIB_OK) return status;
    nib__step *step = &r->t->pipe->steps[r->t->pipe->n_steps - 1];
    step->left = nib__json_is_true(r->j, v, "strip_left");
    step->right = nib__json_is_true(r->j, v, "strip_right");
    return NIB_OK;
}

static int32_t base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 with padding; false: not that. `out` has room for 3/4 of the text. */
static bool base64_decode(nib__str text, uint8_t *out, size_t *size)
{
    uint32_t bits = 0;
    size_t n = 0, padding = 0;
    if (text.len % 4 != 0) return false;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=') padding++;
    for (size_t i = 0; i < text.len; i++) {
        bool pad = i >= text.len - padding;
        int32_t digit = pad ? 0 : base64_digit(text.data[i]);
        if (digit < 0) return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 3) continue;
        out[n++] = (uint8_t)(bits >> 16);
        out[n++] = (uint8_t)(bits >> 8);
        out[n++] = (uint8_t)bits;
    }
    *size = n - padding;
    return true;
}

static nib_status read_charsmap(reader *r, nib__json_value v)
{
    static const char WHAT[] = "tokenizer.json: normalizer: precompiled_charsmap";
    nib__tokenizer *t = r->t;
    nib__str text = string(r, v, "precompiled_charsmap");
    size_t size = 0;
    if (text.data == NULL || text.len == 0) return NIB_OK; /* no rules */
    if (t->charsmap.units != NULL)
        return nib__fail(r->err, NIB_ERR_UNSUPPORTED, "%s: more than one", WHAT);
    uint8_t *data = nib__alloc_raw(&t->mem, text.len, 1);
    if (data == NULL) return nib__fail(r->err, NIB_ERR_MEMORY, "out of memory for %s", WHAT);
    nib_status status = NIB_OK;
    if (!base64_decode(text, data, &size))
        status = nib__fail(r->err, NIB_ERR_FORMAT, "%s is not base64", WHAT);
    else
        status = nib__charsmap_make(&t->mem, WHAT, data, size, &t->charsmap, r->err);
    nib__free(&t->mem, data);
    return status == NIB_OK ? add(r, NIB__STEP_CHARSMAP) : status;
}

static nib_status read_bert(reader *r, nib__json_value v)
{
    bool lower = nib__json_is_true(r->j, v, "lowercase");
    nib__json_value accents = nib__json_get(r->j, v, "strip_accents");
    bool strip = nib__json_type_of(r->j, accents) == NIB__JSON_NULL
                     ? lower
                     : nib__json_type_of(r->j, accents) == NIB__JSON_TRUE;
    nib_status status = NIB_OK;
    if (nib__json_is_true(r->j, v, "clean_text")) status = add(r, NIB__STEP_BERT_CLEAN);
    if (status == NIB_OK && nib__json_is_true(r->j, v, "handle_chinese_chars"))
        status = add(r, NIB__STEP_BERT_CHINESE);
    if (status == NIB_OK && strip) status = add(r, NIB__STEP_NFD);
    if (status == NIB_OK && strip) status = add(r, NIB__STEP_STRIP_NONSPACING);
    if (status == NIB_OK && lower) status = add(r, NIB__STEP_LOWERCASE);
    return status;
}

static nib_status read_one(reader *r, nib__json_value v)
{
    static const struct {
        const char *type;
        nib_status (*read)(reader *r, nib__json_value v);
        nib__step_kind kind; /* where there is nothing to read */
    } TYPES[] = {
        {"Prepend", read_prepend, 0},
        {"Replace", read_replace, 0},
        {"Strip", read_strip, 0},
        {"Precompiled", read_charsmap, 0},
        {"BertNormalizer", read_bert, 0},
        {"NFC", NULL, NIB__STEP_NFC},
        {"NFD", NULL, NIB__STEP_NFD},
        {"NFKC", NULL, NIB__STEP_NFKC},
        {"NFKD", NULL, NIB__STEP_NFKD},
        {"Lowercase", NULL, NIB__STEP_LOWERCASE},
        {"StripAccents", NULL, NIB__STEP_STRIP_ACCENTS},
        {"Nmt", NULL, NIB__STEP_NMT},
    };
    nib__json_value type = nib__json_get(r->j, v, "type");
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (nib__json_equals(r->j, type, TYPES[i].type))
            return TYPES[i].read != NULL ? TYPES[i].read(r, v) : add(r, TYPES[i].kind);
    return nib__hf_unknown(r->err, "tokenizer.json: normalizer", r->j, type);
}

nib_status nib__hf_normalizer(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err)
{
    reader r = {hf->t, j, err};
    if (nib__json_type_of(j, v) == NIB__JSON_NULL) return NIB_OK;
    nib__hf_walk walk = nib__hf_walk_start(j, v, "normalizers");
    nib_status status = nib__hf_walk_next(&walk, &v, err);
    while (status == NIB_OK && v != NIB__JSON_NONE) {
        status = read_one(&r, v);
        if (status == NIB_OK) status = nib__hf_walk_next(&walk, &v, err);
    }
    return status;
}
