/* SPDX-License-Identifier: MIT
 * Rows of fused, reordered or transposed tensors (nib__row_map), copied a panel at a time on their
 * way to the packer, so that no second copy of a checkpoint is ever in memory; and conversion to
 * another float format where the caller asked for one. */
#include "model/gather.h"

#include <string.h>

#include "base/half.h"

static size_t file_row(const nib__row_map *map, size_t i)
{
    return map->base + i / map->run * map->stride + i % map->run;
}

static size_t row_bytes(const nib__format_info *format, size_t k)
{
    return k / format->block * format->block_bytes;
}

bool nib__gather_direct(const nib__gather *g)
{
    return g->to == g->tensor->format && !g->map.turned && g->map.run == g->map.file_rows;
}

bool nib__gather_panels(const nib__row_map *map, size_t n)
{
    return map->run == n && map->base % NIB__PANEL == 0 && !map->turned && !map->one_less;
}

/* Behind the rows lies one row as f32, for conversions, and one in the file's format. */
size_t nib__gather_bytes(const nib__gather *g, uint32_t count)
{
    size_t rows, wide, total;
    bool fits = nib__mul(count, row_bytes(g->to, g->k), &rows) &&
                nib__mul((size_t)2 * g->k, sizeof(float), &wide) && nib__add(rows, wide, &total) &&
                nib__add(total, 2 * NIB_ALIGN, &total);
    return fits ? total : SIZE_MAX;
}

/* One row in the file's format; `turned` is where it is put together if it is a column. */
static const uint8_t *raw_row(const nib__gather *g, size_t i, uint8_t *turned)
{
    const nib__tensor *t = g->tensor;
    size_t row = file_row(&g->map, i);
    if (!g->map.turned) return t->data + row * row_bytes(t->format, g->k);
    size_t size = t->format->block_bytes;
    const uint8_t *from = t->data + row * size;
    for (uint32_t j = 0; j < g->k; j++, from += g->map.file_rows * size) {
        memcpy(turned + j * size, from, size);
    }
    return turned;
}

static void convert(const nib__gather *g, const uint8_t *raw, float *wide, uint8_t *out)
{
    uint16_t half;
    g->tensor->format->decode(raw, wide, g->k);
    for (uint32_t j = 0; j < g->k && g->to->format != NIB__F32; j++) {
        half = g->to->format == NIB__F16 ? nib__f16_of_f32(wide[j]) : nib__bf16_of_f32(wide[j]);
        memcpy(out + 2 * (size_t)j, &half, sizeof half);
    }
    if (g->to->format == NIB__F32) memcpy(out, wide, g->k * sizeof *wide);
}

const uint8_t *nib__gather_rows(const nib__gather *g, uint32_t first, uint32_t count,
                                uint8_t *buffer)
{
    size_t bytes = row_bytes(g->to, g->k);
    if (nib__gather_direct(g)) return g->tensor->data + first * bytes;
    float *wide = (float *)(void *)(buffer + nib__align_up(count * bytes, NIB_ALIGN));
    uint8_t *turned = (uint8_t *)(wide + g->k);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *raw = raw_row(g, (size_t)first + i, turned);
        uint8_t *out = buffer + i * bytes;
        if (g->to == g->tensor->format)
            memcpy(out, raw, bytes);
        else
            convert(g, raw, wide, out);
    }
    return buffer;
}

float nib__gather_number(const nib__tensor *t, const nib__row_map *map, size_t i)
{
    float value = 0;
    t->format->decode(t->data + file_row(map, i) * t->format->block_bytes, &value, 1);
    return map->one_less ? value + 1.0f : value;
}
