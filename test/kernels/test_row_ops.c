/* SPDX-License-Identifier: MIT
 * Operations on single rows, for every level this CPU has: normalisation, activation, addition,
 * rotation, argmax, each against float64 or exact results, on sizes with tails, in place too, with
 * buffers that end at an unreadable page. */
#include "levels.h"

#include <math.h>

#include "guard.h"
#include "matrices.h"

static const uint32_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 33, 64, 100, 576, 1536, 8960};
enum { N_SIZES = sizeof sizes / sizeof sizes[0], MAX_SIZE = 8960 };

/* The last n floats before an unreadable page. */
static float *tail(float *buffer, uint32_t n)
{
    return buffer + MAX_SIZE - n;
}

static float *buffer_make(void)
{
    return guard_alloc(MAX_SIZE * sizeof(float));
}

static void buffer_free(float *buffer)
{
    guard_free(buffer, MAX_SIZE * sizeof(float));
}

static void check_rmsnorm(const nib__kernels *level, rng *r)
{
    float *x = buffer_make(), *w = buffer_make(), *out = buffer_make();
    for (int i = 0; i < N_SIZES * 3; i++) {
        uint32_t n = sizes[i / 3];
        float *xs = tail(x, n), *ws = tail(w, n), *ys = i % 2 == 0 ? tail(out, n) : xs, copy[8960];
        make_row(i % 3 == 0 ? 0 : i % 3 == 1 ? 5 : 3, n, r, xs);
        make_row(0, n, r, ws);
        memcpy(copy, xs, n * sizeof(float));
        level->rmsnorm(xs, ws, n, 1e-6f, ys);
        double sum = 0;
        for (uint32_t j = 0; j < n; j++) sum += (double)copy[j] * (double)copy[j];
        for (uint32_t j = 0; j < n; j++) {
            double want = (double)copy[j] / sqrt(sum / n + (double)1e-6f) * (double)ws[j];
            if (!(fabs((double)ys[j] - want) <= 2e-6 * fabs(want) + 1e-37)) {
                fail_msg("%s rmsnorm n %u: [%u] = %.9g, exact %.9g", nib__isa_name(level->isa), n,
                         j, (double)ys[j], want);
            }
        }
    }
    buffer_free(x);
    buffer_free(w);
    buffer_free(out);
}

static void check_layernorm(const nib__kernels *level, rng *r)
{
    float *x = buffer_make(), *w = buffer_make(), *b = buffer_make(), *out = buffer_make();
    for (int i = 0; i < N_SIZES * 4; i++) {
        uint32_t n = sizes[i / 4];
        float *xs = tail(x, n), *ws = tail(w, n), *bs = i % 2 == 0 ? tail(b, n) : NULL;
        float *ys = i % 4 < 2 ? tail(out, n) : xs, copy[8960];
        make_row(i % 4 == 3 ? 5 : 0, n, r, xs);
        make_row(0, n, r, ws);
        make_row(0, n, r, tail(b, n));
        for (uint32_t j = 0; i % 4 == 1 && j < n; j++) xs[j] += 10.0f; /* a mean that dominates */
        memcpy(copy, xs, n * sizeof(float));
        level->layernorm(xs, ws, bs, n, 1e-5f, ys);
        double sum = 0, squares = 0, top = 0;
        for (uint32_t j = 0; j < n; j++) sum += (double)copy[j];
        for (uint32_t j = 0; j < n; j++) {
            double d = (double)copy[j] - sum / n;
            squares += d * d;
            top = fmax(top, fabs((double)copy[j]));
        }
        double factor = 1 / sqrt(squares / n + (double)1e-5f);
        for (uint32_t j = 0; j < n; j++) {
            double y = ((double)copy[j] - sum / n) * factor * (double)ws[j];
            double want = y + (bs != NULL ? (double)bs[j] : 0);
            /* the mean is rounded relative to the largest number */
            double allowed = 2e-6 * (fabs(y) + fabs(want) + top * factor * fabs((double)ws[j]));
            if (!(fabs((double)ys[j] - want) <= allowed + 1e-37)) {
                fail_msg("%s layernorm n %u: [%u] = %.9g, exact %.9g", nib__isa_name(level->isa), n,
                         j, (double)ys[j], want);
            }
        }
    }
    buffer_free(x);
    buffer_free(w);
    buffer_free(b);
    buffer_free(out);
}

static double exact_activation(nib__act act, double x)
{
    const double c = 0.79788456080286536; /* sqrt(2 / pi) */
    switch (act) {
    case NIB__ACT_SILU: return x / (1 + exp(-x));
    case NIB__ACT_GELU: return x * erfc(-x / sqrt(2)) / 2;
    case NIB__ACT_GELU_TANH: return x / 2 * (1 + tanh(c * (x + 0.044715 * x * x * x)));
    case NIB__ACT_RELU: return x > 0 ? x : 0;
    case NIB__ACTS: break;
    }
    return (double)NAN;
}

