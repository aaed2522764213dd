/* SPDX-License-Identifier: MIT
 * Reading well-formed GGUF files: tensors, lookup, every getter, split files, files that change or
 * cannot be opened, and a failure of every single allocation. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

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
    nib__source_drop(s, c); /* memory of the caller: nothing to drop */
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

/* ---- files ---- */

static char directory[] = "/tmp/nib_gguf_XXXXXX";

static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

static void expect_open(const char *path, nib_status expected, const char *text)
{
    nib__source *s = NULL;
    nib_error err = {0};
    nib_status status = nib__source_open(NULL, path, &s, &err);
    if (status != expected)
        fail_msg("%s: expected %d, got %d %s", path, expected, status, err.text);
    assert_null(s);
    if (strstr(err.text, text) == NULL) fail_msg("expected \"%s\" in \"%s\"", text, err.text);
}

static void test_paths(void **state)
{
    (void)state;
    expect_open(in_directory("missing.gguf"), NIB_ERR_IO, "missing.gguf");
    expect_open(directory, NIB_ERR_IO, "directory");
    expect_open("", NIB_ERR_IO, "no such file");
    file_write(in_directory("empty.gguf"), "", 0);
    expect_open(in_directory("empty.gguf"), NIB_ERR_FORMAT, "empty");
    expect_open("/dev/null", NIB_ERR_IO, "regular file");
    assert_int_equal(mkfifo(in_directory("fifo"), 0600), 0);
    expect_open(in_directory("fifo"), NIB_ERR_IO, "regular file"); /* and does not wait */
    if (geteuid() != 0) {                                          /* root reads everything */
        file_write(in_directory("secret.gguf"), "GGUF", 4);
        assert_int_equal(chmod(in_directory("secret.gguf"), 0), 0);
        expect_open(in_directory("secret.gguf"), NIB_ERR_IO, "permission denied");
    }
}

static void test_mapped_file(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = full_file(&size);
    const char *path = in_directory("model.gguf");
    assert_int_equal(file_write(path, file, size), 0);
    nib__source *s;
    nib_error err;
    assert_int_equal(nib__source_open(NULL, path, &s, &err), NIB_OK);
    assert_string_equal(nib__source_path(s), path);
    const nib__tensor *t = nib__source_tensor(s, "c.weight");
    nib__source_drop(s, t); /* dropped pages come back from the file */
    assert_int_equal(t->data[0], 1);
    assert_int_equal(nib__source_check(s, &err), NIB_OK);
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    assert_int_equal(nib__source_check(s, &err), NIB_ERR_IO);
    assert_non_null(strstr(err.text, "model.gguf"));
    nib__source_close(s);

    /* The same size but written again: the modification time tells. */
    assert_int_equal(file_write(path, file, size), 0);
    assert_int_equal(nib__source_open(NULL, path, &s, &err), NIB_OK);
    const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(0, path, times, 0), 0);
    assert_int_equal(nib__source_check(s, &err), NIB_ERR_IO);
    nib__source_close(s);
    free(file);
}

/* ---- split files ---- */

/* Writes part `no` of `count` under `name`, with one tensor. */
static void put_part(const char *name, uint16_t no, uint16_t count, int32_t n_tensors,
                     const char *tensor)
{
    gguf_writer w;
    size_t size;
    gguf_begin(&w);
    if (no == 0) gguf_str(&w, "general.architecture", "llama");
    gguf_u16(&w, "split.no", no);
    gguf_u16(&w, "split.count", count);
    gguf_i32(&w, "split.tensors.count", n_tensors);
    uint8_t byte = (uint8_t)(10 + no);
    uint8_t data[34];
    memset(data, byte, sizeof data);
    if (tensor != NULL) gguf_tensor(&w, tensor, 8, 1, (const uint64_t[]){32}, data, sizeof data);
    uint8_t *file = gguf_end(&w, &size);
    assert_int_equal(file_write(in_directory(name), file, size), 0);
    free(file);
}

