/* SPDX-License-Identifier: MIT
 * Opening models: what is found in good files, one clear error for damaged ones, settings from the
 * environment, progress, cancelling, a failure of every single allocation, shared ownership. */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "test.h"

#include "base/bytes.h"
#include "fault_turn.h"
#include "fixture.h"
#include "model/model.h"
#include "temp_dir.h"

static const nib_model_options plain = {.struct_size = sizeof plain};

/* Opens a model from memory; the source is closed if that fails, as the public functions do. */
static nib_status open_bytes(const uint8_t *file, size_t size, const nib_model_options *options,
                             nib_model **model, nib_error *err)
{
    nib_allocator mem = nib__allocator(options->allocator);
    nib__source *source = NULL;
    nib_status status = nib__source_open_memory(&mem, file, size, &source, err);
    if (status != NIB_OK) return status;
    status = nib__model_open(source, options, model, err);
    if (status != NIB_OK) nib__source_close(source);
    return status;
}

static uint8_t *tiny(const char *name, size_t *size)
{
    char path[64];
    snprintf(path, sizeof path, "fixtures/tiny/%s.gguf", name);
    return fixture_read(path, size);
}

static void test_what_is_found(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("qwen2", &size);
    nib_error err = {0};
    nib_model *model = NULL, *inspected = NULL;
    nib_model_options inspect = plain;
    inspect.flags = NIB_OPEN_INSPECT;
    assert_ok(open_bytes(file, size, &plain, &model, &err), err);
    assert_ok(open_bytes(file, size, &inspect, &inspected, &err), err);
    assert_null(inspected->layers);
    assert_null(inspected->weights);
    assert_non_null(model->layers);
    assert_non_null(model->layers[0].q.bias);
    assert_true(inspected->weight_bytes == model->weight_bytes);
    assert_true(inspected->identity == model->identity);

    nib_model_info a = {.struct_size = sizeof a}, b = a;
    nib__model_info(model, &a);
    nib__model_info(inspected, &b);
    assert_memory_equal(&a, &b, sizeof a);
    assert_string_equal(a.architecture, "qwen2");
    assert_true(a.n_layer >= 1 && a.n_vocab > 256 && a.n_params > 1000);
    assert_true(a.file_bytes < size && a.file_bytes > size / 2);
    assert_int_equal(a.kv_bytes_per_token, 4 * a.n_layer * a.n_head_kv * a.head_dim);
    assert_non_null(strstr(a.formats, "F32:"));
    nib__model_release(model);
    nib__model_release(inspected);
    nib__model_release(NULL);
    free(file);
}

/* ---- damaged files ---- */

static uint8_t *find(uint8_t *file, size_t size, const char *name)
{
    uint8_t *at = memmem(file, size, name, strlen(name));
    assert_non_null(at);
    return at;
}

static void test_tensor_missing_or_strange(void **state)
{
    (void)state;
    static const char *const names[] = {
        "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
        "blk.0.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
        "blk.0.attn_output.weight", "blk.1.ffn_norm.weight", "blk.1.ffn_gate.weight",
        "blk.1.ffn_up.weight",      "blk.1.ffn_down.weight", "blk.1.attn_q.bias",
        "blk.1.attn_k.bias",        "blk.1.attn_v.bias",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size;
        uint8_t *file = tiny("qwen2", &size);
        nib_error err = {0};
        nib_model *model = NULL;
        find(file, size, names[i])[strlen(names[i]) - 1] = '_';
        assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_FORMAT, err, names[i]);
        assert_null(model);
        free(file);
    }
    /* A tensor too many: a feature that we would leave out. The bias is optional for llama. */
    size_t size;
    uint8_t *file = tiny("qwen2", &size);
    nib_error err = {0};
    nib_model *model = NULL;
    static const char layers[] = "qwen2.block_count";
    uint8_t *count = find(file, size, layers) + strlen(layers) + 4;
    assert_true(nib__le32(count) > 1);
    count[0]--;
    assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_UNSUPPORTED, err,
                 "not part of architecture qwen2");
    free(file);
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    static const char *const names[] = {"token_embd.weight",   "blk.0.attn_k.weight",
                                        "blk.0.attn_v.weight", "blk.0.ffn_gate.weight",
                                        "blk.1.ffn_up.weight", "blk.1.ffn_down.weight"};
    static const char *const owners[] = {"llama-f32", "llama-f32", "llama-f32",
                                         "qwen2",     "qwen2",     "qwen2"}; /* not square there */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size;
        uint8_t *file = tiny(owners[i], &size);
        nib_error err = {0};
        nib_model *model = NULL;
        uint8_t *ne = find(file, size, names[i]) + strlen(names[i]) + 4, swap[8];
        assert_int_equal(nib__le32(ne - 4), 2);
        memcpy(swap, ne, 8);
        memmove(ne, ne + 8, 8);
        memcpy(ne + 8, swap, 8);
        assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_FORMAT, err, names[i]);
        assert_non_null(strstr(err.text, "expected"));
        free(file);
    }
    size_t size;
    uint8_t *file = tiny("llama-f32", &size);
    nib_error err = {0};
    nib_model *model = NULL;
    static const char norm[] = "blk.0.attn_norm.weight";
    find(file, size, norm)[strlen(norm) + 4]--; /* one number fewer */
    assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_FORMAT, err, norm);
    free(file);
}

