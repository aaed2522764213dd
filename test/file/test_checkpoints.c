/* SPDX-License-Identifier: MIT
 * Hugging Face directories as the safetensors and torch packages write them: every tensor with its
 * bytes, every field of the configuration, files beside the weights, and the order of layouts. */
#include "test.h"

#include "base/bytes.h"
#include "fault_turn.h"
#include "file/source.h"
#include "fixture.h"
#include "gguf_walk.h"
#include "temp_dir.h"

static nib__source *open_source(const char *path)
{
    nib__source *s = NULL;
    nib_error err = {0};
    assert_ok(nib__source_open(NULL, path, &s, &err), err);
    return s;
}

/* ---- tensors ---- */

/* The bytes of the tensor that the cursor stands before are in the source. */
static void check_tensor(nib__cursor *c, const nib__source *s)
{
    char name[256], dtype[16];
    uint32_t len = nib__cursor_u32(c);
    assert_true(len < sizeof name);
    memcpy(name, nib__cursor_take(c, len), len);
    name[len] = '\0';
    len = nib__cursor_u32(c);
    assert_true(len < sizeof dtype);
    memcpy(dtype, nib__cursor_take(c, len), len);
    dtype[len] = '\0';
    const nib__tensor *t = nib__source_tensor(s, name);
    if (t == NULL) fail_msg("no tensor %s", name);
    assert_string_equal(t->name, name);
    assert_string_equal(t->format->name, dtype);
    bool computable =
        strcmp(dtype, "F32") == 0 || strcmp(dtype, "F16") == 0 || strcmp(dtype, "BF16") == 0;
    assert_true((t->format->decode != NULL) == computable);
    assert_true((t->format->format == NIB__STORED) == !computable);
    uint32_t n = nib__cursor_u32(c);
    assert_int_equal(t->n_dims, n == 0 ? 1 : n);
    for (uint32_t i = n; i < NIB__MAX_DIMS; i++) assert_int_equal(t->ne[i], 1);
    for (uint32_t i = 0; i < n; i++) assert_int_equal(t->ne[n - 1 - i], nib__cursor_u64(c));
    uint64_t size = nib__cursor_u64(c);
    const uint8_t *data = nib__cursor_take(c, size);
    assert_int_equal(t->size, size);
    assert_non_null(data);
    assert_memory_equal(t->data, data, size);
}

static void check_tensors(const nib__source *s, const char *folder)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "%s/expected.bin", folder);
    uint8_t *bytes = fixture_read(path, &size);
    nib__cursor c = {bytes, size, 0, false};
    uint32_t n = nib__cursor_u32(&c);
    assert_true(n > 0);
    assert_int_equal(nib__source_tensor_count(s), n);
    for (uint32_t i = 0; i < n; i++) check_tensor(&c, s);
    assert_int_equal(nib__cursor_left(&c), 0);
    free(bytes);
    assert_null(nib__source_tensor(s, "none"));
    assert_null(nib__source_tensor(s, "absent"));
}

static const char *const folders[] = {
    "safetensors",  "safetensors-sharded", "torch",       "torch-sharded", "torch-protocol4",
    "torch-nested", "torch-module",        "torch-zip64", "torch-2",       "torch-views"};
enum { N_FOLDERS = sizeof folders / sizeof folders[0] };

static void every_layout(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FOLDERS; i++) {
        char folder[128];
        snprintf(folder, sizeof folder, "fixtures/checkpoints/%s", folders[i]);
        nib__source *s = open_source(fixture_path(folder));
        assert_int_equal(nib__source_naming(s), NIB__NAMING_HF);
        assert_string_equal(nib__source_path(s), fixture_path(folder));
        check_tensors(s, folder);
        gguf_walk(s);
        nib__source_close(s);
    }
}

