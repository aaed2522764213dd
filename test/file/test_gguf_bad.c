/* SPDX-License-Identifier: MIT
 * Files that break each rule of the format: the right status, a message that names the place, no
 * leak, and no more memory than a small multiple of the file. */
#include "test.h"

#include "gguf_open.h"
#include "gguf_writer.h"

static int n_cases;

static void expect_bytes(uint8_t *file, size_t size, nib_status expected, const char *text)
{
    nib_error err = {0};
    nib_status status = gguf_open_exactly(file, size, &err);
    n_cases++;
    if (status != expected || err.code != expected)
        fail_msg("expected status %d with \"%s\", got %d \"%s\"", expected, text, status, err.text);
    if (strstr(err.text, text) == NULL) fail_msg("expected \"%s\" in \"%s\"", text, err.text);
    if (strstr(err.text, "(memory)") == NULL) fail_msg("no file name in \"%s\"", err.text);
    for (const char *c = err.text; *c != '\0'; c++) assert_true(*c >= 0x20 && *c < 0x7f);
    /* The message has to be optional. */
    assert_int_equal(gguf_open_exactly(file, size, NULL), expected);
    free(file);
}

static void expect_bad(gguf_writer *w, nib_status expected, const char *text)
{
    size_t size;
    uint8_t *file = gguf_end(w, &size);
    expect_bytes(file, size, expected, text);
}

/* ---- header ---- */

static void expect_text(const char *content, nib_status expected, const char *text)
{
    size_t size = strlen(content);
    uint8_t *copy = malloc(size);
    memcpy(copy, content, size);
    expect_bytes(copy, size, expected, text);
}

static void expect_version(uint32_t version, nib_status expected, const char *text)
{
    gguf_writer w;
    gguf_begin(&w);
    w.version = version;
    gguf_str(&w, "general.architecture", "llama");
    expect_bad(&w, expected, text);
}

static void test_header(void **state)
{
    (void)state;
    expect_text("G", NIB_ERR_FORMAT, "expected \"GGUF\", got \"G\"");
    expect_text("GGU", NIB_ERR_FORMAT, "got \"GGU\"");
    expect_text("GGUG....", NIB_ERR_FORMAT, "got \"GGUG\"");
    expect_text("\x1b[2J\n\xff~~", NIB_ERR_FORMAT, "got \"?[2J\"");
    expect_text("version https://git-lfs.github.com/spec/v1\n", NIB_ERR_FORMAT, "Git LFS pointer");
    expect_text("tjgg\3\1\1\1", NIB_ERR_UNSUPPORTED, "old GGML file");
    expect_text("lmgg\3\1\1\1", NIB_ERR_UNSUPPORTED, "old GGML file");
    expect_text("GGUF", NIB_ERR_FORMAT, "inside the version");
    expect_text("GGUF\3", NIB_ERR_FORMAT, "inside the version");
    expect_version(0, NIB_ERR_FORMAT, "got 0");
    expect_version(1, NIB_ERR_UNSUPPORTED, "version 1");
    expect_version(4, NIB_ERR_UNSUPPORTED, "expected GGUF version 2 or 3, got 4");
    expect_version(0xffffffff, NIB_ERR_UNSUPPORTED, "got 4294967295");
    expect_version(0x03000000, NIB_ERR_UNSUPPORTED, "big-endian");
    expect_version(0x02000000, NIB_ERR_UNSUPPORTED, "big-endian");
}

static void expect_counts(uint64_t n_tensors, uint64_t n_keys, nib_status expected,
                          const char *text)
{
    gguf_writer w;
    gguf_begin(&w);
    gguf_str(&w, "general.architecture", "llama");
    gguf_tensor(&w, "t", 0, 1, (const uint64_t[]){1}, NULL, 4);
    w.n_tensors = n_tensors;
    w.n_keys = n_keys;
    expect_bad(&w, expected, text);
}

