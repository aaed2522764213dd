/* SPDX-License-Identifier: MIT
 * Packing: rows of a file become panels of 16 rows (layout: kernels.h). Each format has a function
 * that takes one block of one row apart into codes in ascending k and its entries of the scale
 * area; block layouts are those of the GGUF format. The rest is common. Formats that are met most
 * have functions that take apart all rows of a panel together (pack_words.c). */
#include "kernels/panel.h"

#include <string.h>

#include "base/half.h"
#include "kernels/pack.h"
#include "quant/grid.h"

/* src: one block. codes: [block] as stored. entry: this block's part of the scale area. */
typedef void split_fn(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row);

/* Element `row` of the 16-entry u16 vector number `slot`. */
static void put16(uint8_t *entry, uint32_t slot, uint32_t row, const uint8_t *src)
{
    memcpy(entry + slot * 32 + row * 2, src, 2);
}

/* 16 bytes: the low nibbles are k 0..15, the high ones k 16..31. */
static void split_nibbles(const uint8_t *restrict qs, uint8_t *restrict codes)
{
    for (int j = 0; j < 16; j++) {
        codes[j] = qs[j] & 15;
        codes[j + 16] = qs[j] >> 4;
    }
}

/* Bit j of the 32 bits at qh becomes bit 4 of code j; eight codes are handled as one word. */
static void add_fifth_bits(const uint8_t *qh, uint8_t *codes)
{
    for (int i = 0; i < 4; i++) {
        uint64_t word, bits = qh[i] * 0x0101010101010101u & 0x8040201008040201u;
        bits = (bits + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u; /* 1 where not 0 */
        memcpy(&word, codes + 8 * i, sizeof word);
        word |= bits << 4;
        memcpy(codes + 8 * i, &word, sizeof word);
    }
}

static void split_q5_0(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put16(entry, 0, row, src);
    split_nibbles(src + 6, codes);
    add_fifth_bits(src + 2, codes);
}

static void split_q5_1(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put16(entry, 0, row, src);
    put16(entry, 1, row, src + 2);
    split_nibbles(src + 8, codes);
    add_fifth_bits(src + 4, codes);
}

static void split_mxfp4(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    /* 2^(e-128) as bf16; the two smallest exponents are subnormal. */
    uint32_t e = src[0];
    uint16_t d = (uint16_t)(e < 2 ? 0x20u << e : (e - 1) << 7);
    uint8_t bytes[2] = {(uint8_t)d, (uint8_t)(d >> 8)};
    put16(entry, 0, row, bytes);
    split_nibbles(src + 1, codes);
}

/* Q2_K and Q3_K: per half of 128, four 2-bit fields of the same 32 bytes follow each other. */
static void split_pairs(const uint8_t *restrict qs, uint8_t *restrict codes)
{
    for (int part = 0; part < 8; part++) {
        const uint8_t *from = qs + part / 4 * 32;
        for (int l = 0; l < 32; l++) codes[32 * part + l] = from[l] >> (part % 4 * 2) & 3;
    }
}

/* Bit `part` of byte l becomes bit `to` of code 32 * part + l. */
static void add_high_bits(const uint8_t *restrict high, int to, uint8_t *restrict codes)
{
    for (int part = 0; part < 8; part++) {
        for (int l = 0; l < 32; l++) {
            codes[32 * part + l] |= (uint8_t)((high[l] >> part & 1) << to);
        }
    }
}

static void split_q2_k(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put16(entry, 0, row, src + 80);
    put16(entry, 1, row, src + 82);
    for (int j = 0; j < 16; j++) {
        entry[64 + j * 32 + row] = src[j] & 15;
        entry[64 + j * 32 + 16 + row] = src[j] >> 4;
    }
    split_pairs(src + 16, codes);
}

static void split_q3_k(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    int8_t scales[16];
    nib__q3k_scales(src + 96, scales);
    put16(entry, 0, row, src + 108);
    for (int j = 0; j < 16; j++) entry[32 + j * 16 + row] = (uint8_t)scales[j];
    split_pairs(src + 32, codes);
    add_high_bits(src, 2, codes);
}

static void put_k4_scales(const uint8_t *src, uint8_t *entry, uint32_t row)
{
    uint32_t scales[2], mins[2];
    nib__k4_scales(src + 4, scales, mins);
    put16(entry, 0, row, src);
    put16(entry, 1, row, src + 2);
    for (int j = 0; j < 8; j++) {
        entry[64 + j * 32 + row] = (uint8_t)(scales[j / 4] >> 8 * (j % 4));
        entry[64 + j * 32 + 16 + row] = (uint8_t)(mins[j / 4] >> 8 * (j % 4));
    }
}

/* Q5_K: 32 bytes hold 32 low nibbles, then 32 high ones. */
static void split_k4_nibbles(const uint8_t *restrict qs, uint8_t *restrict codes)
{
    for (int j = 0; j < 4; j++) {
        for (int l = 0; l < 32; l++) {
            codes[64 * j + l] = qs[32 * j + l] & 15;
            codes[64 * j + 32 + l] = qs[32 * j + l] >> 4;
        }
    }
}

static void split_q5_k(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_k4_scales(src, entry, row);
    split_k4_nibbles(src + 48, codes);
    add_high_bits(src + 16, 4, codes);
}

static void split_iq4_xs(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    uint32_t high = nib__le16(src + 2);
    put16(entry, 0, row, src);
    for (int j = 0; j < 8; j++) {
        int scale = (src[4 + j / 2] >> (j % 2 * 4) & 15) | (int)(high >> (2 * j) & 3) << 4;
        entry[32 + j * 16 + row] = (uint8_t)(int8_t)(scale - 32);
        split_nibbles(src + 8 + 16 * j, codes + 32 * j);
    }
}

/* Formats of a grid: a factor of d per 32 or 16 elements. */
static void put_grid(nib__format format, int factors, const uint8_t *src, uint8_t *codes,
                     uint8_t *entry, uint32_t row)
{
    nib__grid_block block;
    nib__grid_split(format, src, &block);
    uint8_t d[2] = {(uint8_t)block.d, (uint8_t)(block.d >> 8)};
    put16(entry, 0, row, d);
    for (int j = 0; j < factors; j++) {
        entry[32 + j * 16 + (int)row] = (uint8_t)block.scales[j * (16 / factors)];
    }
    memcpy(codes, block.codes, sizeof block.codes);
}

static void split_iq1_s(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ1_S, 8, src, codes, entry, row);
}

