/* SPDX-License-Identifier: MIT
 * Word patterns. In the notation of the tokenizer files:
 *
 *   GPT-2 (nib__find_gpt2)
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   cl100k and descendants (nib__find_words)
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max}|
 *      ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *
 *   o200k (the same with nib__words.cased); U is Lu Lt Lm Lo M, L is Ll Lm Lo M
 *     [^\r\n\p{L}\p{N}]?U*L+(?i:'s|...)?|[^\r\n\p{L}\p{N}]?U+L*(?i:'s|...)?|\p{N}{1,3}|
 *      ?[^\s\p{L}\p{N}]+[\r\n/]*|...
 *   DeepSeek V3 (nib__find_deepseek3), after its numbers and CJK have been cut out
 *     [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|
 *     \s*[\r\n]+|\s+(?!\S)|\s+
 *
 * All but the last match at every position, so text is never skipped between two matches. */
#include "token/pretok.h"
#include "token/unicode.h"

typedef struct view {
    const char *text;
    size_t end;
} view;

static uint32_t class_at(view v, size_t at, size_t *len)
{
    uint32_t code;
    *len = nib__utf8_next(v.text + at, v.end - at, &code);
    return nib__class_of(code);
}

/* End of the run of characters of `set` that starts at `at`, after at most `max` (0: any number).
 */
