/* SPDX-License-Identifier: MIT
 * Sessions of encoder-decoders in batches and on disk: each has a source of its own, and everything
 * is bit by bit as for a session alone that was never saved. */

#include "test.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "decode/beam.h"
#include "decode/complete.h"
#include "fault_alloc.h"
#include "fixture.h"
#include "fixture_model.h"
#include "rng.h"
#include "temp_dir.h"
#include "tiny_model.h"

static const char *const models[] = {"t5_plain", "t5_gated", "bart_gelu", "plbart_deep"};
enum { N_MODELS = 4, CONTEXT = 64, N = 9, MOST = 40 };

static nib_model *open_model(const char *name, const nib_allocator *mem)
{
    char path[64];
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.allocator = mem;
    snprintf(path, sizeof path, "seq2seq/%s", name);
    return fixture_model(path, &options);
}

static nib_session *open_session(nib_model *model, uint32_t kv_type)
{
    return fixture_session(model, CONTEXT, 1, kv_type);
}

static void set_stream(nib_session *s, uint32_t number, uint32_t n_source, uint32_t n_tokens)
{
    rng r = {200 + number};
    int32_t ids[CONTEXT];
    nib_error err = {0};
    for (uint32_t i = 0; i < CONTEXT; i++) ids[i] = 3 + (int32_t)rng_below(&r, 40);
    assert_ok(nib_session_set_source(s, ids, n_source, &err), err);
    for (uint32_t i = 0; i < CONTEXT; i++) ids[i] = 3 + (int32_t)rng_below(&r, 40);
    assert_ok(nib_session_set_tokens(s, ids, n_tokens, NULL, &err), err);
}

/* ---- batches --------------------------------------------------------------------------------- */

/* A completion, or, as every fourth, a beam search. */
static nib_session *begin(nib_model *model, uint32_t number)
{
    nib_session *s = open_session(model, number % 3 == 1 ? NIB_KV_Q8 : NIB_KV_F16);
    nib_error err = {0};
    set_stream(s, number, 1 + number * 11 % 50, 1 + number % 4 * 7);
    if (number % 4 == 3) {
        nib_beam_options o;
        nib_beam_options_init(&o, sizeof o);
        o.max_tokens = 12;
        assert_ok(nib_beam_begin_tokens(s, &o, &err), err);
        return s;
    }
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 3 + number * 3;
    o.temperature = number % 2 == 0 ? 0.0f : 1.0f;
    o.seed = number;
    assert_ok(nib_complete_begin_tokens(s, &o, &err), err);
    return s;
}

static void assert_same_state(nib_session *a, nib_session *b, const char *what)
{
    const int32_t *ids_a, *ids_b;
    size_t n_a, n_b;
    nib_beam_result beam_a = {.struct_size = sizeof beam_a}, beam_b = beam_a;
    assert_int_equal(nib_session_tokens(a, &ids_a, &n_a, NULL), NIB_OK);
    assert_int_equal(nib_session_tokens(b, &ids_b, &n_b, NULL), NIB_OK);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(ids_a, ids_b, n_a * sizeof *ids_a);
    nib_status status = nib_beam_get_result(a, 0, &beam_a, NULL);
    assert_int_equal(nib_beam_get_result(b, 0, &beam_b, NULL), status);
    if (status == NIB_OK) {
        assert_true(beam_a.score == beam_b.score);
        assert_int_equal(beam_a.n_ids, beam_b.n_ids);
        assert_memory_equal(beam_a.ids, beam_b.ids, beam_a.n_ids * sizeof(int32_t));
    }
    assert_int_equal(nib_session_eval(a, NULL), NIB_OK);
    assert_int_equal(nib_session_eval(b, NULL), NIB_OK);
    assert_same_logits(a, b, what);
}

