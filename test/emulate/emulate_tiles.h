/* SPDX-License-Identifier: MIT
 * AMX tile instructions as functions, one thread's tiles apart from another's. What the CPU answers
 * with #UD or #GP (Intel SDM, volume 2: LDTILECFG and the operation of each instruction) ends the
 * program with a message: a tile that is not configured, operands whose shapes do not fit, a
 * configuration that is not allowed. */
#ifndef NIB_TEST_EMULATE_TILES_H
#define NIB_TEST_EMULATE_TILES_H

#include <stddef.h>

void emulate_tile_loadconfig(const void *config);
void emulate_tile_release(void);

/* Rows of the tile's shape, `stride` bytes apart. */
void emulate_tile_loadd(int to, const void *base, size_t stride);
void emulate_tile_stored(int from, void *base, size_t stride);
void emulate_tile_zero(int to);

/* sums [m][n] += a [m][k] times b [k / per dword][n][per dword] */
void emulate_tile_dpbssd(int sums, int a, int b);
void emulate_tile_dpbsud(int sums, int a, int b);
void emulate_tile_dpbf16ps(int sums, int a, int b);

#endif
