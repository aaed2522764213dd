/* SPDX-License-Identifier: MIT
 * Metadata -> configuration: what a good file gives, and one clear error for every bad field. */
#include <math.h>

#include "test.h"

#include "gguf_writer.h"
#include "model/arch.h"

enum { N_VOCAB = 300 };

typedef enum value_type { ABSENT, COUNT, BIG, NEGATIVE, REAL, TEXT, COUNTS, TRUTH } value_type;

/* One key and its value. */
typedef struct entry {
    const char *key;
    value_type type;
    double number;
    const char *text;
    uint32_t counts[4];
} entry;

static const entry base[] = {
    {"general.architecture", TEXT, 0, "llama", {0}},
    {"llama.block_count", COUNT, 2, NULL, {0}},
    {"llama.context_length", COUNT, 2048, NULL, {0}},
    {"llama.embedding_length", COUNT, 64, NULL, {0}},
    {"llama.feed_forward_length", COUNT, 96, NULL, {0}},
    {"llama.attention.head_count", COUNT, 4, NULL, {0}},
    {"llama.attention.head_count_kv", COUNT, 2, NULL, {0}},
    {"llama.attention.layer_norm_rms_epsilon", REAL, 1e-5, NULL, {0}},
    {"llama.rope.dimension_count", COUNT, 16, NULL, {0}},
    {"llama.rope.freq_base", REAL, 100000, NULL, {0}},
    {"llama.vocab_size", COUNT, N_VOCAB, NULL, {0}},
};
enum { N_BASE = sizeof base / sizeof base[0] };

static void put(gguf_writer *w, const entry *e)
{
    switch (e->type) {
    case ABSENT: break;
    case COUNT: gguf_u32(w, e->key, (uint32_t)e->number); break;
    case BIG: gguf_u64(w, e->key, UINT64_C(1) << 40); break;
    case NEGATIVE: gguf_i32(w, e->key, (int32_t)e->number); break;
    case REAL: gguf_f32(w, e->key, (float)e->number); break;
    case TEXT: gguf_str(w, e->key, e->text); break;
    case COUNTS: gguf_u32s(w, e->key, e->counts, 2); break;
    case TRUTH: gguf_bool(w, e->key, (uint8_t)e->number); break;
    }
}

static bool replaced(const char *key, const entry *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(changes[i].key, key) == 0) return true;
    }
    return false;
}

/* Reads the configuration of the base file with some entries replaced or added. */
static nib_status read_with(const entry *changes, size_t n, nib__config *config, nib_error *err)
{
    gguf_writer w;
    gguf_begin(&w);
    for (size_t i = 0; i < N_BASE; i++) {
        if (!replaced(base[i].key, changes, n)) put(&w, &base[i]);
    }
    for (size_t i = 0; i < n; i++) put(&w, &changes[i]);
    const uint64_t ne[] = {32};
    gguf_tensor(&w, "some.tensor", NIB__F32, 1, ne, NULL, 128);
    size_t size;
    uint8_t *file = gguf_end(&w, &size);
    nib_allocator mem = nib__allocator(NULL);
    nib__source *source = NULL;
    const nib__arch *arch = NULL;
    nib_status status = nib__source_open_memory(&mem, file, size, &source, err);
    assert_ok(status, *err);
    status = nib__config_read(source, N_VOCAB, config, &arch, err);
    if (status == NIB_OK) assert_string_equal(arch->name, config->arch);
    nib__source_close(source);
    free(file);
    return status;
}

static void test_good_file(void **state)
{
    (void)state;
    nib_error err = {0};
    nib__config c;
    assert_ok(read_with(NULL, 0, &c, &err), err);
    assert_string_equal(c.arch, "llama");
    assert_int_equal(c.n_layer, 2);
    assert_int_equal(c.n_embd, 64);
    assert_int_equal(c.n_head, 4);
    assert_int_equal(c.n_head_kv, 2);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.n_ff, 96);
    assert_int_equal(c.n_vocab, N_VOCAB);
    assert_int_equal(c.n_ctx_train, 2048);
    assert_int_equal(c.n_rot, 16);
    assert_int_equal(c.rope, NIB__ROPE_INTERLEAVED);
    assert_int_equal(c.rope_scaling, NIB__ROPE_PLAIN);
    assert_true(c.norm_eps == 1e-5f);
    assert_true(c.rope_base == 100000.0f);
    assert_true(c.attn_scale == 0.25f);
    assert_true(c.rope_attn_factor == 1.0f);
}

