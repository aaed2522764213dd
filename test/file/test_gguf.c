/* SPDX-License-Identifier: MIT
 * Reading well-formed GGUF files: tensors, lookup, every getter, and a failure of every single
 * allocation. */
#include <math.h>
#include <string.h>

#include "test.h"

#include "fault_alloc.h"
#include "file/source.h"
#include "fixture.h"
#include "gguf_writer.h"

/* ---- one file with everything in it ---- */

static const char *const words[] = {"alpha", "", "n\xc3\xb6", "x"};

static void put_metadata(gguf_writer *w)
{
    gguf_str(w, "general.architecture", "llama");
    gguf_u16(w, "u16", 65535);
    gguf_u32(w, "u32", 4000000000u);
    gguf_i32(w, "i32", -5);
    gguf_u64(w, "u64", UINT64_MAX);
    gguf_i64(w, "i64", INT64_MIN);
    gguf_key(w, "u8", 0);
    buffer_u8(&w->keys, 200);
    gguf_key(w, "i8", 1);
    buffer_u8(&w->keys, 0x80);
    gguf_key(w, "i16", 3);
    buffer_put(&w->keys, "\xff\x7f", 2);
    gguf_f32(w, "f32", 1.5f);
    gguf_f64(w, "f64", 0.1);
    gguf_f64(w, "f64.huge", 1e300);
    gguf_f64(w, "f64.inf", INFINITY);
    gguf_bool(w, "yes", 1);
    gguf_bool(w, "no", 0);
    gguf_bool(w, "maybe", 2);
    gguf_strs(w, "words", words, 4);
    gguf_strs(w, "none", NULL, 0);
    gguf_u32s(w, "u32s", (const uint32_t[]){1, 2, 4294967295u}, 3);
    gguf_i32s(w, "i32s", (const int32_t[]){-1, 7}, 2);
    gguf_f32s(w, "f32s", (const float[]){0.5f, -2.0f}, 2);
    gguf_str(w, "empty", "");
}

static uint8_t *full_file(size_t *size)
{
    gguf_writer w;
    gguf_begin(&w);
    put_metadata(&w);
    gguf_tensor(&w, "b.weight", 2, 2, (const uint64_t[]){64, 3}, NULL, 3 * 2 * 18);
    gguf_tensor(&w, "a.weight", 0, 1, (const uint64_t[]){5}, NULL, 20);
    gguf_tensor(&w, "c.weight", 14, 4, (const uint64_t[]){256, 1, 2, 1}, NULL, 420);
    return gguf_end(&w, size);
}

static nib__source *open_full(void)
{
    static uint8_t *file;
    static size_t size;
    if (file == NULL) file = full_file(&size);
    nib__source *source = NULL;
    nib_error err;
    if (nib__source_open_memory(NULL, file, size, &source, &err) != NIB_OK)
        fail_msg("%s", err.text);
    return source;
}

static void test_tensors(void **state)
{
    (void)state;
    nib__source *s = open_full();
    assert_string_equal(nib__source_path(s), "(memory)");
    assert_int_equal(nib__source_tensor_count(s), 3);
    assert_null(nib__source_tensor_at(s, 3));

    const nib__tensor *b = nib__source_tensor_at(s, 0), *a = nib__source_tensor_at(s, 1);
    const nib__tensor *c = nib__source_tensor_at(s, 2);
    assert_string_equal(b->name, "b.weight"); /* file order, not sorted */
    assert_string_equal(a->name, "a.weight");
    assert_ptr_equal(nib__source_tensor(s, "a.weight"), a);
    assert_ptr_equal(nib__source_tensor(s, "b.weight"), b);
    assert_ptr_equal(nib__source_tensor(s, "c.weight"), c);
    assert_null(nib__source_tensor(s, "b.weigh"));
    assert_null(nib__source_tensor(s, "b.weight2"));
    assert_null(nib__source_tensor(s, ""));

    assert_int_equal(b->format->format, NIB__Q4_0);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->ne[0], 64);
    assert_int_equal(b->ne[1], 3);
    assert_int_equal(b->ne[2], 1);
    assert_int_equal(b->ne[3], 1);
    assert_int_equal(b->size, 108);
    assert_int_equal(a->format->format, NIB__F32);
    assert_int_equal(a->size, 20);
    assert_int_equal(c->n_dims, 4);
    assert_int_equal(c->size, 420);
    assert_int_equal(c->part, 0);
    for (size_t i = 0; i < 3; i++) { /* the bytes the writer put there */
        const nib__tensor *t = nib__source_tensor_at(s, i);
        for (size_t j = 0; j < t->size; j++) assert_int_equal(t->data[j], (uint8_t)(j + 1));
    }
    assert_int_equal(nib__source_check(s, NULL), NIB_OK);
    nib__source_drop(s, c, 0, c->size); /* memory of the caller: nothing to drop */
    assert_int_equal(c->data[419], (uint8_t)420);
    nib__source_close(s);
    nib__source_close(NULL);
}

