/* SPDX-License-Identifier: MIT
 * Stop rules: every example gives the same text and reason however its bytes are split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode/stop.h"

typedef struct example {
    const char *output; /* what the model writes */
    const char *shown;  /* what must come out */
    uint32_t reason;
    const char *stops[3];
    uint32_t single_line, stop_indent;
    const char *suffix; /* NULL: rule off */
} example;

static const example examples[] = {
    {"hello world", "hello world", NIB_STOP_NONE, {NULL}, 0, 0, NULL},
    {"", "", NIB_STOP_NONE, {"x"}, 0, 0, NULL},
    /* stop strings */
    {"return a\ndef f", "return a", NIB_STOP_STRING, {"\ndef", "\nclass"}, 0, 0, NULL},
    {"aaab", "aa", NIB_STOP_STRING, {"ab"}, 0, 0, NULL},
    {"aabaabaaab", "aabaa", NIB_STOP_STRING, {"baaab"}, 0, 0, NULL},
    {"xabcd", "xa", NIB_STOP_STRING, {"bc", "abcd"}, 0, 0, NULL}, /* last byte first */
    {"xabcd", "x", NIB_STOP_STRING, {"c", "abc"}, 0, 0, NULL},    /* then the longest */
    {"stop at the sto", "stop at the sto", NIB_STOP_NONE, {"stop!"}, 0, 0, NULL},
    {"\xc3\xa9t\xc3\xa9!", "\xc3\xa9", NIB_STOP_STRING, {"t\xc3\xa9", "\xa9!"}, 0, 0, NULL},
    {"na\xc3\xafve", "na", NIB_STOP_STRING, {"\xafv"}, 0, 0, NULL}, /* starts inside U+00EF */
    {"a\xff\xfe z", "a\xff\xfe ", NIB_STOP_STRING, {"z"}, 0, 0, NULL},
    /* single line */
    {"one\ntwo", "one", NIB_STOP_LINE, {NULL}, 1, 0, NULL},
    {"\n \n  one\ntwo", "\n \n  one", NIB_STOP_LINE, {NULL}, 1, 0, NULL},
    {"one\r\ntwo", "one", NIB_STOP_LINE, {NULL}, 1, 0, NULL},
    {"one\rtwo", "one\rtwo", NIB_STOP_NONE, {NULL}, 1, 0, NULL},
    {"one\nx", "on", NIB_STOP_STRING, {"e\n"}, 1, 0, NULL}, /* the earlier cut wins */
    /* indentation */
    {"x = 1\n    y\n  z", "x = 1\n    y", NIB_STOP_INDENT, {NULL}, 0, 4, NULL},
    {"x = 1\n\n  \n\ty", "x = 1", NIB_STOP_INDENT, {NULL}, 0, 2, NULL},
    {"x = 1\n\n\n    y", "x = 1\n\n\n    y", NIB_STOP_NONE, {NULL}, 0, 4, NULL},
    {"a\r\n}", "a", NIB_STOP_INDENT, {NULL}, 0, 1, NULL},
    {"a\n\n", "a\n\n", NIB_STOP_NONE, {NULL}, 0, 4, NULL},
    {"}\n    a", "}\n    a", NIB_STOP_NONE, {NULL}, 0, 4, NULL},
    /* suffix */
    {"a + b\n    return x\nmore", "a + b", NIB_STOP_SUFFIX, {NULL}, 0, 0, "\n    return x\n}"},
    {"a + b\n    return x", "a + b", NIB_STOP_SUFFIX, {NULL}, 0, 0, "\n    return x\n}"},
    {"a\n}\nmore", "a", NIB_STOP_SUFFIX, {NULL}, 0, 0, "\n}\n"},
    {"a\n    }\nmore", "a\n    }\nmore", NIB_STOP_NONE, {NULL}, 0, 0, "\n}\n"},
    {"a, b) { return; }", "a, ", NIB_STOP_SUFFIX, {NULL}, 0, 0, "b) { return; }"},
    {"a, b) { retry", "a, b) { retry", NIB_STOP_NONE, {NULL}, 0, 0, "b) { return; }"},
    {"a\n        b", "a\n        b", NIB_STOP_NONE, {NULL}, 0, 0, "\n        c = call(1)\n"},
    {"abc", "abc", NIB_STOP_NONE, {NULL}, 0, 0, " \n\n"},
};

/* What the model writes behind the middle: a long text is known by its head, a short one only by
 * the end behind it. */
