/* SPDX-License-Identifier: MIT
 * JSON: what is read, what is refused and where, the limits, every truncation, and memory that runs
 * out. */
#include "test.h"

#include <math.h>

#include "base/json.h"
#include "fault_turn.h"
#include "json_walk.h"

static nib__json *parse(const char *text)
{
    nib__json *j = NULL;
    nib_error err = {0};
    assert_ok(nib__json_parse(NULL, "dir/config.json", text, strlen(text), &j, &err), err);
    return j;
}

static void refused_bytes(const char *text, size_t size, nib_status code, const char *part)
{
    nib__json *j = NULL;
    nib_error err = {0};
    nib_status status = nib__json_parse(NULL, "dir/config.json", text, size, &j, &err);
    assert_fails(status, code, err, part);
    assert_fails(status, code, err, "dir/config.json");
    assert_null(j);
    assert_int_equal(nib__json_parse(NULL, "x", text, size, &j, NULL), code);
}

static void refused(const char *text, const char *part)
{
    refused_bytes(text, strlen(text), NIB_ERR_FORMAT, part);
}

static void gives(const char *text, const char *expected)
{
    nib__json *j = parse(text);
    size_t len;
    char *got = json_text(j, &len);
    assert_string_equal(got, expected);
    free(got);
    nib__json_free(j);
}

static void reads_documents(void **state)
{
    (void)state;
    gives("{}", "{}");
    gives(" [ ] ", "[]");
    gives("\t\r\n null \n", "null");
    gives("true", "true");
    gives("\"x\"", "\"x\"");
    gives("[1, [2, {\"a\" : [], \"b\":{ }}], \"\",false ]",
          "[1,[2,{\"a\":[],\"b\":{}}],\"\",false]");
    gives("[-0, 0.5, 1e2, -12]", "[0,0.5,100e0,-12]");
    gives("[NaN,Infinity,-Infinity,1e999]", "[NaN,Infinity,-Infinity,Infinity]");
    gives("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\"",
          "\"\\\"\\\\/\\u0008\\u000c\\u000a\\u000d\\u0009\xc3\xa9\xf0\x9f\x98\x80\"");
    gives("{\"\":1,\"\\u0000\":2,\"\\u0000\\u0000\":3}",
          "{\"\":1,\"\\u0000\":2,\"\\u0000\\u0000\":3}");
    gives("\"\xf4\x8f\xbf\xbf \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf\"",
          "\"\xf4\x8f\xbf\xbf \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf\"");
}

static void getters(void **state)
{
    (void)state;
    nib__json *j = parse("{\"s\":\"a\\u0000b\",\"n\":-1.5,\"i\":-7,\"a\":[1,\"x\"],\"z\":null,"
                         "\"o\":{\"s\":1}}");
    size_t len;
    assert_int_equal(nib__json_count(j, 0), 6);
    nib__json_value s = nib__json_get(j, 0, "s"), a = nib__json_get(j, 0, "a");
    assert_memory_equal(nib__json_string(j, s, &len), "a\0b", 4);
    assert_int_equal(len, 3);
    assert_false(nib__json_equals(j, s, "a"));
    assert_string_equal(nib__json_key(j, a, &len), "a");
    double number = 9;
    int64_t integer = 9;
    assert_false(nib__json_integer(j, nib__json_get(j, 0, "n"), &integer));
    assert_false(nib__json_number(j, s, &number));
    assert_true(number == 9 && integer == 9);
    assert_true(nib__json_number(j, nib__json_get(j, 0, "n"), &number) && number == -1.5);
    assert_true(nib__json_integer(j, nib__json_get(j, 0, "i"), &integer) && integer == -7);
    nib__json_value e = nib__json_first(j, a);
    assert_null(nib__json_key(j, e, &len));
    assert_int_equal(len, 0);
    e = nib__json_next(j, e);
    assert_true(nib__json_equals(j, e, "x"));
    assert_int_equal(nib__json_next(j, e), NIB__JSON_NONE);
    assert_int_equal(nib__json_get(j, a, "s"), NIB__JSON_NONE);
    assert_int_equal(nib__json_get(j, 0, "nothing"), NIB__JSON_NONE);
    /* Everything takes what is none, or not a value at all. */
    static const nib__json_value none[] = {NIB__JSON_NONE, 1000, -5, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(nib__json_type_of(j, none[i]), NIB__JSON_NULL);
        assert_int_equal(nib__json_count(j, none[i]), 0);
        assert_int_equal(nib__json_get(j, none[i], "s"), NIB__JSON_NONE);
        assert_int_equal(nib__json_first(j, none[i]), NIB__JSON_NONE);
        assert_int_equal(nib__json_next(j, none[i]), NIB__JSON_NONE);
        assert_null(nib__json_key(j, none[i], &len));
        assert_null(nib__json_string(j, none[i], &len));
        assert_false(nib__json_equals(j, none[i], ""));
        assert_false(nib__json_number(j, none[i], &number));
        assert_false(nib__json_integer(j, none[i], &integer));
    }
    nib__json_free(j);
    nib__json_free(NULL);
}

