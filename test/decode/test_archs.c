/* SPDX-License-Identifier: MIT
 * Every architecture of Hugging Face directories: logits of every position and 64 greedy tokens of
 * tiny checkpoints against transformers (Qwen 3 and Gemma 3: against numpy), weights converted
 * while loading, and damaged directories. test/oracle/make_hf_fixtures.py makes the checkpoints. */
#include <math.h>
#include <string.h>

#include "test.h"

#include "archs_refused.h"
#include "fault_turn.h"
#include "fixture.h"
#include "fixture_model.h"
#include "model/model.h"
#include "temp_dir.h"

/* Of each architecture the first shape is safetensors in float32, the others pytorch_model.bin. */
typedef struct checkpoint {
    const char *name;
    bool half; /* f16 or bf16: not float32 unless NIB_PRECISION_F32 */
} checkpoint;

static const checkpoint checkpoints[] = {
    {"codegen", 0},       {"codegen-2", 0},
    {"gpt2", 0},          {"gpt2-2", 0},
    {"gpt2-old", 0},      {"bigcode", 0},
    {"bigcode-2", 1},     {"gptj", 0},
    {"gptj-2", 1},        {"neox", 0},
    {"neox-2", 0},        {"xglm", 0},
    {"starcoder2", 0},    {"starcoder2-2", 1},
    {"xglm-2", 1},        {"llama", 0},
    {"llama-2", 1},       {"llama-3", 1},
    {"mistral", 1},       {"qwen2", 0},
    {"qwen2-2", 1},       {"gemma", 0},
    {"gemma-2", 1},       {"phi", 0},
    {"phi-2", 1},         {"opt", 0},
    {"opt-2", 1},         {"qwen3", 0},
    {"qwen3-2", 1},       {"gemma3", 0},
    {"gemma3-2", 1},      {"stablelm", 0},
    {"stablelm-2", 1},    {"codegen2", 0},
    {"codegen2-2", 0},    {"opt_350m", 0},
    {"opt-wide", 1},      {"phi_norms", 0},
    {"gptneo", 0},        {"gptneo-2", 1},
    {"gptneo-3", 0},      {"gemma3-3", 0},
    {"santacoder", 0},    {"santacoder-2", 0},
    {"gemma3_images", 1}, {"gemma3_images-2", 0},
};
enum { N_CHECKPOINTS = sizeof checkpoints / sizeof checkpoints[0], CONTEXT = 84 };

/* name: in test/fixtures, as "hf/gpt2". */
static nib_model *open_with(const char *name, uint32_t precision, uint32_t load, const char *isa)
{
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.precision = precision;
    options.load = load;
    options.isa = isa;
    return fixture_model(name, &options);
}

static nib_model *open_checkpoint(const char *name, uint32_t precision, uint32_t load,
                                  const char *isa)
{
    char path[64];
    snprintf(path, sizeof path, "hf/%s", name);
    return open_with(path, precision, load, isa);
}

static reference read_reference(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "hf/%s", name);
    return fixture_reference(path);
}

/* Logits after each of the reference's ids; from malloc. */
static float *logits_of(nib_model *model, const reference *ref, uint32_t n_threads, uint32_t flags)
{
    nib_session *session = fixture_session(model, CONTEXT, n_threads, NIB_KV_F16);
    assert_int_equal(model->config.n_vocab, ref->n_vocab);
    float *logits = fixture_logits(session, ref, flags);
    nib_session_free(session);
    return logits;
}

static double distance_with(const char *name, uint32_t precision, uint32_t load, const char *isa,
                            uint32_t flags)
{
    reference ref = read_reference(name);
    nib_model *model = open_checkpoint(name, precision, load, isa);
    float *logits = logits_of(model, &ref, 1, flags);
    double d = reference_distance(&ref, logits);
    free(logits);
    nib_model_free(model);
    reference_free(&ref);
    return d;
}

static void test_logits_equal_transformers(void **state)
{
    (void)state;
    static const uint32_t precisions[] = {NIB_PRECISION_F32, NIB_PRECISION_DEFAULT,
                                          NIB_PRECISION_EXACT};
    for (size_t i = 0; i < N_CHECKPOINTS; i++) {
        const checkpoint *c = &checkpoints[i];
        for (int p = 0; p < 3; p++) {
            for (uint32_t flags = 0; flags <= NIB_EVAL_STEPWISE; flags++) {
                double d = distance_with(c->name, precisions[p], 0, NULL, flags);
                bool plain = !c->half || precisions[p] == NIB_PRECISION_F32;
                print_message("%-13s precision %u %s: %.1e\n", c->name, precisions[p],
                              flags ? "steps" : "whole", d);
                /* others: f16 keys and values, in prefill bf16 weights and activations */
                assert_true(d <= (plain ? 2e-4 : flags ? 4e-3 : 3e-2));
            }
        }
    }
}