static void check_activation(const nib__kernels *level, nib__act act, rng *r)
{
    static const char *const names[NIB__ACTS] = {"silu", "gelu", "gelu_tanh", "relu"};
    float *g = buffer_make(), *u = buffer_make(), *out = buffer_make();
    for (int i = 0; i < N_SIZES * 3; i++) {
        uint32_t n = sizes[i / 3];
        float *gs = tail(g, n), *us = i % 3 == 2 ? NULL : tail(u, n);
        float *ys = i % 3 == 0 ? tail(out, n) : gs, copy[8960];
        for (uint32_t j = 0; j < n; j++) {
            float range = j % 5 == 0 ? 200.0f : j % 5 == 1 ? 1e-3f : j % 5 == 2 ? 1.0f : 10.0f;
            gs[j] = rng_float(r) * range;
            tail(u, n)[j] = rng_float(r) * 5.0f;
        }
        memcpy(copy, gs, n * sizeof(float));
        level->activate[act](gs, us, n, ys);
        for (uint32_t j = 0; j < n; j++) {
            double x = (double)copy[j], up = us != NULL ? (double)us[j] : 1;
            double want = exact_activation(act, x) * up;
            /* silu: six roundings and 2 ulp of exp; below -87 exp(-x) is held at its largest value.
             * The others as kernels.h promises. */
            double allowed = act == NIB__ACT_SILU   ? 1e-6 * fabs(want) + 1e-34
                             : act == NIB__ACT_RELU ? 1e-7 * fabs(want)
                                                    : 1e-6 * fabs(x * up);
            if (!(fabs((double)ys[j] - want) <= allowed)) {
                fail_msg("%s %s n %u: %.9g times %.9g gives %.9g, exact %.9g",
                         nib__isa_name(level->isa), names[act], n, x, up, (double)ys[j], want);
            }
        }
    }
    g[MAX_SIZE - 1] = NAN;
    u[MAX_SIZE - 1] = 1.0f;
    level->activate[act](g + MAX_SIZE - 1, u + MAX_SIZE - 1, 1, out + MAX_SIZE - 1);
    assert_true(isnan(out[MAX_SIZE - 1]));
    buffer_free(g);
    buffer_free(u);
    buffer_free(out);
}

static void check_add(const nib__kernels *level, rng *r)
{
    float *x = buffer_make(), *y = buffer_make();
    for (int i = 0; i < N_SIZES; i++) {
        uint32_t n = sizes[i];
        float *xs = tail(x, n), *ys = tail(y, n), want[8960];
        make_row(0, n, r, xs);
        make_row(0, n, r, ys);
        for (uint32_t j = 0; j < n; j++) want[j] = xs[j] + ys[j];
        level->add(xs, n, ys);
        assert_memory_equal(ys, want, n * sizeof(float));
    }
    buffer_free(x);
    buffer_free(y);
}

static void check_rope(const nib__kernels *level, rng *r)
{
    static const uint32_t rots[] = {2, 8, 16, 30, 64, 80, 128};
    float *x = buffer_make(), *cs = buffer_make();
    for (int i = 0; i < 14; i++) {
        uint32_t n = rots[i / 2];
        int32_t interleaved = i % 2;
        float *head = tail(x, n), *angles = tail(cs, n), copy[128];
        make_row(0, n, r, head);
        memcpy(copy, head, n * sizeof(float));
        for (uint32_t j = 0; j < n / 2; j++) {
            double angle = (double)rng_float(r) * 3.2;
            angles[2 * j] = (float)cos(angle);
            angles[2 * j + 1] = (float)sin(angle);
        }
        level->rope(head, angles, n, interleaved);
        for (uint32_t j = 0; j < n / 2; j++) {
            uint32_t a = interleaved ? 2 * j : j, b = interleaved ? a + 1 : a + n / 2;
            double c = (double)angles[2 * j], s = (double)angles[2 * j + 1];
            double p = (double)copy[a], q = (double)copy[b];
            double allowed = 0x1p-22 * (fabs(p) + fabs(q)) + 1e-40;
            if (!(fabs((double)head[a] - (p * c - q * s)) <= allowed &&
                  fabs((double)head[b] - (p * s + q * c)) <= allowed)) {
                fail_msg("%s rope n %u %s pair %u", nib__isa_name(level->isa), n,
                         interleaved ? "interleaved" : "halves", j);
            }
        }
    }
    buffer_free(x);
    buffer_free(cs);
}

static uint32_t naive_argmax(const float *x, uint32_t n)
{
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++) {
        if (isnan(x[i])) continue;
        if (best == n || x[i] > x[best]) best = i;
    }
    return best == n ? 0 : best;
}

static void check_argmax(const nib__kernels *level, rng *r)
{
    float *x = buffer_make();
    for (int i = 0; i < N_SIZES * 8; i++) {
        uint32_t n = sizes[i / 8], kind = (uint32_t)i % 8;
        float *xs = tail(x, n);
        for (uint32_t j = 0; j < n; j++) {
            float value = rng_float(r) * 100.0f;
            if (kind == 1) value = (float)rng_below(r, 3); /* many ties */
            if (kind == 2) value = -INFINITY;
            if (kind == 3) value = NAN;
            if (kind == 4 && rng_below(r, 3) == 0) value = NAN;
            if (kind == 5) value = j == n - 1 ? -3.0f : NAN;
            if (kind == 6) value = rng_below(r, 2) ? -INFINITY : NAN;
            if (kind == 7) value = rng_below(r, 50) ? -1.0f : INFINITY;
            xs[j] = value;
        }
        uint32_t got = level->argmax(xs, n), want = naive_argmax(xs, n);
        if (got != want) {
            fail_msg("%s argmax n %u kind %u: %u, expected %u", nib__isa_name(level->isa), n, kind,
                     got, want);
        }
    }
    buffer_free(x);
}

static void test_level(void **state)
{
    const nib__isa isa = level_here(state);
    nib__kernels level;
    nib__kernels_init(&level, isa, NIB_PRECISION_DEFAULT);
    rng r = {77};
    check_rmsnorm(&level, &r);
    check_layernorm(&level, &r);
    for (int act = 0; act < NIB__ACTS; act++) check_activation(&level, (nib__act)act, &r);
    check_add(&level, &r);
    check_rope(&level, &r);
    check_argmax(&level, &r);
}

int main(void)
{
    return levels_run("row operations", test_level);
}
