/* SPDX-License-Identifier: MIT
 * Stop rules, byte by byte: each rule is a small automaton, so that the place where it stops cannot
 * depend on token boundaries. The buffer holds only bytes that could still be taken back. */
#include "decode/stop.h"

#include <string.h>

enum { /* non-blank bytes that make a repetition certain: of the suffix, and of what is certain to
          be repeated, and need not be found early */
       SUFFIX_HEAD = 8,
       ECHO_HEAD = 16
};

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ---- the two patterns made from the suffix --------------------------------------------------- */

/* The first line of text that is not blank, without its newline and trailing blanks. */
static nib_text first_line(nib_text text)
{
    size_t start = 0, at = 0;
    while (at < text.len && is_blank(text.data[at])) {
        if (text.data[at++] == '\n') start = at;
    }
    size_t end = at;
    while (end < text.len && text.data[end] != '\n') end++;
    while (end > at && is_blank(text.data[end - 1])) end--;
    return at < text.len ? (nib_text){text.data + start, end - start} : (nib_text){NULL, 0};
}

/* The beginning of text up to its n-th non-blank byte; empty if it has fewer. */
static nib_text head_of(nib_text text, size_t n)
{
    size_t solid = 0;
    for (size_t i = 0; i < text.len; i++) {
        solid += !is_blank(text.data[i]);
        if (solid == n) return (nib_text){text.data, i + 1};
    }
    return (nib_text){NULL, 0};
}

/* ---- patterns -------------------------------------------------------------------------------- */

/* Longest prefix of the pattern that ends with byte c, given one that ended before it. */
static size_t advance(const nib__stop_pattern *p, size_t matched, char c)
{
    if (matched == p->len) matched = p->borders[matched - 1];
    while (matched > 0 && p->text[matched] != c) matched = p->borders[matched - 1];
    return matched + (p->text[matched] == c);
}

static void build_borders(nib__stop_pattern *p)
{
    p->borders[0] = 0;
    for (size_t i = 1, matched = 0; i < p->len; i++) {
        while (matched > 0 && p->text[matched] != p->text[i]) matched = p->borders[matched - 1];
        matched += p->text[matched] == p->text[i];
        p->borders[i] = matched;
    }
}

static nib_status check_stops(const nib_complete_options *options, size_t *total, nib_error *err)
{
    if (options->n_stops != 0 && options->stops == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "stops: expected strings, got NULL");
    for (size_t i = 0; i < options->n_stops; i++) {
        const nib_text *stop = &options->stops[i];
        if (stop->data == NULL || stop->len == 0)
            return nib__fail(err, NIB_ERR_ARGUMENT, "stops[%zu]: expected a string, got none", i);
        if (!nib__add(*total, stop->len, total))
            return nib__fail(err, NIB_ERR_ARGUMENT, "stops: their lengths overflow");
    }
    return NIB_OK;
}

/* Carves one pattern from the block: before + text + after. */
static void add_pattern(nib__stop *stop, char **chars, size_t **tables, const char *around,
                        nib_text text, uint32_t reason)
{
    nib__stop_pattern *p = &stop->patterns[stop->n_patterns++];
    size_t edge = strlen(around);
    *p = (nib__stop_pattern){.text = *chars,
                             .len = text.len + 2 * edge,
                             .borders = *tables,
                             .reason = reason,
                             .line = edge != 0};
    memcpy(*chars, around, edge);
    memcpy(*chars + edge, text.data, text.len);
    memcpy(*chars + edge + text.len, around, edge);
    *chars += p->len;
    *tables += p->len;
    build_borders(p);
}

