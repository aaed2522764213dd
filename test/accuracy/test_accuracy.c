/* SPDX-License-Identifier: MIT
 * Accuracy: how far our distributions are from a float32 evaluation of the same weights by PyTorch,
 * over 1,664 positions of real code in ten texts, first positions included. For every instruction
 * set of this CPU, through the decode path (one token at a time), that path with
 * NIB_PRECISION_FAST, which has to keep the gate of prefill, and the prefill path. A model that is
 * not under models/ is a skipped test.
 *
 * The scalar level, emulators and builds with sanitizers are slow: they see 32 positions of the
 * first text only, and an emulator no large model. The variable NIB_TEST_FULL=1 gives them, and
 * every level of the large model, all texts; NIB_TEST_CSV=FILE appends one line per measurement. An
 * argument is a pattern of test names:
 * "*qwen*prefill". */
#include <math.h>
#include <unistd.h>

#include "base/cpu.h"
#include "support/kl_reference.h"
#include "support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* By test/run.sh's RUNNER. */
static bool emulated(void)
{
    const char *runner = getenv("RUNNER");
    return runner != NULL && runner[0] != '\0';
}

static bool slow(void)
{
    return SANITIZED || emulated();
}

typedef struct subject {
    const char *name, *model, *reference;
    int large;
    /* gates on the KL divergence in nats */
    double decode_mean, decode_p99, decode_max, prefill_mean, prefill_max;
} subject;

static const subject subjects[] = {
    {"smollm2-135m", NIB_TEST_SMOLLM2, "test/accuracy/smollm2-135m.ref", 0, 0.0003, 0.002, 0.02,
     0.0033, 0.35},
    {"qwen2.5-coder-1.5b", NIB_TEST_QWEN, "test/accuracy/qwen2.5-coder-1.5b.ref", 1, 0.0003, 0.002,
     0.02, 0.0005, 0.35},
};

typedef struct one_case {
    const subject *subject;
    nib__isa isa;
    enum { DECODE, FAST, PREFILL, FLOAT32 } path;
    char name[96];
} one_case;

static const char *const path_names[] = {"decode", "fast", "prefill", "float32"};

typedef struct tally {
    double *kl; /* [n] */
    size_t n, cap, same_top;
} tally;

