/* SPDX-License-Identifier: MIT
 * "decoder" of a tokenizer.json. The library runs it over the list of all tokens; here it is run
 * over each token alone, once as the first of a text and once as a later one, when the file is
 * read: what comes out are the bytes of that token. Steps for which that is not the same are
 * refused. */
#include "token/pipeline.h"
#include "token/unicode.h"

enum { MAX_OPS = 16 };

typedef enum op_kind {
    OP_BYTE_LEVEL,
    OP_BYTE_FALLBACK,
    OP_BYTE_PIECE, /* the same for tokens that SentencePiece calls bytes */
    OP_REPLACE,
    OP_METASPACE,      /* U+2581 to a space */
    OP_METASPACE_DROP, /* the same; to nothing in the first token */
    OP_STRIP,          /* `start` and `stop` times a character at the ends */
    OP_WORDPIECE,      /* a space before, unless the token continues a word */
    OP_CLEANUP,
    OP_JOIN /* a space before every token but the first */
} op_kind;

typedef struct op {
    op_kind kind;
    nib__str from, to;
    nib__regex *regex; /* of OP_REPLACE, in place of `from`; owned */
    size_t start, stop;
} op;

typedef struct decoder {
    nib__hf *hf;
    nib__tokenizer *t;
    const nib__json *j;
    op ops[MAX_OPS];
    uint32_t n;
    bool fused, by_place; /* the first token differs */
    bool slow;            /* a regular expression gave up */
    char space[4];        /* of BPEDecoder and others: " " */
    nib_error *err;
} decoder;

static nib__str string(const decoder *d, nib__json_value v, const char *key)
{
    nib__str text;
    text.data = nib__json_string(d->j, nib__json_get(d->j, v, key), &text.len);
    return text;
}

static nib_status add(decoder *d, op next)
{
    if (d->n == MAX_OPS)
        return nib__fail(d->err, NIB_ERR_LIMIT, "tokenizer.json: decoder: more than %d steps",
                         MAX_OPS);
    d->ops[d->n++] = next;
    return NIB_OK;
}

static nib_status unsupported(decoder *d, const char *what)
{
    return nib__fail(d->err, NIB_ERR_UNSUPPORTED, "tokenizer.json: decoder: %s", what);
}

static nib_status read_replace(decoder *d, nib__json_value v)
{
    op next = {.kind = OP_REPLACE, .to = string(d, v, "content")};
    nib__json_value pattern = nib__json_get(d->j, v, "pattern");
    nib__str regex = string(d, pattern, "Regex");
    next.from = string(d, pattern, "String");
    if ((next.from.len == 0 && regex.data == NULL) || next.to.data == NULL)
        return unsupported(d, "Replace without a pattern or content");
    if (regex.data != NULL) {
        nib_status status =
            d->fused ? unsupported(d, "Replace of a regular expression behind Fuse") : add(d, next);
        if (status != NIB_OK) return status;
        return nib__regex_make(d->hf->mem, "tokenizer.json: decoder: Replace regex", regex,
                               &d->ops[d->n - 1].regex, d->err);
    }
    uint32_t code;
    if (d->fused && nib__utf8_next(next.from.data, next.from.len, &code) != next.from.len)
        return unsupported(d, "Replace of a text behind Fuse");
    return add(d, next);
}

/* Behind Fuse there is one token only, so what is stripped depends on the place alone. */
static nib_status read_strip(decoder *d, nib__json_value v)
{
    int64_t start = 0, stop = 0;
    op next = {.kind = OP_STRIP, .from = string(d, v, "content")};
    nib__json_integer(d->j, nib__json_get(d->j, v, "start"), &start);
    nib__json_integer(d->j, nib__json_get(d->j, v, "stop"), &stop);
    if (next.from.len == 0 || start < 0 || stop < 0)
        return unsupported(d, "Strip without content, or of a negative count");
    next.start = (size_t)start;
    next.stop = (size_t)stop;
    if (!d->fused) return add(d, next);
    if (stop != 0 || start > 1 || next.from.len != 1 || next.from.data[0] != ' ')
        return unsupported(d, "Strip behind Fuse of other than one leading space");
    if (start == 1) d->t->drop_space = true;
    return NIB_OK;
}