static void put_three(void)
{
    put_part("m-00001-of-00003.gguf", 0, 3, 2, NULL); /* metadata only, as some writers do */
    put_part("m-00002-of-00003.gguf", 1, 3, 2, "z");
    put_part("m-00003-of-00003.gguf", 2, 3, 2, "y");
}

static void test_split(void **state)
{
    (void)state;
    put_three();
    static const char *const names[] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                        "m-00003-of-00003.gguf"};
    for (size_t i = 0; i < 3; i++) { /* any part may be named */
        nib__source *s;
        nib_error err;
        if (nib__source_open(NULL, in_directory(names[i]), &s, &err) != NIB_OK)
            fail_msg("%s", err.text);
        assert_non_null(strstr(nib__source_path(s), "m-00001-of-00003.gguf"));
        assert_int_equal(nib__meta_type_of(s, "general.architecture"), NIB__META_STRING);
        assert_int_equal(nib__source_tensor_count(s), 2);
        const nib__tensor *z = nib__source_tensor(s, "z"), *y = nib__source_tensor(s, "y");
        assert_int_equal(z->part, 1);
        assert_int_equal(y->part, 2);
        assert_int_equal(z->data[33], 11);
        assert_int_equal(y->data[0], 12);
        nib__source_drop(s, y);
        assert_int_equal(y->data[5], 12);
        assert_int_equal(nib__source_check(s, &err), NIB_OK);
        nib__source_close(s);
    }
    /* Each allocation of a split open, too. */
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib__source *s = NULL;
        nib_status status = nib__source_open(&fa.mem, in_directory(names[0]), &s, NULL);
        bool done = fa.count < n;
        assert_int_equal(status, done ? NIB_OK : NIB_ERR_MEMORY);
        nib__source_close(s);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        if (done) break;
    }
    nib__source *s;
    nib_error err;
    assert_int_equal(nib__source_open(NULL, in_directory(names[0]), &s, &err), NIB_OK);
    assert_int_equal(truncate(in_directory(names[2]), 100), 0);
    assert_int_equal(nib__source_check(s, &err), NIB_ERR_IO);
    assert_non_null(strstr(err.text, names[2]));
    nib__source_close(s);
}

static void test_split_errors(void **state)
{
    (void)state;
    put_three();
    unlink(in_directory("m-00002-of-00003.gguf"));
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_IO, "m-00002-of-00003.gguf");
    put_part("m-00002-of-00003.gguf", 1, 3, 2, "y");
    expect_open(in_directory("m-00003-of-00003.gguf"), NIB_ERR_FORMAT, "tensor y appears twice");
    put_part("m-00002-of-00003.gguf", 1, 3, 2, NULL);
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT, "parts hold 1 tensors");
    put_part("m-00002-of-00003.gguf", 2, 3, 2, "z");
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT,
                "expected part 2 of 3 with 2 tensors in all, got part 3");
    put_part("m-00002-of-00003.gguf", 1, 4, 2, "z");
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT, "got part 2 of 4");
    put_part("m-00002-of-00003.gguf", 1, 3, 5, "z");
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT, "with 5");
    put_part("m-00002-of-00003.gguf", 3, 3, 2, "z");
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT, "split.no");
    put_part("m-00002-of-00003.gguf", 1, 3, -1, "z");
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT, "split.tensors.count");
    file_write(in_directory("m-00002-of-00003.gguf"), "GGU", 3);
    expect_open(in_directory("m-00001-of-00003.gguf"), NIB_ERR_FORMAT, "m-00002-of-00003.gguf");

    put_part("other.gguf", 0, 3, 2, NULL);
    expect_open(in_directory("other.gguf"), NIB_ERR_FORMAT, "-00001-of-00003.gguf");
    put_part("q-00002-of-00003.gguf", 0, 3, 2, NULL);
    expect_open(in_directory("q-00002-of-00003.gguf"), NIB_ERR_FORMAT, "-00001-of-00003.gguf");
    put_part("only.gguf", 0, 1, 1, "x"); /* one part of one: any name will do */
    nib__source *s;
    assert_int_equal(nib__source_open(NULL, in_directory("only.gguf"), &s, NULL), NIB_OK);
    nib__source_close(s);

    size_t size;
    uint8_t *file = file_read(in_directory("other.gguf"), &size);
    nib_error err;
    assert_int_equal(nib__source_open_memory(NULL, file, size, &s, &err), NIB_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "from memory"));
    free(file);
}