static void add_text(tally *sum, const nib_kl_reference *ref, uint32_t text, uint32_t n,
                     nib_session *session, uint32_t flags)
{
    nib_error err;
    float *logits = malloc((size_t)n * ref->n_vocab * sizeof *logits);
    assert_non_null(logits);
    assert_ok(nib_session_truncate(session, 0, &err), err);
    assert_ok(nib_session_eval_logits(session, ref->texts[text].ids, n, flags, logits, &err), err);
    for (uint32_t i = 0; i < n; i++) {
        bool same;
        assert_true(sum->n < sum->cap);
        double kl = nib_kl_distance(ref, text, i, logits + (size_t)i * ref->n_vocab, &same);
        if (isnan(kl)) fail_msg("text %u, position %u: not a number", text, i);
        sum->kl[sum->n++] = kl;
        sum->same_top += same;
    }
    free(logits);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void record(const one_case *c, const tally *sum, double mean, double p99)
{
    const char *path = path_names[c->path];
    double top = 100.0 * (double)sum->same_top / (double)sum->n, max = sum->kl[sum->n - 1];
    print_message("%s, %s, %s, %zu positions: KL mean %.6f, p99 %.6f, max %.6f; same top token "
                  "%.2f %%\n",
                  c->subject->name, nib__isa_name(c->isa), path, sum->n, mean, p99, max, top);
    const char *csv = getenv("NIB_TEST_CSV");
    if (csv == NULL) return;
    FILE *file = fopen(csv, "a");
    assert_non_null(file);
    fprintf(file, "%s,%s,%s,%zu,%.7f,%.7f,%.7f,%.2f\n", c->subject->name, nib__isa_name(c->isa),
            path, sum->n, mean, p99, max, top);
    fclose(file);
}

static void open_case(const one_case *c, uint32_t precision, nib_model **model,
                      nib_session **session)
{
    nib_error err;
    nib_model_options mo;
    nib_model_options_init(&mo, sizeof mo);
    mo.isa = nib__isa_name(c->isa);
    mo.precision = precision;
    mo.n_threads = nib__cpu_count();
    assert_ok(nib_model_open(c->subject->model, &mo, model, &err), err);
    nib_model_info info = {.struct_size = sizeof info};
    assert_int_equal(nib_model_get_info(*model, &info), NIB_OK);
    assert_string_equal(info.isa, nib__isa_name(c->isa));
    nib_session_options so;
    nib_session_options_init(&so, sizeof so);
    so.n_ctx = 512;
    so.n_threads = nib__cpu_count();
    assert_ok(nib_session_new(*model, &so, session, &err), err);
}

/* How much of the reference a case sees: number of texts, and of positions of each (0: all). */
static uint32_t texts_to_do(const one_case *c, const nib_kl_reference *ref, uint32_t *n_positions)
{
    nib__isa best;
    *n_positions = 0;
    if (getenv("NIB_TEST_FULL") != NULL) return ref->n_texts;
    if (slow() || c->isa == NIB__ISA_SCALAR) *n_positions = 32;
    if (*n_positions != 0) return 1;
    /* The decode path gives the same bits on every level (test/kernels checks it), and so does that
     * of NIB_PRECISION_FAST where there is one: once in full is enough. */
    if (c->path != PREFILL && nib__isa_choose(NULL, &best, NULL) == NIB_OK && c->isa != best)
        return 1;
    return ref->n_texts;
}

static void stays_close_to_float32(void **state)
{
    const one_case *c = *state;
    if (nib_test_model(c->subject->model) == NULL) skip();
    nib_kl_reference ref;
    assert_true(nib_kl_open(&ref, c->subject->reference));
    nib_model *model;
    nib_session *session;
    open_case(c, c->path == FAST ? NIB_PRECISION_FAST : NIB_PRECISION_DEFAULT, &model, &session);

    tally sum = {0};
    for (uint32_t t = 0; t < ref.n_texts; t++) sum.cap += ref.texts[t].n_tokens;
    assert_true(sum.cap >= 1500);
    sum.kl = calloc(sum.cap, sizeof *sum.kl);
    assert_non_null(sum.kl);
    uint32_t n_positions, n_texts = texts_to_do(c, &ref, &n_positions);
    for (uint32_t t = 0; t < n_texts; t++)
        add_text(&sum, &ref, t, n_positions == 0 ? ref.texts[t].n_tokens : n_positions, session,
                 c->path == PREFILL ? 0 : NIB_EVAL_STEPWISE);
    nib_session_free(session);
    nib_model_free(model);

    double mean = 0;
    for (size_t i = 0; i < sum.n; i++) mean += sum.kl[i] / (double)sum.n;
    qsort(sum.kl, sum.n, sizeof *sum.kl, ascending);
    double p99 = sum.kl[(sum.n * 99 + 99) / 100 - 1], max = sum.kl[sum.n - 1];
    record(c, &sum, mean, p99);
    const subject *s = c->subject;
    if (c->path == DECODE) {
        assert_true(mean <= s->decode_mean);
        assert_true(p99 <= s->decode_p99);
        assert_true(max <= s->decode_max);
    } else {
        assert_true(mean <= s->prefill_mean);
        assert_true(max <= s->prefill_max);
    }
    /* A divergence is not negative; the file's rounding stays far below the gates. */
    assert_true(sum.kl[0] > -1e-5);
    free(sum.kl);
    nib_kl_close(&ref);
}

/* Scalar kernels with float32 activations against complete rows of logits. */
static void float32_logits_agree(void **state)
{
    const one_case *c = *state;
    if (nib_test_model(c->subject->model) == NULL) skip();
    nib_kl_reference ref;
    assert_true(nib_kl_open(&ref, c->subject->reference));
    nib_model *model;
    nib_session *session;
    open_case(c, NIB_PRECISION_F32, &model, &session);
    bool all = getenv("NIB_TEST_FULL") != NULL;
    uint32_t done_text = UINT32_MAX, checked = 0;
    float *logits = NULL;
    for (uint32_t i = 0; i < ref.n_full; i++) {
        nib_error err;
        uint32_t text, position;
        nib_kl_full_row(&ref, i, &text, &position, NULL);
        if (text != 0 && !all) continue; /* the long text takes minutes */
        /* Scalar float32 is slow on the large model: its first 32 positions hold no second row. */
        uint32_t n = ref.texts[text].n_tokens;
        if (c->subject->large && !all) n = position == 0 ? 1 : 0;
        if (slow() && position != 0) n = 0;
        if (position >= n) continue;
        if (text != done_text) {
            logits = realloc(logits, (size_t)n * ref.n_vocab * sizeof *logits);
            assert_non_null(logits);
            assert_ok(nib_session_truncate(session, 0, &err), err);
            assert_ok(nib_session_eval_logits(session, ref.texts[text].ids, slow() ? 1 : n, 0,
                                              logits, &err),
                      err);
            done_text = text;
        }
        double worst =
            nib_kl_full_row(&ref, i, &text, &position, logits + (size_t)position * ref.n_vocab);
        print_message("%s, scalar, float32 activations, text %u, position %u: max |logit "
                      "difference| %.7f\n",
                      c->subject->name, text, position, worst);
        assert_true(worst <= 1e-3);
        checked++;
    }
    assert_true(checked > 0);
    free(logits);
    nib_session_free(session);
    nib_model_free(model);
    nib_kl_close(&ref);
}

/* The fixture itself: KL of the reference with itself is zero, and a wrong answer is noticed. */
static void distance_measures(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof subjects / sizeof subjects[0]; s++) {
        nib_kl_reference ref;
        assert_true(nib_kl_open(&ref, subjects[s].reference));
        uint32_t text, position;
        float *logits = calloc(ref.n_vocab, sizeof *logits);
        assert_non_null(logits);
        for (uint32_t i = 0; i < ref.n_full; i++) {
            double zero = nib_kl_full_row(&ref, i, &text, &position, logits);
            assert_true(zero > 1);
            bool same;
            assert_true(nib_kl_distance(&ref, text, position, logits, &same) > 0.5);
            const uint8_t *row = ref.full + i * (8 + 3 * (size_t)ref.n_vocab) + 8;
            float *own = malloc(ref.n_vocab * sizeof *own);
            assert_non_null(own);
            for (uint32_t v = 0; v < ref.n_vocab; v++) {
                int32_t fixed =
                    (int32_t)((uint32_t)row[3 * v] << 8 | (uint32_t)row[3 * v + 1] << 16 |
                              (uint32_t)row[3 * v + 2] << 24);
                own[v] = (float)fixed / 256 / 65536;
            }
            double floor = nib_kl_distance(&ref, text, position, own, &same);
            print_message("rounding of the file: KL %.9f\n", floor);
            assert_true(fabs(floor) < 5e-6);
            assert_true(same);
            assert_true(nib_kl_full_row(&ref, i, &text, &position, own) < 1e-5);
            free(own);
        }
        free(logits);
        nib_kl_close(&ref);
    }
}

