/* SPDX-License-Identifier: MIT
 * Whole Hugging Face directories with damaged configurations, through the public API: every value
 * of the config.json of every fixture replaced by every edge value, and left out. Whatever opens
 * must also complete text or say why not. */
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>

#include "fixture.h"
#include "model_use.h"
#include "temp_dir.h"

enum { MAX_BYTES = 64 << 20, MAX_CONFIG = 8192 };

static const char *const edges[] = {
    "0",          "1",          "2",     "3",    "-1",    "7",        "65536", "1048576",
    "2147483647", "4294967295", "1e30",  "-0.5", "1e-40", "Infinity", "NaN",   "null",
    "true",       "false",      "\"x\"", "[]",   "[1,2]", "{}"};
enum { N_EDGES = sizeof edges / sizeof edges[0] };

/* The tokenizer of these fixtures is left away: they are used by ids. This one has fewer tokens
 * than any of their vocabularies. */
static const char tokenizer[] =
    "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
    "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
    "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
    "\"vocab\":{\"d\":0,\"e\":1,\"f\":2,\"x\":3,\"(\":4,\"de\":5},\"merges\":[\"d e\"]}}";

static int n_opened, n_refused, n_completed;

/* The message says which file, and which field of it: the damaged one, another that does not fit
 * to it, or a tensor that does not. */
static void check_message(const char *text, const char *key)
{
    bool field = strstr(text, key) != NULL || strstr(text, "config.json: key ") != NULL;
    if (strstr(text, "config.json: ") != NULL && field) return;
    if (strstr(text, "/model.safetensors: tensor ") != NULL) return;
    if (strstr(text, ": tensor ") != NULL && strstr(text, "got no such tensor") != NULL) return;
    fail_msg("%s: the message is \"%s\"", key, text);
}

static void use(temp_dir *d, const char *config, const char *key)
{
    temp_dir_text(d, "config.json", config);
    model_result result = model_use_path(d->path, MAX_BYTES, 0);
    if (result.status != NIB_OK) check_message(result.error.text, key);
    n_opened += result.status == NIB_OK;
    n_refused += result.status != NIB_OK;
    n_completed += result.completed;
}

/* The end of the JSON value at text[at] of a good document. */
static size_t value_end(const char *text, size_t at)
{
    int depth = 0;
    do {
        if (text[at] == '"') {
            for (at++; text[at] != '"'; at++) at += text[at] == '\\';
            at++;
        } else if (strchr("{[", text[at]) != NULL) {
            depth++;
            at++;
        } else if (strchr("}]", text[at]) != NULL) {
            depth--;
            at++;
        } else if (depth > 0 && strchr(", \n:", text[at]) != NULL) {
            at++;
        } else {
            while (strchr(",}] \n", text[at]) == NULL) at++;
        }
    } while (depth > 0);
    return at;
}

/* Calls `visit` with the place of every value that has a key, at any depth. */
static void damage(temp_dir *d, const char *config)
{
    char text[2 * MAX_CONFIG];
    size_t len = strlen(config);
    for (size_t at = 1; at < len; at++) {
        if (config[at] != ':' || config[at - 1] != '"') continue;
        size_t start = at + 1;
        while (config[start] == ' ') start++;
        size_t end = value_end(config, start);
        char key[64];
        size_t open = at - 2;
        while (config[open] != '"') open--;
        snprintf(key, sizeof key, "%.*s", (int)(at - 2 - open), config + open + 1);
        for (size_t e = 0; e < N_EDGES; e++) {
            snprintf(text, sizeof text, "%.*s%s%s", (int)start, config, edges[e], config + end);
            use(d, text, key);
        }
        /* Under another key: the field is missing. */
        snprintf(text, sizeof text, "%.*s_\"%s", (int)(at - 1), config, config + at);
        use(d, text, key);
    }
}

/* The directory `name` of the fixtures is copied to a temporary one and damaged there. */
static void damage_fixture(const char *folder, const char *name)
{
    char path[256], config[MAX_CONFIG];
    size_t size;
    temp_dir d;
    temp_dir_make(&d);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    temp_dir_fixture(&d, path, "model.safetensors");
    snprintf(path, sizeof path, "%s/%s/config.json", folder, name);
    uint8_t *bytes = fixture_read(path, &size);
    assert_true(size + 64 < sizeof config);
    memcpy(config, bytes, size);
    config[size] = '\0';
    free(bytes);
    temp_dir_text(&d, "tokenizer.json", tokenizer);
    use(&d, config, "");
    if (n_opened == 0) fail_msg("%s does not open", name);
    damage(&d, config);
    temp_dir_remove(&d);
}

static void every_value_of_every_configuration(void **state)
{
    const char *folder = *state;
    DIR *dir = opendir(fixture_path(folder));
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || strchr(entry->d_name, '.') != NULL) continue;
        char path[300];
        size_t size;
        snprintf(path, sizeof path, "%s/%s/model.safetensors", folder, entry->d_name);
        uint8_t *there = file_read(fixture_path(path), &size);
        if (there == NULL || len == 0) continue; /* another layout */
        free(there);
        n_opened = n_refused = n_completed = 0;
        damage_fixture(folder, entry->d_name);
        print_message("%-16s %4d opened, %4d completed, %4d refused\n", entry->d_name, n_opened,
                      n_completed, n_refused);
        assert_true(n_opened > 20);
        assert_true(n_completed > 20 || strncmp(entry->d_name, "roberta", 7) == 0);
        assert_true(n_refused > 20);
        n++;
    }
    closedir(dir);
    assert_true(n >= 5);
}

/* A path as long as a message can be is cut, not what the message has to say. */
static void long_paths(void **state)
{
    (void)state;
    temp_dir outer, d;
    temp_dir_make(&outer);
    snprintf(d.path, sizeof d.path, "%.40s/%0200d", outer.path, 0);
    assert_int_equal(mkdir(d.path, 0700), 0);
    temp_dir_fixture(&d, "fixtures/hf/llama", "model.safetensors");
    temp_dir_fixture(&d, "fixtures/hf/llama", "config.json");
    size_t size;
    char *config = (char *)file_read(temp_dir_file(&d, "config.json"), &size);
    char *value = strstr(config, "\"intermediate_size\": ");
    assert_non_null(value);
    value[strlen("\"intermediate_size\": ")] = '9';
    temp_dir_write(&d, "config.json", config, size);
    free(config);
    model_result result = model_use_path(d.path, MAX_BYTES, 0);
    assert_fails(result.status, NIB_ERR_FORMAT, result.error,
                 "0/model.safetensors: tensor model.layers.0.mlp.gate_proj.weight: expected ");
    temp_dir_text(&d, "config.json", "{\"model_type\":\"llama\",\"hidden_size\":[]}");
    result = model_use_path(d.path, MAX_BYTES, 0);
    assert_fails(result.status, NIB_ERR_FORMAT, result.error, "0/config.json: ");
    temp_dir_remove(&d);
    temp_dir_remove(&outer);
}

int main(void)
{
    static char decoders[] = "fixtures/hf", others[] = "fixtures/seq2seq";
    const struct CMUnitTest tests[] = {
        {"decoders", every_value_of_every_configuration, NULL, NULL, decoders},
        cmocka_unit_test(long_paths),
        {"encoders", every_value_of_every_configuration, NULL, NULL, others},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