static bool has(const decoder *d, op_kind kind)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (d->ops[i].kind == kind) return true;
    return false;
}

/* BPEDecoder's last space is none, Metaspace's is one: which of them made it is not known. */
static nib_status read_metaspace(decoder *d, nib__json_value v)
{
    nib__json_value scheme = nib__json_get(d->j, v, "prepend_scheme");
    nib__json_value old = nib__json_get(d->j, v, "add_prefix_space");
    bool never =
        nib__json_equals(d->j, scheme, "never") || nib__json_type_of(d->j, old) == NIB__JSON_FALSE;
    if (!nib__json_equals(d->j, nib__json_get(d->j, v, "replacement"), NIB__SPM_SPACE))
        return unsupported(d, "Metaspace of another character than U+2581");
    if (d->fused) return unsupported(d, "Metaspace behind Fuse");
    if (d->t->pipe->hold_space) return unsupported(d, "Metaspace with BPEDecoder");
    if (!never) d->by_place = true;
    return add(d, (op){.kind = never ? OP_METASPACE : OP_METASPACE_DROP});
}

static nib_status read_wordpiece(decoder *d, nib__json_value v)
{
    op next = {.kind = OP_WORDPIECE, .from = string(d, v, "prefix")};
    if (has(d, OP_BYTE_FALLBACK)) /* a space for each character, not for each of its bytes */
        return unsupported(d, "WordPiece behind ByteFallback");
    d->by_place = true;
    nib_status status = add(d, next);
    if (status == NIB_OK && nib__json_is_true(d->j, v, "cleanup"))
        status = add(d, (op){.kind = OP_CLEANUP});
    return status;
}

static nib_status read_bpe(decoder *d, nib__json_value v)
{
    op next = {.kind = OP_REPLACE, .from = string(d, v, "suffix"), .to = {d->space, 1}};
    if (next.from.len == 0) return unsupported(d, "BPEDecoder without a suffix");
    if (has(d, OP_METASPACE) || has(d, OP_METASPACE_DROP))
        return unsupported(d, "Metaspace with BPEDecoder");
    d->t->pipe->hold_space = true;
    return add(d, next);
}

static nib_status read_one(decoder *d, nib__json_value v)
{
    nib__json_value type = nib__json_get(d->j, v, "type");
    if (nib__json_equals(d->j, type, "Fuse")) {
        d->fused = true;
        return NIB_OK;
    }
    if (nib__json_equals(d->j, type, "Replace")) return read_replace(d, v);
    if (nib__json_equals(d->j, type, "Strip")) return read_strip(d, v);
    if (d->fused) return nib__hf_unknown(d->err, "tokenizer.json: decoder behind Fuse", d->j, type);
    if (nib__json_equals(d->j, type, "ByteLevel")) return add(d, (op){.kind = OP_BYTE_LEVEL});
    if (nib__json_equals(d->j, type, "ByteFallback")) return add(d, (op){.kind = OP_BYTE_FALLBACK});
    if (nib__json_equals(d->j, type, "Metaspace")) return read_metaspace(d, v);
    if (nib__json_equals(d->j, type, "WordPiece")) return read_wordpiece(d, v);
    if (nib__json_equals(d->j, type, "BPEDecoder")) return read_bpe(d, v);
    return nib__hf_unknown(d->err, "tokenizer.json: decoder", d->j, type);
}

/* ---- one token ---- */

static bool replace(nib__str in, nib__str from, nib__str to, nib__buffer *out)
{
    for (size_t at = 0; at < in.len;) {
        bool hit = in.len - at >= from.len && memcmp(in.data + at, from.data, from.len) == 0;
        if (!nib__buffer_add(out, hit ? to.data : in.data + at, hit ? to.len : 1)) return false;
        at += hit ? from.len : 1;
    }
    return true;
}