static void split_iq1_m(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ1_M, 16, src, codes, entry, row);
}

static void split_iq2_xxs(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ2_XXS, 8, src, codes, entry, row);
}

static void split_iq2_xs(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ2_XS, 16, src, codes, entry, row);
}

static void split_iq2_s(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ2_S, 16, src, codes, entry, row);
}

static void split_iq3_xxs(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ3_XXS, 8, src, codes, entry, row);
}

static void split_iq3_s(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__IQ3_S, 8, src, codes, entry, row);
}

static void split_tq1_0(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__TQ1_0, 8, src, codes, entry, row);
}

static void split_tq2_0(const uint8_t *src, uint8_t *codes, uint8_t *entry, uint32_t row)
{
    put_grid(NIB__TQ2_0, 8, src, codes, entry, row);
}

static split_fn *split_of(nib__format format)
{
    switch (format) {
    case NIB__Q5_0: return split_q5_0;
    case NIB__Q5_1: return split_q5_1;
    case NIB__Q2_K: return split_q2_k;
    case NIB__Q3_K: return split_q3_k;
    case NIB__Q5_K: return split_q5_k;
    case NIB__IQ4_XS: return split_iq4_xs;
    case NIB__IQ1_S: return split_iq1_s;
    case NIB__IQ1_M: return split_iq1_m;
    case NIB__IQ2_XXS: return split_iq2_xxs;
    case NIB__IQ2_XS: return split_iq2_xs;
    case NIB__IQ2_S: return split_iq2_s;
    case NIB__IQ3_XXS: return split_iq3_xxs;
    case NIB__IQ3_S: return split_iq3_s;
    case NIB__TQ1_0: return split_tq1_0;
    case NIB__TQ2_0: return split_tq2_0;
    case NIB__MXFP4: return split_mxfp4;
    default: break; /* packer_of, or no codes */
    }
    return NULL;
}

static uint32_t load_line(const uint8_t *codes, uint32_t line)
{
    uint32_t four;
    memcpy(&four, codes + 4 * line, sizeof four);
    return four;
}

static void store_line(uint8_t *dst, uint32_t four)
{
    memcpy(dst, &four, sizeof four);
}