nib_status nib__stop_init(nib__stop *stop, const nib_allocator *mem,
                          const nib_complete_options *options, nib_text suffix, nib_text echo,
                          nib_error *err)
{
    *stop = (nib__stop){.mem = *mem,
                        .single_line = options->single_line,
                        .stop_indent = options->stop_indent,
                        .indent_from = SIZE_MAX};
    size_t total = 0, count = options->n_stops;
    nib_status status = check_stops(options, &total, err);
    if (status != NIB_OK) return status;
    nib_text line = {NULL, 0}, head = {NULL, 0};
    if (options->stop_suffix) {
        line = first_line(suffix);
        head = head_of(suffix, SUFFIX_HEAD);
        total += line.len + 2 + head.len; /* both lie in memory, so this cannot overflow twice */
        count += 2;
    }
    nib_text echo_head = head_of(echo, ECHO_HEAD);
    if (echo_head.len != 0) echo = echo_head;
    if (!nib__add(total, echo.len, &total))
        return nib__fail(err, NIB_ERR_ARGUMENT, "stops: their lengths overflow");
    count += echo.len != 0;
    if (count == 0) return NIB_OK;
    nib__arena arena = {NULL, 0, false};
    for (int pass = 0; pass < 2; pass++) {
        arena.used = 0;
        stop->patterns = nib__arena_take(&arena, count, sizeof *stop->patterns);
        size_t *tables = nib__arena_take(&arena, total, sizeof *tables);
        char *chars = nib__arena_take(&arena, total, 1);
        if (pass == 0) {
            arena.base = arena.overflow ? NULL : nib__alloc_raw(mem, arena.used, 1);
            if (arena.base == NULL) {
                stop->patterns = NULL;
                return nib__fail(err, NIB_ERR_MEMORY, "out of memory for %zu stop strings",
                                 options->n_stops);
            }
            continue;
        }
        for (size_t i = 0; i < options->n_stops; i++)
            add_pattern(stop, &chars, &tables, "", options->stops[i], NIB_STOP_STRING);
        if (line.len != 0) add_pattern(stop, &chars, &tables, "\n", line, NIB_STOP_SUFFIX);
        if (head.len != 0) add_pattern(stop, &chars, &tables, "", head, NIB_STOP_SUFFIX);
        if (echo.len == 0) continue;
        add_pattern(stop, &chars, &tables, "", echo, NIB_STOP_SUFFIX);
        stop->patterns[stop->n_patterns - 1].last = echo_head.len == 0;
    }
    return NIB_OK;
}

void nib__stop_free(nib__stop *stop)
{
    if (stop->mem.free == NULL) return;
    nib__free(&stop->mem, stop->patterns);
    nib__free(&stop->mem, stop->buffer);
    *stop = (nib__stop){0};
}

/* ---- one byte -------------------------------------------------------------------------------- */

static void cut_at(nib__stop *stop, size_t *cut, size_t at, uint32_t reason)
{
    if (stop->reason != NIB_STOP_NONE && *cut <= at) return;
    stop->reason = reason;
    *cut = at;
}

static int matches_line_rule(const nib__stop *stop)
{
    return (stop->single_line && stop->seen_text) || stop->past_deadline;
}

/* Where a newline at `at` begins: one byte earlier for "\r\n". */
static size_t newline_start(const nib__stop *stop, size_t at)
{
    return at > stop->released && stop->buffer[at - 1] == '\r' ? at - 1 : at;
}

/* Examines buffer[at]; on a stop sets the reason and *cut, where the text ends. */
static void examine(nib__stop *stop, size_t at, size_t *cut)
{
    char c = stop->buffer[at];
    for (uint32_t i = 0; i < stop->n_patterns; i++) {
        nib__stop_pattern *p = &stop->patterns[i];
        p->matched = advance(p, p->matched, c);
        if (p->matched < p->len || p->last) continue;
        size_t start = at + 1 - p->len;
        cut_at(stop, cut, p->line ? newline_start(stop, start) : start, p->reason);
    }
    if (c == '\n') {
        if (matches_line_rule(stop)) {
            cut_at(stop, cut, newline_start(stop, at),
                   stop->single_line && stop->seen_text ? NIB_STOP_LINE : NIB_STOP_TIME);
        }
        if (stop->stop_indent != 0) {
            if (stop->indent_from == SIZE_MAX) stop->indent_from = newline_start(stop, at);
            stop->indent = 0;
        }
    } else if (!is_blank(c)) {
        if (stop->indent_from != SIZE_MAX && stop->indent < stop->stop_indent)
            cut_at(stop, cut, stop->indent_from, NIB_STOP_INDENT);
        stop->indent_from = SIZE_MAX;
        stop->seen_text = 1;
    } else if (c != '\r') {
        stop->indent++;
    }
}

