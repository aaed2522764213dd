/* SPDX-License-Identifier: MIT
 * Decimal text to double: the bits of libc's strtod (this program never sets a locale) on chosen
 * hard cases, on random doubles printed with every precision, and on random text. */
#include "test.h"

#include "base/decimal.h"
#include "rng.h"

static void same_as_strtod(const char *text)
{
    double expected = strtod(text, NULL), got = nib__decimal(text, strlen(text));
    if (memcmp(&expected, &got, sizeof got) != 0)
        fail_msg("%.40s...: expected %a, got %a", text, expected, got);
}

static void hard_cases(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0", "-0", "0.0", "0e999999999999999999999", "-0.000e-1", "1", "-1", "10", "0.1", "0.3",
        "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995",
        "18446744073709551615", "18446744073709551616", "123456789012345678", "1e22", "1e23",
        "8e27", "1e27", "1e28", "1e-27", "1e-28", "-3.4028234663852886e+38",
        "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1.8e308",
        "1e309", "1e310", "-1e400", "1e999999999999999999999999", "1e-999999999999999999999999",
        "2.2250738585072014e-308", "2.2250738585072011e-308", "4.9406564584124654e-324", "5e-324",
        "2.5e-324", "2.4e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-323",
        "1e-325", "1e-400",
        "0.000000000000000000000000000000000000000000000000000000000000000000000000000000001",
        "6.8506501e-20", "1e-05", "3.141592653589793238462643383279502884197169399375105820974944",
        "100000000000000016777215", "100000000000000016777216",
        "0.500000000000000166533453693773481", "4503599627370497.5", "4503599627370496.5",
        "4503599627370496.50000000000000000000000001",
        /* half of the smallest denormal, exactly and a little more: the tie needs 751 digits */
        "2.47032822920623272088284396434110686182e-324", "1E5", "1e+5", "1.5E-3"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) same_as_strtod(texts[i]);
}

/* Exact ties, whose last digit decides: 2^-1075 (half of the smallest denormal) and 1 + 2^-53 are
 * printed in full, then made a little larger by a digit far behind. */
static void exact_ties(void **state)
{
    (void)state;
    char text[3000];
    static const double low[] = {0x1p-1074, 0x1p-1022, 0x1.8p-1074, 1.0, 0x1.0000000000001p0};
    for (size_t i = 0; i < sizeof low / sizeof low[0]; i++) {
        /* long double holds the tie on x86 and AArch64; the printed text is exact. */
        long double tie = i < 3 ? (long double)low[i] / 2 : (long double)low[i] + 0x1p-53L;
        int n = snprintf(text, sizeof text - 1200, "%.1100Lf", tie);
        assert_true(n > 0 && n < 1800);
        same_as_strtod(text);
        text[n] = '1';
        text[n + 1] = '\0';
        same_as_strtod(text);
        memset(text + n, '0', 900);
        strcpy(text + n + 900, "1");
        same_as_strtod(text);
    }
    memset(text, '9', 2000); /* digits that are not kept, in front of the point */
    text[2000] = '\0';
    same_as_strtod(text);
    strcpy(text + 900, "e-800");
    same_as_strtod(text);
    memset(text, '0', 2500);
    memcpy(text, "0.", 2);
    strcpy(text + 2500, "17e2500");
    same_as_strtod(text);
}

static void random_doubles(void **state)
{
    (void)state;
    rng r = {7};
    char text[64];
    for (int i = 0; i < 400000; i++) {
        uint64_t bits = rng_next(&r);
        if (i % 2 == 0) /* exponents as configurations have them */
            bits = (bits & 0x800fffffffffffffu) | (uint64_t)(1023 - 40 + rng_below(&r, 80)) << 52;
        double value;
        memcpy(&value, &bits, sizeof value);
        if (value != value || value - value != 0) continue;
        snprintf(text, sizeof text, "%.*e", 3 + (int)rng_below(&r, 22), value);
        same_as_strtod(text);
        snprintf(text, sizeof text, "%.17g", value);
        same_as_strtod(text);
        assert_true(nib__decimal(text, strlen(text)) == value);
    }
}

static void random_digits(void **state)
{
    (void)state;
    rng r = {8};
    char text[96];
    for (int i = 0; i < 200000; i++) {
        size_t n = 0, digits = 1 + rng_below(&r, 40), point = rng_below(&r, 41);
        for (size_t d = 0; d < digits; d++) {
            if (d == point && d != 0) text[n++] = '.';
            text[n++] = (char)('0' + rng_below(&r, rng_below(&r, 4) == 0 ? 1 : 10));
        }
        snprintf(text + n, sizeof text - n, "e%d", (int)rng_below(&r, 700) - 350);
        same_as_strtod(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_cases),
        cmocka_unit_test(exact_ties),
        cmocka_unit_test(random_doubles),
        cmocka_unit_test(random_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
