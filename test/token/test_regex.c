/* SPDX-License-Identifier: MIT
 * Regular expressions of tokenizer files: where they match, what is refused, and that neither time
 * nor stack grows. The pieces were written down from Oniguruma inside Hugging Face `tokenizers`;
 * test/oracle/compare_regexes.py compares with it at random. */
#include "fault_turn.h"
#include "small_stack.h"
#include "test.h"
#include "token/regex.h"

/* The text cut at every match, by '|'; and the same without the matches. Pieces are not empty. */
static const char *const ROWS[][4] = {
    {"a|ab", "abab", "a|b|a|b", "b|b"},
    {"ab|a", "abab", "ab|ab", ""},
    {"a+?b", "aab", "aab", ""},
    {"a{2}", "aaaaa", "aa|aa|a", "a"},
    {"a{2}?", "aaaaa", "aa|aa|a", "a"},
    {"a{,2}", "aaaaa", "aa|aa|a", ""},
    {"a{2,}b?", "aabaaa", "aab|aaa", ""},
    {"(?:ab){1,2}c", "ababcabc", "ababc|abc", ""},
    {"x{", "ax{b", "a|x{|b", "a|b"},
    {"a{2}+", "aaaaab", "aaaa|ab", "ab"},
    {"(?i)a|b", "ABc", "A|B|c", "c"},
    {"(?i:[k-s])", "\xe2\x84\xaa\xc5\xbfLt", "\xe2\x84\xaa|\xc5\xbf|L|t", "t"},
    {"[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+", "ab.cd\nef", "ab|.cd|\n|ef", "\n"},
    {"a*+a", "aaab", "aaab", "aaab"},
    {"a++b", "aaab", "aaab", ""},
    {"\\d{1,3}(?=(?:\\d{3})*\\b)", "1234567 89", "1|234|567| |89", " "},
    {"(?=[A-Z])", "fooBarBaz", "foo|Bar|Baz", "foo|Bar|Baz"},
    {"(?<=[a-z])(?=[A-Z])", "fooBAr", "foo|BAr", "foo|BAr"},
    {"(?<!a)b", "abcb", "abc|b", "abc"},
    {"\\bfoo\\b", "foo food", "foo| food", " food"},
    {"^a", "a\na\n", "a|\n|a|\n", "\n|\n"},
    {"$", "a\nb\n", "a|\nb|\n", "a|\nb|\n"},
    {"a\\Z", "aa\n", "a|a|\n", "a|\n"},
    {"\\Aa|b\\z", "aabb", "a|ab|b", "ab"},
    {"x*", "axxb", "a|xx|b", "a|b"},
    {"|a", "ab", "a|b", "a|b"},
    {"\\w+", "a\xc2\xb2 b_", "a\xc2\xb2| |b_", " "},
    {"[\\w]+", "a\xc2\xb2 b_", "a|\xc2\xb2 |b_", "\xc2\xb2 "},
    {"\\p{Han}+|\\p{^Han}",
     "\xe4\xb8\xad\xe6\x96\x87"
     "ab",
     "\xe4\xb8\xad\xe6\x96\x87|a|b", ""},
    {"[\\p{Z}\\p{Cc}]", "a b\nc\xe3\x80\x80", "a| |b|\n|c|\xe3\x80\x80", "a|b|c"},
    {"[a-c-e]+", "a-ed", "a-e|d", "d"},
    {"[+--]+", "+,-.", "+,-|.", "."},
    {".+", "ab\ncd", "ab|\n|cd", "\n"},
    {"\\x41\\u0042\\x{43}", "ABC", "ABC", ""},
    {"\\P{L}\\p{M}*",
     "e\xcc\x81!\xcc\x81"
     "a",
     "e|\xcc\x81|!\xcc\x81|a", "e|a"},
    {"\\h+", "cafe xyz", "cafe| xyz", " xyz"},
    {"\\s+(?!\\S)|\\s+", "a   b  ", "a|  | |b|  ", "a|b"},
    {"\\\"(?:[^\\\"\\\\]|\\\\.)*\\\"", "say \"a\\\"b\" x", "say |\"a\\\"b\"| x", "say | x"},
};

static nib__str str(const char *text)
{
    return (nib__str){text, strlen(text)};
}

static void put(char *out, const char *text, size_t from, size_t to)
{
    if (from == to) return;
    if (out[0] != '\0') strcat(out, "|");
    strncat(out, text + from, to - from);
}

static void matches(void **state)
{
    (void)state;
    const nib_allocator mem = nib__allocator(NULL);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const char *text = ROWS[i][1];
        char all[200] = "", rest[200] = "";
        nib__regex *r = NULL;
        nib_error err = {0};
        assert_ok(nib__regex_make(&mem, "test", str(ROWS[i][0]), &r, &err), err);
        nib__regex_walk walk = nib__regex_start(r, text, strlen(text));
        size_t at = 0, begin, stop;
        for (; nib__regex_next(&walk, &begin, &stop); at = stop) {
            assert_true(begin >= at && stop >= begin && stop <= strlen(text));
            put(all, text, at, begin);
            put(rest, text, at, begin);
            put(all, text, begin, stop);
        }
        put(all, text, at, strlen(text));
        put(rest, text, at, strlen(text));
        if (strcmp(all, ROWS[i][2]) != 0) print_error("%s\n", ROWS[i][0]);
        assert_string_equal(all, ROWS[i][2]);
        assert_string_equal(rest, ROWS[i][3]);
        nib__regex_free(&mem, r);
    }
}

