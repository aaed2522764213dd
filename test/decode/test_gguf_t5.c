/* SPDX-License-Identifier: MIT
 * GGUF files of T5's kind against transformers: logits and greedy tokens of the decoder, hidden
 * states of an encoder alone; and that holes are filled in them, too. test/oracle/make_gguf_t5.py.
 */
#include "test.h"

#include "fixture_model.h"
#include "model/model.h"

static const struct {
    const char *name;
    uint32_t n_layer, n_encoder_layer;
    bool coded; /* the reference is of the decoded weights: NIB_PRECISION_F32 only */
} files[] = {
    {"t5", 2, 3, false}, {"t5_gated", 2, 2, true}, {"t5_q8", 1, 1, true}, {"t5_q5", 1, 2, true}};

static nib_model *open_file(const char *name, uint32_t precision)
{
    char path[64];
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.precision = precision;
    snprintf(path, sizeof path, "archs/%s.gguf", name);
    return fixture_model(path, &options);
}

static reference read_reference(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "archs/%s", name);
    return fixture_reference(path);
}

static nib_session *open_session(nib_model *model)
{
    return fixture_session(model, 96, 1, NIB_KV_F16);
}

static void check(nib_session *session, const reference *ref, int32_t start_id, const char *name)
{
    nib_error err = {0};
    float *logits = fixture_logits(session, ref, 0);
    double d = reference_distance(ref, logits);
    print_message("%s: %.1e\n", name, d);
    assert_true(d <= 2e-4);
    free(logits);
    assert_ok(nib_session_set_tokens(session, NULL, 0, NULL, &err), err);
    assert_greedy_after(session, ref, start_id, name);
}

static void test_equal_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        reference ref = read_reference(files[i].name);
        for (int turn = files[i].coded; turn < 2; turn++) {
            nib_model *model =
                open_file(files[i].name, turn ? NIB_PRECISION_F32 : NIB_PRECISION_DEFAULT);
            nib_session *session = open_session(model);
            nib_model_info info = {.struct_size = sizeof info};
            nib_error err = {0};
            assert_ok(nib_model_get_info(model, &info), err);
            assert_int_equal(info.kind, NIB_MODEL_ENCODER_DECODER);
            assert_int_equal(info.n_layer, files[i].n_layer);
            assert_int_equal(info.n_encoder_layer, files[i].n_encoder_layer);
            assert_int_equal(info.start_id, 0);
            assert_int_equal(info.fim_family, NIB_FIM_T5);
            assert_ok(
                nib_session_set_source(session, (const int32_t *)ref.source, ref.n_source, &err),
                err);
            check(session, &ref, info.start_id, files[i].name);
            nib_session_free(session);
            nib_model_free(model);
        }
        reference_free(&ref);
    }
}

static void test_encoder_alone(void **state)
{
    (void)state;
    reference ref = read_reference("t5encoder");
    nib_model *model = open_file("t5encoder", NIB_PRECISION_DEFAULT);
    nib_session *session = open_session(model);
    nib_error err = {0};
    float *states = malloc((size_t)ref.n_tokens * ref.n_vocab * sizeof *states);
    assert_int_equal(model->config.n_embd, ref.n_vocab);
    assert_ok(nib_session_embed(session, (const int32_t *)ref.ids, ref.n_tokens, 0, states, &err),
              err);
    print_message("t5encoder: %.1e\n", reference_distance(&ref, states));
    assert_true(reference_distance(&ref, states) <= 2e-4);
    free(states);
    nib_session_free(session);
    nib_model_free(model);
    reference_free(&ref);
}

/* Its sentinels are user-defined tokens, which a tokenizer finds in any text: not in the user's. */
static void test_holes(void **state)
{
    (void)state;
    static const char before[] = " w1 <extra_id_0> w2", after[] = " w3 <extra_id_1>";
    nib_model *model = open_file("t5", NIB_PRECISION_DEFAULT);
    nib_session *session = open_session(model);
    nib_error err = {0};
    nib_fim fim;
    int32_t ids[64];
    size_t n = 0, holes = 0;
    uint32_t n_vocab = model->config.n_vocab;
    nib_step step = {.struct_size = sizeof step};
    nib_fim_init(&fim, sizeof fim);
    fim.prefix = (nib_text){before, sizeof before - 1};
    fim.suffix = (nib_text){after, sizeof after - 1};
    assert_ok(nib_fim_build(model, &fim, ids, 64, &n, &err), err);
    for (size_t i = 0; i < n; i++) holes += ids[i] >= (int32_t)n_vocab - 2;
    assert_int_equal(holes, 1);
    assert_int_equal(ids[0], 4); /* w1 */
    assert_int_equal(ids[n - 1], 1);
    assert_ok(nib_fim_begin(session, &fim, NULL, &err), err);
    while (!step.done) assert_ok(nib_session_step(session, 0, &step, &err), err);
    assert_true(step.stop_reason == NIB_STOP_END_TOKEN || step.stop_reason == NIB_STOP_CONTEXT ||
                step.stop_reason == NIB_STOP_LENGTH);
    nib_session_free(session);
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_transformers),
        cmocka_unit_test(test_encoder_alone),
        cmocka_unit_test(test_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
