/* SPDX-License-Identifier: MIT
 * The steps of a normalizer, one after the other over the whole text. Bytes that are no UTF-8 pass
 * through all of them unchanged. */
#include "token/pipeline.h"
#include "token/unicode.h"

typedef struct run {
    const nib__tokenizer *t;
    nib__str in;
    nib__buffer *out;
    bool moved;  /* something in front of the text was dropped */
    bool failed; /* out of memory */
    bool slow;   /* a regular expression gave up */
} run;

static void put(run *r, const char *text, size_t len)
{
    if (!nib__buffer_add(r->out, text, len)) r->failed = true;
}

static void put_code(run *r, uint32_t code)
{
    char text[4];
    put(r, text, nib__utf8_put(code, text));
}

static void drop(run *r)
{
    if (r->out->len == 0) r->moved = true;
}

static void replace(run *r, const nib__step *step)
{
    const char *text = r->in.data, *end = text + r->in.len;
    while (text < end) {
        const char *hit = memchr(text, step->from[0], (size_t)(end - text));
        while (hit != NULL &&
               ((size_t)(end - hit) < step->n_from || memcmp(hit, step->from, step->n_from) != 0))
            hit = memchr(hit + 1, step->from[0], (size_t)(end - hit - 1));
        put(r, text, (size_t)((hit == NULL ? end : hit) - text));
        if (hit == NULL) return;
        if (step->n_to == 0) drop(r);
        put(r, step->to, step->n_to);
        text = hit + step->n_from;
    }
}

static void replace_regex(run *r, const nib__step *step)
{
    nib__regex_walk walk = nib__regex_start(step->regex, r->in.data, r->in.len);
    size_t done = 0, begin, stop;
    while (nib__regex_next(&walk, &begin, &stop)) {
        put(r, r->in.data + done, begin - done);
        if (step->n_to == 0 && begin < stop) drop(r);
        put(r, step->to, step->n_to);
        done = stop;
    }
    put(r, r->in.data + done, r->in.len - done);
    if (walk.work == 0) r->slow = true;
}

static bool is_space(const char *text, size_t left, size_t *len)
{
    uint32_t code;
    *len = nib__utf8_next(text, left, &code);
    return (nib__class_of(code) & NIB__S_SPACE) != 0;
}

static void strip(run *r, const nib__step *step)
{
    size_t begin = 0, end = 0, n;
    while (step->left && begin < r->in.len && is_space(r->in.data + begin, r->in.len - begin, &n))
        begin += n;
    end = step->right ? begin : r->in.len;
    for (size_t at = begin; step->right && at < r->in.len; at += n)
        if (!is_space(r->in.data + at, r->in.len - at, &n)) end = at + n;
    if (begin > 0) r->moved = true;
    put(r, r->in.data + begin, end - begin);
}

static void lower(run *r, uint32_t code)
{
    uint32_t parts[NIB__MAPPED_MAX], n = nib__map_code(&nib__lower, code, parts);
    if (n == 0) put_code(r, code);
    for (uint32_t i = 0; i < n; i++) put_code(r, parts[i]);
}

/* The characters that SentencePiece's nmt rules drop, and those that become a space. */
static void nmt(run *r, uint32_t c)
{
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
        drop(r);
    else if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
             (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
             c == 0xFEFF || c == NIB__INVALID)
        put_code(r, ' ');
    else
        put_code(r, c);
}

static void clean(run *r, uint32_t code)
{
    if (nib__is_bert_removed(code))
        drop(r);
    else
        put_code(r, nib__class_of(code) & NIB__S_SPACE ? ' ' : code);
}

static void chinese(run *r, uint32_t code)
{
    bool alone = nib__is_chinese(code);
    if (alone) put_code(r, ' ');
    put_code(r, code);
    if (alone) put_code(r, ' ');
}

static void each(run *r, nib__step_kind kind)
{
    for (size_t at = 0; at < r->in.len && !r->failed;) {
        uint32_t code;
        size_t n = nib__utf8_valid(r->in.data + at, r->in.len - at, &code);
        uint32_t class = n != 0 ? nib__class_of(code) : 0;
        if (n == 0)
            put(r, r->in.data + at, n = 1);
        else if (kind == NIB__STEP_LOWERCASE)
            lower(r, code);
        else if (kind == NIB__STEP_NMT)
            nmt(r, code);
        else if (kind == NIB__STEP_BERT_CLEAN)
            clean(r, code);
        else if (kind == NIB__STEP_BERT_CHINESE)
            chinese(r, code);
        else if (kind == NIB__STEP_STRIP_ACCENTS ? nib__is_accent(code, class)
                                                 : nib__is_nonspacing(code, class))
            drop(r);
        else
            put(r, r->in.data + at, n);
        at += n;
    }
}

/* Bytes of the grapheme cluster at text[0..left) as far as it matters here: clusters of six bytes
 * or more are never looked up whole, so Hangul, flags and emoji need not be known. */
static size_t cluster(const char *text, size_t left, size_t first, uint32_t code)
{
    size_t n = first, more;
    if (code == '\r') return left > 1 && text[1] == '\n' ? 2 : 1;
    if (nib__class_of(code) & (1u << NIB__C_CONTROL | 1u << NIB__C_FORMAT)) return n;
    if (code < ' ' || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029) return n;
    while (n < left && n < 6) {
        more = nib__utf8_valid(text + n, left - n, &code);
        if (more == 0 || !nib__joins_grapheme(code, nib__class_of(code))) break;
        n += more;
    }
    return n;
}

