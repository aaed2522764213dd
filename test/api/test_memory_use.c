/* SPDX-License-Identifier: MIT
 * What a checkpoint takes in memory: random CodeGen and T5 checkpoints of about 100 MB are written,
 * opened, and run; the largest resident size of the process must stay within 10 % of the weights
 * beside what the session says it takes. Linux only: the peak is reset and read through /proc. */
#include "test.h"

#include "rng.h"
#include "temp_dir.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__linux__)
#define MEASURES 0 /* sanitizers add memory of their own */
#else
#define MEASURES 1
#endif

enum { WIDTH = 512, LAYERS = 4, VOCAB = 24000, PROMPT = 256, STEPS = 8, MAX_TENSORS = 128 };

/* ---- checkpoints ----------------------------------------------------------------------------- */

typedef struct tensor {
    char name[96];
    uint32_t rows, columns; /* columns 0: a vector */
} tensor;

typedef struct checkpoint {
    tensor list[MAX_TENSORS];
    size_t n;
    const char *config;
} checkpoint;

static void add(checkpoint *c, const char *prefix, uint32_t layer, const char *name, uint32_t rows,
                uint32_t columns)
{
    assert_true(c->n < MAX_TENSORS);
    tensor *t = &c->list[c->n++];
    if (layer == UINT32_MAX)
        snprintf(t->name, sizeof t->name, "%s%s", prefix, name);
    else
        snprintf(t->name, sizeof t->name, "%s%u.%s", prefix, layer, name);
    t->rows = rows;
    t->columns = columns;
}

/* Head and embedding are two matrices. */
static void codegen(checkpoint *c)
{
    const char *layer = "transformer.h.";
    c->config = "{\"model_type\": \"codegen\", \"n_embd\": 512, \"n_layer\": 4, \"n_head\": 8, "
                "\"rotary_dim\": 32, \"n_positions\": 512, \"n_ctx\": 512, \"vocab_size\": 24000, "
                "\"activation_function\": \"gelu_new\", \"layer_norm_epsilon\": 1e-5, "
                "\"tie_word_embeddings\": false}";
    add(c, "transformer.wte.weight", UINT32_MAX, "", VOCAB, WIDTH);
    for (uint32_t i = 0; i < LAYERS; i++) {
        add(c, layer, i, "ln_1.weight", WIDTH, 0);
        add(c, layer, i, "ln_1.bias", WIDTH, 0);
        add(c, layer, i, "attn.qkv_proj.weight", 3 * WIDTH, WIDTH);
        add(c, layer, i, "attn.out_proj.weight", WIDTH, WIDTH);
        add(c, layer, i, "mlp.fc_in.weight", 4 * WIDTH, WIDTH);
        add(c, layer, i, "mlp.fc_in.bias", 4 * WIDTH, 0);
        add(c, layer, i, "mlp.fc_out.weight", WIDTH, 4 * WIDTH);
        add(c, layer, i, "mlp.fc_out.bias", WIDTH, 0);
    }
    add(c, "transformer.ln_f.weight", UINT32_MAX, "", WIDTH, 0);
    add(c, "transformer.ln_f.bias", UINT32_MAX, "", WIDTH, 0);
    add(c, "lm_head.weight", UINT32_MAX, "", VOCAB, WIDTH);
    add(c, "lm_head.bias", UINT32_MAX, "", VOCAB, 0);
}

static void t5_attention(checkpoint *c, const char *stack, uint32_t layer, const char *name)
{
    static const char *const parts[] = {"q", "k", "v", "o"};
    for (int i = 0; i < 4; i++) {
        char full[64];
        snprintf(full, sizeof full, "layer.%s.%s.weight", name, parts[i]);
        add(c, stack, layer, full, WIDTH, WIDTH);
    }
}

