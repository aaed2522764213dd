/* SPDX-License-Identifier: MIT
 * Rows as fast_decode rounds them, and products with them, each step as kernels.h tells it. */
#include "fast_decode_scalar.h"

#include <math.h>
#include <string.h>

#include "kernels/panel.h"

enum { MAX_K = 4096 };

/* A row: both planes, of each group whether it has a second one. */
typedef struct plane {
    int8_t q[MAX_K];
    float scale[MAX_K / 32];
} plane;

typedef struct row {
    plane first, second;
    uint8_t has_second[MAX_K / 32];
} row;

static size_t row_bytes(uint32_t k)
{
    (void)k;
    return nib__align_up(sizeof(row), NIB_ALIGN);
}

/* NaN if one is, or something is infinite. */
static float largest(const float *x)
{
    float top = 0;
    for (int i = 0; i < NIB__GROUP; i++) {
        if (!isfinite(x[i])) return NAN;
        if (fabsf(x[i]) > top) top = fabsf(x[i]);
    }
    return top;
}

/* left[i] receives what rounding leaves of x[i]. */
static void round_group(const float *x, plane *p, uint32_t g, float left[NIB__GROUP])
{
    const float top = largest(x);
    float to = 0, scale = top;
    if (!isnan(top)) {
        const bool tiny = top < 0x1p-100f;
        to = tiny ? 0 : 127.0f / top;
        scale = tiny ? 0 : top / 127.0f;
    }
    p->scale[g] = scale;
    for (int i = 0; i < NIB__GROUP; i++) {
        const float q = to == 0 ? 0 : rintf(x[i] * to);
        p->q[32 * g + (uint32_t)i] = (int8_t)q;
        left[i] = fmaf(-q, scale, x[i]);
    }
}

static void round_row(const float *x, uint32_t k, void *to)
{
    row *r = to;
    double total = 0;
    for (uint32_t g = 0; g < k / 32; g++) {
        const double top = (double)largest(x + 32 * g);
        total += top * top;
    }
    for (uint32_t g = 0; g < k / 32; g++) {
        float left[NIB__GROUP], nothing[NIB__GROUP];
        const double top = (double)largest(x + 32 * g);
        round_group(x + 32 * g, &r->first, g, left);
        r->has_second[g] = top * top > total / (k / 32) * 8.0;
        if (r->has_second[g]) round_group(left, &r->second, g, nothing);
    }
}

/* Groups [from, end) of a plane times one output of a panel. */
static float product(const nib__packed *w, const uint8_t *panel, uint32_t output, const plane *p,
                     uint32_t from, uint32_t end)
{
    const nib__layout *layout = w->layout;
    const uint32_t size = layout->scale_group;
    float y = 0, ym = 0;
    for (uint32_t k = 32 * from; k < 32 * end; k += size) {
        uint8_t codes[512];
        float s[NIB__PANEL], m[NIB__PANEL] = {0}, sx = p->scale[k / 32];
        int32_t sum = 0, xsum = 0;
        nib__panel_codes(layout, panel + w->code_offset + (size_t)(k / 32) * layout->group_bytes,
                         codes);
        nib__panel_scales(layout, panel, k / size, s, m);
        for (uint32_t i = k; i < k + size; i++) {
            const int32_t code = codes[i % 32 / 4 * 64 + output * 4 + i % 4];
            sum += (code - layout->zero) * p->q[i];
            xsum += p->q[i];
        }
        y = fmaf(s[output] * sx, (float)sum, y);
        ym = fmaf(m[output], sx * (float)xsum, ym);
    }
    return y + ym;
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    for (uint32_t i = 0; i < m; i++) {
        const row *r = (const void *)((const uint8_t *)rows + i * row_bytes(w->k));
        for (uint32_t n = first * NIB__PANEL; n < (first + count) * NIB__PANEL && n < w->n; n++) {
            const uint8_t *panel = nib__panel_at(w, n / NIB__PANEL);
            float *out = &y[i * ldy + n];
            *out = product(w, panel, n % NIB__PANEL, &r->first, 0, w->k / 32);
            for (uint32_t g = 0; g < w->k / 32; g++) {
                if (r->has_second[g])
                    *out += product(w, panel, n % NIB__PANEL, &r->second, g, g + 1);
            }
        }
    }
}

static size_t scratch_bytes(uint32_t k)
{
    (void)k;
    return 0;
}

const nib__matmul fast_decode_scalar = {
    .name = "g32_scalar",
    .row_bytes = row_bytes,
    .round_row = round_row,
    .run = run,
    .scratch_bytes = scratch_bytes,
    .min_rows = 1,
};
