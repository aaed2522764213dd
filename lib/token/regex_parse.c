/* SPDX-License-Identifier: MIT
 * Regular expressions to programs, in one pass over the pattern. What is written is moved when a
 * quantifier or an alternative turns up behind it, which jumps relative to their place survive, so
 * that neither a tree nor recursion is needed. */
#include <string.h>

#include "token/regex_private.h"
#include "token/unicode.h"

enum { MAX_COUNT = 1000, NO_LIMIT = 100 * MAX_COUNT };

bool nib__regex_refuse(nib__regex_parser *c, const char *what)
{
    if (c->wrong == NULL) c->wrong = what;
    return false;
}

/* ---- operations ---- */

static bool append(nib__regex_parser *c, nib__regex_op op)
{
    if (c->r->n == NIB__REGEX_OPS) return nib__regex_refuse(c, "its length");
    c->r->ops[c->r->n++] = op;
    return true;
}

static bool insert(nib__regex_parser *c, uint32_t at, nib__regex_op op)
{
    if (!append(c, op)) return false;
    memmove(c->r->ops + at + 1, c->r->ops + at, (c->r->n - 1 - at) * sizeof op);
    c->r->ops[at] = op;
    return true;
}

static nib__regex_op jump(nib__regex_kind kind, int64_t to, bool other)
{
    return (nib__regex_op){.kind = (uint8_t)kind, .other = other, .to = (int16_t)to};
}

/* Whether the operations from `begin` on can be passed without a character. */
static bool may_be_empty(const nib__regex_parser *c, uint32_t begin)
{
    bool reached[NIB__REGEX_OPS + 1] = {false}, more = true;
    uint32_t n = c->r->n;
    reached[begin] = true;
    while (more) {
        more = false;
        for (uint32_t i = begin; i < n; i++) {
            const nib__regex_op *op = &c->r->ops[i];
            uint32_t to = i + (uint32_t)op->to;
            bool leaps =
                op->kind == NIB__RX_SPLIT || op->kind == NIB__RX_JUMP || op->kind == NIB__RX_LOOK;
            bool falls = op->kind != NIB__RX_SET && op->kind != NIB__RX_JUMP &&
                         op->kind != NIB__RX_LOOK && op->kind != NIB__RX_MATCH;
            if (!reached[i]) continue;
            if (leaps && !reached[to]) reached[to] = more = true;
            if (falls && !reached[i + 1]) reached[i + 1] = more = true;
        }
    }
    return reached[n];
}

/* The operations from `begin` on, `least` to `most` times. */
static bool repeat(nib__regex_parser *c, uint32_t begin, uint32_t least, uint32_t most, bool lazy)
{
    uint32_t len = c->r->n - begin, from = begin;
    if (most > 1 && may_be_empty(c, begin))
        return nib__regex_refuse(c, "repeats what may be empty");
    if (most == 0) return nib__regex_refuse(c, "a count of zero");
    if (least == 0 && most == NO_LIMIT)
        return insert(c, begin, jump(NIB__RX_SPLIT, len + 2, lazy)) &&
               append(c, jump(NIB__RX_JUMP, -(int64_t)len - 1, false));
    uint32_t copies = most == NO_LIMIT ? least : most;
    for (uint32_t i = least == 0 ? 0 : 1; i < copies; i++) {
        nib__regex_op split = jump(NIB__RX_SPLIT, (int64_t)(copies - i) * (len + 1), lazy);
        if (i == 0) {
            if (!insert(c, begin, split)) return false;
            from++;
            continue;
        }
        if (i >= least && !append(c, split)) return false;
        for (uint32_t k = 0; k < len; k++)
            if (!append(c, c->r->ops[from + k])) return false;
    }
    return most != NO_LIMIT || append(c, jump(NIB__RX_SPLIT, -(int64_t)len, !lazy));
}

/* A possessive quantifier takes what it can and gives nothing back: no such character follows. */
static bool possess(nib__regex_parser *c, uint32_t begin, char quantifier)
{
    nib__regex_op set = c->r->ops[begin];
    nib__regex_op none = {.kind = NIB__RX_AHEAD, .other = true, .set = set.set};
    if (c->r->n != begin + 1 || set.kind != NIB__RX_SET)
        return nib__regex_refuse(c, "a possessive quantifier behind more than a character");
    if (quantifier != '?')
        return repeat(c, begin, quantifier == '+', NO_LIMIT, false) && append(c, none);
    return insert(c, begin, jump(NIB__RX_SPLIT, 3, false)) &&
           append(c, jump(NIB__RX_JUMP, 2, false)) && append(c, none);
}

/* ---- the pattern ---- */

static bool append_set(nib__regex_parser *c)
{
    return append(c, (nib__regex_op){.kind = NIB__RX_SET, .set = (uint32_t)c->r->n_sets - 1});
}