static void test_defaults(void **state)
{
    (void)state;
    static const entry changes[] = {
        {"llama.attention.head_count_kv", ABSENT, 0, NULL, {0}},
        {"llama.rope.dimension_count", ABSENT, 0, NULL, {0}},
        {"llama.rope.freq_base", ABSENT, 0, NULL, {0}},
        {"llama.vocab_size", ABSENT, 0, NULL, {0}},
        {"llama.expert_count", COUNT, 0, NULL, {0}},
    };
    nib_error err = {0};
    nib__config c;
    assert_ok(read_with(changes, sizeof changes / sizeof changes[0], &c, &err), err);
    assert_int_equal(c.n_head_kv, 4);
    assert_int_equal(c.n_rot, 16);
    assert_int_equal(c.n_vocab, N_VOCAB);
    assert_true(c.rope_base == 10000.0f);
}

static void test_other_forms(void **state)
{
    (void)state;
    /* Head sizes of their own, counts per layer, scaled rotation. */
    static const entry changes[] = {
        {"llama.attention.key_length", COUNT, 32, NULL, {0}},
        {"llama.attention.value_length", COUNT, 32, NULL, {0}},
        {"llama.attention.head_count", COUNTS, 0, NULL, {6, 6}},
        {"llama.attention.head_count_kv", COUNTS, 0, NULL, {3, 3}},
        {"llama.rope.scaling.type", TEXT, 0, "yarn", {0}},
        {"llama.rope.scaling.factor", REAL, 4, NULL, {0}},
        {"llama.rope.scaling.original_context_length", COUNT, 512, NULL, {0}},
    };
    nib_error err = {0};
    nib__config c;
    assert_ok(read_with(changes, sizeof changes / sizeof changes[0], &c, &err), err);
    assert_int_equal(c.head_dim, 32);
    assert_int_equal(c.n_head, 6);
    assert_int_equal(c.n_head_kv, 3);
    assert_int_equal(c.rope_scaling, NIB__ROPE_YARN);
    assert_int_equal(c.rope_ctx_orig, 512);
    assert_true(fabs((double)c.rope_attn_factor - (1 + 0.1 * log(4.0))) < 1e-6);
}

static void test_old_linear_key(void **state)
{
    (void)state;
    static const entry changes[] = {
        {"llama.rope.scale_linear", REAL, 4, NULL, {0}},
        {"llama.attention.causal", TRUTH, 1, NULL, {0}},
    };
    nib_error err = {0};
    nib__config c;
    assert_ok(read_with(changes, 2, &c, &err), err);
    assert_int_equal(c.rope_scaling, NIB__ROPE_LINEAR);
    assert_true(c.rope_factor == 4.0f);
}

/* A change, and the failure it must cause. */
typedef struct bad_case {
    entry change;
    nib_status code;
    const char *part; /* of the message, besides the key */
} bad_case;