static void check_batch(const char *name, uint32_t n_threads, uint32_t max_rows, uint64_t budget_us)
{
    nib_model *model = open_model(name, NULL);
    nib_session *alone[N], *together[N];
    nib_batch *batch = NULL;
    nib_batch_options o;
    nib_error err = {0};
    nib_batch_options_init(&o, sizeof o);
    o.n_threads = n_threads;
    o.max_rows = max_rows;
    assert_ok(nib_batch_new(model, &o, &batch, &err), err);
    for (uint32_t i = 0; i < N; i++) {
        nib_step step = {.struct_size = sizeof step};
        alone[i] = begin(model, i);
        while (!step.done) assert_ok(nib_session_step(alone[i], 0, &step, &err), err);
        together[i] = begin(model, i);
    }
    for (size_t left = N, steps = 0; left != 0; steps++) {
        nib_step results[N] = {{.struct_size = sizeof *results}};
        nib_status statuses[N];
        assert_true(steps < 1000000);
        assert_ok(nib_batch_step(batch, together, N, budget_us, results, statuses, NULL, &err),
                  err);
        left = N;
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(statuses[i], NIB_OK);
            left -= results[i].done;
        }
    }
    for (size_t i = 0; i < N; i++) {
        assert_same_state(alone[i], together[i], name);
        nib_session_free(alone[i]);
        nib_session_free(together[i]);
    }
    nib_batch_free(batch);
    nib_model_free(model);
}

static void test_batches(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        check_batch(models[m], 1, 0, 0);
        check_batch(models[m], 3, 4, 0);
        check_batch(models[m], 2, 0, 1);
        check_batch(models[m], 1, 2, 150);
    }
}

/* Every call comes after its deadline, as with a budget too short for a busy machine: each does a
 * piece of the work all the same, and the end is that of a session without a deadline. */
static void test_late_calls(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_MODELS * N; i++) {
        nib_model *model = open_model(models[i / N], NULL);
        nib_session *whole = begin(model, i % N), *sliced = begin(model, i % N);
        nib_step step = {.struct_size = sizeof step};
        nib_error err = {0};
        while (!step.done) assert_ok(nib_session_step(whole, 0, &step, &err), err);
        step.done = 0;
        for (uint32_t calls = 0; !step.done; calls++) {
            assert_true(calls < 10000);
            if (sliced->search == NULL) {
                assert_ok(nib__complete_step(sliced, 1, &step, &err), err);
            } else {
                assert_ok(nib__search_advance(sliced, 1, &err), err);
                step.done = nib__search_done(sliced);
            }
        }
        assert_same_state(whole, sliced, models[i / N]);
        nib_session_free(whole);
        nib_session_free(sliced);
        nib_model_free(model);
    }
}

/* A row of an interrupted pass is forgotten when its session gets another source. */
static void test_source_changes_between_steps(void **state)
{
    (void)state;
    nib_model *model = open_model("plbart_deep", NULL);
    nib_session *s = open_session(model, NIB_KV_F16), *t = open_session(model, NIB_KV_F16);
    nib_batch *batch = NULL;
    nib_error err = {0};
    assert_ok(nib_batch_new(model, NULL, &batch, &err), err);
    for (uint32_t trial = 0; trial < 30; trial++) {
        nib_step step = {.struct_size = sizeof step};
        nib_status status;
        set_stream(s, trial, 20, 5);
        assert_ok(nib_session_eval(s, &err), err);
        assert_ok(nib_session_append(s, (const int32_t[]){7}, 1, &err), err);
        assert_ok(nib_batch_step(batch, &s, 1, 1, &step, &status, NULL, &err), err);
        set_stream(s, trial + 1, 20, 1);
        set_stream(t, trial + 1, 20, 1);
        do assert_ok(nib_batch_step(batch, &s, 1, 1, &step, &status, NULL, &err), err);
        while (!step.done);
        assert_ok(nib_session_eval(t, &err), err);
        assert_same_logits(s, t, "after another source");
    }
    nib_session_free(s);
    nib_session_free(t);
    nib_batch_free(batch);
    nib_model_free(model);
}