/* Where case is ignored, these pairs are ligatures as well. */
static bool check_pair(nib__regex_parser *c, uint32_t code)
{
    char letter = code < 128 ? (char)(code | 0x20) : 0, before = c->folded;
    c->folded = c->groups[c->depth].fold ? letter : 0;
    if ((before == 's' && (letter == 's' || letter == 't')) ||
        (before == 'f' && (letter == 'f' || letter == 'i' || letter == 'l')))
        return nib__regex_refuse(c, "(?i) with ss, st, ff, fi or fl");
    return true;
}

static bool literal(nib__regex_parser *c, uint32_t code)
{
    return check_pair(c, code) && nib__regex_new_set(c) && nib__regex_add_range(c, code, code) &&
           append_set(c);
}

static bool take_atom_escape(nib__regex_parser *c)
{
    char before = c->folded;
    c->folded = 0;
    static const struct {
        char letter;
        uint8_t kind;
        bool other;
    } EDGES[] = {{'A', NIB__RX_BEGIN, false},
                 {'z', NIB__RX_END, false},
                 {'Z', NIB__RX_FINAL_LINE, false},
                 {'b', NIB__RX_WORD_EDGE, false},
                 {'B', NIB__RX_WORD_EDGE, true}};
    for (size_t i = 0; i < sizeof EDGES / sizeof *EDGES; i++)
        if (nib__regex_take_char(c, EDGES[i].letter))
            return append(c, (nib__regex_op){.kind = EDGES[i].kind, .other = EDGES[i].other});
    uint32_t code;
    bool set;
    nib__regex_item item;
    if (!nib__regex_take_escape(c, &code, &set, &item)) return false;
    if (set) return nib__regex_new_set(c) && nib__regex_add_item(c, item) && append_set(c);
    c->folded = before;
    return literal(c, code);
}

static bool starts(nib__regex_parser *c, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0) return false;
    c->p += n;
    return true;
}

/* Behind '('. */
static bool open_group(nib__regex_parser *c)
{
    nib__regex_group g = {.kind = GROUP_PLAIN, .fold = c->groups[c->depth].fold};
    if (c->depth + 1 == NIB__REGEX_GROUPS) return nib__regex_refuse(c, "groups so deep");
    if (starts(c, "?i:")) {
        g.fold = true;
    } else if (starts(c, "?=") || starts(c, "?!")) {
        g.kind = GROUP_AHEAD;
        g.negate = c->p[-1] == '!';
    } else if (starts(c, "?<=") || starts(c, "?<!")) {
        g.kind = GROUP_BEHIND;
        g.negate = c->p[-1] == '!';
    } else if (!starts(c, "?:") && c->p < c->end && *c->p == '?') {
        return nib__regex_refuse(c, "such a group");
    }
    if (g.kind != GROUP_PLAIN) {
        if (!append(c, jump(NIB__RX_LOOK, 0, g.negate))) return false;
        c->looks++;
    }
    g.begin = g.branch = c->r->n;
    c->groups[++c->depth] = g;
    return true;
}

/* At '|': what came before in the group, or what follows. */
static bool next_branch(nib__regex_parser *c)
{
    nib__regex_group *g = &c->groups[c->depth];
    uint32_t begin = g->branch;
    if (!insert(c, begin, jump(NIB__RX_SPLIT, c->r->n + 2 - begin, false)) ||
        !append(c, jump(NIB__RX_LEAVE, 0, false)))
        return false;
    g->branch = c->r->n;
    return true;
}

/* The end of a group: where it begins, its look included. */
static bool close_group(nib__regex_parser *c, uint32_t *begin)
{
    nib__regex *r = c->r;
    const nib__regex_group *g = &c->groups[c->depth];
    *begin = g->begin;
    for (uint32_t i = g->begin; i < r->n; i++)
        if (r->ops[i].kind == NIB__RX_LEAVE) r->ops[i] = jump(NIB__RX_JUMP, r->n - i, false);
    if (g->kind == GROUP_PLAIN) return true;
    nib__regex_op *op = &r->ops[--*begin];
    c->looks--;
    if (r->n == g->begin + 1 && r->ops[g->begin].kind == NIB__RX_SET) {
        op->kind = g->kind == GROUP_AHEAD ? NIB__RX_AHEAD : NIB__RX_BEHIND;
        op->set = r->ops[g->begin].set;
        r->n--;
        return true;
    }
    if (g->kind == GROUP_BEHIND)
        return nib__regex_refuse(c, "a look behind at more than a character");
    if (c->looks != 0) return nib__regex_refuse(c, "a look ahead within another");
    if (!append(c, jump(NIB__RX_MATCH, 0, false))) return false;
    op->to = (int16_t)(r->n + 1 - g->begin);
    return true;
}

static uint32_t take_number(nib__regex_parser *c, uint32_t missing)
{
    uint32_t n = 0;
    if (c->p == c->end || *c->p < '0' || *c->p > '9') return missing;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        n = n < MAX_COUNT ? n * 10 + (uint32_t)(*c->p - '0') : n;
    return n;
}