static const struct {
    const char *output, *echo, *shown;
    uint32_t reason;
} echoes[] = {
    {"f(x))", ")", "f(x)", NIB_STOP_SUFFIX},
    {"f(x)) + g", ")", "f(x)) + g", NIB_STOP_NONE},
    {"ab", "ab", "", NIB_STOP_SUFFIX},
    {"aabaab", "aab", "aab", NIB_STOP_SUFFIX},
    {"x\n", "\n", "x", NIB_STOP_SUFFIX},
    {"y + 1\n    return y * width + 1;\n}", "\n    return y * width + 1;\n}\n", "y + 1",
     NIB_STOP_SUFFIX},
    {"y\n    return y * w;", "\n    return y * width + 1;\n}\n", "y\n    return y * w;",
     NIB_STOP_NONE},
    {"na\xc3\xafve", "\xafve", "na", NIB_STOP_SUFFIX},
};

static const nib_text nothing = {NULL, 0};

typedef struct output {
    char text[256];
    size_t len;
    uint32_t reason;
} output;

/* `final`: nothing comes behind these, but an end token. */
static void push(nib__stop *stop, const char *bytes, size_t len, bool final, output *out)
{
    const char *text = NULL;
    size_t text_len = 0;
    nib_error err;
    uint32_t why = final ? NIB_STOP_END_TOKEN : NIB_STOP_NONE;
    assert_int_equal(nib__stop_push(stop, bytes, len, why, &text, &text_len, &err), NIB_OK);
    assert_true(out->len + text_len <= sizeof out->text);
    memcpy(out->text + out->len, text, text_len);
    out->len += text_len;
}

static nib__stop make(const example *e, nib_text echo)
{
    nib_text stops[3];
    nib_complete_options options = {.stops = stops,
                                    .single_line = e->single_line,
                                    .stop_indent = e->stop_indent,
                                    .stop_suffix = e->suffix != NULL};
    for (; options.n_stops < 3 && e->stops[options.n_stops] != NULL; options.n_stops++) {
        const char *text = e->stops[options.n_stops];
        stops[options.n_stops] = (nib_text){text, strlen(text)};
    }
    nib_text suffix = {e->suffix, e->suffix != NULL ? strlen(e->suffix) : 0};
    nib_allocator mem = nib__allocator(NULL);
    nib__stop stop;
    nib_error err;
    assert_int_equal(nib__stop_init(&stop, &mem, &options, suffix, echo, &err), NIB_OK);
    memset(stops, 0xee, sizeof stops); /* it must have made copies */
    return stop;
}

static void check(const example *e, const output *out)
{
    if (out->len != strlen(e->shown) || memcmp(out->text, e->shown, out->len) != 0 ||
        out->reason != e->reason) {
        fail_msg("output \"%s\": expected \"%s\" (reason %u), got \"%.*s\" (reason %u)", e->output,
                 e->shown, e->reason, (int)out->len, out->text, out->reason);
    }
}

/* Splits at two places, every pair of them, and also byte by byte. */
static void split(const example *e, nib_text echo)
{
    size_t len = strlen(e->output);
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            output out = {.len = 0};
            nib__stop stop = make(e, echo);
            push(&stop, e->output, a, 0, &out);
            push(&stop, e->output + a, b - a, 0, &out);
            push(&stop, e->output + b, len - b, 1, &out);
            out.reason = stop.reason;
            nib__stop_free(&stop);
            check(e, &out);
        }
    }
    output out = {.len = 0};
    nib__stop stop = make(e, echo);
    for (size_t at = 0; at < len; at++) push(&stop, e->output + at, 1, 0, &out);
    push(&stop, NULL, 0, 1, &out);
    out.reason = stop.reason;
    nib__stop_free(&stop);
    check(e, &out);
}

static void test_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) split(&examples[i], nothing);
    for (size_t i = 0; i < sizeof echoes / sizeof echoes[0]; i++) {
        const example e = {
            .output = echoes[i].output, .shown = echoes[i].shown, .reason = echoes[i].reason};
        split(&e, (nib_text){echoes[i].echo, strlen(echoes[i].echo)});
    }
}