/* The same with the names and keys of GGUF (test/oracle/make_gguf_archs.py). */
static void test_gguf_architectures(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "starcoder", "starcoder2", "gptneox",
                                        "phi2", "qwen3",     "gemma",      "gemma3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "archs/%s", names[i]);
        reference ref = fixture_reference(path);
        snprintf(path, sizeof path, "archs/%s.gguf", names[i]);
        nib_model *model = open_with(path, NIB_PRECISION_DEFAULT, 0, NULL);
        assert_string_equal(model->config.arch, names[i]);
        for (uint32_t flags = 0; flags <= NIB_EVAL_STEPWISE; flags++) {
            float *logits = logits_of(model, &ref, 1, flags);
            double d = reference_distance(&ref, logits);
            print_message("%-13s GGUF %s: %.1e\n", names[i], flags ? "steps" : "whole", d);
            assert_true(d <= 2e-4);
            free(logits);
        }
        nib_model_free(model);
        reference_free(&ref);
    }
}

static void test_every_instruction_set(void **state)
{
    (void)state;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        for (size_t i = 0; i < N_CHECKPOINTS; i++) {
            if (checkpoints[i].half) continue;
            const char *name = nib__isa_name((nib__isa)isa);
            assert_true(distance_with(checkpoints[i].name, 0, 0, name, 0) <= 2e-4);
        }
    }
}

static void test_greedy_equals_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CHECKPOINTS; i++) {
        reference ref = read_reference(checkpoints[i].name);
        uint32_t precision = checkpoints[i].half ? NIB_PRECISION_F32 : NIB_PRECISION_DEFAULT;
        nib_model *model = open_checkpoint(checkpoints[i].name, precision, 0, NULL);
        nib_session *session = fixture_session(model, CONTEXT, 1, NIB_KV_F16);
        float *logits = fixture_logits(session, &ref, 0);
        assert_int_equal(ref.n_greedy, 64);
        assert_greedy(session, &ref, logits + (size_t)(ref.n_tokens - 1) * ref.n_vocab,
                      checkpoints[i].name);
        free(logits);
        nib_session_free(session);
        nib_model_free(model);
        reference_free(&ref);
    }
}

/* The same bits for one and for three threads, and whole or in steps where that is promised. */
static void test_threads_and_steps_do_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CHECKPOINTS; i++) {
        reference ref = read_reference(checkpoints[i].name);
        nib_model *model = open_checkpoint(checkpoints[i].name, NIB_PRECISION_EXACT, 0, NULL);
        size_t size = (size_t)ref.n_tokens * ref.n_vocab * sizeof(float);
        float *one = logits_of(model, &ref, 1, 0), *three = logits_of(model, &ref, 3, 0);
        float *steps = logits_of(model, &ref, 1, NIB_EVAL_STEPWISE);
        assert_memory_equal(one, three, size);
        assert_memory_equal(one, steps, size);
        free(one);
        free(three);
        free(steps);
        nib_model_free(model);
        reference_free(&ref);
    }
}

/* Converted weights: the rounding of the format, on average and at worst, and no more. */
static void test_load_formats(void **state)
{
    (void)state;
    static const struct {
        uint32_t load;
        double bound;
        double size; /* weights in memory relative to float32, at most; small norms stay f32 */
    } loads[] = {
        {NIB_LOAD_F32, 2e-4, 1.01},
        {NIB_LOAD_F16, 1e-2, 0.7},
        {NIB_LOAD_BF16, 6e-2, 0.7},
        {NIB_LOAD_INT8, 1e-1, 1.7}, /* rows are padded to 64: these are short */
    };
    for (size_t i = 0; i < N_CHECKPOINTS; i++) {
        uint64_t whole = 0;
        for (size_t l = 0; l < sizeof loads / sizeof loads[0]; l++) {
            reference ref = read_reference(checkpoints[i].name);
            nib_model *model =
                open_checkpoint(checkpoints[i].name, NIB_PRECISION_F32, loads[l].load, NULL);
            float *logits = logits_of(model, &ref, 1, 0);
            double d = reference_distance(&ref, logits);
            if (l == 0) whole = model->weight_bytes;
            print_message("%-13s load %u: %.1e, %.2f of float32\n", checkpoints[i].name,
                          loads[l].load, d, (double)model->weight_bytes / (double)whole);
            assert_true(d <= loads[l].bound);
            assert_true((double)model->weight_bytes <= loads[l].size * (double)whole);
            assert_true(d > 0);
            free(logits);
            nib_model_free(model);
            reference_free(&ref);
        }
    }
    nib_model_options options;
    nib_model *model = NULL;
    nib_error err = {0};
    nib_model_options_init(&options, sizeof options);
    options.load = 5;
    assert_fails(nib_model_open(fixture_path("fixtures/hf/gpt2"), &options, &model, &err),
                 NIB_ERR_ARGUMENT, err, "option load");
}

