/* SPDX-License-Identifier: MIT
 * Look-ups in the larger tables of unicode_tables.c. */
#include "token/unicode.h"

uint32_t nib__range_value(const uint32_t ranges[][2], uint32_t count, uint32_t code)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (code < ranges[mid][0])
            high = mid;
        else if (code > ranges[mid][1] >> 8)
            low = mid + 1;
        else
            return ranges[mid][1] & 0xFF;
    }
    return 0;
}

/* The last run that does not begin behind `code`, or NULL. */
static const nib__code_run *run_before(const nib__code_map *map, uint32_t code)
{
    const uint32_t plane = code >> 16;
    if (plane >= 3) return NULL;
    uint32_t low = map->plane[plane], high = map->plane[plane + 1];
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (map->runs[mid].first <= (code & 0xFFFF))
            low = mid + 1;
        else
            high = mid;
    }
    return low == map->plane[plane] ? NULL : &map->runs[low - 1];
}

uint32_t nib__map_code(const nib__code_map *map, uint32_t code, uint32_t out[NIB__MAPPED_MAX])
{
    const nib__code_run *run = run_before(map, code);
    if (run == NULL) return 0;
    const uint32_t length = run->shape >> 2 & 31, step = 1 + (run->shape & 1);
    const uint32_t ahead = (code & 0xFFFF) - run->first;
    const bool moves = (run->shape & 2) != 0;
    if (ahead % step != 0 || ahead / step >= run->shape >> 7) return 0;
    const uint16_t *text = map->pool + run->text + (moves ? 0 : ahead / step * length);
    uint32_t n = 0;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t unit = text[i];
        if (moves && i == length - 1) unit += ahead;
        if (unit >= 0xDC00 && unit < 0xE000) /* the second half of a pair of surrogates */
            out[n - 1] = 0x10000 + ((out[n - 1] - 0xD800) << 10) + (unit - 0xDC00);
        else
            out[n++] = unit;
    }
    return n;
}

uint32_t nib__compose_pair(uint32_t a, uint32_t b)
{
    uint32_t plane = a & 0x10000;
    if ((a | b) >> 17 != 0 || (b & 0x10000) != plane) return 0;
    uint32_t low = plane != 0 ? nib__compose_plane1 : 0;
    uint32_t high = plane != 0 ? nib__compose_count : nib__compose_plane1;
    uint32_t wanted = (a & 0xFFFF) << 16 | (b & 0xFFFF);
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        const uint16_t *row = nib__compose_table[mid];
        uint32_t pair = (uint32_t)row[0] << 16 | row[1];
        if (pair == wanted) return plane | row[2];
        if (pair < wanted)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}
