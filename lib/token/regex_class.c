/* SPDX-License-Identifier: MIT
 * The parts of a regular expression that stand for one character: escapes, properties, brackets. */
#include <string.h>

#include "token/regex_private.h"
#include "token/unicode.h"

bool nib__regex_add_item(nib__regex_parser *c, nib__regex_item item)
{
    nib__regex *r = c->r;
    if (!nib__grow(c->mem, (void **)&r->items, &r->cap_items, r->n_items + 1, sizeof item)) {
        c->no_memory = true;
        return nib__regex_refuse(c, "");
    }
    r->items[r->n_items++] = item;
    r->sets[r->n_sets - 1].count++;
    return true;
}

bool nib__regex_new_set(nib__regex_parser *c)
{
    nib__regex *r = c->r;
    if (!nib__grow(c->mem, (void **)&r->sets, &r->cap_sets, r->n_sets + 1, sizeof *r->sets)) {
        c->no_memory = true;
        return nib__regex_refuse(c, "");
    }
    r->sets[r->n_sets++] = (nib__regex_set){.first = (uint32_t)r->n_items};
    return true;
}

static nib__regex_item range(uint32_t low, uint32_t high)
{
    return (nib__regex_item){NIB__RXI_RANGE, false, low, high};
}

/* The other case of what [low, high] has of [from, from + 25]. */
static bool add_letters(nib__regex_parser *c, uint32_t low, uint32_t high, uint32_t from,
                        int32_t shift)
{
    if (low < from) low = from;
    if (high > from + 25) high = from + 25;
    return low > high ||
           nib__regex_add_item(c, range(low + (uint32_t)shift, high + (uint32_t)shift));
}

/* Characters, in any case if asked. Beyond ASCII only letters without case, and punctuation, are
 * sure to have none; U+017F is an s, U+212A a k. */
bool nib__regex_add_range(nib__regex_parser *c, uint32_t low, uint32_t high)
{
    if (!nib__regex_add_item(c, range(low, high))) return false;
    if (!c->groups[c->depth].fold) return true;
    for (uint32_t code = low < 128 ? 128 : low; code <= high; code++)
        if (!(nib__class_of(code) & (1u << NIB__C_LETTER | NIB__S_PUNCT)))
            return nib__regex_refuse(c, "(?i) with characters beyond ASCII");
    bool s = (low <= 's' && high >= 's') || (low <= 'S' && high >= 'S');
    bool k = (low <= 'k' && high >= 'k') || (low <= 'K' && high >= 'K');
    return add_letters(c, low, high, 'a', 'A' - 'a') && add_letters(c, low, high, 'A', 'a' - 'A') &&
           (!s || nib__regex_add_item(c, range(0x17F, 0x17F))) &&
           (!k || nib__regex_add_item(c, range(0x212A, 0x212A)));
}

/* One character of the pattern. */
uint32_t nib__regex_take(nib__regex_parser *c)
{
    uint32_t code;
    c->p += nib__utf8_next(c->p, (size_t)(c->end - c->p), &code);
    return code;
}

bool nib__regex_take_char(nib__regex_parser *c, char wanted)
{
    if (c->p == c->end || *c->p != wanted) return false;
    c->p++;
    return true;
}

static int32_t hex_digit(char d)
{
    if (d >= '0' && d <= '9') return d - '0';
    d |= 0x20;
    return d >= 'a' && d <= 'f' ? d - 'a' + 10 : -1;
}

/* \x41 \x{41} \u0041 behind their letter. */
static bool take_hex(nib__regex_parser *c, char letter, uint32_t *code)
{
    bool braces = letter == 'x' && nib__regex_take_char(c, '{');
    uint32_t n = 0, most = braces ? 6 : letter == 'x' ? 2 : 4;
    *code = 0;
    for (; n < most && c->p < c->end && hex_digit(*c->p) >= 0; n++)
        *code = *code * 16 + (uint32_t)hex_digit(*c->p++);
    bool whole = braces ? n > 0 && nib__regex_take_char(c, '}') : n == most;
    if (!whole || *code > 0x10FFFF || (!braces && letter == 'x' && *code >= 0x80))
        return nib__regex_refuse(c, "such a hexadecimal escape");
    return true;
}

