/* SPDX-License-Identifier: MIT
 * The forward pass: six tiny models against what transformers computes from the same weights, and
 * what must not change a single bit: threads, chunks, interruptions, cancelled passes before. */
#include <math.h>
#include <pthread.h>
#include <time.h>

#include "test.h"

#include "reference.h"
#include "runner.h"
#include "small_stack.h"

static const char *const models[] = {
    "llama-f32", "llama-linear", "llama-llama3", "llama-mixed", "llama-yarn", "qwen2",
};
enum { N_MODELS = sizeof models / sizeof models[0] };

static const char *model_path(const char *name)
{
    static char path[64];
    snprintf(path, sizeof path, "fixtures/tiny/%s.gguf", name);
    return path;
}

static reference read_reference(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "fixtures/tiny/%s.ref", name);
    return reference_read(path);
}

/* Logits of all tokens of the reference, evaluated in chunks; from malloc. */
static float *logits_of(const char *name, const runner_options *options, uint32_t chunk,
                        uint64_t budget_ns)
{
    reference ref = read_reference(name);
    runner r;
    runner_open(&r, model_path(name), options);
    assert_int_equal(r.model->config.n_vocab, ref.n_vocab);
    r.budget_ns = budget_ns;
    float *logits = malloc((size_t)ref.n_tokens * ref.n_vocab * sizeof *logits);
    assert_int_equal(runner_eval(&r, (int32_t *)ref.ids, ref.n_tokens, 0, chunk, 0, logits),
                     NIB_OK);
    if (budget_ns != 0) assert_true(r.n_calls > ref.n_tokens / chunk + 1);
    runner_close(&r);
    reference_free(&ref);
    return logits;
}

/* Largest difference to the reference, and the largest magnitude of the reference. */
static double distance(const reference *ref, const float *logits, double *magnitude)
{
    double worst = 0;
    *magnitude = 0;
    for (uint32_t row = 0; row < ref->n_rows; row++) {
        const float *ours = logits + (size_t)ref->positions[row] * ref->n_vocab;
        const float *theirs = ref->logits + (size_t)row * ref->n_vocab;
        for (uint32_t i = 0; i < ref->n_vocab; i++) {
            double d = fabs((double)ours[i] - (double)theirs[i]);
            if (!(d <= worst)) worst = d; /* NaN counts as worst */
            if (fabs((double)theirs[i]) > *magnitude) *magnitude = fabs((double)theirs[i]);
        }
    }
    return worst;
}

static void test_float32_equals_transformers(void **state)
{
    (void)state;
    const runner_options options = {.precision = NIB_PRECISION_F32, .isa = "scalar"};
    for (size_t i = 0; i < N_MODELS; i++) {
        reference ref = read_reference(models[i]);
        float *logits = logits_of(models[i], &options, 40, 0);
        double magnitude, worst = distance(&ref, logits, &magnitude);
        print_message("%-14s float32: worst %.2g of %.2g\n", models[i], worst, magnitude);
        assert_true(worst <= 1e-3);
        assert_true(worst <= 2e-4 * magnitude);
        free(logits);
        reference_free(&ref);
    }
}

/* Default precision: decode rounds activations to 16 bits, prefill at worst to 8 in groups; the KV
 * cache is f16 or q8. Bounds are above what is observed at any level: 0.05 of the magnitude for
 * prefill with int8 (AVX2, VNNI; llama-linear), 0.04 with bf16. */
static void test_default_precision_is_close(void **state)
{
    (void)state;
    static const struct {
        uint32_t kv_type, chunk;
        double bound;
    } cases[] = {
        {NIB_KV_F16, 1, 0.005},
        {NIB_KV_F16, 40, 0.08},
        {NIB_KV_Q8, 1, 0.06},
        {NIB_KV_Q8, 40, 0.08},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const runner_options options = {.kv_type = cases[c].kv_type};
        for (size_t i = 0; i < N_MODELS; i++) {
            reference ref = read_reference(models[i]);
            float *logits = logits_of(models[i], &options, cases[c].chunk, 0);
            double magnitude, worst = distance(&ref, logits, &magnitude);
            print_message("%-14s kv %u, chunks of %2u: worst %.2g of %.2g\n", models[i],
                          cases[c].kv_type, cases[c].chunk, worst, magnitude);
            assert_true(worst <= cases[c].bound * magnitude);
            free(logits);
            reference_free(&ref);
        }
    }
}

