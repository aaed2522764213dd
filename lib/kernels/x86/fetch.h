/* SPDX-License-Identifier: MIT
 * Fetching weights that pass by once. Two steps: far ahead into the L2 cache, which can wait for
 * more lines than the L1 cache can, and then near into L1. Distances are groups of 32 k, counted
 * from panel to panel: scales and codes of a panel are read side by side, so that a distance in
 * bytes would miss the first codes of each panel. Far must be more than what arrives while one line
 * is waited for: 26 GB/s and 200 ns are 5 KB, 21 groups of 4 bits (docs/kernels.md). */
#ifndef NIB_KERNELS_X86_FETCH_H
#define NIB_KERNELS_X86_FETCH_H

#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/simd.h"

/* Groups; multiples of those of a scale entry. */
enum { FETCH_FAR = 48, FETCH_AGAIN = 24, FETCH_NEAR = 8 };

/* What leads from the scales and codes of a group to those some groups ahead. */
typedef struct fetch_step {
    size_t scales, codes;
    size_t scales_gap, codes_gap; /* to be added from group `turn` on: it is in the next panel */
    uint32_t turn;
} fetch_step;

typedef struct fetch_steps {
    fetch_step far, near;
} fetch_steps;

static inline fetch_step fetch_step_of(const nib__packed *w, uint32_t ahead)
{
    const uint32_t groups = w->k / NIB__GROUP, rest = ahead % groups;
    const size_t panels = ahead / groups * w->panel_bytes;
    const size_t scales = w->code_offset, codes = w->panel_bytes - scales;
    return (fetch_step){.scales = panels + scales / groups * rest,
                        .codes = panels + codes / groups * rest,
                        .scales_gap = w->panel_bytes - scales,
                        .codes_gap = w->panel_bytes - codes,
                        .turn = groups - rest};
}

/* For the first group of a panel. */
static inline fetch_steps fetch_steps_of(const nib__packed *w)
{
    return (fetch_steps){fetch_step_of(w, FETCH_FAR), fetch_step_of(w, FETCH_NEAR)};
}

NIB_INLINE void fetch_turn(fetch_step *step, uint32_t group)
{
    if (group != step->turn) return;
    step->scales += step->scales_gap;
    step->codes += step->codes_gap;
}

/* Before each group of a panel that begins an entry of the scale area. */
NIB_INLINE void fetch_at_group(fetch_steps *steps, uint32_t group)
{
    fetch_turn(&steps->far, group);
    fetch_turn(&steps->near, group);
}

/* The cache line of an address that is needed much later. */
NIB_INLINE void fetch_far(const uint8_t *at)
{
    _mm_prefetch((const char *)at, _MM_HINT_T1);
}

/* The cache lines of `bytes` (a constant) ahead of `at`. */
NIB_INLINE void fetch_lines(const uint8_t *at, size_t far, size_t near, size_t bytes)
{
    NIB_UNROLL
    for (size_t i = 0; i < bytes; i += 64) {
        fetch_far(at + far + i);
        _mm_prefetch((const char *)at + near + i, _MM_HINT_T0);
    }
}

NIB_INLINE void fetch_scales(const fetch_steps *steps, const uint8_t *entry, size_t bytes)
{
    fetch_lines(entry, steps->far.scales, steps->near.scales, bytes);
}

NIB_INLINE void fetch_codes(const fetch_steps *steps, const uint8_t *codes, size_t bytes)
{
    fetch_lines(codes, steps->far.codes, steps->near.codes, bytes);
}

/* Codes that were fetched far ahead, halfway once more: Zen 4 forgets fetches into L2 when too many
 * wait, and one row has so little to do per line that it runs into that. Asking for a line that is
 * there costs next to nothing, so a distance in bytes, which reaches most of them, will do. */
NIB_INLINE void fetch_again(const uint8_t *codes, size_t bytes)
{
    NIB_UNROLL
    for (size_t i = 0; i < bytes; i += 64) fetch_far(codes + FETCH_AGAIN * bytes + i);
}

#endif