static void test_counts(void **state)
{
    (void)state;
    expect_counts(UINT64_MAX, 1, NIB_ERR_FORMAT, "18446744073709551615 tensors declared");
    expect_counts((uint64_t)1 << 63, 1, NIB_ERR_FORMAT, "tensors declared");
    expect_counts((uint64_t)1 << 32, 1, NIB_ERR_FORMAT, "tensors declared");
    expect_counts(100, 1, NIB_ERR_FORMAT, "byte 8: 100 tensors declared");
    expect_counts(1, UINT64_MAX, NIB_ERR_FORMAT, "keys declared");
    expect_counts(1, (uint64_t)1 << 32, NIB_ERR_FORMAT, "keys declared");
    expect_counts(1, 1000, NIB_ERR_FORMAT, "byte 16: 1000 keys declared");
    expect_counts(1, 2, NIB_ERR_FORMAT, ""); /* the tensor read as a key */
    expect_counts(2, 1, NIB_ERR_FORMAT, ""); /* the data read as a tensor */
    expect_counts(1, 0, NIB_ERR_FORMAT, ""); /* the key read as a tensor */
}

/* ---- keys ---- */

static void begin_key(gguf_writer *w, uint64_t name_len, const char *name, uint32_t type)
{
    gguf_begin(w);
    buffer_u64(&w->keys, name_len);
    buffer_put(&w->keys, name, strlen(name));
    buffer_u32(&w->keys, type);
    w->n_keys = 1;
}

static void test_key_names(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {0,          65536,     (uint64_t)1 << 31, (uint64_t)1 << 32,
                                       UINT64_MAX, INT64_MAX, UINT64_MAX - 7};
    gguf_writer w;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        begin_key(&w, lengths[i], "name", 4);
        buffer_u32(&w.keys, 1);
        expect_bad(&w, NIB_ERR_FORMAT, "byte 24: a key: expected a length of 1 to 65535");
    }
    begin_key(&w, 1000, "name", 4);
    buffer_u32(&w.keys, 1);
    expect_bad(&w, NIB_ERR_FORMAT, "inside a key");

    gguf_begin(&w);
    buffer_u64(&w.keys, 3);
    buffer_put(&w.keys, "a\0b", 3);
    buffer_u32(&w.keys, 4);
    buffer_u32(&w.keys, 1);
    w.n_keys = 1;
    expect_bad(&w, NIB_ERR_FORMAT, "NUL byte");

    gguf_begin(&w);
    gguf_u32(&w, "twice", 1);
    gguf_u32(&w, "other", 1);
    gguf_str(&w, "twice", "x");
    expect_bad(&w, NIB_ERR_FORMAT, "key twice appears twice");

    gguf_begin(&w); /* a terminal's escape codes do not get out, and a long name is cut */
    gguf_u32(&w, "\x1b[31m\n", 1);
    gguf_u32(&w, "\x1b[31m\n", 1);
    expect_bad(&w, NIB_ERR_FORMAT, "key ?[31m? appears twice");
    char name[2001];
    memset(name, 'k', 2000);
    name[2000] = '\0';
    gguf_begin(&w);
    gguf_u32(&w, name, 1);
    gguf_u32(&w, name, 1);
    expect_bad(&w, NIB_ERR_FORMAT, "kkk... appears twice");
}

static void test_key_values(void **state)
{
    (void)state;
    gguf_writer w;
    static const uint32_t types[] = {13, 14, 255, 0x80000000u, 0xffffffffu};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        begin_key(&w, 4, "name", types[i]);
        buffer_u64(&w.keys, 0);
        expect_bad(&w, NIB_ERR_FORMAT, "key name: expected a value type of 0 to 12");
    }
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (uint32_t type = 0; type <= 12; type++) { /* one byte short, the name long enough */
        if (sizes[type] == 0) continue;
        gguf_begin(&w);
        gguf_key(&w, "general.name", type);
        for (size_t i = 1; i < sizes[type]; i++) buffer_u8(&w.keys, 0);
        expect_bad(&w, NIB_ERR_FORMAT, "inside the value of a key");
    }
    static const uint64_t lengths[] = {5,         1u << 30,   (uint64_t)1 << 40,
                                       INT64_MAX, UINT64_MAX, UINT64_MAX - 8};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        begin_key(&w, 4, "name", 8);
        buffer_u64(&w.keys, lengths[i]);
        buffer_put(&w.keys, "four", 4);
        expect_bad(&w, NIB_ERR_FORMAT, "key name: string of");
    }
    begin_key(&w, 4, "name", 8);
    buffer_u32(&w.keys, 0);
    expect_bad(&w, NIB_ERR_FORMAT, "inside the length of a string");
    begin_key(&w, 4, "name", 8);
    w.keys.size -= 2;
    expect_bad(&w, NIB_ERR_FORMAT, "inside the type of a key");
}

