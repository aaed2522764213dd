/* SPDX-License-Identifier: MIT
 * What a checkpoint's generation_config.json asks of beam search, and who has the last word. That
 * the rules are those of transformers is test_beam.c's to say. */
#include <math.h>
#include <string.h>

#include "test.h"

#include "fault_alloc.h"
#include "fixture.h"
#include "fixture_model.h"
#include "temp_dir.h"
#include "tiny_model.h"

static void run(nib_session *session)
{
    nib_step step = {.struct_size = sizeof step};
    nib_error err = {0};
    while (!step.done) assert_ok(nib_session_step(session, 0, &step, &err), err);
}

/* ---- bad options ---- */

static void check_refused(nib_session *s, nib_beam_options o, const char *what)
{
    nib_error err = {0};
    assert_fails(nib_beam_begin_tokens(s, &o, &err), NIB_ERR_ARGUMENT, err, what);
}

static void test_bad_options(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_error err = {0};
    nib_beam_options good, o;
    int32_t ids[TINY_CTX] = {40, 41};
    nib_beam_options_init(&good, sizeof good);
    check_refused(s, good, "begin with");
    assert_ok(nib_session_set_tokens(s, ids, 2, NULL, &err), err);
    o = good, o.n_beams = 0, check_refused(s, o, "n_beams");
    o = good, o.n_beams = 17, check_refused(s, o, "17");
    o = good, o.n_results = 5, check_refused(s, o, "n_results");
    o = good, o.n_results = 0, check_refused(s, o, "n_results");
    o = good, o.max_tokens = 0, check_refused(s, o, "max_tokens");
    o = good, o.length_penalty = NAN, check_refused(s, o, "length_penalty");
    o = good, o.length_penalty = 11, check_refused(s, o, "length_penalty");
    o = good, o.early_stopping = 3, check_refused(s, o, "early_stopping");
    o = good, o.n_end_ids = 1, check_refused(s, o, "end_ids");
    int32_t outside = (int32_t)tiny_vocab(model);
    o = good, o.n_end_ids = 1, o.end_ids = &outside, check_refused(s, o, "end_ids[0]");
    o = good, o.rules = 2, check_refused(s, o, "rules");
    o = good, o.min_tokens = 129, check_refused(s, o, "min_tokens");
    o = good, o.first_id = outside, check_refused(s, o, "first_id");
    o = good, o.last_id = outside, check_refused(s, o, "last_id");
    o = good, o.repetition_penalty = -1, check_refused(s, o, "repetition_penalty");
    o = good, o.repetition_penalty = NAN, check_refused(s, o, "repetition_penalty");
    /* more tokens than there is room for */
    assert_ok(nib_session_set_tokens(s, ids, TINY_CTX - 5, NULL, &err), err);
    o = good, o.max_tokens = UINT32_MAX, o.length_penalty = 5;
    assert_ok(nib_beam_begin_tokens(s, &o, &err), err);
    run(s);
    nib_beam_result got = {.struct_size = sizeof got};
    assert_ok(nib_beam_get_result(s, 0, &got, &err), err);
    assert_true(got.n_ids <= 5);
    assert_ok(nib_session_set_tokens(s, ids, TINY_CTX, NULL, &err), err);
    assert_fails(nib_beam_begin_tokens(s, &good, &err), NIB_ERR_LIMIT, err, "context");
    nib_session_free(s);
    nib_model_free(model);
}

/* ---- memory ---- */

static void test_memory_is_known(void **state)
{
    (void)state;
    static const uint32_t beams[] = {1, 2, 7};
    for (int i = 0; i < 3; i++) {
        fault_alloc fa;
        nib_model_options options;
        nib_beam_options o;
        nib_error err = {0};
        uint64_t bytes = 0;
        int32_t ids[20];
        fault_alloc_init(&fa);
        nib_model_options_init(&options, sizeof options);
        options.allocator = &fa.mem;
        nib_model *model = fixture_model("hf/llama", &options);
        nib_session *s = fixture_session(model, 90, 1, NIB_KV_F16);
        nib_beam_options_init(&o, sizeof o);
        o.n_beams = beams[i];
        o.max_tokens = i == 1 ? 1000 : 40; /* more than there is room for */
        for (int k = 0; k < 20; k++) ids[k] = 3 + k;
        assert_fails(nib_beam_memory(s, &o, &bytes, &err), NIB_ERR_ARGUMENT, err, "begin with");
        assert_ok(nib_session_set_tokens(s, ids, 20, NULL, &err), err);
        assert_ok(nib_beam_memory(s, &o, &bytes, &err), err);
        size_t before = fa.live_bytes;
        assert_ok(nib_beam_begin_tokens(s, &o, &err), err);
        assert_int_equal(fa.live_bytes - before, bytes);
        nib_session_free(s);
        nib_model_free(model);
        fault_alloc_done(&fa);
    }
}