/* Levels worth a full run: for the large model only the best one, unless NIB_TEST_FULL is set. */
static bool wanted(const subject *s, nib__isa isa, nib__isa best)
{
    if (!nib__isa_available(isa)) return false;
    if (s->large && emulated()) return getenv("NIB_TEST_FULL") != NULL;
    if (isa == best) return true;
    if (SANITIZED) return false;
    return !s->large || getenv("NIB_TEST_FULL") != NULL;
}

int main(int argc, char **argv)
{
    static one_case cases[96];
    static struct CMUnitTest tests[97];
    size_t n = 0;
    nib__isa best;
    if (nib__isa_choose(NULL, &best, NULL) != NIB_OK) return 1;
    tests[n++] = (struct CMUnitTest){"distance_measures", distance_measures, NULL, NULL, NULL};
    for (size_t s = 0; s < sizeof subjects / sizeof subjects[0]; s++) {
        for (int isa = NIB__ISA_COUNT - 1; isa >= 0; isa--) {
            for (int path = DECODE; path <= FLOAT32; path++) {
                if (path == FLOAT32 ? isa != NIB__ISA_SCALAR || (subjects[s].large && emulated())
                                    : !wanted(&subjects[s], (nib__isa)isa, best))
                    continue;
                one_case *c = &cases[n];
                *c = (one_case){.subject = &subjects[s], .isa = (nib__isa)isa, .path = path};
                snprintf(c->name, sizeof c->name, "%s_%s_%s", subjects[s].name,
                         nib__isa_name((nib__isa)isa), path_names[path]);
                tests[n++] = (struct CMUnitTest){
                    c->name, path == FLOAT32 ? float32_logits_agree : stays_close_to_float32, NULL,
                    NULL, c};
            }
        }
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("accuracy", tests, n, NULL, NULL);
}
