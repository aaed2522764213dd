/* SPDX-License-Identifier: MIT
 * Packing to int8 with one scale per output row (NIB__I8R in kernels.h), from rows of any format.
 * Rows are decoded a piece at a time, twice: for the scale, then for the codes. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/panel.h"

enum { PIECE = 256 }; /* a multiple of every format's block */

/* Largest magnitude as float32 bits, so that infinities and NaN win over numbers. */
static uint32_t max_bits(const float *x, uint32_t count, uint32_t max)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits = nib__bits_of_f32(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    return max;
}

/* Sets the row's scale; returns the factor from weights to codes. Magnitudes below 2^-100 count as
 * zero, which keeps 127 / max finite. */
static float choose_scale(uint32_t bits, float *scale)
{
    float max = nib__f32_of_bits(bits);
    *scale = 0.0f;
    if (bits >= 0x7f800000u) {
        *scale = nib__f32_of_bits(0x7fc00000u);
        return 0.0f;
    }
    if (max < 0x1p-100f) return 0.0f;
    *scale = max / 127.0f;
    return 127.0f / max;
}

/* Bytes of `count` elements (a multiple of the block). */
static size_t bytes_of(const nib__format_info *from, size_t count)
{
    return count / from->block * from->block_bytes;
}

/* One row; `lines` is the panel's code area at this row. */
static void pack_row(const nib__format_info *from, const uint8_t *src, uint32_t k, float *scale,
                     int32_t *sum, uint8_t *lines)
{
    float x[PIECE];
    uint32_t bits = 0;
    for (uint32_t i = 0; i < k; i += PIECE) {
        uint32_t count = k - i < PIECE ? k - i : PIECE;
        from->decode(src + bytes_of(from, i), x, count);
        bits = max_bits(x, count, bits);
    }
    float to = choose_scale(bits, scale);
    *sum = 0;
    for (uint32_t i = 0; i < k; i += PIECE) {
        uint32_t count = k - i < PIECE ? k - i : PIECE;
        if (to == 0.0f)
            memset(x, 0, sizeof x); /* 0 * infinity is no number */
        else
            from->decode(src + bytes_of(from, i), x, count);
        for (uint32_t j = 0; j < count; j++) {
            int8_t code = (int8_t)lrintf(x[j] * to);
            *sum += code;
            lines[(size_t)((i + j) / 4) * 64 + (i + j) % 4] = (uint8_t)code;
        }
    }
}

void nib__pack_int8(const nib__packed *w, const nib__format_info *from, const uint8_t *src,
                    uint32_t first, uint32_t count, uint8_t *data)
{
    size_t row_bytes = bytes_of(from, w->k);
    for (uint32_t p = first; p < first + count; p++) {
        uint8_t *panel = data + (size_t)p * w->panel_bytes;
        const uint8_t *rows = src + (size_t)p * NIB__PANEL * row_bytes;
        uint32_t n_rows = nib__panel_rows(w, p), tail = w->k / 64 * 64;
        nib__int8_head head;
        memset(&head, 0, sizeof head);
        /* Missing rows, or only the padding after k. */
        size_t from_k = n_rows < NIB__PANEL ? 0 : (size_t)tail * NIB__PANEL;
        memset(panel + w->code_offset + from_k, 0, w->panel_bytes - w->code_offset - from_k);
        for (uint32_t r = 0; r < n_rows; r++) {
            pack_row(from, rows + r * row_bytes, w->k, &head.scale[r], &head.sum[r],
                     panel + w->code_offset + 4 * (size_t)r);
        }
        memcpy(panel, &head, sizeof head);
    }
}