/* Bit planes of one row's 32 codes; four codes are handled as the bytes of one word. */
static void put_codes(uint32_t bits, const uint8_t *codes, uint8_t *group, uint32_t row)
{
    uint8_t *dst = group + row * 4;
    uint32_t done = 0;
    if (bits == 8) {
        for (uint32_t j = 0; j < 8; j++) store_line(dst + 64 * j, load_line(codes, j));
        return;
    }
    if (bits >= 4) {
        for (uint32_t t = 0; t < 4; t++) {
            uint32_t low = load_line(codes, 2 * t) & 0x0f0f0f0fu;
            uint32_t high = load_line(codes, 2 * t + 1) & 0x0f0f0f0fu;
            store_line(dst + 64 * t, low | high << 4);
        }
        dst += 4 * 64;
        done = 4;
    }
    if (bits - done >= 2) {
        for (uint32_t v = 0; v < 2; v++) {
            uint32_t word = 0;
            for (uint32_t j = 0; j < 4; j++) {
                word |= (load_line(codes, 4 * v + j) >> done & 0x03030303u) << (2 * j);
            }
            store_line(dst + 64 * v, word);
        }
        dst += 2 * 64;
        done += 2;
    }
    if (bits > done) {
        uint32_t word = 0;
        for (uint32_t j = 0; j < 8; j++) word |= (load_line(codes, j) >> done & 0x01010101u) << j;
        store_line(dst, word);
    }
}

static void pack_coded(const nib__packed *w, const uint8_t *src, uint32_t rows, uint8_t *panel)
{
    const nib__layout *layout = w->layout;
    const nib__format_info *info = nib__format_find((uint32_t)layout->format);
    nib__pack_blocks *pack = nib__pack_blocks_of(layout->format);
    split_fn *split = split_of(layout->format);
    uint32_t n_blocks = w->k / layout->block, groups = layout->block / NIB__GROUP;
    nib__blocks at = {.src = src, .stride = (size_t)n_blocks * info->block_bytes, .rows = rows};
    uint8_t codes[256];
    for (uint32_t b = 0; b < n_blocks; b++, at.src += info->block_bytes) {
        at.entry = panel + (size_t)b * layout->scale_bytes;
        at.groups = panel + w->code_offset + (size_t)b * groups * layout->group_bytes;
        for (uint32_t row = 0; row < rows && pack == NULL; row++) {
            split(at.src + row * at.stride, codes, at.entry, row);
            for (uint32_t g = 0; g < groups; g++) {
                put_codes(layout->code_bits, codes + g * NIB__GROUP,
                          at.groups + (size_t)g * layout->group_bytes, row);
            }
        }
        if (pack != NULL) pack(&at);
    }
}

static void pack_float(const nib__packed *w, const uint8_t *src, uint32_t rows, uint8_t *panel)
{
    size_t size = w->layout->code_bits / 8u;
    for (uint32_t row = 0; row < rows; row++) {
        const uint8_t *from = src + (size_t)row * w->k * size;
        uint8_t *to = panel + row * size;
        if (size == 4) {
            for (size_t i = 0; i < w->k; i++) memcpy(to + i * 64, from + i * 4, 4);
        } else {
            for (size_t i = 0; i < w->k; i++) memcpy(to + i * 32, from + i * 2, 2);
        }
    }
}

void nib__pack_panels(const nib__packed *w, const uint8_t *src, uint32_t first, uint32_t count,
                      uint8_t *data)
{
    const nib__format_info *info = nib__format_find((uint32_t)w->layout->format);
    size_t row_bytes = (size_t)(w->k / info->block) * info->block_bytes;
    for (uint32_t p = first; p < first + count; p++) {
        uint8_t *panel = data + (size_t)p * w->panel_bytes;
        const uint8_t *rows = src + (size_t)p * NIB__PANEL * row_bytes;
        uint32_t n_rows = nib__panel_rows(w, p);
        if (n_rows < NIB__PANEL) {
            memset(panel, 0, w->panel_bytes);
        } else { /* only the padding is not written below */
            size_t scales = (size_t)(w->k / w->layout->block) * w->layout->scale_bytes;
            if (w->layout->coded)
                memset(panel + scales, 0, w->code_offset - scales);
            else
                memset(panel + w->panel_bytes - NIB_ALIGN, 0, NIB_ALIGN);
        }
        if (w->layout->coded)
            pack_coded(w, rows, n_rows, panel);
        else
            pack_float(w, rows, n_rows, panel);
    }
}