/* {2} {2,} {,3} {2,3}; false: something else, a character then. */
static bool take_counts(nib__regex_parser *c, uint32_t *least, uint32_t *most)
{
    const char *at = c->p;
    bool digit = at + 1 < c->end && at[1] != ',' && at[1] != '}';
    c->p++;
    *most = *least = take_number(c, 0);
    if (nib__regex_take_char(c, ',')) {
        digit |= c->p < c->end && *c->p != '}';
        *most = take_number(c, NO_LIMIT);
    }
    if (digit && nib__regex_take_char(c, '}')) return true;
    c->p = at;
    return false;
}

/* Quantifiers behind what stands from `begin` on. */
static bool take_quantifiers(nib__regex_parser *c, uint32_t begin)
{
    while (c->p < c->end) {
        uint32_t least, most;
        char q = *c->p;
        if (q == '{') {
            if (!take_counts(c, &least, &most)) return true;
            if (least > most || least > MAX_COUNT || (most > MAX_COUNT && most != NO_LIMIT))
                return nib__regex_refuse(c, "such counts");
            bool lazy = nib__regex_take_char(c, '?');
            if (lazy && least == most && !(repeat(c, begin, least, most, false)))
                return false; /* {2}? is (?:..{2})? */
            if (lazy && least == most) least = 0, most = 1, lazy = false;
            if (!repeat(c, begin, least, most, lazy)) return false;
        } else if (q == '?' || q == '*' || q == '+') {
            c->p++;
            bool ok = nib__regex_take_char(c, '+')
                          ? possess(c, begin, q)
                          : repeat(c, begin, q == '+', q == '?' ? 1 : NO_LIMIT,
                                   nib__regex_take_char(c, '?'));
            if (!ok) return false;
        } else {
            return true;
        }
        c->folded = 0;
    }
    return true;
}

static bool take_piece(nib__regex_parser *c)
{
    uint32_t begin = c->r->n, code = nib__regex_take(c);
    char letter = code < 128 ? (char)code : 'x';
    bool ok = true;
    if (code != '\\' && (letter == '\0' || strchr("|()[.^$?*+", letter) != NULL)) c->folded = 0;
    switch (letter) {
    case '|': return next_branch(c);
    case '(': return open_group(c);
    case ')':
        if (c->depth == 0) return nib__regex_refuse(c, "a group that was not opened");
        ok = close_group(c, &begin);
        c->depth--;
        break;
    case '[': ok = nib__regex_take_brackets(c) && append_set(c); break;
    case '\\': ok = take_atom_escape(c); break;
    case '^': ok = append(c, (nib__regex_op){.kind = NIB__RX_LINE_BEGIN}); break;
    case '$': ok = append(c, (nib__regex_op){.kind = NIB__RX_LINE_END}); break;
    case '.':
        ok = nib__regex_new_set(c) && nib__regex_add_range(c, '\n', '\n') && append_set(c);
        if (ok) c->r->sets[c->r->n_sets - 1].negate = true;
        break;
    case '?':
    case '*':
    case '+': return nib__regex_refuse(c, "a quantifier of nothing");
    default: ok = literal(c, code);
    }
    return ok && take_quantifiers(c, begin);
}

static bool parse(nib__regex_parser *c)
{
    uint32_t begin;
    if (starts(c, "(?i)")) c->groups[0].fold = true;
    while (c->p < c->end)
        if (!take_piece(c)) return false;
    if (c->depth != 0) return nib__regex_refuse(c, "a group that stays open");
    return close_group(c, &begin) && append(c, jump(NIB__RX_MATCH, 0, false));
}

static void mark_ascii(const nib__regex *r)
{
    for (size_t i = 0; i < r->n_sets; i++)
        for (uint32_t code = 0; code < 128; code++)
            if (nib__regex_has(r, &r->sets[i], code))
                r->sets[i].ascii[code / 32] |= 1u << code % 32;
}

void nib__regex_free(const nib_allocator *mem, nib__regex *r)
{
    if (r == NULL) return;
    nib__free(mem, r->sets);
    nib__free(mem, r->items);
    nib__free(mem, r);
}

nib_status nib__regex_make(const nib_allocator *mem, const char *where, nib__str pattern,
                           nib__regex **out, nib_error *err)
{
    nib__regex_parser c = {.mem = mem, .p = pattern.data, .end = pattern.data + pattern.len};
    c.r = nib__alloc(mem, 1, sizeof *c.r);
    if (c.r != NULL && parse(&c)) {
        mark_ascii(c.r);
        *out = c.r;
        return NIB_OK;
    }
    bool no_memory = c.r == NULL || c.no_memory;
    nib__regex_free(mem, c.r);
    if (no_memory) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a regular expression");
    return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s: '%.*s': %s is not supported", where,
                     pattern.len < 80 ? (int)pattern.len : 80, pattern.data, c.wrong);
}