/* ---- on disk --------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
    (void)state;
    temp_dir dir;
    char path[512];
    nib_error err = {0};
    temp_dir_make(&dir);
    strcpy(path, temp_dir_file(&dir, "state"));
    for (int m = 0; m < N_MODELS; m++) {
        nib_model *model = open_model(models[m], NULL);
        for (uint32_t trial = 0; trial < 8; trial++) {
            uint32_t kv = trial % 2 ? NIB_KV_Q8 : NIB_KV_F16, n_tokens = 1 + trial * 5;
            nib_session *s = open_session(model, kv), *t = open_session(model, kv);
            set_stream(s, trial, 1 + 6 * trial, n_tokens);
            set_stream(t, trial + 50, 33, 20); /* another past */
            assert_ok(nib_session_eval(t, &err), err);
            if (trial != 3) assert_ok(nib_session_eval(s, &err), err);
            assert_ok(nib_session_save(s, path, &err), err);
            assert_ok(nib_session_load(t, path, &err), err);
            if (trial != 3) assert_same_logits(s, t, "restored, before anything is encoded");
            for (int32_t i = 0; i < 4; i++) {
                assert_ok(nib_session_append(s, &i, 1, &err), err);
                assert_ok(nib_session_append(t, &i, 1, &err), err);
                assert_ok(nib_session_eval(s, &err), err);
                assert_ok(nib_session_eval(t, &err), err);
                assert_same_logits(s, t, "going on after a restore");
            }
            /* the source that is there already costs nothing, and the stream stays evaluated */
            size_t evaluated;
            const int32_t *ids;
            assert_ok(nib_session_save(t, path, &err), err);
            assert_ok(nib_session_load(s, path, &err), err);
            rng r = {200 + trial};
            int32_t source[CONTEXT];
            for (uint32_t i = 0; i < CONTEXT; i++) source[i] = 3 + (int32_t)rng_below(&r, 40);
            assert_ok(nib_session_set_source(s, source, 1 + 6 * trial, &err), err);
            assert_int_equal(nib_session_tokens(s, &ids, &(size_t){0}, &evaluated), NIB_OK);
            assert_int_equal(evaluated, n_tokens + 4);
            nib_session_free(s);
            nib_session_free(t);
        }
        nib_model_free(model);
    }
    temp_dir_remove(&dir);
}

typedef struct saved {
    temp_dir dir;
    char good[512], bad[512];
    uint8_t *bytes;
    size_t size;
    nib_model *model;
    nib_session *session, *copy;
} saved;

static saved make_saved(void)
{
    saved v;
    nib_error err = {0};
    temp_dir_make(&v.dir);
    strcpy(v.good, temp_dir_file(&v.dir, "good"));
    strcpy(v.bad, temp_dir_file(&v.dir, "bad"));
    v.model = open_model("bart_gelu", NULL);
    v.session = open_session(v.model, NIB_KV_F16);
    set_stream(v.session, 1, 9, 6);
    assert_ok(nib_session_eval(v.session, &err), err);
    assert_ok(nib_session_save(v.session, v.good, &err), err);
    v.bytes = file_read(v.good, &v.size);
    set_stream(v.session, 2, 30, 17);
    assert_ok(nib_session_eval(v.session, &err), err);
    assert_ok(nib_session_fork(v.session, &v.copy, &err), err);
    return v;
}

static void free_saved(saved *v)
{
    nib_session_free(v->session);
    nib_session_free(v->copy);
    nib_model_free(v->model);
    free(v->bytes);
    temp_dir_remove(&v->dir);
}

/* Loads v->bytes with a checksum that fits, which must fail and change nothing. */
static nib_status load_bad(saved *v, const char *part)
{
    nib__hash hash;
    nib_error err = {0};
    nib__hash_init(&hash, 0);
    nib__hash_add(&hash, v->bytes, v->size - 8);
    uint64_t value = nib__hash_value(&hash);
    for (int i = 0; i < 8; i++) v->bytes[v->size - 8 + (size_t)i] = (uint8_t)(value >> 8 * i);
    assert_int_equal(file_write(v->bad, v->bytes, v->size), 0);
    nib_status status = nib_session_load(v->session, v->bad, &err);
    assert_true(status != NIB_OK && strstr(err.text, part) != NULL);
    nib_session *again = NULL, *copy = NULL;
    assert_same_logits(v->copy, v->session, part);
    assert_ok(nib_session_fork(v->session, &again, &err), err);
    assert_ok(nib_session_fork(v->copy, &copy, &err), err);
    assert_ok(nib_session_append(again, (const int32_t[]){5}, 1, &err), err);
    assert_ok(nib_session_append(copy, (const int32_t[]){5}, 1, &err), err);
    assert_ok(nib_session_eval(again, &err), err);
    assert_ok(nib_session_eval(copy, &err), err);
    assert_same_logits(copy, again, part); /* the source is the one of before, too */
    nib_session_free(again);
    nib_session_free(copy);
    return status;
}