static void weight_file_as_path(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "fixtures/checkpoints/safetensors/model.safetensors",
        "fixtures/checkpoints/safetensors-sharded/model.safetensors.index.json",
        "fixtures/checkpoints/safetensors/", "fixtures/checkpoints/safetensors//"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        nib__source *s = open_source(fixture_path(paths[i]));
        check_tensors(s, "fixtures/checkpoints/safetensors");
        nib__source_close(s);
    }
    /* One shard alone is a file like any other. */
    nib__source *s = open_source(
        fixture_path("fixtures/checkpoints/safetensors-sharded/model-00001-of-00003.safetensors"));
    assert_int_equal(nib__source_tensor_count(s), 5);
    nib__source_close(s);
}

/* ---- configuration ---- */

static void getters(void **state)
{
    (void)state;
    nib__source *s = open_source(fixture_path("fixtures/checkpoints/safetensors"));
    nib_error err = {0};
    uint32_t u32 = 99;
    int64_t i64 = 0;
    float f32 = 0;
    int32_t flag = 9;
    nib__str str;
    assert_ok(nib__meta_u32(s, "n_layer", &u32, &err), err);
    assert_int_equal(u32, 2);
    assert_ok(nib__meta_u32(s, "deep.a.b.c", &u32, &err), err);
    assert_int_equal(u32, 7);
    assert_ok(nib__meta_u32(s, "generation_config.max_new_tokens", &u32, &err), err);
    assert_int_equal(u32, 20);
    assert_ok(nib__meta_i64(s, "big", &i64, &err), err);
    assert_true(i64 == 4294967296);
    assert_ok(nib__meta_f32(s, "layer_norm_epsilon", &f32, &err), err);
    assert_true(f32 == 1e-05f);
    assert_ok(nib__meta_f32(s, "rope_scaling.factor", &f32, &err), err);
    assert_true(f32 == 4);
    assert_ok(nib__meta_bool(s, "tie_word_embeddings", &flag, &err), err);
    assert_int_equal(flag, 1);
    assert_ok(nib__meta_str(s, "rope_scaling.type", &str, &err), err);
    assert_int_equal(str.len, 6);
    assert_memory_equal(str.data, "linear", 6);

    static const char *const absent[] = {"n_inner",
                                         "nothing",
                                         "deep.x",
                                         "deep.a.b.c.d",
                                         "n_layer.x",
                                         "deep.",
                                         ".deep",
                                         "",
                                         ".",
                                         "generation_config.n_layer",
                                         "generation_config",
                                         "generation_config."};
    u32 = 99;
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        nib__array a;
        assert_int_equal(nib__meta_u32(s, absent[i], &u32, &err), NIB__ABSENT);
        assert_int_equal(nib__meta_str(s, absent[i], &str, &err), NIB__ABSENT);
        assert_int_equal(nib__meta_array(s, absent[i], NIB__META_F32, &a, &err), NIB__ABSENT);
        const char *null = "n_inner";
        assert_int_equal(nib__meta_type_of(s, absent[i]),
                         strcmp(absent[i], null) == 0 ? NIB__META_NULL : -1);
    }
    assert_int_equal(u32, 99);
    assert_int_equal(nib__meta_type_of(s, "n_layer"), NIB__META_I64);
    assert_int_equal(nib__meta_type_of(s, "layer_norm_epsilon"), NIB__META_F64);
    assert_int_equal(nib__meta_type_of(s, "tie_word_embeddings"), NIB__META_BOOL);
    assert_int_equal(nib__meta_type_of(s, "hidden_act"), NIB__META_STRING);
    assert_int_equal(nib__meta_type_of(s, "mixed"), NIB__META_ARRAY);
    assert_int_equal(nib__meta_type_of(s, "rope_scaling"), NIB__META_OBJECT);
    nib__source_close(s);
}

