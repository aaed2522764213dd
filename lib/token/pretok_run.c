/* SPDX-License-Identifier: MIT
 * Rules that cut out runs of one kind of character, leaving the text between them as pieces. */
#include <string.h>

#include "token/pretok.h"
#include "token/unicode.h"

static bool in_ranges(const nib__run_set *set, uint32_t code)
{
    uint32_t low = 0, high = set->n_ranges;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (code < set->ranges[mid].low)
            high = mid;
        else if (code > set->ranges[mid].high)
            low = mid + 1;
        else
            return true;
    }
    return false;
}

static bool in_set(const nib__run_set *set, uint32_t code, uint32_t class)
{
    if (set->punct && nib__is_punct(code, class)) return true;
    return (class & set->classes) != 0 || (set->n_ranges != 0 && in_ranges(set, code));
}

bool nib__find_run(const nib__rule *rule, const char *text, size_t at, size_t end, size_t *begin,
                   size_t *stop)
{
    const nib__run_set *set = rule->param;
    size_t last_space = end, len; /* the white space character just before, or end: none */
    for (; at < end; at += len) {
        uint32_t code;
        len = nib__utf8_next(text + at, end - at, &code);
        uint32_t class = nib__class_of(code);
        if (in_set(set, code, class)) break;
        last_space = class & NIB__S_SPACE ? at : end;
    }
    if (at >= end) return false;
    *begin = set->space && last_space != end ? last_space : at;
    for (uint32_t n = 0; at < end && (rule->max == 0 || n < rule->max); n++) {
        uint32_t code;
        len = nib__utf8_next(text + at, end - at, &code);
        if (!in_set(set, code, nib__class_of(code))) break;
        at += len;
    }
    *stop = at;
    return true;
}

/* $ is the end of a line, too: white space before the last newline of a run, where text follows. */
bool nib__find_final_space(const nib__rule *rule, const char *text, size_t at, size_t end,
                           size_t *begin, size_t *stop)
{
    (void)rule;
    size_t run = end, newline = 0, len;
    for (size_t i = at; i < end; i += len) {
        uint32_t code;
        len = nib__utf8_next(text + i, end - i, &code);
        bool space = (nib__class_of(code) & NIB__S_SPACE) != 0;
        if (space && run == end) {
            run = i;
        } else if (space && code == '\n') {
            newline = i;
        } else if (!space && newline != 0) {
            *begin = run;
            *stop = newline;
            return true;
        } else if (!space) {
            run = end;
        }
    }
    *begin = run;
    *stop = end;
    return run < end;
}

bool nib__find_three_digits(const nib__rule *rule, const char *text, size_t at, size_t end,
                            size_t *begin, size_t *stop)
{
    (void)rule;
    uint32_t digits = 0;
    for (; at < end; at++) {
        digits = text[at] >= '0' && text[at] <= '9' ? digits + 1 : 0;
        if (digits == 3) {
            *begin = at - 2;
            *stop = at + 1;
            return true;
        }
    }
    return false;
}

/* Characters that byte-level BPE writes for bytes and that count as numeric: 0-9 and, for
 * continuation bytes, superscript one to three and the quarters. */
static bool is_numeric(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || byte == 0xB2 || byte == 0xB3 || byte == 0xB9 ||
           (byte >= 0xBC && byte <= 0xBE);
}

bool nib__find_numeric_bytes(const nib__rule *rule, const char *text, size_t at, size_t end,
                             size_t *begin, size_t *stop)
{
    (void)rule;
    while (at < end && !is_numeric((uint8_t)text[at])) at++;
    *begin = at;
    while (at < end && is_numeric((uint8_t)text[at])) at++;
    *stop = at;
    return *begin < at;
}

bool nib__find_text(const nib__rule *rule, const char *text, size_t at, size_t end, size_t *begin,
                    size_t *stop)
{
    const nib__literal *l = rule->param;
    while (end - at >= l->len) {
        const char *hit = memchr(text + at, l->text[0], end - at - l->len + 1);
        if (hit == NULL) return false;
        at = (size_t)(hit - text);
        if (memcmp(hit, l->text, l->len) == 0) {
            *begin = at;
            *stop = at + l->len;
            return true;
        }
        at++;
    }
    return false;
}

/* 0: white space; 1: \w; 2: others. */
static uint32_t kind_at(const char *text, size_t at, size_t end, size_t *len)
{
    uint32_t code;
    *len = nib__utf8_next(text + at, end - at, &code);
    uint32_t class = nib__class_of(code);
    if (nib__is_word(code, class)) return 1;
    return class & NIB__S_SPACE ? 0 : 2;
}

bool nib__find_word(const nib__rule *rule, const char *text, size_t at, size_t end, size_t *begin,
                    size_t *stop)
{
    (void)rule;
    size_t len;
    uint32_t kind = 0;
    for (; at < end; at += len)
        if ((kind = kind_at(text, at, end, &len)) != 0) break;
    *begin = at;
    while (at < end && kind_at(text, at, end, &len) == kind) at += len;
    *stop = at;
    return *begin < at;
}
