/* SPDX-License-Identifier: MIT
 * Sessions saved from a Hugging Face directory: a copy of the checkpoint takes them, in one file or
 * in shards; a checkpoint with other weights or another configuration does not. */
#include "test.h"

#include "base/bytes.h"
#include "base/json.h"
#include "fixture.h"
#include "temp_dir.h"

static const char *const model_path = "fixtures/hf/gpt2";

static nib_session *open_session(const char *path)
{
    nib_model *model = NULL;
    nib_session *session = NULL;
    nib_error err = {0};
    assert_ok(nib_model_open(path, NULL, &model, &err), err);
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = 32;
    assert_ok(nib_session_new(model, &options, &session, &err), err);
    nib_model_free(model);
    return session;
}

static uint8_t *read_file(const char *name, size_t *size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", model_path, name);
    return fixture_read(path, size);
}

static void copy_config(temp_dir *d)
{
    size_t size;
    uint8_t *bytes = read_file("config.json", &size);
    temp_dir_write(d, "config.json", bytes, size);
    free(bytes);
}

/* Saves a session of the fixture with three tokens in it. */
static void save(temp_dir *d)
{
    static const int32_t ids[] = {3, 1, 2};
    nib_session *s = open_session(fixture_path(model_path));
    nib_error err = {0};
    assert_ok(nib_session_set_tokens(s, ids, 3, NULL, &err), err);
    assert_ok(nib_session_eval(s, &err), err);
    assert_ok(nib_session_save(s, temp_dir_file(d, "state"), &err), err);
    nib_session_free(s);
}

static nib_status load(temp_dir *d, nib_error *err)
{
    nib_session *s = open_session(d->path);
    nib_status status = nib_session_load(s, temp_dir_file(d, "state"), err);
    nib_session_free(s);
    return status;
}

/* One file per tensor, in reverse order. */
static void write_shards(temp_dir *d, const uint8_t *file)
{
    size_t n = (size_t)nib__le64(file), len, index_len = 0;
    const uint8_t *data = file + 8 + n;
    nib__json *json = NULL;
    nib_error err = {0};
    assert_ok(nib__json_parse(NULL, "header", (const char *)file + 8, n, &json, &err), err);
    char *index = malloc(1 << 16);
    index_len += (size_t)sprintf(index, "{\"weight_map\":{");
    int shard = 100;
    nib__json_value v = nib__json_first(json, 0);
    for (; v != NIB__JSON_NONE; v = nib__json_next(json, v)) {
        const char *name = nib__json_key(json, v, &len);
        if (strcmp(name, "__metadata__") == 0) continue;
        nib__json_value from = nib__json_first(json, nib__json_get(json, v, "data_offsets"));
        int64_t begin = 0, end = 0, ne[4] = {0};
        assert_true(nib__json_integer(json, from, &begin));
        assert_true(nib__json_integer(json, nib__json_next(json, from), &end));
        nib__json_value shape = nib__json_get(json, v, "shape");
        nib__json_value dim = nib__json_first(json, shape);
        char dims[64] = "", file_name[32];
        for (int i = 0; dim != NIB__JSON_NONE; dim = nib__json_next(json, dim), i++) {
            assert_true(nib__json_integer(json, dim, &ne[i]));
            sprintf(dims + strlen(dims), "%s%lld", i == 0 ? "" : ",", (long long)ne[i]);
        }
        uint8_t *bytes = malloc((size_t)(end - begin) + 512);
        int header = sprintf((char *)bytes + 8,
                             "{\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[0,%lld]}}",
                             name, nib__json_string(json, nib__json_get(json, v, "dtype"), &len),
                             dims, (long long)(end - begin));
        nib__put_le64(bytes, (uint64_t)header);
        memcpy(bytes + 8 + header, data + begin, (size_t)(end - begin));
        sprintf(file_name, "part-%d.safetensors", shard--);
        temp_dir_write(d, file_name, bytes, 8 + (size_t)header + (size_t)(end - begin));
        free(bytes);
        index_len += (size_t)sprintf(index + index_len, "\"%s\":\"%s\",", name, file_name);
    }
    strcpy(index + index_len - 1, "}}");
    temp_dir_text(d, "model.safetensors.index.json", index);
    free(index);
    nib__json_free(json);
}

static void copies(void **state)
{
    (void)state;
    temp_dir d;
    size_t size;
    nib_error err = {0};
    temp_dir_make(&d);
    save(&d);
    copy_config(&d);
    uint8_t *bytes = read_file("model.safetensors", &size);
    temp_dir_write(&d, "model.safetensors", bytes, size);
    assert_ok(load(&d, &err), err);
    temp_dir_delete(&d, "model.safetensors");
    write_shards(&d, bytes);
    assert_ok(load(&d, &err), err);
    free(bytes);
    temp_dir_remove(&d);
}

static void others(void **state)
{
    (void)state;
    temp_dir d;
    size_t size;
    nib_error err = {0};
    temp_dir_make(&d);
    save(&d);
    copy_config(&d);
    uint8_t *bytes = read_file("model.safetensors", &size);
    bytes[size - 3] ^= 1; /* of the last tensor's last number */
    temp_dir_write(&d, "model.safetensors", bytes, size);
    assert_fails(load(&d, &err), NIB_ERR_MISMATCH, err, "");
    bytes[size - 3] ^= 1;
    temp_dir_write(&d, "model.safetensors", bytes, size);
    assert_ok(load(&d, &err), err);
    free(bytes);

    char *config = (char *)read_file("config.json", &size), text[4096];
    config = realloc(config, size + 1);
    config[size] = '\0';
    char *field = strstr(config, "\"layer_norm_epsilon\"");
    assert_non_null(field);
    snprintf(text, sizeof text, "%.*s\"layer_norm_epsilon\": 0.5, \"was\"%s", (int)(field - config),
             config, field + strlen("\"layer_norm_epsilon\""));
    temp_dir_text(&d, "config.json", text);
    assert_fails(load(&d, &err), NIB_ERR_MISMATCH, err, "");
    free(config);
    temp_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
