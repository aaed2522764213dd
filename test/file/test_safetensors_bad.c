/* SPDX-License-Identifier: MIT
 * Directories with safetensors that break each rule: the right status, a message that names the
 * file and the tensor or field, no leak. Then every truncation and random changes of a good file.
 */
#include "test.h"

#include "fault_alloc.h"
#include "file/source.h"
#include "fixture.h"
#include "gguf_walk.h"
#include "hf_memory.h"
#include "rng.h"
#include "temp_dir.h"

/* ---- headers ---- */

/* The file of a header and n_data bytes behind it, from malloc. */
static uint8_t *make_file(const char *header, size_t n_data, size_t *size)
{
    size_t len = strlen(header);
    *size = 8 + len + n_data;
    uint8_t *file = calloc(*size + 1, 1);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)len >> 8 * i);
    memcpy(file + 8, header, len);
    return file;
}

static void refused(const char *header, size_t n_data, nib_status code, const char *part)
{
    size_t size;
    uint8_t *file = make_file(header, n_data, &size);
    assert_hf_refused(HF_SAFETENSORS, file, size, code, part);
    free(file);
}

static void bad(const char *header, size_t n_data, const char *part)
{
    refused(header, n_data, NIB_ERR_FORMAT, part);
}

static void good(const char *header, size_t n_data, size_t n_tensors)
{
    size_t size;
    uint8_t *file = make_file(header, n_data, &size);
    nib__source *s = NULL;
    nib_error err = {0};
    assert_ok(hf_from_memory(NULL, HF_SAFETENSORS, file, size, NULL, 0, &s, &err), err);
    assert_int_equal(nib__source_tensor_count(s), n_tensors);
    gguf_walk(s);
    nib__source_close(s);
    free(file);
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void headers(void **state)
{
    (void)state;
    good("{}", 0, 0);
    good("{\"a\":" T("F32", "[2]", "[0,8]") "}      ", 8, 1);
    good("{\"__metadata__\":{\"format\":\"pt\"},\"a\":" T("F32", "[]", "[0,4]") "}", 4, 1);
    static const uint8_t large[] = {0, 0, 0, 0, 0, 1, 0, 0, '{', '}'};
    assert_hf_refused(HF_SAFETENSORS, large, sizeof large, NIB_ERR_FORMAT,
                      "a header of 1099511627776 bytes declared");
    static const uint8_t no_brace[] = {2, 0, 0, 0, 0, 0, 0, 0, '[', ']'};
    assert_hf_refused(HF_SAFETENSORS, no_brace, sizeof no_brace, NIB_ERR_FORMAT,
                      "whose byte 8 is '{'");
    assert_hf_refused(HF_SAFETENSORS, (const uint8_t *)"", 0, NIB_ERR_FORMAT,
                      "the file ends at 0 bytes");
    assert_hf_refused(HF_SAFETENSORS, (const uint8_t *)"PK\3\4abcdefgh", 12, NIB_ERR_FORMAT,
                      "expected safetensors");
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid";
    assert_hf_refused(HF_SAFETENSORS, (const uint8_t *)lfs, sizeof lfs, NIB_ERR_FORMAT,
                      "Git LFS pointer");
    bad("{\"a\":" T("F32", "[2]", "[0,8]") ",}", 8, "line 1 column 55: expected a key");
    bad("{\"a\xff\":" T("F32", "[2]", "[0,8]") "}", 8, "invalid UTF-8");
    bad("{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2,
        "the key \"a\" appears twice");
    bad("{\"__metadata__\":{\"format\":1}}", 0, "__metadata__: expected an object of strings");
    bad("{\"__metadata__\":[]}", 0, "__metadata__: expected an object of strings");
    bad("{\"\":" T("U8", "[1]", "[0,1]") "}", 1, "expected a name");
    bad("{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") "}", 1, "without NUL");
}

static void tensors(void **state)
{
    (void)state;
    bad("{\"a\":1}", 0, "tensor a: expected an object");
    bad("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a: dtype: expected a string");
    bad("{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
        "tensor a: dtype: expected");
    refused("{\"a\":" T("Q4_0", "[1]", "[0,1]") "}", 1, NIB_ERR_UNSUPPORTED,
            "tensor a: unknown dtype \"Q4_0\"");
    refused("{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, NIB_ERR_UNSUPPORTED,
            "unknown dtype \"f32\"");
    refused("{\"a\":" T("U8", "[1,1,1,1,1]", "[0,1]") "}", 1, NIB_ERR_UNSUPPORTED,
            "tensor a: shape: expected at most 4 dimensions, got 5");
    bad("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1,
        "tensor a: shape: expected an array");
    static const char *const shapes[] = {
        "[-1]", "[1.0]", "[\"1\"]", "[null]", "[[1]]", "[1e2]", "[9223372036854775808]"};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char header[128];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":%s,\"data_offsets\":[0,1]}}", shapes[i]);
        bad(header, 1, "tensor a: shape: expected integers of 0 or more");
    }
    static const char *const wraps[] = {"[4294967296,4294967296]", "[9223372036854775807,4]",
                                        "[4294967296,4294967296,0]", "[0,4294967296,4294967296]",
                                        "[4611686018427387904]"};
    for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++) {
        char header[128];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[0,0]}}", wraps[i]);
        bad(header, 0, "tensor a: shape: the product does not fit");
    }
}

