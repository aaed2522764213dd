/* SPDX-License-Identifier: MIT
 * Unicode normalization forms (Unicode standard annex 15; the algorithms of section 3.11 and, for
 * Hangul, 3.12). Text is worked on in stretches that start with an ASCII character and have no
 * other one: ASCII neither decomposes nor composes with what stands before it. */
#include "token/pipeline.h"
#include "token/unicode.h"

enum { RAW = 1 << 30 }; /* a byte that is no UTF-8 */

enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7 };
enum { L_COUNT = 19, V_COUNT = 21, T_COUNT = 28, S_COUNT = L_COUNT * V_COUNT * T_COUNT };

typedef struct stretch {
    const nib_allocator *mem;
    uint32_t *codes; /* [n] */
    uint8_t *ccc;    /* [n] combining classes */
    size_t n, cap, cap_ccc;
    uint32_t *sorted; /* a run of marks while it is sorted */
    size_t cap_sorted;
    bool failed;
} stretch;

static void put(stretch *s, uint32_t code)
{
    if (!nib__grow(s->mem, (void **)&s->codes, &s->cap, s->n + 1, sizeof *s->codes) ||
        !nib__grow(s->mem, (void **)&s->ccc, &s->cap_ccc, s->n + 1, 1)) {
        s->failed = true;
        return;
    }
    uint32_t class =
        code < 0x300 || code & RAW ? 0 : nib__range_value(nib__ccc_table, nib__ccc_count, code);
    s->codes[s->n] = code;
    s->ccc[s->n++] = (uint8_t) class;
}

static void put_decomposed(stretch *s, uint32_t code, bool compat)
{
    if (code >= S_BASE && code < S_BASE + S_COUNT) {
        uint32_t index = code - S_BASE;
        put(s, L_BASE + index / (V_COUNT * T_COUNT));
        put(s, V_BASE + index % (V_COUNT * T_COUNT) / T_COUNT);
        if (index % T_COUNT != 0) put(s, T_BASE + index % T_COUNT);
        return;
    }
    uint32_t parts[NIB__MAPPED_MAX], n = 0;
    if (compat && code >= 0x80) n = nib__map_code(&nib__compat, code, parts);
    if (n == 0 && code >= 0x80) n = nib__map_code(&nib__canon, code, parts);
    if (n == 0) put(s, code);
    for (uint32_t i = 0; i < n; i++) put(s, parts[i]);
}

/* Marks in the order of their classes, equal ones as they were: counting sort of each run. */
static void order_run(stretch *s, size_t begin, size_t end)
{
    uint32_t at[257] = {0};
    if (!nib__grow(s->mem, (void **)&s->sorted, &s->cap_sorted, end - begin, sizeof *s->sorted)) {
        s->failed = true;
        return;
    }
    for (size_t i = begin; i < end; i++) at[s->ccc[i] + 1]++;
    for (uint32_t c = 1; c < 257; c++) at[c] += at[c - 1];
    for (size_t i = begin; i < end; i++) s->sorted[at[s->ccc[i]]++] = s->codes[i];
    memcpy(s->codes + begin, s->sorted, (end - begin) * sizeof *s->codes);
    size_t i = begin;
    for (uint32_t c = 0; c < 256; c++) /* at[c] is now where class c ends */
        while (i < begin + at[c]) s->ccc[i++] = (uint8_t)c;
}

static void order(stretch *s)
{
    for (size_t i = 0, end; i < s->n && !s->failed; i = end) {
        bool ordered = true;
        end = i + 1;
        if (s->ccc[i] == 0) continue;
        while (end < s->n && s->ccc[end] != 0) {
            if (s->ccc[end] < s->ccc[end - 1]) ordered = false;
            end++;
        }
        if (!ordered) order_run(s, i, end);
    }
}

/* What two characters compose to, or 0. */
static uint32_t composite(uint32_t a, uint32_t b)
{
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE && b < T_BASE + T_COUNT)
        return a + (b - T_BASE);
    return nib__compose_pair(a, b);
}

/* Each character joins the last starter, unless one of its class or a starter is between. */
static void compose(stretch *s)
{
    size_t out = 0, starter = SIZE_MAX;
    uint32_t last = 0; /* class of what was kept behind the starter; 256: a starter */
    for (size_t i = 0; i < s->n; i++) {
        uint32_t class = s->ccc[i];
        if (starter != SIZE_MAX && (out == starter + 1 || (last < class && last != 256))) {
            uint32_t joined = composite(s->codes[starter], s->codes[i]);
            if (joined != 0) {
                s->codes[starter] = joined;
                continue;
            }
        }
        last = class == 0 ? 256 : class;
        if (class == 0) starter = out;
        s->codes[out] = s->codes[i];
        s->ccc[out++] = (uint8_t) class;
    }
    s->n = out;
}

static bool flush(stretch *s, bool composed, nib__buffer *out)
{
    order(s);
    if (composed && !s->failed) compose(s);
    for (size_t i = 0; i < s->n && !s->failed; i++) {
        char text[4] = {(char)s->codes[i]};
        size_t n = s->codes[i] & RAW ? 1 : nib__utf8_put(s->codes[i], text);
        if (!nib__buffer_add(out, text, n)) s->failed = true;
    }
    s->n = 0;
    return !s->failed;
}

bool nib__unicode_normalize(nib__step_kind form, const char *text, size_t len, nib__buffer *out)
{
    bool compat = form == NIB__STEP_NFKC || form == NIB__STEP_NFKD;
    bool composed = form == NIB__STEP_NFC || form == NIB__STEP_NFKC;
    stretch s = {.mem = out->mem};
    for (size_t at = 0, plain; at < len && !s.failed;) {
        for (plain = at; plain < len && (uint8_t)text[plain] < 0x80;) plain++;
        if (plain > at) { /* all but the last stand as they are */
            flush(&s, composed, out);
            if (!nib__buffer_add(out, text + at, plain - at - 1)) s.failed = true;
            put(&s, (uint8_t)text[plain - 1]);
            at = plain;
            continue;
        }
        uint32_t code;
        size_t n = nib__utf8_valid(text + at, len - at, &code);
        if (n == 0)
            put(&s, RAW | (uint8_t)text[at]);
        else
            put_decomposed(&s, code, compat);
        at += n == 0 ? 1 : n;
    }
    flush(&s, composed, out);
    nib__free(s.mem, s.codes);
    nib__free(s.mem, s.ccc);
    nib__free(s.mem, s.sorted);
    return !s.failed;
}