/* ---- files that others wrote ---- */

static void test_python_split(void **state)
{
    (void)state;
    static const char *const names[] = {"fixtures/split/five-00001-of-00003.gguf",
                                        "fixtures/split/five-00003-of-00003.gguf"};
    for (size_t n = 0; n < 2; n++) {
        nib__source *s = NULL;
        nib_error err;
        if (nib__source_open(NULL, fixture_path(names[n]), &s, &err) != NIB_OK)
            fail_msg("%s", err.text);
        nib__str str;
        assert_int_equal(nib__meta_str(s, "general.name", &str, &err), NIB_OK);
        assert_int_equal(str.len, 12);
        assert_memory_equal(str.data, "five tensors", 12);
        assert_int_equal(nib__source_tensor_count(s), 5);
        for (size_t i = 0; i < 5; i++) {
            char name[3] = {'t', (char)('0' + i), '\0'};
            const nib__tensor *t = nib__source_tensor(s, name);
            assert_ptr_equal(t, nib__source_tensor_at(s, i)); /* parts in their order */
            assert_int_equal(t->part, i / 2);
            assert_int_equal(t->ne[0], 4);
            assert_int_equal(t->ne[1], i + 1);
            float values[20];
            t->format->decode(t->data, values, 4 * (i + 1));
            for (size_t j = 0; j < 4 * (i + 1); j++) assert_true(values[j] == (float)(i * 100 + j));
        }
        nib__source_close(s);
    }
}

static void test_python_model(void **state)
{
    (void)state;
    nib__source *s = NULL;
    nib_error err;
    if (nib__source_open(NULL, fixture_path("fixtures/tiny/llama-mixed.gguf"), &s, &err) != NIB_OK)
        fail_msg("%s", err.text);
    assert_int_equal(nib__source_tensor_count(s), 2 + 3 * 9);
    static const struct {
        const char *name;
        nib__format format;
        size_t k, n;
    } expected[] = {{"token_embd.weight", NIB__Q8_0, 96, 291},
                    {"output_norm.weight", NIB__F32, 96, 1},
                    {"blk.0.attn_q.weight", NIB__Q4_0, 96, 96},
                    {"blk.2.attn_q.weight", NIB__F16, 96, 96},
                    {"blk.1.attn_k.weight", NIB__BF16, 96, 32},
                    {"blk.0.attn_v.weight", NIB__IQ4_NL, 96, 32},
                    {"blk.1.attn_output.weight", NIB__MXFP4, 96, 96},
                    {"blk.0.ffn_down.weight", NIB__Q4_K, 256, 96},
                    {"blk.1.ffn_down.weight", NIB__Q6_K, 256, 96},
                    {"blk.2.ffn_up.weight", NIB__MXFP4, 96, 256}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const nib__tensor *t = nib__source_tensor(s, expected[i].name);
        assert_non_null(t);
        assert_int_equal(t->format->format, expected[i].format);
        assert_int_equal(t->ne[0], expected[i].k);
        assert_int_equal(t->ne[1], expected[i].n);
    }
    float epsilon;
    assert_int_equal(nib__meta_f32(s, "llama.attention.layer_norm_rms_epsilon", &epsilon, &err), 0);
    assert_true(epsilon == 1e-5f);
    nib__array a;
    assert_int_equal(nib__meta_array(s, "tokenizer.ggml.tokens", NIB__META_STRING, &a, &err), 0);
    assert_int_equal(a.count, 291);
    nib__source_close(s);
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
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_mapped_file),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_errors),
        cmocka_unit_test(test_python_split),
        cmocka_unit_test(test_python_model),
    };
    return cmocka_run_group_tests_name("gguf", tests, make_directory, remove_directory);
}