static void refused(void **state)
{
    (void)state;
    static const char *const BAD[][2] = {
        {"(x|y)*+", "possessive"},
        {"(?:a?)*", "may be empty"},
        {"(?:a|b*){2,3}", "may be empty"},
        {"(a)\\1", "escape"},
        {"(?>a|b)", "group"},
        {"(?<n>a)", "group"},
        {"(?i:a)(?i)b", "group"},
        {"(a", "stays open"},
        {"a)", "not opened"},
        {"[a", "stay open"},
        {"[a-", "stay open"},
        {"[]a]", "] first"},
        {"[a[^bc]]", "brackets within"},
        {"[a[:alpha:]]", "brackets within"},
        {"[[a]-z]", "range of sets"},
        {"[a[b]", "stay open"},
        {"[a&&b]", "&&"},
        {"[z-a]", "range"},
        {"[a-\\d]", "range"},
        {"[\\d-z]", "range of sets"},
        {"*a", "quantifier of nothing"},
        {"a{3,2}", "counts"},
        {"a{1,1001}", "counts"},
        {"a{0}", "count of zero"},
        {"(?:a{300}){2}", "length"},
        {"\\p{Sm}", "\\p"},
        {"\\pL", "braces"},
        {"\\p{L", "\\p"},
        {"\\X", "escape"},
        {"\\G", "escape"},
        {"\\", "backslash"},
        {"\\x{110000}", "hexadecimal"},
        {"\\xe9", "hexadecimal"},
        {"\\u12", "hexadecimal"},
        {"(?i:ss)", "ss"},
        {"(?i:\xc3\xa9)", "beyond ASCII"},
        {"(?i:\\p{Lu})", "letters by class"},
        {"(?<=ab)c", "look behind"},
        {"(?=a(?!bc))", "within another"},
        {"((((((((((((((((((((((((a))))))))))))))))))))))))", "deep"},
    };
    const nib_allocator mem = nib__allocator(NULL);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        nib__regex *r = NULL;
        nib_error err = {0};
        nib_status status = nib__regex_make(&mem, "test", str(BAD[i][0]), &r, &err);
        if (status == NIB_OK) print_error("%s\n", BAD[i][0]);
        assert_fails(status, NIB_ERR_UNSUPPORTED, err, BAD[i][1]);
        assert_null(r);
    }
}

enum { LARGE = 1000000 };

typedef struct job {
    const nib__regex *r;
    const char *text;
    size_t len, n;
    bool gave_up;
} job;

static void *count(void *arg)
{
    job *j = arg;
    nib__regex_walk walk = nib__regex_start(j->r, j->text, j->len);
    size_t begin, stop;
    while (nib__regex_next(&walk, &begin, &stop)) j->n++;
    j->gave_up = walk.work == 0;
    return NULL;
}

/* Patterns that take a backtracking matcher exponential or quadratic time, on a small stack. */
static void large_texts(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        size_t n;
        bool gives_up;
    } ROWS_LARGE[] = {
        {"(?:a+)+b", 0, false},
        {"(?:a|aa)+", 1, false},
        {"a{3}", LARGE / 3, false},
        {"a(?!b)", LARGE, false},
        {"(?:(?:(?:a|b)+|c)+d)?a", LARGE, true}, /* looks to the end from everywhere */
        {"a(?=a*b)", 0, true},
    };
    const nib_allocator mem = nib__allocator(NULL);
    char *text = malloc(LARGE);
    assert_non_null(text);
    memset(text, 'a', LARGE);
    for (size_t i = 0; i < sizeof ROWS_LARGE / sizeof *ROWS_LARGE; i++) {
        nib__regex *r = NULL;
        nib_error err = {0};
        assert_ok(nib__regex_make(&mem, "test", str(ROWS_LARGE[i].pattern), &r, &err), err);
        job j = {.r = r, .text = text, .len = LARGE};
        on_small_stack(count, &j);
        assert_int_equal(j.gave_up, ROWS_LARGE[i].gives_up);
        if (!j.gave_up) assert_int_equal(j.n, ROWS_LARGE[i].n);
        nib__regex_free(&mem, r);
    }
    free(text);
}

/* Every allocation fails once. */
static void allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib__regex *r = NULL;
        nib_error err = {0};
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib_status status =
            nib__regex_make(&fa.mem, "test", str("(?i:a|b)[c-f\\w]x{2,9}12345678.*"), &r, &err);
        nib__regex_free(&fa.mem, r);
        if (fault_turn_last(&fa, status, &err, 3)) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches),
        cmocka_unit_test(refused),
        cmocka_unit_test(large_texts),
        cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
