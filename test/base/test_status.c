/* SPDX-License-Identifier: MIT
 * Statuses and the formatter behind error messages, against the C library's snprintf. */
#include "base/status.h"

#include <limits.h>

#include "support/test.h"

static void every_status_has_a_name(void **state)
{
    (void)state;
    const nib_status all[] = {
        NIB_OK,         NIB_ERR_ARGUMENT,    NIB_ERR_MEMORY,  NIB_ERR_CANCELLED,
        NIB_ERR_LIMIT,  NIB_ERR_STATE,       NIB_ERR_THREAD,  NIB_ERR_IO,
        NIB_ERR_FORMAT, NIB_ERR_UNSUPPORTED, NIB_ERR_MISMATCH};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_string_not_equal(nib_status_str(all[i]), "unknown status");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(nib_status_str(all[i]), nib_status_str(all[j]));
    }
    assert_string_equal(nib_status_str(12345), "unknown status");
    assert_string_equal(nib_status_str(INT32_MIN), "unknown status");
}

/* The last 80 bytes of a path, from the beginning of a character. */
static void cuts_paths(void **state)
{
    (void)state;
    char path[200], want[300];
    nib_error err;
    for (size_t len = 1; len < 100; len++) {
        memset(path, 'x', len);
        memcpy(path + len, "/name", 6);
        snprintf(want, sizeof want, "%s%s: byte 7", len + 5 > 80 ? "..." : "",
                 len + 5 > 80 ? path + len + 5 - 80 : path);
        assert_int_equal(nib__fail_file(&err, NIB_ERR_IO, 7, path, "byte %d", 7), NIB_ERR_IO);
        assert_int_equal(err.code, NIB_ERR_IO);
        assert_int_equal(err.offset, 7);
        assert_string_equal(err.text, want);
    }
    for (size_t i = 0; i < 100; i += 2) memcpy(path + i, "\xc3\xa4", 3);
    memcpy(path + 100, "n", 2);
    nib__fail_file(&err, NIB_ERR_IO, NIB_NO_OFFSET, path, "%s", "lost");
    assert_int_equal(strncmp(err.text, "...\xc3\xa4", 5), 0);
    assert_int_equal(strlen(err.text), 3 + 79 + strlen(": lost"));
    assert_int_equal(nib__fail_file(NULL, NIB_ERR_IO, 0, path, "nowhere"), NIB_ERR_IO);
}

#define check_text(...)                                                                            \
    do {                                                                                           \
        char ours[128], theirs[128];                                                               \
        int expected = snprintf(theirs, sizeof theirs, __VA_ARGS__);                               \
        assert_int_equal(nib__text(ours, sizeof ours, __VA_ARGS__), expected);                     \
        assert_string_equal(ours, theirs);                                                         \
    } while (0)

static void formats_as_printf_does(void **state)
{
    (void)state;
    check_text("plain %% text");
    check_text("%s|%s|", "", "word");
    check_text("%.*s|%.*s", 3, "abcdef", 0, "x");
    check_text("%c%c", 'a', 'z');
    check_text("%d %d %d %d", 0, -1, INT32_MAX, INT32_MIN);
    check_text("%u %u %x", 0u, UINT32_MAX, 0xdeadbeefu);
    check_text("%ld %lu", LONG_MIN, ULONG_MAX);
    check_text("%lld %llu %llx", (long long)INT64_MIN, (unsigned long long)UINT64_MAX,
               0x123456789abcdefULL);
    check_text("%zu", (size_t)SIZE_MAX);
}

static void cuts_what_does_not_fit(void **state)
{
    (void)state;
    char text[8];
    memset(text, '#', sizeof text);
    assert_int_equal(nib__text(text, 5, "%s", "abcdefgh"), 4);
    assert_string_equal(text, "abcd");
    assert_int_equal(text[5], '#');
    assert_int_equal(nib__text(text, 1, "%d", 1234), 0);
    assert_string_equal(text, "");
    text[0] = '#';
    assert_int_equal(nib__text(text, 0, "%d", 1234), 0);
    assert_int_equal(text[0], '#');
}

static void fail_fills_the_error_and_returns_its_code(void **state)
{
    (void)state;
    nib_error err;
    memset(&err, 0x5a, sizeof err);
    assert_int_equal(nib__fail(&err, NIB_ERR_LIMIT, "needs %u, has %u", 7u, 5u), NIB_ERR_LIMIT);
    assert_int_equal(err.code, NIB_ERR_LIMIT);
    assert_int_equal(err.reserved, 0);
    assert_true(err.offset == NIB_NO_OFFSET);
    assert_string_equal(err.text, "needs 7, has 5");
    assert_int_equal(nib__fail_at(&err, NIB_ERR_FORMAT, 4096, "bad"), NIB_ERR_FORMAT);
    assert_int_equal(err.offset, 4096);
    assert_int_equal(nib__fail(NULL, NIB_ERR_IO, "nobody listens"), NIB_ERR_IO);
}

/* The header promises one line of UTF-8; names in a hostile file are neither. */
static void message_is_one_line_of_utf8(void **state)
{
    (void)state;
    nib_error err;
    nib__fail(&err, NIB_ERR_FORMAT, "tensor \"%.*s\"", 9, "a\nb\0c\x1b\xff\xc3\x7f");
    assert_string_equal(err.text, "tensor \"a?b?c????\"");
    nib__fail(&err, NIB_ERR_FORMAT, "%s", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_string_equal(err.text, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    /* surrogate, overlong, above U+10FFFF */
    nib__fail(&err, NIB_ERR_FORMAT, "%s", "\xed\xa0\x80|\xc0\xaf|\xf4\x90\x80\x80");
    assert_string_equal(err.text, "???|??|????");
    /* a code point cut by the end of the buffer does not leave half of itself */
    char name[300];
    for (size_t i = 0; i < 298; i += 2) memcpy(name + i, "\xc3\xbc", 2);
    name[298] = '\0';
    nib__fail(&err, NIB_ERR_FORMAT, "%s", name);
    assert_int_equal(strlen(err.text), 255);
    assert_int_equal(err.text[254], '?');
    assert_memory_equal(err.text, name, 254);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name),
        cmocka_unit_test(cuts_paths),
        cmocka_unit_test(formats_as_printf_does),
        cmocka_unit_test(cuts_what_does_not_fit),
        cmocka_unit_test(fail_fills_the_error_and_returns_its_code),
        cmocka_unit_test(message_is_one_line_of_utf8),
    };
    return cmocka_run_group_tests_name("base/status", tests, NULL, NULL);
}