/* false: out of memory, or (then *slow) the expression gave up. */
static bool replace_regex(const op *o, nib__str in, nib__buffer *out, bool *slow)
{
    nib__regex_walk walk = nib__regex_start(o->regex, in.data, in.len);
    size_t done = 0, begin, stop;
    for (; nib__regex_next(&walk, &begin, &stop); done = stop)
        if (!nib__buffer_add(out, in.data + done, begin - done) ||
            !nib__buffer_add(out, o->to.data, o->to.len))
            return false;
    *slow = walk.work == 0;
    return !*slow && nib__buffer_add(out, in.data + done, in.len - done);
}

static bool starts(nib__str text, nib__str with)
{
    return with.len != 0 && text.len >= with.len && memcmp(text.data, with.data, with.len) == 0;
}

static bool strip(nib__str in, const op *o, nib__buffer *out)
{
    for (size_t i = 0; i < o->start && starts(in, o->from); i++) {
        in.data += o->from.len;
        in.len -= o->from.len;
    }
    for (size_t i = 0; i < o->stop && in.len >= o->from.len; i++) {
        if (memcmp(in.data + in.len - o->from.len, o->from.data, o->from.len) != 0) break;
        in.len -= o->from.len;
    }
    return nib__buffer_add(out, in.data, in.len);
}

static bool byte_level(nib__str in, nib__buffer *out)
{
    if (!nib__grow(out->mem, (void **)&out->data, &out->cap, in.len + 1, 1)) return false;
    out->len = nib__decode_byte_level(in, out->data);
    return true;
}