static void test_arrays(void **state)
{
    (void)state;
    gguf_writer w;
    begin_key(&w, 4, "name", 9);
    buffer_u32(&w.keys, 9); /* array of arrays */
    buffer_u64(&w.keys, 1);
    buffer_u32(&w.keys, 4);
    buffer_u64(&w.keys, 0);
    expect_bad(&w, NIB_ERR_UNSUPPORTED, "key name: an array of arrays");
    static const uint32_t types[] = {13, 99, 0xffffffffu};
    for (size_t i = 0; i < 3; i++) {
        begin_key(&w, 4, "name", 9);
        buffer_u32(&w.keys, types[i]);
        buffer_u64(&w.keys, 0);
        expect_bad(&w, NIB_ERR_FORMAT, "key name: expected an array element type");
    }
    /* One element more than there are bytes, for each element size, and counts that overflow. */
    static const uint32_t elements[] = {0, 2, 4, 10, 8};
    static const size_t sizes[] = {1, 2, 4, 8, 8};
    for (size_t i = 0; i < 5; i++) {
        uint64_t counts[] = {16 / sizes[i] + 1, UINT64_MAX, (uint64_t)1 << 61, (uint64_t)1 << 63};
        for (size_t j = 0; j < 4; j++) {
            begin_key(&w, 4, "name", 9);
            buffer_u32(&w.keys, elements[i]);
            buffer_u64(&w.keys, counts[j]);
            buffer_u64(&w.keys, 0);
            buffer_u64(&w.keys, 0);
            expect_bad(&w, NIB_ERR_FORMAT, "key name: array of");
        }
    }
    begin_key(&w, 4, "name", 9);
    buffer_u32(&w.keys, 8);
    buffer_u64(&w.keys, 2);
    buffer_str(&w.keys, "fine");
    buffer_u64(&w.keys, 1000); /* the second string is too long */
    expect_bad(&w, NIB_ERR_FORMAT, "key name: string of 1000 bytes, expected at most 0");
    begin_key(&w, 4, "name", 9);
    buffer_u32(&w.keys, 8);
    buffer_u32(&w.keys, 0);
    expect_bad(&w, NIB_ERR_FORMAT, "inside the head of an array");
}

/* ---- tensors ---- */

static void expect_tensor(const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne,
                          uint64_t offset, nib_status expected, const char *text)
{
    gguf_writer w;
    gguf_begin(&w);
    gguf_info(&w, name, type, n_dims, ne, offset);
    for (int i = 0; i < 256; i++) buffer_u8(&w.data, 1);
    expect_bad(&w, expected, text);
}

static void test_tensor_names(void **state)
{
    (void)state;
    const uint64_t one[] = {1};
    expect_tensor("", 0, 1, one, 0, NIB_ERR_FORMAT, "a tensor name: expected a length of 1 to 255");
    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    expect_tensor(name, 0, 1, one, 0, NIB_ERR_FORMAT, "got 256");
    gguf_writer w;
    gguf_begin(&w);
    buffer_u64(&w.infos, UINT64_MAX);
    for (int i = 0; i < 64; i++) buffer_u8(&w.infos, 1);
    w.n_tensors = 1;
    expect_bad(&w, NIB_ERR_FORMAT, "got 18446744073709551615");

    gguf_begin(&w);
    buffer_u64(&w.infos, 3);
    buffer_put(&w.infos, "a\0b", 3);
    for (int i = 0; i < 64; i++) buffer_u8(&w.infos, 1);
    w.n_tensors = 1;
    expect_bad(&w, NIB_ERR_FORMAT, "NUL byte");

    gguf_begin(&w);
    gguf_tensor(&w, "same", 0, 1, one, NULL, 4);
    gguf_tensor(&w, "other", 0, 1, one, NULL, 4);
    gguf_tensor(&w, "same", 0, 1, one, NULL, 4);
    expect_bad(&w, NIB_ERR_FORMAT, "tensor same appears twice");
}