/* ---- getters ---- */

/* Key -> value as i64; `bad`: the key exists, but its value is none. */
static void check_i64(const nib__source *s, const char *key, int64_t expected, bool bad)
{
    int64_t value = 123456789;
    nib_error err = {0};
    int32_t status = nib__meta_i64(s, key, &value, &err);
    if (bad) {
        assert_int_equal(status, NIB_ERR_FORMAT);
        assert_int_equal(value, 123456789);
        assert_non_null(strstr(err.text, key));
    } else {
        assert_int_equal(status, NIB_OK);
        assert_true(value == expected);
    }
}

static void test_integers(void **state)
{
    (void)state;
    nib__source *s = open_full();
    check_i64(s, "u8", 200, false);
    check_i64(s, "i8", -128, false);
    check_i64(s, "u16", 65535, false);
    check_i64(s, "i16", 32767, false);
    check_i64(s, "u32", 4000000000, false);
    check_i64(s, "i32", -5, false);
    check_i64(s, "i64", INT64_MIN, false);
    check_i64(s, "u64", 0, true);
    check_i64(s, "f32", 0, true);
    check_i64(s, "words", 0, true);
    check_i64(s, "yes", 0, true);

    nib_error err;
    uint32_t value = 77;
    assert_int_equal(nib__meta_u32(s, "u32", &value, &err), NIB_OK);
    assert_true(value == 4000000000u);
    value = 77;
    assert_int_equal(nib__meta_u32(s, "i32", &value, &err), NIB_ERR_FORMAT);
    assert_non_null(strstr(err.text, "got -5"));
    assert_int_equal(nib__meta_u32(s, "i64", &value, &err), NIB_ERR_FORMAT);
    assert_non_null(strstr(err.text, "got -9223372036854775808"));
    assert_int_equal(nib__meta_u32(s, "u64", &value, &err), NIB_ERR_FORMAT);
    assert_non_null(strstr(err.text, "got 18446744073709551615"));
    assert_int_equal(nib__meta_u32(s, "u", &value, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_u32(s, "u3", &value, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_u32(s, "u321", &value, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_u32(s, "", &value, &err), NIB__ABSENT);
    assert_int_equal(value, 77);
    assert_int_equal(nib__meta_u32(s, "words", &value, NULL), NIB_ERR_FORMAT);
    nib__source_close(s);
}

static void test_floats_and_bools(void **state)
{
    (void)state;
    nib__source *s = open_full();
    nib_error err;
    float value = 9.0f;
    assert_int_equal(nib__meta_f32(s, "absent", &value, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_f32(s, "u32", &value, &err), NIB_ERR_FORMAT);
    assert_non_null(strstr(err.text, "expected f32 or f64, got u32"));
    assert_int_equal(nib__meta_f32(s, "f64.huge", &value, &err), NIB_ERR_FORMAT);
    assert_true(value == 9.0f);
    assert_int_equal(nib__meta_f32(s, "f32", &value, &err), NIB_OK);
    assert_true(value == 1.5f);
    assert_int_equal(nib__meta_f32(s, "f64", &value, &err), NIB_OK);
    assert_true(value == 0.1f);
    assert_int_equal(nib__meta_f32(s, "f64.inf", &value, &err), NIB_OK);
    assert_true(isinf(value));

    int32_t flag = 5;
    assert_int_equal(nib__meta_bool(s, "absent", &flag, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_bool(s, "u8", &flag, &err), NIB_ERR_FORMAT);
    assert_int_equal(nib__meta_bool(s, "maybe", &flag, &err), NIB_ERR_FORMAT);
    assert_int_equal(flag, 5);
    assert_int_equal(nib__meta_bool(s, "yes", &flag, &err), NIB_OK);
    assert_int_equal(flag, 1);
    assert_int_equal(nib__meta_bool(s, "no", &flag, &err), NIB_OK);
    assert_int_equal(flag, 0);
    nib__source_close(s);
}

static void test_strings_and_arrays(void **state)
{
    (void)state;
    nib__source *s = open_full();
    nib_error err;
    nib__str str;
    assert_int_equal(nib__meta_str(s, "absent", &str, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_str(s, "u32", &str, &err), NIB_ERR_FORMAT);
    assert_int_equal(nib__meta_str(s, "general.architecture", &str, &err), NIB_OK);
    assert_int_equal(str.len, 5);
    assert_memory_equal(str.data, "llama", 5);
    assert_int_equal(nib__meta_str(s, "empty", &str, &err), NIB_OK);
    assert_int_equal(str.len, 0);

    nib__array a;
    assert_int_equal(nib__meta_array(s, "absent", NIB__META_STRING, &a, &err), NIB__ABSENT);
    assert_int_equal(nib__meta_array(s, "u32", NIB__META_STRING, &a, &err), NIB_ERR_FORMAT);
    assert_int_equal(nib__meta_array(s, "words", NIB__META_F32, &a, &err), NIB_ERR_FORMAT);
    assert_non_null(strstr(err.text, "expected an array of f32, got one of string"));
    assert_int_equal(nib__meta_array(s, "words", NIB__META_STRING, &a, &err), NIB_OK);
    assert_int_equal(a.count, 4);
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(nib__array_next_str(&a, &at, &str), 1);
        assert_int_equal(str.len, strlen(words[i]));
        assert_memory_equal(str.data, words[i], str.len);
    }
    assert_int_equal(nib__array_next_str(&a, &at, &str), 0);
    assert_int_equal(nib__array_next_str(&a, &at, &str), 0);
    at = SIZE_MAX;
    assert_int_equal(nib__array_next_str(&a, &at, &str), 0);
    assert_int_equal(nib__array_u32(&a, 0), 0); /* not an array of numbers */

    assert_int_equal(nib__meta_array(s, "none", NIB__META_STRING, &a, &err), NIB_OK);
    assert_int_equal(a.count, 0);
    at = 0;
    assert_int_equal(nib__array_next_str(&a, &at, &str), 0);

    assert_int_equal(nib__meta_array(s, "u32s", NIB__META_U32, &a, &err), NIB_OK);
    assert_int_equal(a.count, 3);
    assert_int_equal(nib__array_u32(&a, 0), 1);
    assert_true(nib__array_u32(&a, 2) == 4294967295u);
    assert_int_equal(nib__array_u32(&a, 3), 0); /* beyond the end */
    assert_true(nib__array_f32(&a, 0) == 0.0f);
    assert_int_equal(nib__array_next_str(&a, &at, &str), 0);
    assert_int_equal(nib__meta_array(s, "i32s", NIB__META_U32, &a, &err), NIB_OK);
    assert_int_equal((int32_t)nib__array_u32(&a, 0), -1);
    assert_int_equal(nib__meta_array(s, "f32s", NIB__META_F32, &a, &err), NIB_OK);
    assert_true(nib__array_f32(&a, 1) == -2.0f);
    assert_true(nib__array_f32(&a, 2) == 0.0f);

    assert_int_equal(nib__meta_type_of(s, "words"), NIB__META_ARRAY);
    assert_int_equal(nib__meta_type_of(s, "i8"), NIB__META_I8);
    assert_int_equal(nib__meta_type_of(s, "absent"), -1);
    nib__source_close(s);
}

/* ---- variants ---- */

static void test_no_tensors_and_versions(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        gguf_writer w;
        size_t size;
        gguf_begin(&w);
        w.version = version;
        put_metadata(&w);
        uint8_t *file = gguf_end(&w, &size);
        nib__source *s;
        assert_int_equal(nib__source_open_memory(NULL, file, size, &s, NULL), NIB_OK);
        assert_int_equal(nib__source_tensor_count(s), 0);
        assert_null(nib__source_tensor(s, "a"));
        assert_null(nib__source_tensor_at(s, 0));
        nib__source_close(s);
        free(file);
    }
    /* Nothing at all is a valid file, too. */
    gguf_writer w;
    size_t size;
    gguf_begin(&w);
    uint8_t *file = gguf_end(&w, &size);
    nib__source *s;
    assert_int_equal(nib__source_open_memory(NULL, file, size, &s, NULL), NIB_OK);
    assert_int_equal(nib__meta_type_of(s, "general.architecture"), -1);
    nib__source_close(s);
    free(file);
}

static void test_alignment(void **state)
{
    (void)state;
    static const uint32_t alignments[] = {1, 8, 64, 4096};
    for (size_t i = 0; i < 4; i++) {
        gguf_writer w;
        size_t size;
        gguf_begin(&w);
        w.alignment = alignments[i];
        gguf_u32(&w, "general.alignment", alignments[i]);
        gguf_tensor(&w, "one", 8, 1, (const uint64_t[]){32}, NULL, 34);
        gguf_tensor(&w, "two", 0, 1, (const uint64_t[]){3}, NULL, 12);
        uint8_t *file = gguf_end(&w, &size);
        nib__source *s;
        assert_int_equal(nib__source_open_memory(NULL, file, size, &s, NULL), NIB_OK);
        const nib__tensor *two = nib__source_tensor(s, "two");
        assert_int_equal((size_t)(two->data - file) % alignments[i], 0);
        for (size_t j = 0; j < 12; j++) assert_int_equal(two->data[j], j + 1);
        nib__source_close(s);
        free(file);
    }
}

/* Every size that the formats allow: blocks times rows. */
static void test_sizes(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < 64; type++) {
        const nib__format_info *info = nib__format_find(type);
        if (info == NULL) continue;
        gguf_writer w;
        size_t size, bytes = (size_t)info->block_bytes * 2 * 3;
        gguf_begin(&w);
        gguf_tensor(&w, "t", type, 2, (const uint64_t[]){2 * (uint64_t)info->block, 3}, NULL,
                    bytes);
        uint8_t *file = gguf_end(&w, &size);
        nib__source *s;
        assert_int_equal(nib__source_open_memory(NULL, file, size, &s, NULL), NIB_OK);
        assert_int_equal(nib__source_tensor(s, "t")->size, bytes);
        nib__source_close(s);
        assert_int_equal(nib__source_open_memory(NULL, file, size - 1, &s, NULL), NIB_ERR_FORMAT);
        free(file);
    }
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = full_file(&size);
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib__source *s = (nib__source *)&fa;
        nib_error err = {0};
        nib_status status = nib__source_open_memory(&fa.mem, file, size, &s, &err);
        bool done = fa.count < n;
        if (done) {
            assert_int_equal(status, NIB_OK);
            nib__source_close(s);
            assert_true(n > 5); /* source, keys, two indices, tensors, names, path */
        } else {
            assert_int_equal(status, NIB_ERR_MEMORY);
            assert_ptr_equal(s, &fa); /* untouched */
            assert_int_equal(err.code, NIB_ERR_MEMORY);
            assert_non_null(strstr(err.text, "out of memory"));
        }
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        if (done) break;
    }
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats_and_bools),
        cmocka_unit_test(test_strings_and_arrays),
        cmocka_unit_test(test_no_tensors_and_versions),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