static size_t run_end(view v, size_t at, uint32_t set, uint32_t max)
{
    for (uint32_t n = 0; at < v.end && (max == 0 || n < max); n++) {
        size_t len;
        if ((class_at(v, at, &len) & set) == 0) break;
        at += len;
    }
    return at;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Length of a contraction at `at`, or 0. */
static size_t contraction(view v, size_t at, bool any_case)
{
    const char *p = v.text + at;
    size_t left = v.end - at;
    if (left < 2 || p[0] != '\'') return 0;
    /* U+017F, the long s, is an s to a case-insensitive regular expression. */
    if (any_case && left >= 3 && p[1] == '\xc5' && p[2] == '\xbf') return 3;
    char a = any_case ? lower(p[1]) : p[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (left < 3) return 0;
    char b = any_case ? lower(p[2]) : p[2];
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

/* \s*[\r\n]+ if `newlines`, else \s+(?!\S)|\s+, for a run of white space that starts at `at`. */
static size_t space_end(view v, size_t at, bool newlines)
{
    size_t last = at, end = at, after_newline = 0;
    while (end < v.end) {
        size_t len;
        if ((class_at(v, end, &len) & NIB__S_SPACE) == 0) break;
        last = end;
        end += len;
        if (v.text[last] == '\n' || v.text[last] == '\r') after_newline = end;
    }
    if (newlines && after_newline != 0) return after_newline;
    /* The last one is left to the word that follows, unless it is the only one. */
    return end < v.end && last > at ? last : end;
}

bool nib__find_gpt2(const nib__rule *rule, const char *text, size_t at, size_t end, size_t *begin,
                    size_t *stop)
{
    (void)rule;
    enum { WORD = NIB__S_LETTER, NUMBER = NIB__S_NUMBER };
    const uint32_t symbol = (uint32_t)NIB__S_ALL & ~(uint32_t)(NIB__S_SPACE | WORD | NUMBER);
    view v = {text, end};
    *begin = at;
    *stop = at + contraction(v, at, false);
    if (*stop != at) return true;
    size_t first = at + (text[at] == ' '), len;
    if (first < end) {
        uint32_t class = class_at(v, first, &len);
        uint32_t set = class & WORD ? (uint32_t)WORD : class & NUMBER ? (uint32_t)NUMBER : symbol;
        if (class & set) {
            *stop = run_end(v, first + len, set, 0);
            return true;
        }
    }
    *stop = space_end(v, at, false);
    return true;
}

/*  ?[symbol]+[tail]* */
static size_t symbols_end(view v, size_t at, uint32_t symbol, const char *tails)
{
    size_t first = at + (v.text[at] == ' ');
    size_t end = run_end(v, first, symbol, 0);
    if (end == first) return at;
    for (; end < v.end; end++) {
        const char *tail = tails;
        while (*tail != '\0' && *tail != v.text[end]) tail++;
        if (*tail == '\0') break;
    }
    return end;
}

/* U*L+ or, where that does not match, U+L*: `at` if neither does. Matching U*L+ gives back what U*
 * took until an L can follow, so it ends after the last character of the run that is an L as well.
 */
static size_t cased_end(view v, size_t at)
{
    enum {
        LOWER = 1 << NIB__C_LOWER | 1 << NIB__C_MODIFIER | 1 << NIB__C_LETTER | NIB__S_MARK,
        UPPER = 1 << NIB__C_UPPER | 1 << NIB__C_TITLE | 1 << NIB__C_MODIFIER | 1 << NIB__C_LETTER |
                NIB__S_MARK
    };
    size_t end = at, after_lower = at, len;
    for (uint32_t class; end < v.end && ((class = class_at(v, end, &len)) & UPPER) != 0;) {
        end += len;
        if (class & LOWER) after_lower = end;
    }
    size_t lower_end = run_end(v, end, LOWER, 0);
    if (lower_end > end) return lower_end;
    return after_lower > at ? after_lower : end;
}

static size_t word_end(view v, size_t at, const nib__words *w)
{
    size_t end = w->cased ? cased_end(v, at) : run_end(v, at, w->letters, 0);
    if (end > at && w->contraction == NIB__CONTRACT_AFTER) end += contraction(v, end, true);
    return end;
}

bool nib__find_words(const nib__rule *rule, const char *text, size_t at, size_t end, size_t *begin,
                     size_t *stop)
{
    const nib__words *w = rule->param;
    view v = {text, end};
    *begin = at;
    if (w->contraction == NIB__CONTRACT_BEFORE) {
        *stop = at + contraction(v, at, true);
        if (*stop != at) return true;
    }
    size_t len;
    uint32_t class = class_at(v, at, &len);
    size_t word = at;
    if ((class & (NIB__S_LETTER | NIB__S_NUMBER)) == 0 && text[at] != '\r' && text[at] != '\n')
        word += len;
    *stop = word_end(v, word, w);
    if (*stop > word || (*stop = word_end(v, at, w)) > at) return true;
    if (class & NIB__S_NUMBER) {
        *stop = run_end(v, at, NIB__S_NUMBER, rule->max);
        return true;
    }
    *stop =
        symbols_end(v, at, (uint32_t)NIB__S_ALL & ~(NIB__S_SPACE | w->not_symbol), w->symbol_tail);
    if (*stop == at) *stop = space_end(v, at, true);
    return true;
}

static bool is_ascii_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

/* End of a match that starts at `at`, or `at`. */
static size_t deepseek3_end(view v, size_t at)
{
    enum { WORD = NIB__S_LETTER | NIB__S_MARK, SYMBOL = NIB__S_PUNCT | NIB__S_SYMBOL };
    size_t len;
    uint32_t class = class_at(v, at, &len);
    if ((class & SYMBOL) && (uint8_t)v.text[at] < 0x80) {
        size_t end = at + 1;
        while (end < v.end && is_ascii_letter(v.text[end])) end++;
        if (end > at + 1) return end;
    }
    if (!(class & (NIB__S_LETTER | SYMBOL)) && v.text[at] != '\r' && v.text[at] != '\n') {
        size_t end = run_end(v, at + len, WORD, 0);
        if (end > at + len) return end;
    }
    if (class & WORD) return run_end(v, at, WORD, 0);
    size_t end = symbols_end(v, at, SYMBOL, "\r\n");
    if (end == at && (class & NIB__S_SPACE)) end = space_end(v, at, true);
    return end;
}

bool nib__find_deepseek3(const nib__rule *rule, const char *text, size_t at, size_t end,
                         size_t *begin, size_t *stop)
{
    (void)rule;
    view v = {text, end};
    for (size_t len; at < end; at += len) {
        *begin = at;
        *stop = deepseek3_end(v, at);
        if (*stop > at) return true;
        class_at(v, at, &len);
    }
    return false;
}