/* The library's clean-up of English, which it applies to each token by itself. */
static bool clean_up(nib__str in, nib__buffer *out, nib__buffer *spare)
{
    static const char *const RULES[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                           {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                           {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++) {
        nib__str from = {RULES[i][0], strlen(RULES[i][0])}, to = {RULES[i][1], strlen(RULES[i][1])};
        nib__buffer *target = i % 2 == 0 ? out : spare; /* an odd number of rules: ends in `out` */
        target->len = 0;
        if (!replace(in, from, to, target)) return false;
        in = (nib__str){target->len != 0 ? target->data : "", target->len};
    }
    return true;
}

static bool apply(decoder *d, const op *o, nib__str in, bool first, nib__buffer *out,
                  nib__buffer *spare)
{
    static const nib__str MARK = {NIB__SPM_SPACE, 3}, SPACE = {" ", 1}, NOTHING = {"", 0};
    int32_t byte;
    out->len = 0;
    switch (o->kind) {
    case OP_BYTE_LEVEL: return byte_level(in, out);
    case OP_REPLACE:
        return o->regex != NULL ? replace_regex(o, in, out, &d->slow)
                                : replace(in, o->from, o->to, out);
    case OP_METASPACE: return replace(in, MARK, SPACE, out);
    case OP_METASPACE_DROP: return replace(in, MARK, first ? NOTHING : SPACE, out);
    case OP_STRIP: return strip(in, o, out);
    case OP_CLEANUP: return clean_up(in, out, spare);
    case OP_BYTE_PIECE:
    case OP_BYTE_FALLBACK:
        byte = nib__hex_byte(in);
        if (byte < 0) return nib__buffer_add(out, in.data, in.len);
        return nib__buffer_add(out, &(char){(char)byte}, 1);
    case OP_WORDPIECE:
        if (!first && starts(in, o->from))
            return nib__buffer_add(out, in.data + o->from.len, in.len - o->from.len);
        /* fall through */
    case OP_JOIN:
        if (!first && !nib__buffer_add(out, " ", 1)) return false;
        return nib__buffer_add(out, in.data, in.len);
    }
    return false;
}

/* Added tokens are what they say: the library would read "é" as a byte there, and lose it. */
static bool is_plain(const decoder *d, uint32_t id, const op *o)
{
    uint8_t type = d->t->vocab.type[id];
    return o->kind == OP_BYTE_LEVEL &&
           (type == NIB__TYPE_CONTROL || type == NIB__TYPE_USER || type == NIB__TYPE_ADDED);
}

/* All tokens, to `texts`. */
static nib_status decode_all(decoder *d, bool first, nib__texts *texts)
{
    nib_status status = NIB_OK;
    nib__vocab *v = &d->t->vocab;
    nib__buffer all = {.mem = &d->t->mem}, work[5];
    for (int i = 0; i < 5; i++) work[i] = (nib__buffer){.mem = d->hf->mem};
    bool ok = true;
    texts->at = nib__alloc_raw(&d->t->mem, (size_t)v->n + 1, sizeof *texts->at);
    ok = texts->at != NULL;
    for (uint32_t id = 0; id < v->n && ok && status == NIB_OK; id++) {
        nib__str text = nib__vocab_text(v, id);
        texts->at[id] = (uint32_t)all.len;
        bool moved;
        if (d->t->pipe->added[id] & NIB__ADDED_NORMALIZED)
            status = nib__normalize(d->t, text.data, text.len, NIB__AT_START, work + 3, &text,
                                    &moved, d->err);
        bool empty = v->type[id] == NIB__TYPE_UNUSED && text.len == 0;
        for (uint32_t i = 0, turn = 0; i < d->n && ok && !empty; i++) {
            if (is_plain(d, id, &d->ops[i])) continue;
            nib__buffer *out = &work[turn++ % 2];
            ok = apply(d, &d->ops[i], text, first, out, &work[2]);
            text = (nib__str){out->len != 0 ? out->data : "", out->len};
        }
        ok = ok && all.len <= UINT32_MAX - text.len && nib__buffer_add(&all, text.data, text.len);
        if (text.len > v->max_bytes) v->max_bytes = text.len;
    }
    if (ok) texts->at[v->n] = (uint32_t)all.len;
    ok = ok && nib__buffer_add(&all, "", 1);
    texts->data = all.data;
    for (int i = 0; i < 5; i++) nib__free(work[i].mem, work[i].data);
    if (ok || status != NIB_OK) return status;
    if (d->slow) return nib__too_slow(d->err);
    return nib__fail(d->err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
}

static void find_bytes(nib__tokenizer *t)
{
    static const char HEX[] = "0123456789ABCDEF";
    for (uint32_t byte = 0; byte < 256; byte++) {
        char name[8] = {'<', '0', 'x', HEX[byte >> 4], HEX[byte & 15], '>'};
        size_t len = 6;
        if (t->byte_level) len = nib__utf8_put(nib__byte_char((uint8_t)byte), name);
        t->vocab.byte_id[byte] = nib__model_find(t, name, len);
    }
}

nib_status nib__hf_spm_bytes(nib__hf *hf, nib_error *err)
{
    decoder d = {.hf = hf, .t = hf->t, .err = err, .n = 2};
    d.ops[0].kind = OP_METASPACE;
    d.ops[1].kind = OP_BYTE_PIECE;
    find_bytes(hf->t);
    return decode_all(&d, false, &hf->t->vocab.bytes);
}

nib_status nib__hf_plain_bytes(nib__hf *hf, nib_error *err)
{
    decoder d = {.hf = hf, .t = hf->t, .err = err};
    find_bytes(hf->t);
    return decode_all(&d, false, &hf->t->vocab.bytes);
}

nib_status nib__hf_decoder(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err)
{
    decoder d = {.hf = hf, .t = hf->t, .j = j, .err = err, .space = " "};
    nib_status status = NIB_OK;
    if (j == NULL || nib__json_type_of(j, v) == NIB__JSON_NULL) {
        d.by_place = j != NULL;
        op join = {.kind = j != NULL ? OP_JOIN : OP_BYTE_LEVEL};
        status = add(&d, join);
    } else {
        nib__hf_walk walk = nib__hf_walk_start(j, v, "decoders");
        status = nib__hf_walk_next(&walk, &v, err);
        while (status == NIB_OK && v != NIB__JSON_NONE) {
            status = read_one(&d, v);
            if (status == NIB_OK) status = nib__hf_walk_next(&walk, &v, err);
        }
    }
    find_bytes(hf->t);
    if (status == NIB_OK) status = decode_all(&d, false, &hf->t->vocab.bytes);
    if (status == NIB_OK && d.by_place) status = decode_all(&d, true, &hf->t->pipe->first);
    for (uint32_t i = 0; i < d.n; i++) nib__regex_free(hf->mem, d.ops[i].regex);
    return status;
}