/* One matrix is head and embedding of both stacks. */
static void t5(checkpoint *c)
{
    c->config = "{\"model_type\": \"t5\", \"d_model\": 512, \"num_layers\": 4, \"num_heads\": 8, "
                "\"d_kv\": 64, \"d_ff\": 2048, \"vocab_size\": 24000, \"n_positions\": 512, "
                "\"relative_attention_num_buckets\": 32, \"feed_forward_proj\": \"relu\", "
                "\"layer_norm_epsilon\": 1e-6, \"is_encoder_decoder\": true, "
                "\"tie_word_embeddings\": true, \"pad_token_id\": 0, \"eos_token_id\": 2, "
                "\"decoder_start_token_id\": 0}";
    add(c, "shared.weight", UINT32_MAX, "", VOCAB, WIDTH);
    for (int decoder = 0; decoder < 2; decoder++) {
        const char *stack = decoder ? "decoder.block." : "encoder.block.";
        for (uint32_t i = 0; i < LAYERS; i++) {
            char name[64];
            int mlp = 1 + decoder;
            t5_attention(c, stack, i, "0.SelfAttention");
            add(c, stack, i, "layer.0.layer_norm.weight", WIDTH, 0);
            if (decoder) t5_attention(c, stack, i, "1.EncDecAttention");
            if (decoder) add(c, stack, i, "layer.1.layer_norm.weight", WIDTH, 0);
            snprintf(name, sizeof name, "layer.%d.DenseReluDense.wi.weight", mlp);
            add(c, stack, i, name, 4 * WIDTH, WIDTH);
            snprintf(name, sizeof name, "layer.%d.DenseReluDense.wo.weight", mlp);
            add(c, stack, i, name, WIDTH, 4 * WIDTH);
            snprintf(name, sizeof name, "layer.%d.layer_norm.weight", mlp);
            add(c, stack, i, name, WIDTH, 0);
        }
        add(c, stack, 0, "layer.0.SelfAttention.relative_attention_bias.weight", 32, 8);
        add(c, decoder ? "decoder." : "encoder.", UINT32_MAX, "final_layer_norm.weight", WIDTH, 0);
    }
}

static size_t bytes_of(const tensor *t)
{
    return (size_t)t->rows * (t->columns == 0 ? 1 : t->columns) * sizeof(float);
}

/* Written a piece at a time: what the test itself takes must not show. The C library's buffer is a
 * few huge pages, so that the page cache, where it can, holds the file in such. */
static void write_checkpoint(temp_dir *d, const checkpoint *c)
{
    enum { PIECE = 4096, HEADER = 1 << 16, BUFFER = 8 << 20 };
    static char header[HEADER], buffer[BUFFER];
    float piece[PIECE];
    rng r = {1};
    size_t len = (size_t)snprintf(header, HEADER, "{"), at = 0;
    for (size_t i = 0; i < c->n; i++) {
        const tensor *t = &c->list[i];
        char shape[32];
        snprintf(shape, sizeof shape, t->columns == 0 ? "%u" : "%u,%u", t->rows, t->columns);
        len += (size_t)snprintf(header + len, HEADER - len,
                                "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":"
                                "[%zu,%zu]}",
                                i == 0 ? "" : ",", t->name, shape, at, at + bytes_of(t));
        at += bytes_of(t);
    }
    len += (size_t)snprintf(header + len, HEADER - len, "}");
    assert_true(len < HEADER);
    FILE *file = fopen(temp_dir_file(d, "model.safetensors"), "wb");
    assert_non_null(file);
    assert_int_equal(setvbuf(file, buffer, _IOFBF, BUFFER), 0);
    for (int i = 0; i < 8; i++) fputc((int)(len >> 8 * i & 255), file);
    fwrite(header, 1, len, file);
    for (size_t left = at / sizeof *piece; left > 0;) {
        size_t n = left < PIECE ? left : PIECE;
        for (size_t i = 0; i < n; i++) piece[i] = 0.05f * rng_float(&r);
        assert_int_equal(fwrite(piece, sizeof *piece, n, file), n);
        left -= n;
    }
    assert_int_equal(fclose(file), 0);
    temp_dir_text(d, "config.json", c->config);
}

/* ---- memory of this process ------------------------------------------------------------------ */