static void test_bad_rope_factors(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("llama-llama3", &size);
    nib_error err = {0};
    nib_model *model = NULL;
    assert_ok(open_bytes(file, size, &plain, &model, &err), err);
    assert_non_null(model->rope_freqs);
    nib__source *source = model->source;
    const uint8_t *data = nib__source_tensor(source, "rope_freqs.weight")->data;
    size_t at = (size_t)(data - file);
    nib__model_release(model);
    model = NULL;
    static const float bad[] = {0.0f, -1.0f, __builtin_nanf(""), __builtin_inff()};
    for (int i = 0; i < 4; i++) {
        memcpy(file + at, &bad[i], sizeof bad[i]);
        assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_FORMAT, err,
                     "rope_freqs.weight");
    }
    free(file);
}

/* ---- settings ---- */

static void test_environment(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("llama-f32", &size);
    nib_error err = {0};
    nib_model *model = NULL;
    static const char *const names[] = {"default", "exact", "fast", "f32"};
    for (uint32_t i = 0; i < 4; i++) {
        setenv("NIB_PRECISION", names[i], 1);
        assert_ok(open_bytes(file, size, &plain, &model, &err), err);
        assert_int_equal(model->precision, i);
        nib__model_release(model);
    }
    setenv("NIB_PRECISION", "best", 1);
    assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_ARGUMENT, err, "\"best\"");
    nib_model_options options = plain;
    options.precision = NIB_PRECISION_EXACT; /* an option of the program goes first */
    assert_ok(open_bytes(file, size, &options, &model, &err), err);
    assert_int_equal(model->precision, NIB_PRECISION_EXACT);
    nib__model_release(model);
    unsetenv("NIB_PRECISION");
    options.precision = 17;
    assert_fails(open_bytes(file, size, &options, &model, &err), NIB_ERR_ARGUMENT, err, "17");

    const char *before = getenv("NIB_ISA");
    char *kept = before != NULL ? strdup(before) : NULL;
    setenv("NIB_ISA", "scalar", 1);
    assert_ok(open_bytes(file, size, &plain, &model, &err), err);
    assert_int_equal(model->kernels.isa, NIB__ISA_SCALAR);
    nib__model_release(model);
    setenv("NIB_ISA", "sse9", 1);
    assert_fails(open_bytes(file, size, &plain, &model, &err), NIB_ERR_ARGUMENT, err, "\"sse9\"");
    options = plain;
    options.isa = "scalar";
    assert_ok(open_bytes(file, size, &options, &model, &err), err);
    nib__model_release(model);
    if (kept != NULL)
        setenv("NIB_ISA", kept, 1);
    else
        unsetenv("NIB_ISA");
    free(kept);
    free(file);
}

/* ---- progress ---- */

typedef struct progress_log {
    pthread_t caller;
    double last;
    uint32_t n, stop_at; /* stop at the call of this number; 0: never */
} progress_log;

static int32_t note(void *user, double fraction)
{
    progress_log *log = user;
    assert_true(pthread_equal(log->caller, pthread_self()));
    assert_true(fraction >= log->last && fraction <= 1.0);
    log->last = fraction;
    return ++log->n == log->stop_at;
}

