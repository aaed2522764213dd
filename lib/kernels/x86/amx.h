/* SPDX-License-Identifier: MIT
 * What the AMX kernels share: how tiles are configured, and a fence for the compiler. */
#ifndef NIB_KERNELS_X86_AMX_H
#define NIB_KERNELS_X86_AMX_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { TILE_BYTES = 1024 }; /* 16 rows of 64 bytes */

/* The tile configuration the CPU reads (Intel SDM, LDTILECFG). */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Compilers do not know that tile instructions read and write memory. */
static inline void memory_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void load_tile_config(const tile_config *config)
{
    memory_barrier();
    _tile_loadconfig(config);
    memory_barrier();
}

/* Tiles: 0..3 sums [2 blocks of rows][2 blocks of columns], 4 5 left operands, 6 7 right ones. Rows
 * of the first and of the second block; rows1 may be 0. */
static inline void configure_tiles(uint32_t rows0, uint32_t rows1)
{
    tile_config config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    config.rows[0] = config.rows[1] = config.rows[4] = (uint8_t)rows0;
    if (rows1 != 0) config.rows[2] = config.rows[3] = config.rows[5] = (uint8_t)rows1;
    load_tile_config(&config);
}

#endif