#define FORMAT NIB_ERR_FORMAT
#define UNSUPPORTED NIB_ERR_UNSUPPORTED
static const bad_case bad_cases[] = {
    {{"general.architecture", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"general.architecture", COUNT, 1, NULL, {0}}, FORMAT, ""},
    {{"general.architecture", TEXT, 0, "mamba", {0}}, UNSUPPORTED, "\"mamba\""},
    {{"general.architecture", TEXT, 0, "", {0}}, UNSUPPORTED, "llama, qwen2"},
    {{"llama.block_count", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"llama.block_count", COUNT, 0, NULL, {0}}, FORMAT, "expected 1..512, got 0"},
    {{"llama.block_count", COUNT, 513, NULL, {0}}, FORMAT, "got 513"},
    {{"llama.block_count", BIG, 0, NULL, {0}}, FORMAT, ""},
    {{"llama.block_count", NEGATIVE, -1, NULL, {0}}, FORMAT, ""},
    {{"llama.block_count", TEXT, 0, "two", {0}}, FORMAT, ""},
    {{"llama.context_length", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"llama.context_length", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.context_length", COUNT, 4294967295.0, NULL, {0}}, FORMAT, "got 4294967295"},
    {{"llama.embedding_length", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"llama.embedding_length", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.embedding_length", COUNT, 1 << 20, NULL, {0}}, FORMAT, "got 1048576"},
    {{"llama.feed_forward_length", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"llama.feed_forward_length", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.feed_forward_length", COUNTS, 0, NULL, {96, 64}}, UNSUPPORTED, "96 and 64"},
    {{"llama.attention.head_count", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"llama.attention.head_count", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.attention.head_count", COUNT, 2000, NULL, {0}}, FORMAT, "got 2000"},
    {{"llama.attention.head_count", COUNTS, 0, NULL, {4, 2}}, UNSUPPORTED, "4 and 2"},
    {{"llama.attention.head_count_kv", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.attention.head_count_kv", COUNT, 3, NULL, {0}}, FORMAT, "divisor"},
    {{"llama.attention.head_count_kv", COUNT, 8, NULL, {0}}, FORMAT, "divisor"},
    {{"llama.attention.head_count_kv", COUNTS, 0, NULL, {2, 1}}, UNSUPPORTED, "2 and 1"},
    {{"llama.attention.head_count_kv", TEXT, 0, "2", {0}}, FORMAT, ""},
    {{"llama.attention.key_length", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.attention.key_length", COUNT, 4096, NULL, {0}}, FORMAT, "got 4096"},
    {{"llama.attention.value_length", COUNT, 32, NULL, {0}}, UNSUPPORTED, "got 32"},
    {{"llama.attention.layer_norm_rms_epsilon", ABSENT, 0, NULL, {0}}, FORMAT, "no such key"},
    {{"llama.attention.layer_norm_rms_epsilon", REAL, 0, NULL, {0}}, FORMAT, "got 0.00000e0"},
    {{"llama.attention.layer_norm_rms_epsilon", REAL, -1e-5, NULL, {0}}, FORMAT, "got -1.00000e-5"},
    {{"llama.attention.layer_norm_rms_epsilon", REAL, NAN, NULL, {0}}, FORMAT, "got NaN"},
    {{"llama.attention.layer_norm_rms_epsilon", REAL, INFINITY, NULL, {0}}, FORMAT, "infinity"},
    {{"llama.rope.dimension_count", COUNT, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.rope.dimension_count", COUNT, 18, NULL, {0}}, FORMAT, "expected 2..16, got 18"},
    {{"llama.rope.dimension_count", COUNT, 15, NULL, {0}}, FORMAT, "even"},
    {{"llama.rope.freq_base", REAL, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.rope.freq_base", REAL, -10000, NULL, {0}}, FORMAT, "got -1.00000e4"},
    {{"llama.rope.freq_base", REAL, NAN, NULL, {0}}, FORMAT, "got NaN"},
    {{"llama.rope.scaling.type", TEXT, 0, "longrope", {0}}, UNSUPPORTED, "\"longrope\""},
    {{"llama.rope.scaling.type", COUNT, 1, NULL, {0}}, FORMAT, ""},
    {{"llama.vocab_size", COUNT, 299, NULL, {0}}, FORMAT, "expected 300"},
    {{"llama.expert_count", COUNT, 8, NULL, {0}}, UNSUPPORTED, "cannot be run"},
    {{"llama.attention.sliding_window", COUNT, 512, NULL, {0}}, UNSUPPORTED, "cannot be run"},
    {{"llama.final_logit_softcapping", REAL, 30, NULL, {0}}, UNSUPPORTED, "cannot be run"},
    {{"llama.attn_logit_softcapping", REAL, 50, NULL, {0}}, UNSUPPORTED, "cannot be run"},
    {{"llama.attention.causal", TRUTH, 0, NULL, {0}}, UNSUPPORTED, "got false"},
    {{"llama.attention.causal", COUNT, 0, NULL, {0}}, FORMAT, ""},
    {{"llama.rope.scale_linear", REAL, 0, NULL, {0}}, FORMAT, "got 0"},
    {{"llama.logit_scale", REAL, 0.5, NULL, {0}}, UNSUPPORTED, "cannot be run"},
};

static void test_bad_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_cases / sizeof bad_cases[0]; i++) {
        const bad_case *b = &bad_cases[i];
        nib_error err = {0};
        nib__config c;
        nib_status status = read_with(&b->change, 1, &c, &err);
        assert_fails(status, b->code, err, b->part);
        assert_fails(status, b->code, err, b->change.key);
    }
}

static void test_bad_scaling(void **state)
{
    (void)state;
    static const char *const types[] = {"linear", "yarn"};
    static const double factors[] = {0, -2, NAN, INFINITY};
    for (size_t t = 0; t < 2; t++) {
        for (size_t f = 0; f < 4; f++) {
            const entry changes[] = {
                {"llama.rope.scaling.type", TEXT, 0, types[t], {0}},
                {"llama.rope.scaling.factor", REAL, factors[f], NULL, {0}},
            };
            nib_error err = {0};
            nib__config c;
            assert_fails(read_with(changes, 2, &c, &err), FORMAT, err, "rope.scaling.factor");
        }
        const entry no_factor = {"llama.rope.scaling.type", TEXT, 0, types[t], {0}};
        nib_error err = {0};
        nib__config c;
        assert_fails(read_with(&no_factor, 1, &c, &err), FORMAT, err, "no such key");
    }
}

static void test_head_size_needs_a_key_if_width_does_not_divide(void **state)
{
    (void)state;
    const entry heads[] = {
        {"llama.attention.head_count", COUNT, 3, NULL, {0}},
        {"llama.attention.head_count_kv", COUNT, 3, NULL, {0}},
        {"llama.attention.key_length", COUNT, 16, NULL, {0}},
    };
    nib_error err = {0};
    nib__config c;
    assert_fails(read_with(heads, 2, &c, &err), FORMAT, err, "key_length");
    assert_ok(read_with(heads, 3, &c, &err), err);
    assert_int_equal(c.head_dim, 16);
}

static void test_odd_head_size_needs_a_number_of_rotated_dimensions(void **state)
{
    (void)state;
    const entry odd[] = {
        {"llama.attention.key_length", COUNT, 15, NULL, {0}},
        {"llama.attention.value_length", COUNT, 15, NULL, {0}},
        {"llama.rope.dimension_count", ABSENT, 0, NULL, {0}},
    };
    const entry known = {"llama.rope.dimension_count", COUNT, 6, NULL, {0}};
    const entry good[] = {odd[0], odd[1], known};
    nib_error err = {0};
    nib__config c;
    assert_fails(read_with(odd, 3, &c, &err), FORMAT, err, "key_length: expected an even");
    assert_ok(read_with(good, 3, &c, &err), err);
    assert_int_equal(c.head_dim, 15);
    assert_int_equal(c.n_rot, 6);
}

static void test_frequencies(void **state)
{
    (void)state;
    nib__config c = {.n_rot = 8, .rope_base = 10000, .rope_factor = 1};
    float inv[4];
    nib__rope_frequencies(&c, NULL, inv);
    for (int i = 0; i < 4; i++) assert_true(inv[i] == (float)pow(10.0, -i));
    c.rope_scaling = NIB__ROPE_LINEAR;
    c.rope_factor = 4;
    nib__rope_frequencies(&c, NULL, inv);
    for (int i = 0; i < 4; i++) assert_true(inv[i] == (float)(pow(10.0, -i) / 4));
    const float divisors[] = {1, 1, 2, 8};
    c.rope_scaling = NIB__ROPE_PLAIN;
    c.rope_factor = 1;
    nib__rope_frequencies(&c, divisors, inv);
    for (int i = 0; i < 4; i++) assert_true(inv[i] == (float)(pow(10.0, -i) / (double)divisors[i]));
}

static void test_names(void **state)
{
    (void)state;
    uint32_t layer = 0;
    for (const nib__name *name = nib__names_gguf.list; name->role != NIB__ROLE_COUNT; name++) {
        char text[96];
        nib__name_text(&nib__names_gguf, "", name, 17, text, sizeof text);
        nib__roles found = nib__name_parse(&nib__names_gguf, text, &layer);
        assert_true((found >> name->role & 1) != 0);
        assert_int_equal(layer, name->role < NIB__LAYER_ROLES ? 17 : 0);
    }
    static const char *const strangers[] = {
        "",
        "blk.",
        "blk..attn_q.weight",
        "blk.0attn_q.weight",
        "blk.0.attn_q",
        "attn_q.weight",
        "blk.00.attn_q.weight",
        "blk.99999999999.attn_q.weight",
        "blk.-1.attn_q.weight",
        "blk.1.output.weight",
        "output.weights",
        "token_embd.bias",
    };
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        assert_true(nib__name_parse(&nib__names_gguf, strangers[i], &layer) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_file),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_old_linear_key),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_bad_scaling),
        cmocka_unit_test(test_head_size_needs_a_key_if_width_does_not_divide),
        cmocka_unit_test(test_odd_head_size_needs_a_number_of_rotated_dimensions),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