/* The rules of Precompiled: of a short grapheme cluster the shortest start that a rule knows stands
 * for all of it; else each character is looked up alone. */
static void charsmap(run *r)
{
    const nib__charsmap *map = &r->t->charsmap;
    size_t alone_until = 0; /* characters before it are looked up alone */
    for (size_t at = 0; at < r->in.len && !r->failed;) {
        const char *text = r->in.data + at, *to;
        size_t left = r->in.len - at;
        uint32_t code;
        size_t n = nib__utf8_next(text, left, &code);
        size_t all = at >= alone_until ? cluster(text, left, n, code) : n;
        bool hit = all < 6 && all > n && nib__charsmap_first(map, text, all, &to) != 0;
        if (hit) {
            n = all;
        } else {
            if (all > n) alone_until = at + all;
            hit = nib__charsmap_first(map, text, n, &to) != 0;
        }
        if (hit)
            put(r, to, strlen(to)); /* the library does not notice what is dropped here */
        else
            put(r, text, n);
        at += n;
    }
}

/* What the rules of SentencePiece make of the start of text[0..left); returns how much they took.
 */
static size_t apply_rule(const nib__tokenizer *t, const char *text, size_t left, nib__str *to)
{
    int32_t id;
    uint32_t code;
    const char *put = text;
    size_t n = nib__trie_longest(&t->user, text, left, &id);
    *to = (nib__str){text, n};
    if (n != 0) return n;
    n = nib__charsmap_longest(&t->charsmap, text, left, &put);
    if (n != 0) {
        *to = (nib__str){put, strlen(put)};
        return n;
    }
    n = nib__utf8_next(text, left, &code);
    *to = (nib__str){text, n};
    return n;
}

/* Rules; then spaces as U+2581. With extra_spaces none at the ends, but for one at the start of
 * text that goes on from other text, and none at the start of what a rule made, or of a
 * user-defined symbol, behind another one. */
static void sentencepiece(run *r, nib__place place)
{
    const nib__pipeline *p = r->t->pipe;
    bool prefix =
        p->dummy_prefix && place != NIB__CONTINUED && (place == NIB__AT_START || !p->first_only);
    bool merge = p->extra_spaces;
    /* With first_only transformers puts another text in front of one that starts so. */
    bool kept =
        p->first_only && !prefix && r->in.len != 0 &&
        (r->in.data[0] == ' ' || (r->in.len >= 3 && memcmp(r->in.data, NIB__SPM_SPACE, 3) == 0));
    bool after_space = merge && place != NIB__CONTINUED && !kept;
    if (prefix && r->in.len != 0) put(r, NIB__SPM_SPACE, 3);
    for (size_t at = 0; at < r->in.len && !r->failed;) {
        nib__str to;
        size_t i = 0;
        at += apply_rule(r->t, r->in.data + at, r->in.len - at, &to);
        while (after_space && i < to.len && to.data[i] == ' ') i++;
        if (i == to.len) continue;
        after_space = merge && to.data[to.len - 1] == ' ';
        for (; i < to.len; i++) {
            bool space = to.data[i] == ' ';
            put(r, space ? NIB__SPM_SPACE : to.data + i, space ? 3 : 1);
        }
    }
    nib__buffer *out = r->out; /* a literal U+2581 at the end counts as a space, too */
    while (merge && out->len >= 3 && memcmp(out->data + out->len - 3, NIB__SPM_SPACE, 3) == 0)
        out->len -= 3;
}

static void run_step(run *r, const nib__step *step, nib__place place)
{
    bool lead = place != NIB__CONTINUED;
    switch (step->kind) {
    case NIB__STEP_PREPEND:
        if (lead && r->in.len != 0) put(r, step->to, step->n_to);
        put(r, r->in.data, r->in.len);
        break;
    case NIB__STEP_REPLACE: step->regex != NULL ? replace_regex(r, step) : replace(r, step); break;
    case NIB__STEP_NFC:
    case NIB__STEP_NFD:
    case NIB__STEP_NFKC:
    case NIB__STEP_NFKD:
        if (!nib__unicode_normalize(step->kind, r->in.data, r->in.len, r->out)) r->failed = true;
        break;
    case NIB__STEP_STRIP: strip(r, step); break;
    case NIB__STEP_CHARSMAP: charsmap(r); break;
    case NIB__STEP_SENTENCEPIECE: sentencepiece(r, place); break;
    case NIB__STEP_LOWERCASE:
    case NIB__STEP_STRIP_ACCENTS:
    case NIB__STEP_STRIP_NONSPACING:
    case NIB__STEP_NMT:
    case NIB__STEP_BERT_CLEAN:
    case NIB__STEP_BERT_CHINESE: each(r, step->kind); break;
    }
}

nib_status nib__too_slow(nib_error *err)
{
    return nib__fail(err, NIB_ERR_LIMIT,
                     "tokenizer.json: a regular expression looks too far ahead of its matches");
}

nib_status nib__normalize(const nib__tokenizer *t, const char *text, size_t len, nib__place place,
                          nib__buffer scratch[2], nib__str *out, bool *moved, nib_error *err)
{
    run r = {.t = t, .in = {text, len}};
    for (uint32_t i = 0; i < t->pipe->n_steps && !r.failed && !r.slow; i++) {
        r.out = &scratch[i % 2];
        r.out->len = 0;
        run_step(&r, &t->pipe->steps[i], place);
        r.in = (nib__str){r.out->len != 0 ? r.out->data : "", r.out->len};
    }
    *out = r.in;
    *moved = r.moved;
    if (r.slow) return nib__too_slow(err);
    return r.failed ? nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing") : NIB_OK;
}
