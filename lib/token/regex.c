/* SPDX-License-Identifier: MIT
 * Runs the programs of regex_parse.c. Threads, each a place in the program and where its match
 * began, walk over the text together, character by character, in the order in which a backtracking
 * matcher would try them. Two in one place have the same future, so only the first is kept: memory
 * and the time for a character are bounded by the program. All of it is on the stack. */
#include "token/regex.h"

#include <string.h>

#include "token/unicode.h"

typedef struct threads {
    uint32_t n;
    uint16_t pc[NIB__REGEX_OPS];
    size_t begin[NIB__REGEX_OPS];
} threads;

typedef struct machine {
    const nib__regex *r;
    const char *text;
    size_t end;
    uint64_t work;
    uint32_t step, seen[NIB__REGEX_OPS]; /* the step at which a place was last entered */
    threads list[2];
} machine;

static bool in_set(const machine *m, uint32_t number, uint32_t code)
{
    const nib__regex_set *set = &m->r->sets[number];
    if (code < 128) return (set->ascii[code / 32] >> code % 32 & 1) != 0;
    return nib__regex_has(m->r, set, code);
}

/* The character at, or before, a place; false: there is none. */
static bool code_at(const machine *m, size_t at, uint32_t *code)
{
    return at < m->end && nib__utf8_next(m->text + at, m->end - at, code) != 0;
}

static bool code_before(const machine *m, size_t at, uint32_t *code)
{
    size_t begin;
    if (at != 0) *code = nib__utf8_before(m->text, at, &begin);
    return at != 0;
}

static bool search(machine *m, uint32_t first, size_t at, bool only_here, size_t *begin,
                   size_t *stop);

static void start(machine *m, const nib__regex *r, const char *text, size_t end, uint64_t work)
{
    m->r = r;
    m->text = text;
    m->end = end;
    m->work = work;
    m->step = 0;
    memset(m->seen, 0, r->n * sizeof *m->seen);
}

/* Has its own threads; a pattern cannot nest this. */
static bool look(machine *m, uint32_t first, size_t at)
{
    machine inner;
    size_t begin, stop;
    start(&inner, m->r, m->text, m->end, m->work);
    bool found = search(&inner, first, at, true, &begin, &stop);
    m->work = inner.work;
    return found;
}

/* Whether an operation that takes no character lets a thread pass. */
static bool passes(machine *m, uint32_t pc, size_t at)
{
    const nib__regex_op *op = &m->r->ops[pc];
    uint32_t code = 0, before = 0;
    bool follows = code_at(m, at, &code), precedes = code_before(m, at, &before);
    switch ((nib__regex_kind)op->kind) {
    case NIB__RX_AHEAD: return (follows && in_set(m, op->set, code)) != op->other;
    case NIB__RX_BEHIND: return (precedes && in_set(m, op->set, before)) != op->other;
    case NIB__RX_LOOK: return look(m, pc + 1, at) != op->other;
    case NIB__RX_LINE_BEGIN: return !precedes || (before == '\n' && follows);
    case NIB__RX_LINE_END: return !follows || code == '\n';
    case NIB__RX_BEGIN: return !precedes;
    case NIB__RX_END: return !follows;
    case NIB__RX_FINAL_LINE: return !follows || (code == '\n' && at + 1 == m->end);
    case NIB__RX_WORD_EDGE:
        return ((follows && nib__regex_is_word(code, false)) !=
                (precedes && nib__regex_is_word(before, false))) != op->other;
    default: return false;
    }
}

/* Adds the threads that one at `pc` becomes before it takes a character, the preferred first. */
static void enter(machine *m, threads *list, uint32_t pc, size_t begin, size_t at)
{
    uint16_t waiting[NIB__REGEX_OPS + 1];
    uint32_t n = 0;
    waiting[n++] = (uint16_t)pc;
    while (n > 0) {
        pc = waiting[--n];
        if (m->seen[pc] == m->step) continue;
        m->seen[pc] = m->step;
        const nib__regex_op *op = &m->r->ops[pc];
        uint16_t next = (uint16_t)(pc + 1), to = (uint16_t)(pc + (uint32_t)op->to);
        switch ((nib__regex_kind)op->kind) {
        case NIB__RX_SPLIT: /* a place waits at most once for each split that was entered */
            waiting[n++] = op->other ? next : to;
            waiting[n++] = op->other ? to : next;
            break;
        case NIB__RX_JUMP: waiting[n++] = to; break;
        case NIB__RX_SET:
        case NIB__RX_MATCH:
            list->pc[list->n] = (uint16_t)pc;
            list->begin[list->n++] = begin;
            break;
        default:
            if (passes(m, pc, at)) waiting[n++] = op->kind == NIB__RX_LOOK ? to : next;
        }
    }
}

static bool search(machine *m, uint32_t first, size_t at, bool only_here, size_t *begin,
                   size_t *stop)
{
    threads *now = &m->list[0], *then = &m->list[1];
    bool found = false, more = true;
    m->step++; /* one for each place in the text */
    now->n = 0;
    for (size_t from = at; more;) {
        uint32_t code = 0;
        size_t len = 0;
        if (!found && (!only_here || at == from)) enter(m, now, first, at, at);
        if (now->n == 0 && (found || only_here)) break;
        if (m->work <= now->n) {
            m->work = 0;
            return false;
        }
        m->work -= now->n + 1;
        if (at < m->end) len = nib__utf8_next(m->text + at, m->end - at, &code);
        more = len != 0;
        m->step++;
        then->n = 0;
        for (uint32_t i = 0; i < now->n; i++) {
            const nib__regex_op *op = &m->r->ops[now->pc[i]];
            if (op->kind == NIB__RX_MATCH) { /* those behind would have been tried later */
                *begin = now->begin[i];
                *stop = at;
                found = true;
                break;
            }
            if (more && in_set(m, op->set, code))
                enter(m, then, now->pc[i] + 1u, now->begin[i], at + len);
        }
        threads *swap = now;
        now = then;
        then = swap;
        at += len;
    }
    return found;
}

nib__regex_walk nib__regex_start(const nib__regex *r, const char *text, size_t end)
{
    uint64_t size = end, once = r->n * size;
    return (nib__regex_walk){r, text, end, 0, SIZE_MAX, (1u << 22) + 16 * once};
}

bool nib__regex_next(nib__regex_walk *walk, size_t *begin, size_t *stop)
{
    machine m;
    start(&m, walk->regex, walk->text, walk->end, walk->work);
    while (walk->at <= walk->end) {
        bool found = search(&m, 0, walk->at, false, begin, stop);
        walk->work = m.work;
        if (!found) break;
        bool again = *begin == *stop && *begin == walk->last;
        walk->at = walk->last = *stop;
        if (!again) return true;
        /* An empty match where one has just ended is none: look from the next character on. */
        uint32_t code;
        bool left = walk->at < walk->end;
        walk->at += left ? nib__utf8_next(walk->text + walk->at, walk->end - walk->at, &code) : 1;
    }
    walk->at = SIZE_MAX;
    return false;
}