/* What comes out before the end is never part of a stop, and never half a code point. */
static void test_holds_back(void **state)
{
    (void)state;
    example e = {.output = "", .stops = {"\nclass"}};
    nib__stop stop = make(&e, nothing);
    output out = {.len = 0};
    push(&stop, "abc\ncla", 7, 0, &out);
    assert_int_equal(out.len, 3);
    push(&stop, "p\xe2\x82", 3, 0, &out);
    assert_int_equal(out.len, 8);
    assert_memory_equal(out.text, "abc\nclap", 8);
    push(&stop, "\xac", 1, 0, &out);
    assert_int_equal(out.len, 11);
    nib__stop_free(&stop);
}

/* 50,000 bytes of "a" against a stop of 20,000 of them: linear, and exactly held back. */
static void test_long_stop(void **state)
{
    (void)state;
    enum { N = 20000 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, 'a', N);
    text[N - 1] = 'b';
    nib_text pattern = {text, N};
    nib_complete_options options = {.stops = &pattern, .n_stops = 1};
    nib_allocator mem = nib__allocator(NULL);
    nib__stop stop;
    assert_int_equal(nib__stop_init(&stop, &mem, &options, nothing, nothing, NULL), NIB_OK);
    size_t shown = 0;
    for (int i = 0; i < 50000; i++) {
        const char *out;
        size_t n;
        assert_int_equal(nib__stop_push(&stop, "a", 1, 0, &out, &n, NULL), NIB_OK);
        shown += n;
    }
    assert_int_equal(shown, 50000 - (N - 1));
    const char *out;
    size_t n;
    assert_int_equal(nib__stop_push(&stop, "b", 1, 0, &out, &n, NULL), NIB_OK);
    assert_int_equal(stop.reason, NIB_STOP_STRING);
    assert_int_equal(n, 0);
    nib__stop_free(&stop);
    free(text);
}

static void test_deadline(void **state)
{
    (void)state;
    example e = {.output = ""};
    nib__stop stop = make(&e, nothing);
    output out = {.len = 0};
    push(&stop, "one\ntwo", 7, 0, &out);
    stop.past_deadline = 1;
    push(&stop, " three", 6, 0, &out);
    assert_int_equal(stop.reason, NIB_STOP_NONE);
    push(&stop, " four\nfive\nsix", 14, 0, &out);
    assert_int_equal(stop.reason, NIB_STOP_TIME);
    assert_int_equal(out.len, 18);
    assert_memory_equal(out.text, "one\ntwo three four", 18);
    push(&stop, "seven", 5, 1, &out);
    assert_int_equal(out.len, 18);
    nib__stop_free(&stop);
}

static void test_bad_options(void **state)
{
    (void)state;
    nib_allocator mem = nib__allocator(NULL);
    nib__stop stop;
    nib_error err;
    nib_text empty = {"", 0};
    nib_complete_options options = {.stops = &empty, .n_stops = 1};
    assert_int_equal(nib__stop_init(&stop, &mem, &options, nothing, nothing, &err),
                     NIB_ERR_ARGUMENT);
    nib__stop_free(&stop);
    options.stops = NULL;
    assert_int_equal(nib__stop_init(&stop, &mem, &options, nothing, nothing, &err),
                     NIB_ERR_ARGUMENT);
    nib__stop_free(&stop);
    nib_text huge[2] = {{"x", SIZE_MAX - 4}, {"y", 8}};
    options = (nib_complete_options){.stops = huge, .n_stops = 2};
    assert_int_equal(nib__stop_init(&stop, &mem, &options, nothing, nothing, &err),
                     NIB_ERR_ARGUMENT);
    nib__stop_free(&stop);
}

/* A short echo counts only where the model itself ends, not where a limit cuts its text. */
static void test_echo_at_a_limit(void **state)
{
    (void)state;
    example e = {.output = ""};
    for (uint32_t why = NIB_STOP_END_TOKEN; why <= NIB_STOP_LENGTH; why++) {
        nib__stop stop = make(&e, (nib_text){")", 1});
        const char *text;
        size_t len;
        assert_int_equal(nib__stop_push(&stop, "f(x)", 4, NIB_STOP_NONE, &text, &len, NULL),
                         NIB_OK);
        assert_int_equal(len, 3); /* the last byte may be the echo */
        assert_int_equal(nib__stop_push(&stop, NULL, 0, why, &text, &len, NULL), NIB_OK);
        assert_int_equal(len, why == NIB_STOP_LENGTH ? 1 : 0);
        nib__stop_free(&stop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split), cmocka_unit_test(test_holds_back),
        cmocka_unit_test(test_long_stop),   cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_bad_options), cmocka_unit_test(test_echo_at_a_limit),
    };
    return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