static void test_learned_positions_end(void **state)
{
    (void)state;
    nib_model *model = open_checkpoint("gpt2", 0, 0, NULL); /* 90 positions */
    nib_session *session = NULL;
    nib_error err = {0};
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = 91;
    assert_fails(nib_session_new(model, &options, &session, &err), NIB_ERR_ARGUMENT, err, "90");
    const int32_t ids[2] = {1, 2};
    assert_ok(nib__model_check_ids(model, ids, 2, 88, &err), err);
    assert_fails(nib__model_check_ids(model, ids, 2, 89, &err), NIB_ERR_LIMIT, err, "position 90");
    nib_model_free(model);
    model = open_checkpoint("opt", 0, 0, NULL); /* 92 rows, the first two unused */
    assert_int_equal(nib__model_max_positions(model), 90);
    nib_model_free(model);
}

static void test_without_tokenizer(void **state)
{
    (void)state;
    nib_model *model = open_checkpoint("codegen", 0, 0, NULL);
    nib_error err = {0};
    size_t n = 0;
    assert_int_equal(nib_tokenize(model, "x", 1, 0, NULL, 0, &n, &err), NIB_ERR_UNSUPPORTED);
    assert_true(err.text[0] != '\0');
    nib_model_info info = {.struct_size = sizeof info};
    assert_int_equal(nib_model_get_info(model, &info), NIB_OK);
    assert_string_equal(info.architecture, "codegen");
    assert_int_equal(info.n_vocab, 53);
    nib_model_free(model);
}

/* ---- damaged directories ---- */

/* A copy of a checkpoint whose config.json has `from` replaced by `to`. */
static void copy_with(temp_dir *dir, const char *name, const char *from, const char *to)
{
    char path[128], weights[64] = "model.safetensors";
    size_t size;
    if (strchr(name, '-') != NULL) strcpy(weights, "pytorch_model.bin");
    snprintf(path, sizeof path, "fixtures/hf/%s/%s", name, weights);
    uint8_t *bytes = fixture_read(path, &size);
    temp_dir_write(dir, weights, bytes, size);
    free(bytes);
    snprintf(path, sizeof path, "fixtures/hf/%s/config.json", name);
    bytes = fixture_read(path, &size);
    char *text = calloc(size + 512, 1), *end = (char *)bytes + size;
    char *at = NULL;
    for (char *p = (char *)bytes; p + strlen(from) <= end && at == NULL; p++) {
        if (memcmp(p, from, strlen(from)) == 0) at = p;
    }
    if (at == NULL) fail_msg("%s: config.json has no %s", name, from);
    memcpy(text, bytes, (size_t)(at - (char *)bytes));
    strcat(text, to);
    strncat(text, at + strlen(from), (size_t)(end - at) - strlen(from));
    temp_dir_text(dir, "config.json", text);
    free(text);
    free(bytes);
}

static void test_bad_configurations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        temp_dir dir;
        nib_model *model = NULL;
        nib_error err = {0};
        temp_dir_make(&dir);
        copy_with(&dir, refused[i].name, refused[i].from, refused[i].to);
        nib_status status = nib_model_open(dir.path, NULL, &model, &err);
        if (status != refused[i].code || strstr(err.text, refused[i].part) == NULL ||
            strstr(err.text, refused[i].also) == NULL)
            fail_msg("%s with %s: status %d, \"%s\"", refused[i].name, refused[i].to, status,
                     err.text);
        temp_dir_remove(&dir);
    }
}

/* The same model in other words: what other versions of transformers write, and fields that say
 * what is usual anyway. */