static void assert_same_bits(const char *name, const float *a, const float *b)
{
    reference ref = read_reference(name);
    assert_memory_equal(a, b, (size_t)ref.n_tokens * ref.n_vocab * sizeof *a);
    reference_free(&ref);
}

static void test_chunks_do_not_matter_when_exact(void **state)
{
    (void)state;
    static const uint32_t chunks[] = {1, 2, 3, 7, 16, 17, 39};
    const runner_options options = {.precision = NIB_PRECISION_EXACT, .n_threads = 2};
    for (size_t i = 0; i < N_MODELS; i++) {
        float *whole = logits_of(models[i], &options, 40, 0);
        for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
            float *parts = logits_of(models[i], &options, chunks[c], 0);
            assert_same_bits(models[i], whole, parts);
            free(parts);
        }
        free(whole);
    }
}

/* Up to 16 rows go through the decode strategy, whatever the precision. */
static void test_small_chunks_equal_decode(void **state)
{
    (void)state;
    static const uint32_t chunks[] = {2, 5, 16};
    const runner_options options = {.n_threads = 2};
    for (size_t i = 0; i < N_MODELS; i++) {
        float *steps = logits_of(models[i], &options, 1, 0);
        for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
            float *parts = logits_of(models[i], &options, chunks[c], 0);
            assert_same_bits(models[i], steps, parts);
            free(parts);
        }
        free(steps);
    }
}

/* A host pool that runs tasks backwards, on two threads. */
typedef struct host_half {
    uint32_t n, parity;
    void (*task)(void *arg, uint32_t i);
    void *arg;
} host_half;

static void *host_thread(void *arg)
{
    const host_half *h = arg;
    for (uint32_t i = h->n; i-- > 0;) {
        if (i % 2 == h->parity) h->task(h->arg, i);
    }
    return NULL;
}

static void host_run(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    pthread_t thread;
    host_half halves[2] = {{n, 0, task, arg}, {n, 1, task, arg}};
    ++*(uint32_t *)user;
    assert_int_equal(pthread_create(&thread, NULL, host_thread, &halves[1]), 0);
    host_thread(&halves[0]);
    pthread_join(thread, NULL);
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    uint32_t n_host = 0;
    const nib_parallel host = {host_run, &n_host, 3};
    for (size_t i = 0; i < N_MODELS; i++) {
        for (uint32_t chunk = 1; chunk <= 40; chunk += 39) {
            runner_options options = {.n_threads = 1};
            float *one = logits_of(models[i], &options, chunk, 0);
            for (options.n_threads = 2; options.n_threads <= 4; options.n_threads++) {
                float *more = logits_of(models[i], &options, chunk, 0);
                assert_same_bits(models[i], one, more);
                free(more);
            }
            options = (runner_options){.host = &host};
            float *hosted = logits_of(models[i], &options, chunk, 0);
            assert_same_bits(models[i], one, hosted);
            free(hosted);
            free(one);
        }
    }
    assert_true(n_host > 0);
}

static void test_interruptions_do_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        for (uint32_t threads = 1; threads <= 3; threads++) {
            const runner_options options = {.n_threads = threads};
            float *whole = logits_of(models[i], &options, 40, 0);
            float *pieces = logits_of(models[i], &options, 40, 1); /* one piece per call */
            assert_same_bits(models[i], whole, pieces);
            free(pieces);
            free(whole);
        }
    }
}

/* Only the last row's logits: the same bits as when all are asked for, if strategies do not differ.
 */
static void test_last_row_only(void **state)
{
    (void)state;
    const runner_options options = {.precision = NIB_PRECISION_EXACT};
    for (size_t i = 0; i < N_MODELS; i++) {
        reference ref = read_reference(models[i]);
        float *all = logits_of(models[i], &options, 40, 0);
        float *last = malloc(ref.n_vocab * sizeof *last);
        for (uint32_t chunk = 1; chunk <= 40; chunk += 13) {
            runner r;
            runner_open(&r, model_path(models[i]), &options);
            memset(last, 0xff, ref.n_vocab * sizeof *last);
            assert_int_equal(runner_eval(&r, (int32_t *)ref.ids, ref.n_tokens, 0, chunk, 1, last),
                             NIB_OK);
            assert_memory_equal(last, all + (size_t)(ref.n_tokens - 1) * ref.n_vocab,
                                ref.n_vocab * sizeof *last);
            runner_close(&r);
        }
        free(last);
        free(all);
        reference_free(&ref);
    }
}

