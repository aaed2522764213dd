/* SPDX-License-Identifier: MIT
 * The symbols that BPE of a Hugging Face tokenizer starts with: bytes, or characters with the
 * prefix and the suffix of the model; what the vocabulary lacks becomes byte tokens or the unknown
 * token, one for all that touch if the model says so. */
#include "token/pipeline.h"
#include "token/unicode.h"

typedef struct symbols {
    const nib__pipeline *p;
    uint32_t *ids;
    uint32_t n;
    bool unknown; /* one is due before the next known symbol */
} symbols;

static void flush(symbols *s)
{
    if (s->unknown) s->ids[s->n++] = (uint32_t)s->p->unknown;
    s->unknown = false;
}

static void add_known(symbols *s, int32_t id)
{
    flush(s);
    s->ids[s->n++] = (uint32_t)id;
}

static void add_unknown(symbols *s)
{
    if (s->p->unknown < 0) return;
    if (!s->p->fuse_unknown) flush(s);
    s->unknown = true;
}

/* As in the library, an unknown that is due stays behind these bytes. */
static bool add_bytes(symbols *s, const nib__vocab *v, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (v->byte_id[(uint8_t)text[i]] < 0) return false;
    for (size_t i = 0; i < len; i++) s->ids[s->n++] = (uint32_t)v->byte_id[(uint8_t)text[i]];
    return true;
}

static int32_t find_affixed(const nib__tokenizer *t, const char *text, size_t len, bool first,
                            bool last)
{
    const nib__pipeline *p = t->pipe;
    char whole[4 + 2 * NIB__MAX_AFFIX];
    size_t n = 0;
    if (!first) {
        memcpy(whole, p->prefix.text, p->prefix.len);
        n = p->prefix.len;
    }
    memcpy(whole + n, text, len);
    n += len;
    if (last) {
        memcpy(whole + n, p->suffix.text, p->suffix.len);
        n += p->suffix.len;
    }
    return nib__model_find(t, whole, n);
}

uint32_t nib__bpe_symbols(const nib__tokenizer *t, const char *text, size_t len, uint32_t *ids)
{
    const nib__vocab *v = &t->vocab;
    const nib__pipeline *p = t->pipe;
    symbols s = {p, ids, 0, false};
    bool affixes = p->prefix.len + p->suffix.len != 0;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t n = t->byte_level ? 1 : nib__utf8_next(text + at, len - at, &code);
        int32_t id;
        if (t->byte_level)
            id = v->byte_id[(uint8_t)text[at]];
        else if (affixes)
            id = find_affixed(t, text + at, n, at == 0, at + n == len);
        else
            id = nib__model_find(t, text + at, n);
        if (id >= 0)
            add_known(&s, id);
        else if (!p->byte_fallback || !add_bytes(&s, v, text + at, n))
            add_unknown(&s);
        at += n;
    }
    flush(&s);
    return s.n;
}
