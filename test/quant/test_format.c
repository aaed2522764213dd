/* SPDX-License-Identifier: MIT
 * Decoding of every number format, bit by bit against values that the Python package `gguf` made
 * (test/fixtures/make_quant.py): random blocks, extreme codes, subnormal, zero and largest scales.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/half.h"
#include "fixture.h"
#include "quant/format.h"

static const char *const names[] = {
    "F32",   "F16",    "Q4_0",  "Q4_1",    "Q5_0",   "Q5_1",    "Q8_0",  "Q2_K",   "Q3_K",
    "Q4_K",  "Q5_K",   "Q6_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "IQ1_M", "BF16",    "TQ1_0",  "TQ2_0",   "MXFP4"};
static const uint32_t ids[] = {0,  1,  2,  3,  6,  7,  8,  10, 11, 12, 13, 14, 16,
                               17, 18, 19, 20, 21, 22, 23, 29, 30, 34, 35, 39};
enum { N_FORMATS = sizeof ids / sizeof ids[0] };

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMATS; i++) {
        const nib__format_info *info = nib__format_find(ids[i]);
        assert_non_null(info);
        assert_int_equal(info->format, ids[i]);
        assert_string_equal(info->name, names[i]);
        assert_string_equal(nib__format_type_name(ids[i]), names[i]);
    }
    /* Known by name only: formats of activations, integers, F64, newer small ones. */
    static const uint32_t unsupported[] = {9, 15, 24, 25, 26, 27, 28, 40, 41, 42};
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        assert_null(nib__format_find(unsupported[i]));
        assert_non_null(nib__format_type_name(unsupported[i]));
    }
    static const uint32_t unknown[] = {4,  5,  31, 32, 33,         36,
                                       37, 38, 43, 57, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_null(nib__format_find(unknown[i]));
        assert_null(nib__format_type_name(unknown[i]));
    }
}

/* Decodes from an odd address into a buffer with a guard after it, and compares bits. */
static void check_golden(size_t index)
{
    char name[64];
    size_t len = (size_t)snprintf(name, sizeof name, "fixtures/quant/%s.bin", names[index]);
    for (size_t i = 0; i < len; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z') name[i] = (char)(name[i] - 'A' + 'a');
    }
    size_t size;
    uint8_t *file = fixture_read(name, &size);
    const nib__format_info *info = nib__format_find(ids[index]);
    assert_true(size > 8);
    assert_int_equal(nib__le32(file), ids[index]);
    size_t n = nib__le32(file + 4);
    assert_true(n >= 64 && n % info->block == 0);
    size_t bytes = n / info->block * info->block_bytes;
    assert_int_equal(size, 8 + bytes + 4 * n);

    uint8_t *odd = malloc(bytes + 1);
    memcpy(odd + 1, file + 8, bytes);
    float *got = malloc((n + 1) * sizeof *got);
    got[n] = 12345.0f;
    info->decode(odd + 1, got, n);
    assert_true(got[n] == 12345.0f);
    for (size_t i = 0; i < n; i++) {
        uint32_t expected = nib__le32(file + 8 + bytes + 4 * i);
        if (nib__bits_of_f32(got[i]) != expected) {
            fail_msg("%s element %zu: expected %.9g, got %.9g", info->name, i,
                     (double)nib__f32_of_bits(expected), (double)got[i]);
        }
    }
    /* A block alone gives what it gives in a row. */
    float one[256];
    size_t last = n / info->block - 1;
    info->decode(odd + 1 + last * info->block_bytes, one, info->block);
    assert_memory_equal(one, got + last * info->block, info->block * sizeof one[0]);
    free(got);
    free(odd);
    free(file);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMATS; i++) check_golden(i);
}

static void test_nothing(void **state)
{
    (void)state;
    float guard = 1.0f;
    for (size_t i = 0; i < N_FORMATS; i++) nib__format_find(ids[i])->decode(NULL, &guard, 0);
    assert_true(guard == 1.0f);
}

/* The packed scales, bit by bit: setting one input bit sets exactly the one output bit that the
 * layout comment of the format says. */
static void test_packed_scales(void **state)
{
    (void)state;
    for (int bit = 0; bit < 96; bit++) {
        uint8_t packed[12] = {0};
        packed[bit / 8] = (uint8_t)(1 << bit % 8);
        int byte = bit / 8, at = bit % 8;
        for (int j = 0; j < 8; j++) {
            uint8_t sc = 99, m = 99, want_sc = 0, want_m = 0;
            /* Bytes 0-3: scale j in bits 0-5, bits 4-5 of scale j+4 in bits 6-7. 4-7 the mins. */
            if (byte < 4 && at < 6 && j == byte) want_sc = (uint8_t)(1 << at);
            if (byte < 4 && at >= 6 && j == byte + 4) want_sc = (uint8_t)(1 << (at - 2));
            if (byte >= 4 && byte < 8 && at < 6 && j == byte - 4) want_m = (uint8_t)(1 << at);
            if (byte >= 4 && byte < 8 && at >= 6 && j == byte) want_m = (uint8_t)(1 << (at - 2));
            if (byte >= 8 && at < 4 && j == byte - 4) want_sc = (uint8_t)(1 << at);
            if (byte >= 8 && at >= 4 && j == byte - 4) want_m = (uint8_t)(1 << (at - 4));
            nib__k4_scale_min(packed, j, &sc, &m);
            assert_int_equal(sc, want_sc);
            assert_int_equal(m, want_m);
        }
        int8_t scales[16];
        nib__q3k_scales(packed, scales);
        for (int k = 0; k < 16; k++) {
            int want = 0;
            if (byte < 8 && k == byte + 8 * (at / 4)) want = 1 << at % 4;
            if (byte >= 8 && k == byte - 8 + at / 2 * 4) want = 16 << at % 2;
            assert_int_equal(scales[k], want - 32);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_packed_scales),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
