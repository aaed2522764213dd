/* SPDX-License-Identifier: MIT
 * "pre_tokenizer" of a tokenizer.json as rules of pretok.h. The usual regular expressions are known
 * by their exact text and have scanners; regex.h runs any other. Byte-level encoding is not done:
 * our vocabulary is looked up by bytes, so only what is known to commute with it may follow. */
#include "token/pipeline.h"
#include "token/unicode.h"

static const nib__run_set SPACES = {.classes = NIB__S_SPACE};
static const nib__run_set NUMBERS = {.classes = NIB__S_NUMBER};
static const nib__range ASCII_PUNCT[] = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
static const nib__run_set PUNCT = {.punct = true, .ranges = ASCII_PUNCT, .n_ranges = 4};
static const nib__literal META = {NIB__SPM_SPACE, 3};

typedef struct reader {
    nib__tokenizer *t;
    const nib__json *j;
    bool bytes; /* ByteLevel has been seen */
    nib_error *err;
} reader;

static nib_status add(reader *r, nib__rule rule)
{
    return nib__rule_add(r->t, rule, r->err);
}

static nib_status read_behavior(const reader *r, nib__json_value v, nib__behavior *behavior)
{
    static const char *const NAMES[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious",
                                        "MergedWithNext"};
    static const nib__behavior VALUES[] = {NIB__ISOLATED, NIB__REMOVED, NIB__CONTIGUOUS,
                                           NIB__WITH_PREVIOUS, NIB__WITH_NEXT};
    nib__json_value name = nib__json_get(r->j, v, "behavior");
    for (size_t i = 0; i < 5; i++)
        if (nib__json_equals(r->j, name, NAMES[i])) {
            *behavior = VALUES[i];
            return NIB_OK;
        }
    return nib__hf_unknown(r->err, "tokenizer.json: pre_tokenizer: behavior", r->j, name);
}

/* A default that holds when the key is missing or null. */
static bool flag(const reader *r, nib__json_value v, const char *key, bool missing)
{
    nib__json_type type = nib__json_type_of(r->j, nib__json_get(r->j, v, key));
    return type == NIB__JSON_NULL ? missing : type == NIB__JSON_TRUE;
}

static nib_status read_byte_level(reader *r, nib__json_value v)
{
    bool regex = flag(r, v, "use_regex", true);
    nib__rule rule = {0};
    if (r->bytes)
        return nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                         "tokenizer.json: pre_tokenizer: ByteLevel twice");
    if (regex) rule.find = nib__find_gpt2;
    if (flag(r, v, "add_prefix_space", true)) rule.prefix = NIB__PREFIX_SPACE;
    r->bytes = r->t->byte_level = true;
    return add(r, rule);
}

static nib_status read_metaspace(reader *r, nib__json_value v)
{
    static const char *const SCHEMES[] = {"always", "first", "never"};
    nib__json_value scheme = nib__json_get(r->j, v, "prepend_scheme");
    nib__rule rule = {.prefix = NIB__PREFIX_META_ALWAYS, .behavior = NIB__WITH_NEXT};
    if (!nib__json_equals(r->j, nib__json_get(r->j, v, "replacement"), NIB__SPM_SPACE))
        return nib__hf_unknown(r->err, "tokenizer.json: pre_tokenizer: Metaspace replacement", r->j,
                               nib__json_get(r->j, v, "replacement"));
    uint32_t which = 0;
    while (scheme != NIB__JSON_NONE && which < 3 && !nib__json_equals(r->j, scheme, SCHEMES[which]))
        which++;
    if (which == 3)
        return nib__hf_unknown(r->err, "tokenizer.json: pre_tokenizer: prepend_scheme", r->j,
                               scheme);
    rule.prefix = which == 0   ? NIB__PREFIX_META_ALWAYS
                  : which == 1 ? NIB__PREFIX_META_FIRST
                               : NIB__PREFIX_META_NEVER;
    if (!flag(r, v, "add_prefix_space", true)) rule.prefix = NIB__PREFIX_META_NEVER;
    if (flag(r, v, "split", true)) {
        rule.find = nib__find_text;
        rule.param = &META;
    }
    return add(r, rule);
}

static nib_status split_by_text(reader *r, nib__rule rule, nib__str text)
{
    nib__pipeline *p = r->t->pipe;
    nib__literal *literal = &p->literals[p->n_rules < NIB__MAX_RULES ? p->n_rules : 0];
    if (text.len == 0)
        return nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                         "tokenizer.json: pre_tokenizer: Split by an empty text");
    rule.find = nib__find_text;
    rule.param = literal;
    nib_status status = add(r, rule);
    if (status != NIB_OK) return status;
    *literal = (nib__literal){nib__strndup(&r->t->mem, text.data, text.len), text.len};
    if (literal->text != NULL) return NIB_OK;
    return nib__fail(r->err, NIB_ERR_MEMORY, "out of memory for the pre-tokenizer");
}

static nib_status split_by_regex(reader *r, nib__rule rule, nib__json_value regex)
{
    static const char WHAT[] = "tokenizer.json: pre_tokenizer: Split regex";
    nib__pipeline *p = r->t->pipe;
    nib__str text;
    text.data = nib__json_string(r->j, regex, &text.len);
    if (text.data == NULL) return nib__hf_unknown(r->err, WHAT, r->j, regex);
    const nib__rule *known = nib__pattern_find(text.data, text.len);
    if (known != NULL) {
        rule.find = known->find;
        rule.param = known->param;
        rule.max = known->max;
        return add(r, rule);
    }
    uint32_t i = p->n_rules;
    nib_status status = add(r, rule);
    if (status == NIB_OK) status = nib__regex_make(&r->t->mem, WHAT, text, &p->regexes[i], r->err);
    if (status == NIB_OK) p->rules[i].regex = p->regexes[i];
    return status;
}