static void test_progress_and_cancel(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("llama-mixed", &size);
    uint32_t n_calls = 0;
    for (uint32_t stop_at = 0; stop_at == 0 || stop_at <= n_calls; stop_at++) {
        fault_alloc fa;
        fault_alloc_init(&fa);
        progress_log log = {.caller = pthread_self(), .stop_at = stop_at};
        nib_model_options options = plain;
        options.n_threads = 3;
        options.allocator = &fa.mem;
        options.progress = note;
        options.progress_user = &log;
        nib_error err = {0};
        nib_model *model = NULL;
        nib_status status = open_bytes(file, size, &options, &model, &err);
        if (stop_at == 0) {
            assert_ok(status, err);
            assert_true(log.last == 1.0);
            n_calls = log.n;
            nib__model_release(model);
        } else {
            assert_fails(status, NIB_ERR_CANCELLED, err, "cancelled");
            assert_int_equal(log.n, stop_at);
        }
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
    }
    assert_true(n_calls > 10);
    free(file);
}

/* ---- memory ---- */

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen2", "llama-llama3"};
    for (size_t i = 0; i < 4; i++) {
        size_t size;
        uint8_t *file = tiny(names[i / 2], &size);
        for (size_t n = 1;; n++) {
            fault_alloc fa;
            fault_alloc_init(&fa);
            fa.fail_at = n;
            nib_model_options options = plain;
            options.n_threads = i % 2 == 0 ? 1 : 2;
            options.allocator = &fa.mem;
            nib_error err = {0};
            nib_model *model = NULL;
            nib_status status = open_bytes(file, size, &options, &model, &err);
            if (status == NIB_OK) nib__model_release(model);
            if (fault_turn_last(&fa, status, &err, 8)) break;
            assert_non_null(strstr(err.text, "memory"));
            assert_null(model);
        }
        free(file);
    }
}

static void test_weights_take_what_was_said(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("llama-mixed", &size);
    fault_alloc fa;
    fault_alloc_init(&fa);
    nib_model_options options = plain;
    options.allocator = &fa.mem;
    nib_error err = {0};
    nib_model *model = NULL;
    assert_ok(open_bytes(file, size, &options, &model, &err), err);
    assert_true(fa.largest == model->weight_bytes);
    nib__model_release(model);
    assert_int_equal(fa.live_blocks, 0);
    fault_alloc_done(&fa);
    free(file);
}

/* ---- identity, ownership, the file behind a model ---- */

static void test_identity(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("llama-f32", &size);
    nib_error err = {0};
    nib_model *a = NULL, *b = NULL;
    assert_ok(open_bytes(file, size, &plain, &a, &err), err);
    uint64_t identity = a->identity;
    size_t at = (size_t)(nib__source_tensor(a->source, "output_norm.weight")->data - file);
    nib__model_release(a);
    file[at] ^= 1; /* the same shapes, trained on */
    assert_ok(open_bytes(file, size, &plain, &b, &err), err);
    assert_true(b->identity != identity);
    nib__model_release(b);
    free(file);
}

static void test_references(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("llama-f32", &size);
    fault_alloc fa;
    fault_alloc_init(&fa);
    nib_model_options options = plain;
    options.allocator = &fa.mem;
    nib_error err = {0};
    nib_model *model = NULL;
    assert_ok(open_bytes(file, size, &options, &model, &err), err);
    assert_ptr_equal(nib__model_retain(model), model);
    nib__model_release(model);
    assert_true(fa.live_blocks > 0);
    assert_int_equal(model->config.n_vocab, nib__tokenizer_size(model->tokenizer));
    nib__model_release(model);
    assert_int_equal(fa.live_blocks, 0);
    fault_alloc_done(&fa);
    free(file);
}

static void test_file_changes_under_the_model(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = tiny("qwen2", &size);
    temp_dir folder;
    temp_dir_make(&folder);
    temp_dir_write(&folder, "model.gguf", file, size);
    const char *path = temp_dir_file(&folder, "model.gguf");
    nib_allocator mem = nib__allocator(NULL);
    nib_error err = {0};
    nib__source *source = NULL;
    nib_model *model = NULL;
    assert_ok(nib__source_open(&mem, path, &source, &err), err);
    assert_ok(nib__model_open(source, &plain, &model, &err), err);
    const int32_t ids[] = {3, 1};
    assert_ok(nib__model_check_ids(model, ids, 2, 0, &err), err);
    assert_int_equal(truncate(path, (off_t)(size / 2)), 0);
    assert_fails(nib__model_check_ids(model, ids, 2, 0, &err), NIB_ERR_IO, err, "changed");
    nib__model_release(model);
    temp_dir_remove(&folder);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_found),
        cmocka_unit_test(test_tensor_missing_or_strange),
        cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_bad_rope_factors),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_progress_and_cancel),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_weights_take_what_was_said),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_file_changes_under_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
