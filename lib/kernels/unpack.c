/* SPDX-License-Identifier: MIT
 * Panels back into numbers, in plain C. */
#include "kernels/panel.h"

#include <string.h>

#include "base/half.h"

static uint16_t load16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* Code bits of byte `i` (0..63) of line `line` (0..7), planes low to high. */
static uint32_t code_at(uint32_t bits, const uint8_t *group, uint32_t line, uint32_t i)
{
    uint32_t code = 0, done = 0;
    if (bits == 8) return group[line * 64 + i];
    if (bits >= 4) {
        code = group[line / 2 * 64 + i] >> (line % 2 * 4) & 15u;
        group += 4 * 64;
        done = 4;
    }
    if (bits - done >= 2) {
        code |= (group[line / 4 * 64 + i] >> (line % 4 * 2) & 3u) << done;
        group += 2 * 64;
        done += 2;
    }
    if (bits > done) code |= (group[i] >> line & 1u) << done;
    return code;
}

void nib__panel_codes(const nib__layout *layout, const uint8_t *group, uint8_t codes[512])
{
    for (uint32_t line = 0; line < 8; line++) {
        for (uint32_t i = 0; i < 64; i++) {
            uint32_t code = code_at(layout->code_bits, group, line, i);
            if (layout->table != NULL) code = (uint32_t)(layout->table[code] + layout->zero);
            codes[line * 64 + i] = (uint8_t)code;
        }
    }
}

void nib__panel_scales(const nib__layout *layout, const uint8_t *panel, uint32_t index, float *s,
                       float *m)
{
    uint32_t per_entry = layout->block / layout->scale_group, sub = index % per_entry;
    const uint8_t *entry = panel + (size_t)(index / per_entry) * layout->scale_bytes;
    for (uint32_t r = 0; r < NIB__PANEL; r++) {
        uint16_t bits = load16(entry + 2 * r);
        float d = layout->format == NIB__MXFP4 ? nib__f32_of_bf16(bits) : nib__f32_of_f16(bits);
        float dmin = layout->has_min ? nib__f32_of_f16(load16(entry + 32 + 2 * r)) : 0.0f;
        if (layout->block == 32) {
            s[r] = d;
            m[r] = dmin;
        } else if (layout->has_min) {
            s[r] = d * (float)entry[64 + sub * 32 + r];
            m[r] = -dmin * (float)entry[64 + sub * 32 + 16 + r];
        } else {
            s[r] = d * layout->unit * (float)(int8_t)entry[32 + sub * 16 + r];
            m[r] = 0.0f;
        }
    }
}

void nib__panel_weights(const nib__packed *w, const uint8_t *panel, uint32_t group,
                        float weights[512])
{
    const nib__layout *layout = w->layout;
    uint8_t codes[512];
    float s[NIB__PANEL], m[NIB__PANEL];
    nib__panel_codes(layout, panel + w->code_offset + (size_t)group * layout->group_bytes, codes);
    for (uint32_t k = 0; k < NIB__GROUP; k++) {
        if (k % layout->scale_group == 0) {
            nib__panel_scales(layout, panel, (group * NIB__GROUP + k) / layout->scale_group, s, m);
        }
        for (uint32_t r = 0; r < NIB__PANEL; r++) {
            int code = codes[k / 4 * 64 + r * 4 + k % 4] - layout->zero;
            /* The product is exact in float32, so this rounds once, as lib/quant does. */
            float product = s[r] * (float)code;
            weights[k * NIB__PANEL + r] = layout->has_min ? product + m[r] : product;
        }
    }
}

void nib__panel_floats(const nib__packed *w, const uint8_t *panel, uint32_t k, float weights[16])
{
    const uint8_t *row = panel + (size_t)k * NIB__PANEL * (w->layout->code_bits / 8u);
    if (w->layout->format == NIB__F32) {
        memcpy(weights, row, NIB__PANEL * sizeof(float));
        return;
    }
    for (uint32_t r = 0; r < NIB__PANEL; r++) {
        uint16_t bits = load16(row + 2 * r);
        weights[r] = w->layout->format == NIB__F16 ? nib__f32_of_f16(bits) : nib__f32_of_bf16(bits);
    }
}

void nib__panel_int8(const nib__packed *w, const uint8_t *panel, uint32_t k, float weights[16])
{
    nib__int8_head head;
    memcpy(&head, panel, sizeof head);
    const uint8_t *line = panel + w->code_offset + (size_t)(k / 4) * 64 + k % 4;
    for (uint32_t r = 0; r < NIB__PANEL; r++) {
        weights[r] = head.scale[r] * (float)(int8_t)line[4 * r];
    }
}