static void test_config_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *name, *from, *to;
    } same[] = {
        {"llama", "\"rope_theta\": 10000.0", "\"rope_parameters\": {\"rope_theta\": 10000.0}"},
        {"llama", "\"rope_scaling\": null",
         "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}"},
        {"llama", "\"rms_norm_eps\": 1e-06", "\"other\": [1, {\"x\": null}]"},
        {"llama-3", "\"rope_theta\": 50.0",
         "\"rope_parameters\": {\"rope_theta\": 50, \"rope_type\": \"llama3\", \"factor\": 8, "
         "\"low_freq_factor\": 1, \"high_freq_factor\": 4, "
         "\"original_max_position_embeddings\": 32}"},
        {"neox", "\"rotary_pct\": 0.25", "\"other\": 1"},
        {"neox", "\"rotary_emb_base\": 10000,\n  \"rotary_pct\": 0.25",
         "\"rope_parameters\": {\"rope_theta\": 10000, \"partial_rotary_factor\": 0.25}"},
        {"phi", "\"partial_rotary_factor\": 0.5", "\"other\": 1"},
        {"stablelm", "\"partial_rotary_factor\": 0.25", "\"other\": 1"},
        {"gemma3", "\"rope_theta\": 100000.0,\n \"rope_local_base_freq\": 500.0",
         "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, "
         "\"rope_theta\": 100000}, \"sliding_attention\": {\"rope_type\": \"default\", "
         "\"rope_theta\": 500}}"},
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        temp_dir dir;
        nib_model *model = NULL;
        nib_error err = {0};
        nib_model_options options;
        reference ref = read_reference(same[i].name);
        temp_dir_make(&dir);
        copy_with(&dir, same[i].name, same[i].from, same[i].to);
        nib_model_options_init(&options, sizeof options);
        options.precision = NIB_PRECISION_F32;
        assert_ok(nib_model_open(dir.path, &options, &model, &err), err);
        float *logits = logits_of(model, &ref, 1, 0);
        double d = reference_distance(&ref, logits);
        if (d > 2e-4) fail_msg("%s with %s: off by %g", same[i].name, same[i].to, d);
        free(logits);
        nib_model_free(model);
        reference_free(&ref);
        temp_dir_remove(&dir);
    }
}

static nib_model *open_edited(const char *name, const char *from, const char *to)
{
    temp_dir dir;
    nib_model *model = NULL;
    nib_error err = {0};
    temp_dir_make(&dir);
    copy_with(&dir, name, from, to);
    assert_ok(nib_model_open(dir.path, NULL, &model, &err), err);
    temp_dir_remove(&dir);
    return model;
}

/* Without the field a window has the usual size; null says that there is none. */
static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *name, *from, *to;
        uint32_t window;
    } windows[] = {
        {"mistral", "\"sliding_window\": 7", "\"sliding_window\": 8", 8},
        {"mistral", "\"sliding_window\": 7", "\"sliding_window\": null", 0},
        {"mistral", "\"sliding_window\": 7", "\"other\": 7", 4096},
        {"qwen2", "\"use_sliding_window\": false", "\"use_sliding_window\": true", 0},
        {"starcoder2", "\"sliding_window\": null", "\"other\": 7", 0},
        {"starcoder2", "\"sliding_window\": null", "\"sliding_window\": 9", 9},
    };
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        nib_model *model = open_edited(windows[i].name, windows[i].from, windows[i].to);
        if (model->config.window != windows[i].window)
            fail_msg("%s with %s: a window of %u", windows[i].name, windows[i].to,
                     model->config.window);
        nib_model_free(model);
    }
}

/* Scaling that depends on the length of a text changes nothing within the trained context. */
static void test_dynamic_scaling_ends(void **state)
{
    (void)state;
    nib_model *model = open_edited("llama", "\"rope_scaling\": null",
                                   "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}");
    nib_session *session = NULL;
    nib_error err = {0};
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = 97;
    assert_fails(nib_session_new(model, &options, &session, &err), NIB_ERR_ARGUMENT, err,
                 "at most 96");
    nib_model_free(model);
}

static void test_every_allocation_can_fail(void **state)
{
    (void)state;
    static const char *const names[] = {"codegen", "gpt2-old", "gemma3", "llama-3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "fixtures/hf/%s", names[i]);
        for (size_t n = 1;; n++) {
            fault_alloc fa;
            nib_model *model = NULL;
            nib_error err = {0};
            nib_model_options options;
            nib_model_options_init(&options, sizeof options);
            fault_alloc_init(&fa);
            fa.fail_at = n;
            options.allocator = &fa.mem;
            options.load = i % 2 == 0 ? NIB_LOAD_BF16 : NIB_LOAD_AS_STORED;
            nib_status status = nib_model_open(fixture_path(path), &options, &model, &err);
            if (status == NIB_OK) nib_model_free(model);
            if (fault_turn_last(&fa, status, &err, 10)) break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_equal_transformers),
        cmocka_unit_test(test_gguf_architectures),
        cmocka_unit_test(test_every_instruction_set),
        cmocka_unit_test(test_greedy_equals_transformers),
        cmocka_unit_test(test_threads_and_steps_do_not_matter),
        cmocka_unit_test(test_load_formats),
        cmocka_unit_test(test_learned_positions_end),
        cmocka_unit_test(test_without_tokenizer),
        cmocka_unit_test(test_bad_configurations),
        cmocka_unit_test(test_config_spellings),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_dynamic_scaling_ends),
        cmocka_unit_test(test_every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