/* ---- rules of a checkpoint ---- */

/* BART with these files in the place of its own; NULL: without generation_config.json. */
static nib_model *open_ruled(const char *generation, const char *field)
{
    temp_dir dir;
    nib_model *model = NULL;
    nib_error err = {0};
    size_t size;
    temp_dir_make(&dir);
    uint8_t *weights = fixture_read("fixtures/seq2seq/bart_relu/model.safetensors", &size);
    temp_dir_write(&dir, "model.safetensors", weights, size);
    free(weights);
    uint8_t *config = fixture_read("fixtures/seq2seq/bart_relu/config.json", &size);
    char *text = calloc(size + 256, 1);
    snprintf(text, size + 256, "{%s%.*s", field, (int)size - 1, (const char *)config + 1);
    temp_dir_text(&dir, "config.json", text);
    free(text);
    free(config);
    if (generation != NULL) temp_dir_text(&dir, "generation_config.json", generation);
    assert_ok(nib_model_open(dir.path, NULL, &model, &err), err);
    temp_dir_remove(&dir);
    return model;
}

static nib_beam_options plain_options(void)
{
    static const int32_t end = 2;
    nib_beam_options o;
    nib_beam_options_init(&o, sizeof o);
    o.max_tokens = 14;
    o.end_ids = &end;
    o.n_end_ids = 1;
    return o;
}

/* NIB_OK and the best text, whose memory is the session's. */
static nib_status best_text(nib_session *session, const nib_beam_options *o, nib_beam_result *best,
                            nib_error *err)
{
    static const int32_t source[] = {9, 31, 5, 22, 40, 17}, start = 2;
    nib_error why = {0};
    *best = (nib_beam_result){.struct_size = sizeof *best};
    assert_ok(nib_session_set_source(session, source, 6, &why), why);
    assert_ok(nib_session_set_tokens(session, &start, 1, NULL, &why), why);
    nib_status status = nib_beam_begin_tokens(session, o, err);
    if (status != NIB_OK) return status;
    run(session);
    return nib_beam_get_result(session, 0, best, err);
}

static bool same_texts(const nib_beam_result *a, const nib_beam_result *b)
{
    return a->n_ids == b->n_ids && a->ended == b->ended && fabs(a->score - b->score) < 1e-5 &&
           memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids) == 0;
}

static void test_rules_of_a_checkpoint(void **state)
{
    (void)state;
#define MARK "\"transformers_version\": \"4.44.2\""
    static const struct {
        const char *generation, *field; /* of config.json, which counts without the former */
        uint32_t min_tokens, no_repeat_ngram;
        int32_t first_id, last_id;
        double repetition_penalty;
    } cases[] = {
        {"{" MARK ", \"no_repeat_ngram_size\": 1}", "", 0, 1, -1, -1, 0},
        {"{" MARK ", \"forced_bos_token_id\": 11}", "", 0, 0, 11, -1, 0},
        {"{" MARK ", \"forced_eos_token_id\": 2}", "", 0, 0, -1, 2, 0},
        {"{" MARK ", \"repetition_penalty\": 1.9}", "", 0, 0, -1, -1, 1.9},
        {"{" MARK ", \"min_length\": 8}", "", 7, 0, -1, -1, 0},
        {"{" MARK ", \"min_length\": 3, \"min_new_tokens\": 9}", "", 9, 0, -1, -1, 0},
        {NULL, "\"no_repeat_ngram_size\": 2, \"min_length\": 6,", 5, 2, -1, -1, 0},
        {"{" MARK "}", "\"forced_bos_token_id\": 11,", 0, 0, -1, -1, 0},
    };
    nib_model *plain = fixture_model("seq2seq/bart_relu", NULL);
    nib_session *a = fixture_session(plain, 64, 1, NIB_KV_F16);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nib_beam_options by_model = plain_options(), by_options = plain_options();
        nib_error err = {0};
        nib_beam_result want, got;
        by_options.min_tokens = cases[i].min_tokens;
        by_options.no_repeat_ngram = cases[i].no_repeat_ngram;
        by_options.first_id = cases[i].first_id;
        by_options.last_id = cases[i].last_id;
        by_options.repetition_penalty = cases[i].repetition_penalty;
        nib_model *model = open_ruled(cases[i].generation, cases[i].field);
        nib_session *b = fixture_session(model, 64, 1, NIB_KV_F16);
        assert_ok(best_text(a, &by_options, &want, &err), err);
        assert_ok(best_text(b, &by_model, &got, &err), err);
        if (!same_texts(&want, &got)) fail_msg("case %zu: rules of the checkpoint", i);
        by_options = plain_options();
        by_model.rules = NIB_BEAM_RULES_OPTIONS;
        assert_ok(best_text(a, &by_options, &want, &err), err);
        assert_ok(best_text(b, &by_model, &got, &err), err);
        if (!same_texts(&want, &got)) fail_msg("case %zu: no rules", i);
        nib_session_free(b);
        nib_model_free(model);
    }
    nib_session_free(a);
    nib_model_free(plain);
}

