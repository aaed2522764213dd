/* SPDX-License-Identifier: MIT
 * Packing loses nothing: panels unpacked again equal what lib/quant decodes from the file, bit for
 * bit, for every format; and hostile sizes are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/half.h"
#include "kernels/panel.h"
#include "matrices.h"

static void check_matrix(const matrix *m, const char *kind)
{
    const nib__packed *w = &m->packed;
    for (uint32_t p = 0; p < w->n_panels; p++) {
        const uint8_t *panel = nib__panel_at(w, p);
        for (uint32_t k = 0; k < w->k; k++) {
            float group[512], *row = group + k % NIB__GROUP * NIB__PANEL;
            if (w->layout->coded)
                nib__panel_weights(w, panel, k / NIB__GROUP, group);
            else if (w->layout->format == NIB__I8R)
                nib__panel_int8(w, panel, k, row);
            else
                nib__panel_floats(w, panel, k, row);
            for (uint32_t r = 0; r < NIB__PANEL; r++) {
                uint32_t n = p * NIB__PANEL + r;
                uint32_t got = nib__bits_of_f32(row[r]);
                uint32_t want = n < w->n ? nib__bits_of_f32(m->values[(size_t)n * w->k + k]) : 0;
                if (n >= w->n) got &= 0x7fffffffu; /* a missing row may hold -0 */
                if (got != want) {
                    fail_msg("%s, %s: row %u, k %u: %08x, lib/quant says %08x",
                             format_name(w->layout->format), kind, n, k, got, want);
                }
            }
        }
    }
}

/* One row on its own, as embeddings read it. */
static void check_rows(const matrix *m)
{
    const nib__packed *w = &m->packed;
    float row[1600];
    assert_true(w->k <= 1600);
    for (uint32_t n = 0; n < w->n && w->layout->format != NIB__I8R; n++) {
        nib__panel_row(w, n, row);
        for (uint32_t k = 0; k < w->k; k++) {
            uint32_t got = nib__bits_of_f32(row[k]);
            uint32_t want = nib__bits_of_f32(m->values[(size_t)n * w->k + k]);
            if (got != want) {
                fail_msg("%s: row %u, k %u: %08x, lib/quant says %08x",
                         format_name(w->layout->format), n, k, got, want);
            }
        }
    }
}

static void test_lossless(void **state)
{
    (void)state;
    static const uint32_t rows[] = {1, 16, 37};
    rng r = {1};
    for (int f = 0; f < N_FORMATS; f++) {
        const nib__layout *layout = nib__layout_of(all_formats[f]);
        assert_non_null(layout);
        uint32_t widths[] = {layout->block, 3u * layout->block, layout->coded ? 512u : 77u};
        for (int kind = 0; kind < N_WEIGHT_KINDS; kind++) {
            for (int i = 0; i < 9; i++) {
                matrix m;
                matrix_make(&m, all_formats[f], rows[i % 3], widths[i / 3], &weight_kinds[kind],
                            &r);
                check_matrix(&m, weight_kinds[kind].name);
                check_rows(&m);
                matrix_free(&m);
            }
        }
    }
}

static void pack_panel(const matrix *m, uint32_t panel, uint8_t *data)
{
    if (m->packed.layout->format == NIB__I8R)
        nib__pack_int8(&m->packed, nib__format_find(NIB__F32), m->src, panel, 1, data);
    else
        nib__pack_panels(&m->packed, m->src, panel, 1, data);
}

/* The last panel alone, into a fresh buffer, gives the same bytes as all at once. */
static void test_panels_are_independent(void **state)
{
    (void)state;
    rng r = {2};
    for (int f = 0; f < N_FORMATS; f++) {
        matrix m;
        matrix_make(&m, all_formats[f], 40, 256, &weight_kinds[0], &r);
        const nib__packed *w = &m.packed;
        uint8_t *again = test_malloc(m.data_bytes);
        for (uint32_t p = w->n_panels; p-- > 0;) pack_panel(&m, p, again);
        assert_memory_equal(again, m.data, m.data_bytes);
        test_free(again);
        matrix_free(&m);
    }
}

static void test_refuses_bad_shapes(void **state)
{
    (void)state;
    nib__packed w;
    nib_error err;
    assert_int_equal(nib__packed_init(&w, NIB__Q4_0, 16, 48, &err), NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, NIB__Q4_K, 16, 576, &err), NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, NIB__Q4_0, 0, 32, &err), NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, NIB__F32, 16, 0, &err), NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, (nib__format)9, 16, 32, &err), NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, NIB__F32, SIZE_MAX, 1, &err), NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, NIB__I8R, 16, NIB__INT8_MAX_K + 1, &err),
                     NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__packed_init(&w, NIB__F32, INT32_MAX, INT32_MAX, &err), NIB_OK);
    assert_int_equal(w.n_panels, 1u << 27);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lossless),
        cmocka_unit_test(test_panels_are_independent),
        cmocka_unit_test(test_refuses_bad_shapes),
    };
    return cmocka_run_group_tests_name("packing", tests, NULL, NULL);
}
