/* SPDX-License-Identifier: MIT
 * One row out of a panel, for embeddings that are stored as panels only. */
#include <string.h>

#include "base/half.h"
#include "kernels/panel.h"

static uint16_t load16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static uint32_t load_line(const uint8_t *line)
{
    uint32_t four;
    memcpy(&four, line, sizeof four);
    return four;
}

static void store_line(uint8_t *codes, uint32_t line, uint32_t four)
{
    memcpy(codes + 4 * line, &four, sizeof four);
}

/* Codes of one row in ascending k: codes[32]. Four of them are handled as the bytes of one word. */
static void row_codes(uint32_t bits, const uint8_t *group, uint32_t row, uint8_t *codes)
{
    uint32_t word[8] = {0}, done = 0;
    const uint8_t *src = group + row * 4;
    if (bits == 8) {
        for (uint32_t j = 0; j < 8; j++) word[j] = load_line(src + 64 * j);
        done = 8;
    } else if (bits >= 4) {
        for (uint32_t t = 0; t < 4; t++) {
            uint32_t both = load_line(src + 64 * t);
            word[2 * t] = both & 0x0f0f0f0fu;
            word[2 * t + 1] = both >> 4 & 0x0f0f0f0fu;
        }
        src += 4 * 64;
        done = 4;
    }
    if (bits - done >= 2) {
        for (uint32_t j = 0; j < 8; j++)
            word[j] |= (load_line(src + j / 4 * 64) >> (j % 4 * 2) & 0x03030303u) << done;
        src += 2 * 64;
        done += 2;
    }
    for (uint32_t j = 0; j < 8; j++) {
        if (bits > done) word[j] |= (load_line(src) >> j & 0x01010101u) << done;
        store_line(codes, j, word[j]);
    }
}

static void row_scale(const nib__layout *layout, const uint8_t *panel, uint32_t index, uint32_t r,
                      float *s, float *m)
{
    uint32_t per_entry = layout->block / layout->scale_group, sub = index % per_entry;
    const uint8_t *entry = panel + (size_t)(index / per_entry) * layout->scale_bytes;
    uint16_t bits = load16(entry + 2 * r);
    float d = layout->format == NIB__MXFP4 ? nib__f32_of_bf16(bits) : nib__f32_of_f16(bits);
    float dmin = layout->has_min ? nib__f32_of_f16(load16(entry + 32 + 2 * r)) : 0.0f;
    *s = d;
    *m = dmin;
    if (layout->block == 32) return;
    *s = layout->has_min ? d * (float)entry[64 + sub * 32 + r]
                         : d * layout->unit * (float)(int8_t)entry[32 + sub * 16 + r];
    *m = layout->has_min ? -dmin * (float)entry[64 + sub * 32 + 16 + r] : 0.0f;
}

static void coded_row(const nib__packed *w, const uint8_t *panel, uint32_t r, float *out)
{
    const nib__layout *layout = w->layout;
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++, out += NIB__GROUP) {
        uint8_t codes[NIB__GROUP];
        float s = 0, m = 0;
        row_codes(layout->code_bits, panel + w->code_offset + (size_t)g * layout->group_bytes, r,
                  codes);
        for (uint32_t k = 0; k < NIB__GROUP; k++) {
            if (k % layout->scale_group == 0)
                row_scale(layout, panel, (g * NIB__GROUP + k) / layout->scale_group, r, &s, &m);
            int code = layout->table != NULL ? layout->table[codes[k]] : codes[k] - layout->zero;
            float product = s * (float)code;
            out[k] = layout->has_min ? product + m : product;
        }
    }
}

void nib__panel_row(const nib__packed *w, uint32_t row, float *out)
{
    const uint8_t *panel = nib__panel_at(w, row / NIB__PANEL);
    uint32_t r = row % NIB__PANEL;
    if (w->layout->coded) {
        coded_row(w, panel, r, out);
        return;
    }
    size_t size = w->layout->code_bits / 8u;
    for (uint32_t k = 0; k < w->k; k++) {
        const uint8_t *at = panel + ((size_t)k * NIB__PANEL + r) * size;
        if (w->layout->format == NIB__F32)
            memcpy(out + k, at, sizeof *out);
        else
            out[k] = w->layout->format == NIB__F16 ? nib__f32_of_f16(load16(at))
                                                   : nib__f32_of_bf16(load16(at));
    }
}