static void test_shapes(void **state)
{
    (void)state;
    const uint64_t big = (uint64_t)1 << 32;
    const nib_status bad = NIB_ERR_FORMAT;
    expect_tensor("t", 0, 0, NULL, 0, bad, "tensor t: expected 1 to 4 dimensions, got 0");
    expect_tensor("t", 0, 5, (const uint64_t[]){1, 1, 1, 1, 1}, 0, bad, "dimensions, got 5");
    gguf_writer w;
    gguf_begin(&w);
    buffer_str(&w.infos, "t");
    buffer_u32(&w.infos, UINT32_MAX);
    for (int i = 0; i < 64; i++) buffer_u8(&w.infos, 1);
    w.n_tensors = 1;
    expect_bad(&w, bad, "got 4294967295");

    expect_tensor("t", 0, 1, (const uint64_t[]){0}, 0, bad, "dimension 0 of 0 is empty");
    expect_tensor("t", 0, 2, (const uint64_t[]){4, 0}, 0, bad, "dimension 1 of 0 is empty");
    expect_tensor("t", 0, 4, (const uint64_t[]){4, 1, 1, 0}, 0, bad, "dimension 3 of 0 is empty");
    expect_tensor("t", 0, 2, (const uint64_t[]){big, big}, 0, bad, "too large");
    expect_tensor("t", 0, 4, (const uint64_t[]){65536, 65536, 65536, 65536}, 0, bad, "too large");
    expect_tensor("t", 0, 2, (const uint64_t[]){UINT64_MAX, 2}, 0, bad, "too large");
    expect_tensor("t", 0, 2, (const uint64_t[]){(uint64_t)1 << 63, 2}, 0, bad, "too large");
    expect_tensor("t", 0, 1, (const uint64_t[]){UINT64_MAX / 2}, 0, bad, "too large"); /* bytes */
    expect_tensor("t", 0, 2, (const uint64_t[]){(uint64_t)1 << 62, 1}, 0, bad, "too large");
    expect_tensor("t", 2, 1, (const uint64_t[]){33}, 0, bad,
                  "Q4_0 needs a row length that is a "
                  "multiple of 32, got 33");
    expect_tensor("t", 2, 2, (const uint64_t[]){16, 2}, 0, bad, "multiple of 32, got 16");
    expect_tensor("t", 12, 1, (const uint64_t[]){128}, 0, bad, "Q4_K needs a row length");
}