/* One 4-byte field of the file, and back. */
static nib_status load_field(saved *v, size_t at, uint32_t value, const char *part)
{
    uint8_t before[4];
    memcpy(before, v->bytes + at, 4);
    for (int i = 0; i < 4; i++) v->bytes[at + (size_t)i] = (uint8_t)(value >> 8 * i);
    nib_status status = load_bad(v, part);
    memcpy(v->bytes + at, before, 4);
    return status;
}

static void test_damage(void **state)
{
    (void)state;
    enum { VERSION = 8, N_SOURCE = 52, SOURCE = 56 + 6 * 4 };
    saved v = make_saved();
    nib_error err = {0};
    assert_int_equal(load_field(&v, VERSION, 1, "version"), NIB_ERR_MISMATCH);
    assert_int_equal(load_field(&v, VERSION, 3, "version"), NIB_ERR_MISMATCH);
    assert_int_equal(load_field(&v, N_SOURCE, 0, "counts"), NIB_ERR_FORMAT);
    assert_int_equal(load_field(&v, N_SOURCE, 8, "bytes"), NIB_ERR_FORMAT);
    assert_int_equal(load_field(&v, N_SOURCE, 10, "bytes"), NIB_ERR_FORMAT);
    assert_int_equal(load_field(&v, N_SOURCE, CONTEXT + 1, "room is for 64"), NIB_ERR_LIMIT);
    assert_int_equal(load_field(&v, N_SOURCE, UINT32_MAX, "room"), NIB_ERR_LIMIT);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(load_field(&v, SOURCE + 4 * i, 53, "id 53 out of range"), NIB_ERR_FORMAT);
        assert_int_equal(load_field(&v, SOURCE + 4 * i, UINT32_MAX, "range"), NIB_ERR_FORMAT);
    }
    for (size_t size = 0; size < v.size; size += size < 200 ? 1 : 53) { /* cut anywhere */
        assert_int_equal(file_write(v.bad, v.bytes, size), 0);
        assert_true(nib_session_load(v.session, v.bad, &err) != NIB_OK);
        assert_same_logits(v.copy, v.session, "truncation");
    }
    for (size_t at = 0; at < 120; at++) { /* any flipped bit of header and tokens */
        v.bytes[at] ^= 4;
        assert_int_equal(file_write(v.bad, v.bytes, v.size), 0);
        assert_true(nib_session_load(v.session, v.bad, &err) != NIB_OK);
        assert_same_logits(v.copy, v.session, "a flipped bit");
        v.bytes[at] ^= 4;
    }
    assert_ok(nib_session_load(v.session, v.good, &err), err);
    free_saved(&v);
}

static void test_foreign(void **state)
{
    (void)state;
    saved v = make_saved();
    nib_error err = {0};
    nib_model *decoder = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(decoder, 1, 0, NIB_KV_F16);
    assert_fails(nib_session_load(s, v.good, &err), NIB_ERR_MISMATCH, err, "version");
    assert_ok(nib_session_set_tokens(s, (const int32_t[]){40}, 1, NULL, &err), err);
    assert_ok(nib_session_save(s, v.bad, &err), err);
    assert_fails(nib_session_load(v.session, v.bad, &err), NIB_ERR_MISMATCH, err, "version");
    nib_session_free(s);
    nib_model_free(decoder);
    nib_model *encoder = open_model("roberta_small", NULL);
    assert_ok(nib_session_new(encoder, NULL, &s, &err), err);
    assert_fails(nib_session_save(s, v.bad, &err), NIB_ERR_UNSUPPORTED, err, "hidden states");
    nib_batch *batch = NULL;
    assert_fails(nib_batch_new(encoder, NULL, &batch, &err), NIB_ERR_UNSUPPORTED, err,
                 "hidden states");
    nib_session_free(s);
    nib_model_free(encoder);
    free_saved(&v);
}

/* An encoder alone has no stream, and no room for one: a file that says otherwise, with a checksum
 * that fits, is refused. */