/* ---- what may be shown ----------------------------------------------------------------------- */

/* Largest end <= `to` that does not leave the beginning of a UTF-8 sequence in text[from, end). */
static size_t whole_code_points(const char *text, size_t from, size_t to)
{
    for (size_t back = 1; back <= 3 && back <= to - from; back++) {
        unsigned char c = (unsigned char)text[to - back];
        if (c < 0x80) return to;
        if (c < 0xc0) continue; /* a continuation byte: its lead is further left */
        size_t needed = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        return c < 0xf8 && needed > back ? to - back : to;
    }
    return to;
}

static int is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* End of the bytes that no rule can take back any more. */
static size_t safe_end(const nib__stop *stop)
{
    size_t held = 0, end = stop->len;
    for (uint32_t i = 0; i < stop->n_patterns; i++) {
        if (stop->patterns[i].matched > held) held = stop->patterns[i].matched;
    }
    end -= held;
    if (stop->indent_from < end) end = stop->indent_from;
    /* The "\r" of a "\r\n" belongs to the newline before which a rule may stop. */
    if (end > stop->released && stop->buffer[end - 1] == '\r') end--;
    return whole_code_points(stop->buffer, stop->released, end);
}

/* The text is over: a last line without newline may still be the suffix's. */
static void examine_end(nib__stop *stop, uint32_t why, size_t *cut)
{
    for (uint32_t i = 0; i < stop->n_patterns; i++) {
        const nib__stop_pattern *p = &stop->patterns[i];
        if (p->last && p->matched == p->len && why == NIB_STOP_END_TOKEN)
            cut_at(stop, cut, stop->len - p->len, p->reason);
        if (p->line && p->matched == p->len - 1)
            cut_at(stop, cut, newline_start(stop, stop->len - p->matched), p->reason);
    }
}

/* Drops what was released and makes room for len bytes more. */
static nib_status make_room(nib__stop *stop, size_t len, nib_error *err)
{
    size_t kept = stop->len - stop->released, need;
    void *buffer = stop->buffer;
    if (!nib__add(kept, len, &need) || !nib__add(need, stop->released, &need) ||
        !nib__grow(&stop->mem, &buffer, &stop->cap, need, 1))
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for %zu bytes of text", len);
    stop->buffer = buffer;
    if (kept != 0) memmove(stop->buffer, stop->buffer + stop->released, kept);
    if (stop->indent_from != SIZE_MAX) stop->indent_from -= stop->released;
    stop->len = kept;
    stop->released = 0;
    return NIB_OK;
}

nib_status nib__stop_push(nib__stop *stop, const char *bytes, size_t len, uint32_t final,
                          const char **text, size_t *text_len, nib_error *err)
{
    if (stop->reason != NIB_STOP_NONE) {
        *text = "";
        *text_len = 0;
        return NIB_OK;
    }
    nib_status status = make_room(stop, len, err);
    if (status != NIB_OK) return status;

    size_t cut = SIZE_MAX;
    for (size_t i = 0; i < len && stop->reason == NIB_STOP_NONE; i++) {
        stop->buffer[stop->len++] = bytes[i];
        examine(stop, stop->len - 1, &cut);
    }
    if (final != NIB_STOP_NONE && stop->reason == NIB_STOP_NONE) examine_end(stop, final, &cut);

    size_t end;
    if (stop->reason != NIB_STOP_NONE) {
        /* A stop string that starts inside a code point takes all of it. */
        end = cut;
        if (cut < stop->len && is_continuation(stop->buffer[cut]))
            end = whole_code_points(stop->buffer, 0, cut);
    } else {
        end = final != NIB_STOP_NONE ? stop->len : safe_end(stop);
    }
    stop->released = end;
    *text = end != 0 ? stop->buffer : "";
    *text_len = end;
    return NIB_OK;
}