static void test_types(void **state)
{
    (void)state;
    const uint64_t ne[] = {256};
    static const struct {
        uint32_t type;
        const char *text;
    } types[] = {{4, "tensor t: type 4 (unknown)"},
                 {9, "type 9 (Q8_1)"},
                 {15, "type 15 (Q8_K)"},
                 {24, "type 24 (I8)"},
                 {28, "type 28 (F64)"},
                 {40, "type 40 (NVFP4)"},
                 {41, "type 41 (Q1_0)"},
                 {57, "type 57 (unknown)"},
                 {UINT32_MAX, "type 4294967295 (unknown)"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        expect_tensor("t", types[i].type, 1, ne, 0, NIB_ERR_UNSUPPORTED, types[i].text);
}

static void test_offsets(void **state)
{
    (void)state;
    const nib_status bad = NIB_ERR_FORMAT;
    const uint64_t ne[] = {64}; /* 256 bytes: all of the data section */
    expect_tensor("t", 0, 1, ne, 32, bad, "tensor t: 256 bytes at offset 32 of the data section");
    expect_tensor("t", 0, 1, ne, 256, bad, "which has 256");
    expect_tensor("t", 0, 1, ne, 1, bad, "expected an offset that is a multiple of 32, got 1");
    expect_tensor("t", 0, 1, ne, UINT64_MAX, bad, "multiple of 32");
    expect_tensor("t", 0, 1, ne, UINT64_MAX - 31, bad, "at offset 18446744073709551584");
    expect_tensor("t", 0, 1, ne, (uint64_t)1 << 63, bad, "at offset 9223372036854775808");
    expect_tensor("t", 0, 1, (const uint64_t[]){65}, 0, bad, "260 bytes at offset 0");
    expect_tensor("t", 0, 1, (const uint64_t[]){(uint64_t)1 << 60}, 0, bad, "cut short");

    static const uint64_t overlapping[][2] = {{0, 0}, {0, 32}, {96, 64}, {64, 32}};
    for (size_t i = 0; i < 4; i++) { /* 64 bytes each */
        gguf_writer w;
        gguf_begin(&w);
        gguf_info(&w, "a", 0, 1, (const uint64_t[]){16}, overlapping[i][0]);
        gguf_info(&w, "b", 0, 1, (const uint64_t[]){16}, overlapping[i][1]);
        for (int j = 0; j < 256; j++) buffer_u8(&w.data, 1);
        expect_bad(&w, bad, "overlap");
    }
}

static void expect_alignment(uint32_t type, uint64_t value, nib_status expected, const char *text)
{
    gguf_writer w;
    gguf_begin(&w);
    gguf_key(&w, "general.alignment", type);
    if (type == 8)
        buffer_str(&w.keys, "32");
    else if (type == 4 || type == 5)
        buffer_u32(&w.keys, (uint32_t)value);
    else
        buffer_u64(&w.keys, value);
    gguf_tensor(&w, "t", 0, 1, (const uint64_t[]){1}, NULL, 4);
    expect_bad(&w, expected, text);
}

static void test_alignment(void **state)
{
    (void)state;
    const nib_status bad = NIB_ERR_FORMAT;
    expect_alignment(4, 0, bad, "key general.alignment: expected 1 to 4294967295, got 0");
    expect_alignment(4, 3, bad, "expected a power of two, got 3");
    expect_alignment(4, 24, bad, "expected a power of two, got 24");
    expect_alignment(4, UINT32_MAX, bad, "expected a power of two");
    expect_alignment(5, UINT32_MAX, bad, "got -1");
    expect_alignment(10, UINT64_MAX, bad, "got 18446744073709551615");
    expect_alignment(10, (uint64_t)1 << 63, bad, "got 9223372036854775808");
    expect_alignment(11, (uint64_t)1 << 32, bad, "got 4294967296");
    expect_alignment(8, 0, bad, "key general.alignment: expected an integer, got string");
    expect_alignment(12, 0, bad, "expected an integer, got f64");
    expect_alignment(4, 1u << 31, bad, "which has 0"); /* the data would begin beyond the end */
}

static void test_split_keys(void **state)
{
    (void)state;
    gguf_writer w;
    gguf_begin(&w);
    gguf_u16(&w, "split.count", 3);
    expect_bad(&w, NIB_ERR_FORMAT, "split.no or split.tensors.count is missing");
    gguf_begin(&w);
    gguf_u16(&w, "split.count", 3);
    gguf_u16(&w, "split.no", 1);
    expect_bad(&w, NIB_ERR_FORMAT, "split.no or split.tensors.count is missing");
    gguf_begin(&w);
    gguf_str(&w, "split.count", "3");
    expect_bad(&w, NIB_ERR_FORMAT, "key split.count: expected an integer");
    gguf_begin(&w);
    gguf_u32(&w, "split.count", 70000);
    expect_bad(&w, NIB_ERR_FORMAT, "key split.count: expected 0 to 65535, got 70000");
    gguf_begin(&w);
    gguf_u16(&w, "split.count", 3);
    gguf_u16(&w, "split.no", 3);
    expect_bad(&w, NIB_ERR_FORMAT, "key split.no: expected 0 to 2, got 3");
}

/* The two limits that take a big file to reach. */
static void test_limits(void **state)
{
    (void)state;
    gguf_writer w;
    gguf_begin(&w);
    w.n_keys = (1 << 20) + 1;
    static const uint8_t zeros[4096];
    for (int i = 0; i < 4096; i++) buffer_put(&w.keys, zeros, sizeof zeros);
    expect_bad(&w, NIB_ERR_LIMIT, "expected at most 1048576 keys, got 1048577");
    gguf_begin(&w);
    w.n_tensors = (1 << 20) + 1;
    for (int i = 0; i < 4096 * 3; i++) buffer_put(&w.keys, zeros, sizeof zeros);
    expect_bad(&w, NIB_ERR_LIMIT, "expected at most 1048576 tensors, got 1048577");
}

static void test_enough_cases(void **state)
{
    (void)state;
    assert_true(n_cases >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),       cmocka_unit_test(test_counts),
        cmocka_unit_test(test_key_names),    cmocka_unit_test(test_key_values),
        cmocka_unit_test(test_arrays),       cmocka_unit_test(test_tensor_names),
        cmocka_unit_test(test_shapes),       cmocka_unit_test(test_types),
        cmocka_unit_test(test_offsets),      cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_split_keys),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_enough_cases),
    };
    return cmocka_run_group_tests_name("gguf_bad", tests, NULL, NULL);
}
