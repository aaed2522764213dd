/* SPDX-License-Identifier: MIT
 * Gate, up and activation in one pass (nib__matmul.run_gated) against the same steps one by one:
 * the plain product of the same strategy, scalar activation, round_row. Rows and panels are
 * independent here too. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "guard.h"
#include "matrices.h"

/* One step after another: rounded rows [m]. */
static void one_by_one(const nib__matmul *op, const nib__kernels *scalar, const nib__gated *maps,
                       const uint8_t *rows, uint32_t m, uint8_t *to, void *scratch)
{
    const nib__packed *w = maps->gate;
    size_t bytes = (size_t)m * w->n * sizeof(float);
    float *gate = guard_alloc(bytes), *up = guard_alloc(bytes);
    op->run(maps->gate, 0, w->n_panels, rows, m, gate, w->n, scratch);
    op->run(maps->up, 0, w->n_panels, rows, m, up, w->n, scratch);
    for (uint32_t i = 0; i < m; i++) {
        float *x = gate + (size_t)i * w->n;
        scalar->activate[maps->act](x, up + (size_t)i * w->n, w->n, x);
        op->round_row(x, w->n, to + i * op->row_bytes(w->n));
    }
    guard_free(gate, bytes);
    guard_free(up, bytes);
}

/* Rows of bf16: equal but for the last bit, which an activation's own error may turn. */
static void compare(const nib__matmul *op, const uint8_t *got, const uint8_t *want, uint32_t n,
                    uint32_t m, const char *what)
{
    assert_int_equal(strncmp(op->name, "bf16", 4), 0); /* else this has to learn another rounding */
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t j = 0; j < n; j++) {
            uint16_t a, b;
            memcpy(&a, got + i * op->row_bytes(n) + 2 * j, 2);
            memcpy(&b, want + i * op->row_bytes(n) + 2 * j, 2);
            float x = nib__f32_of_bf16(a), y = nib__f32_of_bf16(b);
            if (!isfinite(x) && !isfinite(y)) continue;
            if (!(fabsf(x - y) <= 0x1.02p-7f * fabsf(y) + 1e-30f))
                fail_msg("%s: row %u of %u, output %u: %g, one by one %g", what, i, m, j, (double)x,
                         (double)y);
        }
    }
}

static void check_shape(const nib__kernels *level, const nib__kernels *scalar, nib__format format,
                        uint32_t n, uint32_t k, uint32_t m, nib__act act, rng *r)
{
    matrix gate, up;
    char what[96];
    matrix_make(&gate, format, n, k, &weight_kinds[0], r);
    matrix_make(&up, format, n, k, &weight_kinds[0], r);
    const nib__gated maps = {&gate.packed, &up.packed, act};
    const nib__matmul *op = nib__prefill_of(level, nib__weight_kind_of(gate.packed.layout));
    size_t in = op->row_bytes(k), out = op->row_bytes(n), scratch_size = op->scratch_bytes(k);
    snprintf(what, sizeof what, "%s %s %u x %u, activation %d", op->name, format_name(format), n, k,
             (int)act);
    uint8_t *rows = guard_alloc(in * m), *all = guard_alloc(out * m), *want = guard_alloc(out * m);
    void *scratch = guard_alloc(scratch_size);
    float *x = guard_alloc((size_t)k * sizeof *x);
    for (uint32_t i = 0; i < m; i++) {
        make_row((int)(i % 2), k, r, x);
        op->round_row(x, k, rows + i * in);
    }
    one_by_one(op, scalar, &maps, rows, m, want, scratch);
    op->run_gated(&maps, 0, gate.packed.n_panels, rows, m, all, scratch);
    compare(op, all, want, n, m, what);
    /* A row alone, and panels by twos from the last to the first, give the same bits. */
    for (uint32_t i = 0; i < m; i += 7) {
        for (uint32_t p = gate.packed.n_panels; p > 0; p -= 2)
            op->run_gated(&maps, p - 2, 2, rows + i * in, 1, want, scratch);
        assert_memory_equal(want, all + i * out, 2 * (size_t)n);
    }
    guard_free(rows, in * m);
    guard_free(all, out * m);
    guard_free(want, out * m);
    guard_free(scratch, scratch_size);
    guard_free(x, (size_t)k * sizeof *x);
    matrix_free(&gate);
    matrix_free(&up);
}

static void test_levels(void **state)
{
    (void)state;
    static const nib__format formats[] = {NIB__Q4_1, NIB__Q4_K, NIB__Q6_K, NIB__Q8_0, NIB__BF16};
    static const uint32_t batches[] = {17, 33, 16, 400};
    nib__kernels scalar;
    nib__kernels_init(&scalar, NIB__ISA_SCALAR, NIB_PRECISION_DEFAULT);
    rng r = {11};
    int checked = 0;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        nib__kernels level;
        nib__kernels_init(&level, (nib__isa)isa, NIB_PRECISION_DEFAULT);
        for (uint32_t f = 0; f < 5; f++) {
            nib__weight_kind kind = nib__weight_kind_of(nib__layout_of(formats[f]));
            if (nib__prefill_of(&level, kind)->run_gated == NULL) continue;
            for (uint32_t i = 0; i < 4; i++, checked++) {
                uint32_t k =
                    i == 3 ? 2560
                           : 256 * (i + 1); /* the last: k in several passes, y past the caches */
                check_shape(&level, &scalar, formats[f], 32 * (1 + i % 3), k, batches[i],
                            (nib__act)((f + i) % NIB__ACTS), &r);
            }
        }
    }
    printf("[   SHAPES ] %d\n", checked);
    if (checked == 0) skip(); /* no level of this CPU does it in one pass */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels)};
    return cmocka_run_group_tests_name("gated", tests, NULL, NULL);
}