/* The texts are those of transformers 4.44.2 (generate with num_beams=4, max_new_tokens=14), the
 * same in float32 and float64. */
static void test_ids_that_never_come(void **state)
{
    (void)state;
    static const struct {
        const char *generation;
        double score;
        int32_t ids[14];
    } cases[] = {
        {"{" MARK ", \"suppress_tokens\": [], \"begin_suppress_tokens\": null}",
         -0.71172506,
         {33, 10, 8, 19, 8, 33, 8, 8, 19, 26, 0, 19, 19, 19}},
        {"{" MARK ", \"suppress_tokens\": [33, 19]}",
         -1.3688153,
         {26, 37, 28, 8, 3, 34, 21, 24, 10, 10, 8, 8, 0, 8}},
        {"{" MARK ", \"begin_suppress_tokens\": [33]}",
         -0.89096659,
         {19, 19, 39, 19, 8, 33, 8, 19, 19, 19, 19, 19, 19, 33}},
        {"{" MARK ", \"begin_suppress_tokens\": [33, 10], \"forced_bos_token_id\": 11}",
         -0.73869985,
         {11, 19, 19, 19, 8, 24, 19, 19, 10, 24, 19, 19, 8, 0}},
        {"{" MARK ", \"begin_suppress_tokens\": [33, 7], \"suppress_tokens\": [10]}",
         -0.86716992,
         {19, 19, 39, 19, 8, 0, 19, 19, 19, 19, 19, 19, 19, 19}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nib_beam_options o = plain_options();
        nib_beam_result got;
        nib_error err = {0};
        nib_model *model = open_ruled(cases[i].generation, "");
        nib_session *session = fixture_session(model, 64, 1, NIB_KV_F16);
        o.n_beams = 4;
        assert_ok(best_text(session, &o, &got, &err), err);
        assert_int_equal(got.n_ids, 14);
        assert_memory_equal(got.ids, cases[i].ids, sizeof cases[i].ids);
        assert_true(fabs(got.score - cases[i].score) < 2e-4);
        nib_session_free(session);
        nib_model_free(model);
    }
}

static void test_rules_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *generation;
        nib_status code;
        const char *part;
    } cases[] = {
        {"{" MARK ", \"bad_words_ids\": [[3]]}", NIB_ERR_UNSUPPORTED, "bad_words_ids"},
        {"{" MARK ", \"sequence_bias\": {}}", NIB_ERR_UNSUPPORTED, "sequence_bias"},
        {"{" MARK ", \"suppress_tokens\": [3, 47]}", NIB_ERR_FORMAT, "suppress_tokens"},
        {"{" MARK ", \"suppress_tokens\": [-1]}", NIB_ERR_FORMAT, "suppress_tokens"},
        {"{" MARK ", \"begin_suppress_tokens\": [\"a\"]}", NIB_ERR_FORMAT, "begin_suppress_tokens"},
        {"{" MARK ", \"forced_bos_token_id\": 47}", NIB_ERR_FORMAT, "forced_bos_token_id"},
        {"{" MARK ", \"no_repeat_ngram_size\": -1}", NIB_ERR_FORMAT, "no_repeat_ngram_size"},
        {"{" MARK ", \"repetition_penalty\": 0}", NIB_ERR_FORMAT, "repetition_penalty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nib_beam_options o = plain_options();
        nib_beam_result got;
        nib_error err = {0};
        nib_model *model = open_ruled(cases[i].generation, "");
        nib_session *session = fixture_session(model, 64, 1, NIB_KV_F16);
        assert_fails(best_text(session, &o, &got, &err), cases[i].code, err, cases[i].part);
        o.rules = NIB_BEAM_RULES_OPTIONS;
        assert_ok(best_text(session, &o, &got, &err), err);
        nib_session_free(session);
        nib_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_memory_is_known),
        cmocka_unit_test(test_rules_of_a_checkpoint),
        cmocka_unit_test(test_ids_that_never_come),
        cmocka_unit_test(test_rules_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