static bool take_property(nib__regex_parser *c, nib__regex_item *item)
{
    if (!nib__regex_take_char(c, '{')) return nib__regex_refuse(c, "\\p without braces");
    item->negate ^= nib__regex_take_char(c, '^');
    const char *stop = memchr(c->p, '}', (size_t)(c->end - c->p));
    bool negate = item->negate;
    if (stop == NULL || !nib__regex_property((nib__str){c->p, (size_t)(stop - c->p)}, item))
        return nib__regex_refuse(c, "such a \\p{...}");
    item->negate = negate;
    c->p = stop + 1;
    bool cased = item->kind == NIB__RXI_CLASS && (item->a & (NIB__S_LETTER | NIB__S_MARK)) != 0;
    return !(cased && c->groups[c->depth].fold) ||
           nib__regex_refuse(c, "(?i) with letters by class");
}

/* Behind a backslash: a character in *code, or a set of them: *set. */
bool nib__regex_take_escape(nib__regex_parser *c, uint32_t *code, bool *set, nib__regex_item *item)
{
    static const char NAMES[] = "nrtfvae", CODES[] = "\n\r\t\f\v\a\x1b";
    *set = false;
    if (c->p == c->end) return nib__regex_refuse(c, "a backslash at the end");
    *code = nib__regex_take(c);
    char letter = *code < 128 ? (char)*code : '.';
    bool upper = letter >= 'A' && letter <= 'Z';
    *item = (nib__regex_item){.negate = upper};
    *set = true;
    switch (letter) {
    case 'd':
    case 'D': *item = (nib__regex_item){NIB__RXI_CLASS, upper, 1 << NIB__C_DIGIT, 0}; return true;
    case 's':
    case 'S': *item = (nib__regex_item){NIB__RXI_CLASS, upper, NIB__S_SPACE, 0}; return true;
    case 'w':
    case 'W': *item = (nib__regex_item){NIB__RXI_WORD, upper, 0, 0}; return true;
    case 'h':
    case 'H':
        nib__regex_property((nib__str){"XDigit", 6}, item);
        item->negate = upper;
        return true;
    case 'p':
    case 'P': return take_property(c, item);
    default: *set = false;
    }
    if (letter == 'x' || letter == 'u') return take_hex(c, letter, code);
    const char *known = letter != 0 ? strchr(NAMES, letter) : NULL;
    if (known != NULL) *code = (uint8_t)CODES[known - NAMES];
    bool plain = upper || (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9');
    return known != NULL || !plain || nib__regex_refuse(c, "such an escape");
}

/* One end of a range, or what stands alone, in brackets. */
static bool take_member(nib__regex_parser *c, uint32_t *code, bool *set, nib__regex_item *item)
{
    *set = false;
    if (c->p == c->end) return nib__regex_refuse(c, "brackets that stay open");
    *code = nib__regex_take(c);
    if (*code == '\\') return nib__regex_take_escape(c, code, set, item);
    if (*code == '[') return nib__regex_refuse(c, "a range of sets");
    if (*code == '&' && c->p < c->end && *c->p == '&') return nib__regex_refuse(c, "&&");
    return true;
}

/* Behind '['. */
bool nib__regex_take_brackets(nib__regex_parser *c)
{
    if (!nib__regex_new_set(c)) return false;
    nib__regex_set *set = &c->r->sets[c->r->n_sets - 1];
    bool fold = c->groups[c->depth].fold;
    set->negate = nib__regex_take_char(c, '^');
    uint32_t open = 1; /* brackets; those within others add to the same set */
    for (bool first = true; open > 0; first = false) {
        uint32_t low, high;
        bool is_set;
        nib__regex_item item;
        if (nib__regex_take_char(c, ']')) {
            if (first) return nib__regex_refuse(c, "] first in brackets");
            if (--open > 0 && c->p < c->end && *c->p == '-')
                return nib__regex_refuse(c, "a range of sets");
            continue;
        }
        if (nib__regex_take_char(c, '[')) {
            if (c->p < c->end && strchr("^:]", *c->p) != NULL)
                return nib__regex_refuse(c, "such brackets within brackets");
            open++;
            continue;
        }
        if (!take_member(c, &low, &is_set, &item)) return false;
        if (is_set && item.kind == NIB__RXI_WORD) item.a = 1;
        if (is_set && fold && (item.negate || item.kind == NIB__RXI_WORD))
            return nib__regex_refuse(c, "(?i) with letters by class"); /* ss would be one of them */
        if (is_set && !nib__regex_add_item(c, item)) return false;
        bool dash = c->p + 1 < c->end && c->p[0] == '-' && c->p[1] != ']';
        if (is_set && dash) return nib__regex_refuse(c, "a range of sets");
        if (is_set) continue;
        high = low;
        if (dash) {
            c->p++;
            if (!take_member(c, &high, &is_set, &item)) return false;
            if (is_set || high < low) return nib__regex_refuse(c, "such a range");
        }
        if (!nib__regex_add_range(c, low, high)) return false;
    }
    return true;
}