/* A line of /proc/self/status, in bytes. */
static uint64_t status_of(const char *name)
{
    char line[128];
    unsigned long long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) sscanf(line + strlen(name), ": %llu", &kb);
    }
    fclose(file);
    return kb << 10;
}

static bool reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL) return false;
    bool done = fputs("5", file) >= 0;
    return fclose(file) == 0 && done;
}

/* ---- the test -------------------------------------------------------------------------------- */

static void run(nib_model *model, uint64_t *session_bytes)
{
    nib_model_info info = {.struct_size = sizeof info};
    nib_session_stats stats = {.struct_size = sizeof stats};
    nib_session_options options;
    nib_session *s = NULL;
    nib_error err = {0};
    static int32_t ids[PROMPT];
    for (int32_t i = 0; i < PROMPT; i++) ids[i] = (i + 1) * 7919 % VOCAB;
    assert_ok(nib_model_get_info(model, &info), err);
    nib_session_options_init(&options, sizeof options);
    options.n_threads = 2;
    options.n_ctx = PROMPT + STEPS;
    assert_ok(nib_session_new(model, &options, &s, &err), err);
    if (info.kind == NIB_MODEL_ENCODER_DECODER)
        assert_ok(nib_session_set_source(s, ids, PROMPT, &err), err);
    else
        assert_ok(nib_session_append(s, ids, PROMPT, &err), err);
    for (uint32_t i = 0; i < STEPS; i++) {
        assert_ok(nib_session_append(s, &ids[i], 1, &err), err);
        assert_ok(nib_session_eval(s, &err), err);
    }
    assert_ok(nib_session_get_stats(s, &stats), err);
    *session_bytes = stats.memory_bytes;
    nib_session_free(s);
}

/* Weights are what lies packed, and an embedding that is read where it lies in the file. */
static void check_use(const char *path, uint32_t load, uint64_t embedding)
{
    nib_model_info info = {.struct_size = sizeof info};
    nib_model_options options;
    nib_model *model = NULL;
    nib_error err = {0};
    uint64_t before = status_of("VmRSS"), file_before = status_of("RssFile"), session = 0;
    nib_model_options_init(&options, sizeof options);
    options.load = load;
    options.n_threads = 2;
    assert_ok(nib_model_open(path, &options, &model, &err), err);
    uint64_t file = status_of("RssFile");
    run(model, &session);
    uint64_t peak = status_of("VmHWM");
    assert_ok(nib_model_get_info(model, &info), err);
    nib_model_free(model);
    double weights = (double)(info.weight_bytes + embedding), taken = (double)(peak - before);
    print_message(
        "load %u: weights %.1f MB, session %.1f MB, peak %.1f MB, mapped once open %.1f MB\n", load,
        weights / 1e6, (double)session / 1e6, taken / 1e6, (double)file / 1e6);
    assert_true(taken > 0.7 * (double)info.weight_bytes); /* it was measured at all */
    assert_true(taken < 1.1 * weights + (double)session);
    assert_true(file <
                file_before + (4 << 20)); /* once it is open; code that was used counts, too */
}

static void check_checkpoint(void (*make)(checkpoint *c), bool tied)
{
    if (!MEASURES || !reset_peak()) {
        print_message("the peak of memory cannot be measured here\n");
        skip();
    }
    static checkpoint c;
    temp_dir d;
    char path[sizeof d.path];
    uint64_t embedding = (uint64_t)VOCAB * WIDTH * sizeof(float);
    c = (checkpoint){.n = 0};
    make(&c);
    temp_dir_make(&d);
    write_checkpoint(&d, &c);
    snprintf(path, sizeof path, "%s", d.path);
    assert_true(reset_peak());
    check_use(path, NIB_LOAD_AS_STORED, tied ? 0 : embedding);
    assert_true(reset_peak());
    check_use(path, NIB_LOAD_INT8, embedding);
    temp_dir_remove(&d);
}

static void test_codegen(void **state)
{
    (void)state;
    check_checkpoint(codegen, false);
}

static void test_t5(void **state)
{
    (void)state;
    check_checkpoint(t5, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codegen),
        cmocka_unit_test(test_t5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