static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is;
        int64_t value;
    } cases[] = {{"0", true, 0},
                 {"-0", true, 0},
                 {"9223372036854775807", true, INT64_MAX},
                 {"-9223372036854775808", true, INT64_MIN},
                 {"9223372036854775808", false, 0},
                 {"-9223372036854775809", false, 0},
                 {"18446744073709551616", false, 0},
                 {"100000000000000000000000000000", false, 0},
                 {"1.0", false, 0},
                 {"1e3", false, 0},
                 {"NaN", false, 0},
                 {"-Infinity", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nib__json *j = parse(cases[i].text);
        int64_t value = 0;
        assert_int_equal(nib__json_integer(j, 0, &value), cases[i].is);
        assert_true(value == cases[i].value);
        double number;
        assert_true(nib__json_number(j, 0, &number));
        nib__json_free(j);
    }
}

static void refuses(void **state)
{
    (void)state;
    refused("", "line 1 column 1: expected a value, the text ends here");
    refused(" \n ", "line 2 column 2: expected a value");
    refused("[1,\n 2,\n  x]", "line 3 column 3: expected a value, got 'x'");
    refused("[\"\xc3\xa9\xe2\x82\xac\", x]", "column 8: expected a value, got 'x'");
    refused("[1,]", "expected a value, got ']'");
    refused("[,1]", "expected a value, got ','");
    refused("[1 2]", "expected ',' or ']', got '2'");
    refused("[1", "expected ',' or ']', the text ends here");
    refused("[1}", "expected ',' or ']', got '}'");
    refused("{\"a\":1]", "expected ',' or '}', got ']'");
    refused("{\"a\":1,}", "expected a key in quotation marks, got '}'");
    refused("{a:1}", "expected a key in quotation marks, got 'a'");
    refused("{\"a\" 1}", "expected ':' after a key, got '1'");
    refused("{\"a\"", "expected ':' after a key, the text ends here");
    refused("{\"a\":}", "expected a value, got '}'");
    refused("1 2", "expected nothing behind the value, got '2'");
    refused("{}}", "expected nothing behind the value");
    refused("nul", "expected a value");
    refused("nullx", "expected nothing behind the value, got 'x'");
    refused("True", "expected a value, got 'T'");
    refused("'a'", "expected a value, got '''");
    refused("// c\n1", "expected a value, got '/'");
    refused("01", "begins with 0");
    refused("-01", "begins with 0");
    refused("-", "expected a digit");
    refused("+1", "expected a value");
    refused(".5", "expected a value");
    refused("1.", "expected a digit after the decimal point");
    refused("1.e3", "expected a digit after the decimal point");
    refused("1e", "expected a digit of the exponent");
    refused("1e+", "expected a digit of the exponent");
    refused("0x10", "expected nothing behind the value");
    refused("-Infinit", "expected a value");
    refused("-NaN", "expected a digit");
    refused("[\"abc", "line 1 column 2: the string that begins here has no end");
    refused("\"a\nb\"", "control character 0xa");
    refused("\"\\x\"", "unknown escape");
    refused("\"\\", "unknown escape");
    refused("\"\\u12g4\"", "4 hexadecimal digits");
    refused("\"\\u12", "4 hexadecimal digits");
    refused("\"\\ud800\"", "half of a surrogate pair");
    refused("\"\\ud800x\"", "half of a surrogate pair");
    refused("\"\\ud800\\n\"", "half of a surrogate pair");
    refused("\"\\ud800\\u0041\"", "half of a surrogate pair");
    refused("\"\\udc00\\ud800\"", "half of a surrogate pair");
    refused("\xef\xbb\xbf{}", "byte order mark");
    refused_bytes("\"a\0b\"", 5, NIB_ERR_FORMAT, "control character 0x0");
    refused_bytes("1\0", 2, NIB_ERR_FORMAT, "expected nothing behind the value, got byte 0x0");
    refused_bytes("\0", 1, NIB_ERR_FORMAT, "expected a value, got byte 0x0");
}