static void test_stream_for_an_encoder(void **state)
{
    (void)state;
    enum { HEADER = 56, N_TOKENS = 48, ROOM = 1 << 16 };
    temp_dir dir;
    nib_error err = {0};
    nib_model *encoder = open_model("roberta_small", NULL);
    nib_session *s = open_session(encoder, NIB_KV_F16);
    const nib__kv *kv = &s->kv;
    const uint32_t fields[] = {kv->n_layer,
                               kv->n_head_kv,
                               kv->head_dim,
                               encoder->config.n_vocab,
                               N_TOKENS,
                               N_TOKENS,
                               0,
                               0};
    uint8_t *file = calloc(ROOM, 1);
    memcpy(file, "NIBSTATE", 8);
    nib__put_le32(file + 8, 1);
    nib__put_le32(file + 12, kv->type);
    nib__put_le64(file + 16, encoder->identity);
    for (int i = 0; i < 8; i++) nib__put_le32(file + 24 + 4 * i, fields[i]);
    const size_t row = kv->head_dim * nib__kv_element(kv->type);
    const size_t size = HEADER + N_TOKENS * (4 + 2 * row * kv->n_layer * kv->n_head_kv);
    nib__hash hash;
    nib__hash_init(&hash, 0);
    nib__hash_add(&hash, file, size);
    nib__put_le64(file + size, nib__hash_value(&hash));
    temp_dir_make(&dir);
    temp_dir_write(&dir, "state", file, size + 8);
    free(file);
    assert_fails(nib_session_load(s, temp_dir_file(&dir, "state"), &err), NIB_ERR_UNSUPPORTED, err,
                 "hidden states");
    temp_dir_remove(&dir);
    nib_session_free(s);
    nib_model_free(encoder);
}

/* A session without a source can be saved as well. */
static void test_no_source(void **state)
{
    (void)state;
    saved v = make_saved();
    nib_error err = {0};
    nib_session *s = open_session(v.model, NIB_KV_F16);
    assert_ok(nib_session_set_tokens(s, (const int32_t[]){7, 8}, 2, NULL, &err), err);
    assert_ok(nib_session_save(s, v.bad, &err), err);
    assert_ok(nib_session_load(v.session, v.bad, &err), err);
    assert_fails(nib_session_eval(v.session, &err), NIB_ERR_STATE, err, "source");
    set_stream(v.session, 2, 30, 17);
    assert_ok(nib_session_eval(v.session, &err), err);
    assert_same_logits(v.copy, v.session, "with a source again");
    nib_session_free(s);
    free_saved(&v);
}

static void test_every_allocation_can_fail(void **state)
{
    (void)state;
    temp_dir dir;
    char path[512];
    temp_dir_make(&dir);
    strcpy(path, temp_dir_file(&dir, "state"));
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib_error err = {0};
        nib_batch *batch = NULL;
        nib_step step = {.struct_size = sizeof step};
        nib_status one;
        fault_alloc_init(&fa);
        nib_model *model = open_model("t5_gated", &fa.mem);
        nib_session *s = open_session(model, NIB_KV_F16);
        set_stream(s, 3, 12, 4);
        fa.fail_at = fa.count + n;
        nib_status status = nib_batch_new(model, NULL, &batch, &err);
        while (status == NIB_OK && !step.done)
            status = nib_batch_step(batch, &s, 1, 0, &step, &one, NULL, &err);
        if (status == NIB_OK) status = nib_session_save(s, path, &err);
        if (status == NIB_OK) status = nib_session_load(s, path, &err);
        bool done = fa.failed == 0;
        if (done)
            assert_ok(status, err);
        else
            assert_int_equal(status, NIB_ERR_MEMORY);
        nib_batch_free(batch);
        nib_session_free(s);
        nib_model_free(model);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        if (done) {
            assert_true(n > 3);
            break;
        }
    }
    temp_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_late_calls),
        cmocka_unit_test(test_source_changes_between_steps),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_stream_for_an_encoder),
        cmocka_unit_test(test_no_source),
        cmocka_unit_test(test_every_allocation_can_fail),
    };
    return cmocka_run_group_tests_name("source_sessions", tests, NULL, NULL);
}
