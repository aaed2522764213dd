/* SPDX-License-Identifier: MIT
 * Peak of the AMX tile products: four accumulators, two tiles of each operand, as kernels use them.
 */
#include <immintrin.h>
#include <string.h>

#include "peak.h"

enum { TILES = 4 };

/* Palette 1; all eight tiles of 16 rows of 64 bytes, zero. */
static void start(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.bytes[i] = 64;
        config.rows[i] = 16;
    }
    /* gcc 12 believes that ldtilecfg reads eight bytes only and drops the other stores. */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

double peak_int8_amx(uint64_t steps)
{
    start();
    for (uint64_t s = 0; s < steps; s++) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    return (double)steps * TILES * 16 * 16 * 64 * 2;
}

double peak_bf16_amx(uint64_t steps)
{
    start();
    for (uint64_t s = 0; s < steps; s++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return (double)steps * TILES * 16 * 16 * 32 * 2;
}