static void refuses_bad_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82",
                                      "\xe2\x28\xa1",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x9f\x98",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "{\"%s\":1}", bad[i]);
        refused(text, "column 3: invalid UTF-8");
        snprintf(text, sizeof text, "\"%s", bad[i]); /* right at the end of the text */
        refused(text, "invalid UTF-8");
    }
}

static void refuses_duplicate_keys(void **state)
{
    (void)state;
    refused("{\"a\":1,\"a\":2}", "line 1 column 8: the key \"a\" appears twice");
    refused("{\"a\":1,\"b\":{\"x\":1,\"y\":2,\"\\u0078\":3}}", "the key \"x\" appears twice");
    gives("[{\"a\":1},{\"a\":{\"a\":2}}]", "[{\"a\":1},{\"a\":{\"a\":2}}]");
    /* Any number of members, any two of them. */
    for (int n = 2; n <= 40; n++) {
        for (int twice = 0; twice < n; twice++) {
            char text[1024];
            size_t len = 0;
            text[len++] = '{';
            for (int i = 0; i < n; i++)
                len += (size_t)snprintf(text + len, sizeof text - len, "\"k%d\":{\"k1\":0},", i);
            snprintf(text + len - 1, sizeof text - len, "}");
            gives(text, text);
            snprintf(text + len - 1, sizeof text - len, ",\"k%d\":0}", twice);
            char part[64];
            snprintf(part, sizeof part, "column %zu: the key \"k%d\" appears twice", len + 1,
                     twice);
            refused(text, part);
        }
    }
}

static void limits(void **state)
{
    (void)state;
    char text[512];
    int n = NIB__JSON_MAX_DEPTH;
    memset(text, '[', (size_t)n);
    memset(text + n, ']', (size_t)n);
    text[2 * n] = '\0';
    gives(text, text);
    memset(text, '[', (size_t)n + 1);
    memset(text + n + 1, ']', (size_t)n + 1);
    text[2 * n + 2] = '\0';
    refused_bytes(text, strlen(text), NIB_ERR_LIMIT, "column 65: nested more than 64 deep");
    /* A size that is not there must be refused before it is read. */
    nib__json *j = NULL;
    nib_error err = {0};
    assert_fails(nib__json_parse(NULL, "f", "1", ((size_t)1 << 30) + 1, &j, &err), NIB_ERR_LIMIT,
                 err, "at most 1073741824 bytes");
}

static const char *const sample = "{\"a\":[1,-2.5e3,{\"b\":\"\\u00e9\xe2\x82\xac\"}],\"c\":null,"
                                  "\"d\":true,\"1\":1,\"2\":2,\"3\":3,"
                                  "\"4\":4,\"5\":5,\"6\":6,\"7\":[]}";

static void truncations(void **state)
{
    (void)state;
    size_t size = strlen(sample);
    for (size_t cut = 0; cut < size; cut++) {
        char *exact = malloc(cut == 0 ? 1 : cut);
        memcpy(exact, sample, cut);
        refused_bytes(exact, cut, NIB_ERR_FORMAT, "line 1");
        free(exact);
    }
}

static void memory_runs_out(void **state)
{
    (void)state;
    fault_alloc fa;
    for (size_t n = 1;; n++) {
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib__json *j = NULL;
        nib_error err = {0};
        nib_status status = nib__json_parse(&fa.mem, "f", sample, strlen(sample), &j, &err);
        nib__json_free(j);
        if (fault_turn_last(&fa, status, &err, 5)) break;
        assert_fails(status, NIB_ERR_MEMORY, err, "f: out of memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_documents),  cmocka_unit_test(getters),
        cmocka_unit_test(integers),         cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_bad_utf8), cmocka_unit_test(refuses_duplicate_keys),
        cmocka_unit_test(limits),           cmocka_unit_test(truncations),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
