/* SPDX-License-Identifier: MIT
 * GGUF files in the file system: what cannot be opened, files that change while they are mapped,
 * models split over several files, and files that gguf-py wrote. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "fault_alloc.h"
#include "file/source.h"
#include "fixture.h"
#include "gguf_writer.h"
#include "temp_dir.h"

static const char *in_directory(const char *name)
{
    return temp_dir_file(&test_folder, name);
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
    expect_open(test_folder.path, NIB_ERR_IO, "directory");
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
    gguf_writer w;
    size_t size;
    gguf_begin(&w);
    gguf_tensor(&w, "b.weight", 2, 2, (const uint64_t[]){64, 3}, NULL, 3 * 2 * 18);
    gguf_tensor(&w, "c.weight", 14, 4, (const uint64_t[]){256, 1, 2, 1}, NULL, 420);
    uint8_t *file = gguf_end(&w, &size);
    const char *path = in_directory("model.gguf");
    assert_int_equal(file_write(path, file, size), 0);
    nib__source *s;
    nib_error err;
    assert_int_equal(nib__source_open(NULL, path, &s, &err), NIB_OK);
    assert_string_equal(nib__source_path(s), path);
    const nib__tensor *t = nib__source_tensor(s, "c.weight");
    nib__source_drop(s, t, 0, t->size); /* dropped pages come back from the file */
    assert_int_equal(t->data[0], 1);
    assert_int_equal(t->data[419], 420 % 256);
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
        nib__source_drop(s, y, 0, y->size);
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
        cmocka_unit_test(test_paths),        cmocka_unit_test(test_mapped_file),
        cmocka_unit_test(test_split),        cmocka_unit_test(test_split_errors),
        cmocka_unit_test(test_python_split), cmocka_unit_test(test_python_model),
    };
    return cmocka_run_group_tests_name("gguf files", tests, make_test_folder, remove_test_folder);
}