static void offsets(void **state)
{
    (void)state;
    static const char *const forms[] = {"[0]",    "[0,1,2]", "0", "[\"0\",1]",
                                        "[-1,0]", "[0.0,1]", "{}"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char header[128];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":%s}}", forms[i]);
        bad(header, 1, "tensor a: data_offsets: expected two integers");
    }
    bad("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor a: data_offsets: expected two");
    bad("{\"a\":" T("U8", "[1]", "[1,0]") "}", 1, "data_offsets: 1 to 0 do not lie in the 1 bytes");
    bad("{\"a\":" T("U8", "[2]", "[0,2]") "}", 1, "tensor a: data_offsets: 0 to 2 do not lie");
    bad("{\"a\":" T("U8", "[1]", "[9223372036854775806,9223372036854775807]") "}", 1, "do not lie");
    bad("{\"a\":" T("F32", "[2,3]", "[0,20]") "}", 20,
        "tensor a: data_offsets: expected 24 bytes for its shape and dtype F32, got 20");
    bad("{\"a\":" T("U8", "[0]", "[0,1]") "}", 1, "expected 0 bytes for its shape");
    bad("{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[1,3]") "}", 3,
        "tensors a and b share bytes");
    bad("{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[0,2]") "}", 2, "share bytes");
    bad("{\"b\":" T("U8", "[1]", "[3,4]") ",\"a\":" T("U8", "[2]", "[0,2]") "}", 4,
        "1 bytes of data before tensor b belong to no tensor");
    bad("{\"a\":" T("U8", "[1]", "[2,3]") "}", 3, "2 bytes of data before tensor a");
    bad("{\"a\":" T("U8", "[1]", "[0,1]") "}", 4, "3 bytes behind the last tensor");
    bad("{}", 1, "1 bytes behind the last tensor");
    good("{\"b\":" T("U8", "[1]", "[2,3]") ",\"a\":" T("U8", "[2]", "[0,2]") "}", 3, 2);
    good("{\"z\":" T("U8", "[0,5]", "[2,2]") ",\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T(
             "U8", "[1]", "[2,3]") "}",
         3, 2);
}

static void truncations_and_changes(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = fixture_read("fixtures/checkpoints/safetensors/model.safetensors", &size);
    for (size_t cut = 0; cut < size; cut++)
        assert_hf_refused(HF_SAFETENSORS, file, cut, NIB_ERR_FORMAT, "");
    rng r = {3};
    int opened = 0;
    for (int i = 0; i < 4000; i++) {
        size_t at = rng_below(&r, i % 2 ? (uint32_t)size : 1200);
        uint8_t old = file[at];
        file[at] = (uint8_t)rng_next(&r);
        nib__source *s = NULL;
        if (hf_from_memory(NULL, HF_SAFETENSORS, file, size, NULL, 0, &s, NULL) == NIB_OK) {
            gguf_walk(s);
            opened++;
        }
        nib__source_close(s);
        file[at] = old;
    }
    assert_true(opened > 100); /* changed values and names are files like any other */
    free(file);
}

/* ---- directories ---- */

static void open_fails(temp_dir *d, nib_status code, const char *part)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    nib__source *s = NULL;
    nib_error err = {0};
    assert_fails(nib__source_open(&fa.mem, d->path, &s, &err), code, err, part);
    assert_null(s);
    assert_int_equal(fa.live_blocks, 0);
    fault_alloc_done(&fa);
}

static void put_file(temp_dir *d, const char *name, const char *header, size_t n_data)
{
    size_t size;
    uint8_t *file = make_file(header, n_data, &size);
    temp_dir_write(d, name, file, size);
    free(file);
}