static nib_status read_split(reader *r, nib__json_value v)
{
    nib__json_value pattern = nib__json_get(r->j, v, "pattern");
    nib__json_value literal = nib__json_get(r->j, pattern, "String");
    nib__json_value regex = nib__json_get(r->j, pattern, "Regex");
    nib__rule rule = {0};
    nib_status status = read_behavior(r, v, &rule.behavior);
    if (status != NIB_OK) return status;
    rule.invert = flag(r, v, "invert", false);
    nib__str text;
    text.data = nib__json_string(r->j, literal, &text.len);
    if (text.data != NULL) return split_by_text(r, rule, text);
    return split_by_regex(r, rule, regex);
}

static nib_status read_delimiter(reader *r, nib__json_value v)
{
    nib__str text;
    text.data = nib__json_string(r->j, nib__json_get(r->j, v, "delimiter"), &text.len);
    if (text.data == NULL) text.len = 0;
    return split_by_text(r, (nib__rule){.behavior = NIB__REMOVED}, text);
}

static nib_status read_digits(reader *r, nib__json_value v)
{
    bool alone = flag(r, v, "individual_digits", false);
    return add(r, (nib__rule){.find = nib__find_run, .param = &NUMBERS, .max = alone});
}

static nib_status read_punctuation(reader *r, nib__json_value v)
{
    nib__rule rule = {.find = nib__find_run, .param = &PUNCT, .max = 1};
    nib_status status = NIB_OK;
    if (nib__json_get(r->j, v, "behavior") != NIB__JSON_NONE)
        status = read_behavior(r, v, &rule.behavior);
    return status == NIB_OK ? add(r, rule) : status;
}

static nib_status read_white_space(reader *r, nib__json_value v)
{
    (void)v;
    return add(r, (nib__rule){.find = nib__find_run, .param = &SPACES, .behavior = NIB__REMOVED});
}

static nib_status read_words(reader *r, nib__json_value v)
{
    (void)v;
    return add(r, (nib__rule){.find = nib__find_word, .behavior = NIB__REMOVED, .invert = true});
}

static nib_status read_bert(reader *r, nib__json_value v)
{
    nib_status status = read_white_space(r, v);
    if (status != NIB_OK) return status;
    return add(r, (nib__rule){.find = nib__find_run, .param = &PUNCT, .max = 1});
}

/* Behind ByteLevel the library sees one character for each byte. Falcon asks there for digits and
 * groups of three, which are found among bytes as well. */
static nib_status read_after_bytes(reader *r, nib__json_value v)
{
    nib__json_value type = nib__json_get(r->j, v, "type");
    if (nib__json_equals(r->j, type, "Digits") && !flag(r, v, "individual_digits", false))
        return add(r, (nib__rule){.find = nib__find_numeric_bytes});
    nib__json_value regex = nib__json_get(r->j, nib__json_get(r->j, v, "pattern"), "Regex");
    if (nib__json_equals(r->j, type, "Split") &&
        (nib__json_equals(r->j, regex, "[0-9][0-9][0-9]") ||
         nib__json_equals(r->j, regex, "[0-9]{3}")))
        return read_split(r, v);
    return nib__hf_unknown(r->err, "tokenizer.json: pre_tokenizer behind ByteLevel", r->j, type);
}

static nib_status read_one(reader *r, nib__json_value v)
{
    static const struct {
        const char *type;
        nib_status (*read)(reader *r, nib__json_value v);
    } TYPES[] = {
        {"ByteLevel", read_byte_level},  {"Metaspace", read_metaspace},
        {"Split", read_split},           {"CharDelimiterSplit", read_delimiter},
        {"Digits", read_digits},         {"Punctuation", read_punctuation},
        {"Whitespace", read_words},      {"WhitespaceSplit", read_white_space},
        {"BertPreTokenizer", read_bert},
    };
    nib__json_value type = nib__json_get(r->j, v, "type");
    if (r->bytes) return read_after_bytes(r, v);
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (nib__json_equals(r->j, type, TYPES[i].type)) return TYPES[i].read(r, v);
    return nib__hf_unknown(r->err, "tokenizer.json: pre_tokenizer", r->j, type);
}

nib_status nib__hf_pretokenizer(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err)
{
    reader r = {hf->t, j, false, err};
    if (nib__json_type_of(j, v) == NIB__JSON_NULL) return NIB_OK;
    nib__hf_walk walk = nib__hf_walk_start(j, v, "pretokenizers");
    nib_status status = nib__hf_walk_next(&walk, &v, err);
    while (status == NIB_OK && v != NIB__JSON_NONE) {
        status = read_one(&r, v);
        if (status == NIB_OK) status = nib__hf_walk_next(&walk, &v, err);
    }
    if (status != NIB_OK) return status;
    if (r.bytes && hf->t->model != NIB__BPE)
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "tokenizer.json: pre_tokenizer: ByteLevel with a model other than BPE");
    return NIB_OK;
}