static void wrong_fields(void **state)
{
    (void)state;
    nib__source *s = open_source(fixture_path("fixtures/checkpoints/safetensors"));
    nib_error err = {0};
    uint32_t u32 = 99;
    int64_t i64 = 99;
    float f32 = 99;
    int32_t flag = 99;
    nib__str str = {NULL, 99};
    assert_fails(nib__meta_u32(s, "hidden_act", &u32, &err), NIB_ERR_FORMAT, err,
                 "config.json: hidden_act: expected an integer, got \"gelu_new\"");
    assert_fails(nib__meta_u32(s, "negative", &u32, &err), NIB_ERR_FORMAT, err,
                 "config.json: negative: expected 0 to 4294967295, got -1");
    assert_fails(nib__meta_u32(s, "big", &u32, &err), NIB_ERR_FORMAT, err, "got 4294967296");
    assert_fails(nib__meta_i64(s, "layer_norm_epsilon", &i64, &err), NIB_ERR_FORMAT, err,
                 "layer_norm_epsilon: expected an integer of at most 64 bits");
    assert_fails(nib__meta_u32(s, "eos_token_id", &u32, &err), NIB_ERR_FORMAT, err,
                 "eos_token_id: expected an integer, got an array");
    assert_fails(nib__meta_f32(s, "huge", &f32, &err), NIB_ERR_FORMAT, err, "the range of f32");
    assert_fails(nib__meta_f32(s, "tie_word_embeddings", &f32, &err), NIB_ERR_FORMAT, err,
                 "expected a number, got true");
    assert_fails(nib__meta_bool(s, "n_layer", &flag, &err), NIB_ERR_FORMAT, err,
                 "n_layer: expected true or false, got a number");
    assert_fails(nib__meta_str(s, "rope_scaling", &str, &err), NIB_ERR_FORMAT, err,
                 "rope_scaling: expected a string, got an object");
    assert_fails(nib__meta_str(s, "generation_config.eos_token_id", &str, &err), NIB_ERR_FORMAT,
                 err, "generation_config.json: eos_token_id: expected a string");
    assert_true(u32 == 99 && i64 == 99 && f32 == 99 && flag == 99 && str.len == 99);
    nib__source_close(s);
}

static void arrays(void **state)
{
    (void)state;
    nib__source *s = open_source(fixture_path("fixtures/checkpoints/safetensors"));
    nib_error err = {0};
    nib__array a;
    assert_ok(nib__meta_array(s, "eos_token_id", NIB__META_U32, &a, &err), err);
    assert_int_equal(a.count, 2);
    assert_int_equal(nib__array_u32(&a, 1), 2);
    assert_ok(nib__meta_array(s, "eos_token_id", NIB__META_F32, &a, &err), err);
    assert_true(nib__array_f32(&a, 1) == 2);
    assert_ok(nib__meta_array(s, "scales", NIB__META_F32, &a, &err), err);
    assert_int_equal(a.count, 2);
    assert_true(nib__array_f32(&a, 1) == 2.5f);
    assert_ok(nib__meta_array(s, "layer_types", NIB__META_STRING, &a, &err), err);
    size_t at = 0;
    nib__str str;
    assert_int_equal(nib__array_next_str(&a, &at, &str), 1);
    assert_int_equal(nib__array_next_str(&a, &at, &str), 1);
    assert_int_equal(str.len, 7);
    assert_memory_equal(str.data, "sliding", 7);
    assert_int_equal(nib__array_next_str(&a, &at, &str), 0);
    assert_ok(nib__meta_array(s, "flags", NIB__META_BOOL, &a, &err), err);
    assert_true(a.count == 2 && a.data[0] == 1 && a.data[1] == 0);
    assert_ok(nib__meta_array(s, "empty", NIB__META_F32, &a, &err), err);
    assert_true(a.count == 0 && a.type == NIB__META_F32);

    assert_fails(nib__meta_array(s, "scales", NIB__META_U32, &a, &err), NIB_ERR_FORMAT, err,
                 "config.json: scales: expected an array of u32 only");
    assert_fails(nib__meta_array(s, "mixed", NIB__META_STRING, &a, &err), NIB_ERR_FORMAT, err,
                 "mixed: expected an array of string only");
    assert_fails(nib__meta_array(s, "n_layer", NIB__META_U32, &a, &err), NIB_ERR_FORMAT, err,
                 "n_layer: expected an array, got a number");
    nib__source_close(s);
}