/* Cancels before every call of nib__pass_run in turn, at one piece per call: the pass fails, and
 * the next ones, over the same positions, give what they always give. */
static void test_cancelled_at_every_piece(void **state)
{
    (void)state;
    const runner_options options = {.n_threads = 2};
    reference ref = read_reference("qwen2");
    float *whole = logits_of("qwen2", &options, 20, 0);
    size_t half = (size_t)20 * ref.n_vocab;
    float *logits = malloc(2 * half * sizeof *logits);
    runner r;
    runner_open(&r, model_path("qwen2"), &options);
    assert_int_equal(runner_eval(&r, (int32_t *)ref.ids, 20, 0, 20, 0, logits), NIB_OK);
    uint32_t n_cancelled = 0;
    for (uint32_t stop_at = 0;; stop_at++) {
        nib_error err = {0};
        int32_t done = 0;
        nib_status status;
        nib__pass pass = {.ids = (int32_t *)ref.ids + 20,
                          .n = 20,
                          .pos0 = 20,
                          .all_logits = NIB__LOGITS_ALL,
                          .logits = logits + half};
        nib__pool_begin(r.pool);
        assert_ok(nib__pass_begin(&pass, r.model, &r.act, &err), err);
        for (uint32_t call = 0;; call++) {
            if (call == stop_at) atomic_store(&r.cancel, 1);
            status = nib__pass_run(&pass, r.model, &r.exec, &r.kv, &r.act, 1, &done, &err);
            if (status != NIB_OK || done) break;
        }
        nib__pool_end(r.pool);
        atomic_store(&r.cancel, 0);
        if (done) break;
        assert_fails(status, NIB_ERR_CANCELLED, err, "cancelled");
        n_cancelled++;
        memset(logits + half, 0, half * sizeof *logits);
        assert_int_equal(runner_eval(&r, (int32_t *)ref.ids + 20, 20, 20, 20, 0, logits + half),
                         NIB_OK);
        assert_memory_equal(logits, whole, 2 * half * sizeof *logits);
    }
    assert_true(n_cancelled >= 10 * r.model->config.n_layer);
    runner_close(&r);
    free(logits);
    free(whole);
    reference_free(&ref);
}

static void test_bad_rows(void **state)
{
    (void)state;
    const runner_options options = {.n_threads = 1};
    runner r;
    runner_open(&r, model_path("qwen2"), &options);
    int32_t n_vocab = (int32_t)r.model->config.n_vocab;
    const int32_t bad[] = {-1, n_vocab, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        const int32_t ids[] = {0, bad[i]};
        nib_error err = {0};
        nib__pass pass = {.ids = ids, .n = 2};
        assert_fails(nib__pass_begin(&pass, r.model, &r.act, &err), NIB_ERR_ARGUMENT, err,
                     "token 1");
    }
    const int32_t many[RUNNER_BATCH + 1] = {0};
    for (uint32_t n = 0; n <= RUNNER_BATCH + 1; n += RUNNER_BATCH + 1) {
        nib_error err = {0};
        nib__pass pass = {.ids = many, .n = n};
        assert_fails(nib__pass_begin(&pass, r.model, &r.act, &err), NIB_ERR_ARGUMENT, err, "rows");
    }
    runner_close(&r);
}

/* Opening a model and evaluating it, prefill and decode, on a stack of 64 KB. */
static void *whole_models(void *arg)
{
    const runner_options *options = arg;
    for (size_t i = 0; i < N_MODELS; i++) {
        free(logits_of(models[i], options, 40, 0));
        free(logits_of(models[i], options, 1, 0));
    }
    return NULL;
}

static void test_small_stack(void **state)
{
    (void)state;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        for (uint32_t precision = 0; precision <= NIB_PRECISION_F32; precision++) {
            runner_options options = {.isa = nib__isa_name((nib__isa)isa), .precision = precision};
            on_small_stack(whole_models, &options);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float32_equals_transformers),
        cmocka_unit_test(test_default_precision_is_close),
        cmocka_unit_test(test_chunks_do_not_matter_when_exact),
        cmocka_unit_test(test_small_chunks_equal_decode),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_interruptions_do_not_matter),
        cmocka_unit_test(test_last_row_only),
        cmocka_unit_test(test_cancelled_at_every_piece),
        cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_small_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