static void configurations(void **state)
{
    (void)state;
    temp_dir d;
    temp_dir_make(&d);
    open_fails(&d, NIB_ERR_IO, "config.json: no such file");
    temp_dir_text(&d, "config.json", "{}");
    open_fails(&d, NIB_ERR_IO, "no weights in this directory: expected model.safetensors");
    put_file(&d, "model.safetensors", "{}", 0);
    static const struct {
        const char *text, *part;
    } cases[] = {{"", "config.json: the file is empty"},
                 {"[]", "config.json: expected an object"},
                 {"{\"n\":1,\"n\":2}", "config.json: line 1 column 8: the key \"n\" appears twice"},
                 {"{\"a\":\"\xff\"}", "invalid UTF-8"},
                 {"{\"a\":1\n \"b\":2}", "config.json: line 2 column 2: expected ',' or '}'"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        temp_dir_text(&d, "config.json", cases[i].text);
        open_fails(&d, NIB_ERR_FORMAT, cases[i].part);
    }
    temp_dir_text(&d, "config.json", "{}");
    temp_dir_text(&d, "generation_config.json", "{\"a\":}");
    open_fails(&d, NIB_ERR_FORMAT, "generation_config.json: line 1 column 6: expected a value");
    temp_dir_remove(&d);
}

static void shards(void **state)
{
    (void)state;
    temp_dir d;
    temp_dir_make(&d);
    temp_dir_text(&d, "config.json", "{}");
    put_file(&d, "one.safetensors", "{\"a\":" T("U8", "[1]", "[0,1]") "}", 1);
    put_file(&d, "two.safetensors", "{\"b\":" T("U8", "[1]", "[0,1]") "}", 1);
    static const struct {
        const char *text;
        nib_status code;
        const char *part;
    } cases[] = {
        {"{}", NIB_ERR_FORMAT, "index.json: expected a weight_map"},
        {"{\"weight_map\":{}}", NIB_ERR_FORMAT, "expected a weight_map"},
        {"{\"weight_map\":[\"a\"]}", NIB_ERR_FORMAT, "expected a weight_map"},
        {"[]", NIB_ERR_FORMAT, "expected a weight_map"},
        {"{\"weight_map\":{\"a\":1}}", NIB_ERR_FORMAT,
         "weight_map: tensor a: expected a file name"},
        {"{\"weight_map\":{\"a\":\"\"}}", NIB_ERR_FORMAT, "expected the name of a file beside"},
        {"{\"weight_map\":{\"a\":\"..\"}}", NIB_ERR_FORMAT, "beside the index, got \"..\""},
        {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", NIB_ERR_FORMAT, "beside the index"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", NIB_ERR_FORMAT, "beside the index"},
        {"{\"weight_map\":{\"a\":\"x/one.safetensors\"}}", NIB_ERR_FORMAT, "beside the index"},
        {"{\"weight_map\":{\"a\":\"x\\\\one\"}}", NIB_ERR_FORMAT, "beside the index"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\\u0000\"}}", NIB_ERR_FORMAT, "beside the index"},
        {"{\"weight_map\":{\"a\":\"three.safetensors\"}}", NIB_ERR_IO,
         "the file three.safetensors that weight_map names is missing"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}", NIB_ERR_FORMAT,
         "weight_map: tensor c is not in two.safetensors"},
        {"{\"weight_map\":{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"}}", NIB_ERR_FORMAT,
         "weight_map: tensor a is not in two.safetensors"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", NIB_ERR_FORMAT,
         "the key \"a\" appears twice"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\\u0000\":\"one.safetensors\"}}",
         NIB_ERR_FORMAT, "is not in one.safetensors"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        temp_dir_text(&d, "model.safetensors.index.json", cases[i].text);
        open_fails(&d, cases[i].code, cases[i].part);
    }
    /* The same tensor in two files. */
    temp_dir_text(&d, "model.safetensors.index.json",
                  "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    put_file(&d, "two.safetensors",
             "{\"b\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2);
    open_fails(&d, NIB_ERR_FORMAT, "tensor a appears twice");
    /* Good, but for a file that is cut off. */
    put_file(&d, "two.safetensors", "{\"b\":" T("U8", "[1]", "[0,1]") "}", 0);
    open_fails(&d, NIB_ERR_FORMAT, "two.safetensors: tensor b: data_offsets: 0 to 1 do not lie");
    temp_dir_remove(&d);
}

/* The order of layouts is that of transformers. */
static void safetensors_come_first(void **state)
{
    (void)state;
    temp_dir d;
    temp_dir_make(&d);
    temp_dir_text(&d, "config.json", "{}");
    temp_dir_text(&d, "pytorch_model.bin.index.json", "{}");
    open_fails(&d, NIB_ERR_FORMAT, "pytorch_model.bin.index.json: expected a weight_map");
    temp_dir_text(&d, "pytorch_model.bin", "x");
    open_fails(&d, NIB_ERR_UNSUPPORTED, "pytorch_model.bin: expected a PyTorch checkpoint");
    temp_dir_text(&d, "model.safetensors.index.json", "{}");
    open_fails(&d, NIB_ERR_FORMAT, "model.safetensors.index.json: expected a weight_map");
    put_file(&d, "model.safetensors", "{}", 0);
    nib__source *s = NULL;
    nib_error err = {0};
    assert_ok(nib__source_open(NULL, d.path, &s, &err), err);
    nib__source_close(s);
    temp_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(tensors),
        cmocka_unit_test(offsets),
        cmocka_unit_test(truncations_and_changes),
        cmocka_unit_test(configurations),
        cmocka_unit_test(shards),
        cmocka_unit_test(safetensors_come_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