/* ---- files ---- */

/* {"a": U8 [1]} with the byte `value` */
static size_t tiny_file(uint8_t *file, uint8_t value)
{
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    memset(file, 0, 8);
    file[0] = sizeof header - 1;
    memcpy(file + 8, header, sizeof header - 1);
    file[8 + sizeof header - 1] = value;
    return 8 + sizeof header;
}

static void side_files(void **state)
{
    (void)state;
    temp_dir d;
    uint8_t file[128];
    temp_dir_make(&d);
    temp_dir_text(&d, "config.json", "{}");
    temp_dir_text(&d, "vocab.json", "{\"a\":0}");
    temp_dir_text(&d, "empty.txt", "");
    temp_dir_write(&d, "model.safetensors", file, tiny_file(file, 1));
    nib__source *s = open_source(d.path);
    nib_error err = {0};
    nib__str first = {NULL, 0}, again = {NULL, 0};
    assert_int_equal(nib__source_file(s, "tokenizer.json", &first, &err), NIB__ABSENT);
    assert_ok(nib__source_file(s, "vocab.json", &first, &err), err);
    assert_int_equal(first.len, 7);
    assert_memory_equal(first.data, "{\"a\":0}", 7);
    assert_ok(nib__source_file(s, "vocab.json", &again, &err), err);
    assert_ptr_equal(again.data, first.data);
    assert_fails(nib__source_file(s, "empty.txt", &first, &err), NIB_ERR_FORMAT, err, "empty.txt");
    assert_int_equal(first.len, 7);
    nib__source_close(s);
    /* A GGUF has no files beside it. */
    s = open_source(fixture_path("fixtures/tiny/llama-f32.gguf"));
    assert_int_equal(nib__source_naming(s), NIB__NAMING_GGUF);
    assert_int_equal(nib__source_file(s, "tokenizer.json", &first, &err), NIB__ABSENT);
    nib__source_close(s);
    temp_dir_remove(&d);
}

static void changed_files_are_noticed(void **state)
{
    (void)state;
    temp_dir d;
    uint8_t file[128];
    temp_dir_make(&d);
    temp_dir_text(&d, "config.json", "{}");
    size_t size = tiny_file(file, 1);
    temp_dir_write(&d, "model.safetensors", file, size);
    nib__source *s = open_source(d.path);
    nib_error err = {0};
    assert_ok(nib__source_check(s, &err), err);
    temp_dir_write(&d, "model.safetensors", file, size - 1);
    assert_fails(nib__source_check(s, &err), NIB_ERR_IO, err,
                 "model.safetensors: the file was changed");
    nib__source_close(s);
    temp_dir_remove(&d);
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FOLDERS; i++) {
        char folder[128];
        snprintf(folder, sizeof folder, "fixtures/checkpoints/%s", folders[i]);
        for (size_t n = 1;; n++) {
            fault_alloc fa;
            fault_alloc_init(&fa);
            fa.fail_at = n;
            nib__source *s = NULL;
            nib_error err = {0};
            nib__str bytes;
            nib_status status = nib__source_open(&fa.mem, fixture_path(folder), &s, &err);
            if (status == NIB_OK)
                status = nib__source_file(s, "generation_config.json", &bytes, &err);
            nib__source_close(s);
            if (fault_turn_last(&fa, status, &err, 20)) break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout),
        cmocka_unit_test(weight_file_as_path),
        cmocka_unit_test(getters),
        cmocka_unit_test(wrong_fields),
        cmocka_unit_test(arrays),
        cmocka_unit_test(side_files),
        cmocka_unit_test(changed_files_are_noticed),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
