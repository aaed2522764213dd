/* SPDX-License-Identifier: MIT
 * See emulate_tiles.h. */
#include "emulate_tiles.h"

#include <immintrin.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILES = 8,
    ROWS = 16,
    ROW_BYTES = 64,
    DWORDS = ROW_BYTES / 4,
    CONFIG_BYTES = 64,
    AT_ROW_BYTES = 16, /* where the configuration has its arrays */
    AT_ROWS = 48
};

typedef struct tile {
    uint32_t rows, row_bytes; /* 0: not configured */
    uint32_t data[ROWS][DWORDS];
} tile;

static _Thread_local bool configured;
static _Thread_local tile tiles[TILES];

__attribute__((format(printf, 1, 2), noreturn)) static void fault(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("emulated AMX: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void emulate_tile_release(void)
{
    memset(tiles, 0, sizeof tiles);
    configured = false;
}

/* Palette 1: eight tiles of at most 16 rows of 64 bytes; all else is reserved and 0. */
void emulate_tile_loadconfig(const void *config)
{
    uint8_t bytes[CONFIG_BYTES];
    memcpy(bytes, config, sizeof bytes);
    emulate_tile_release();
    if (bytes[0] == 0) return;
    if (bytes[0] != 1) fault("palette %d", bytes[0]);
    for (int i = 1; i < AT_ROW_BYTES; i++)
        if (bytes[i] != 0) fault("byte %d of the configuration is %d", i, bytes[i]);
    for (int i = 0; i < 16; i++) {
        uint32_t rows = bytes[AT_ROWS + i];
        uint32_t low = bytes[AT_ROW_BYTES + 2 * i], high = bytes[AT_ROW_BYTES + 2 * i + 1];
        uint32_t row_bytes = low | high << 8;
        if (rows > ROWS || row_bytes > ROW_BYTES || (rows == 0) != (row_bytes == 0) ||
            (i >= TILES && rows != 0))
            fault("tile %d configured as %u rows of %u bytes", i, rows, row_bytes);
        if (i >= TILES) continue;
        tiles[i].rows = rows;
        tiles[i].row_bytes = row_bytes;
    }
    configured = true;
}

static tile *tile_at(int number, const char *what)
{
    if (number < 0 || number >= TILES) fault("%s: tile %d", what, number);
    if (!configured) fault("%s: tile %d is used, and no tiles are configured", what, number);
    if (tiles[number].rows == 0) fault("%s: tile %d is not configured", what, number);
    return &tiles[number];
}

void emulate_tile_zero(int to)
{
    tile *t = tile_at(to, "tilezero");
    memset(t->data, 0, sizeof t->data);
}

void emulate_tile_loadd(int to, const void *base, size_t stride)
{
    tile *t = tile_at(to, "tileloadd");
    memset(t->data, 0, sizeof t->data);
    for (uint32_t i = 0; i < t->rows; i++)
        memcpy(t->data[i], (const uint8_t *)base + i * stride, t->row_bytes);
}

void emulate_tile_stored(int from, void *base, size_t stride)
{
    const tile *t = tile_at(from, "tilestored");
    for (uint32_t i = 0; i < t->rows; i++)
        memcpy((uint8_t *)base + i * stride, t->data[i], t->row_bytes);
}

/* Three tiles that fit: sums [m][n], a [m][k], b [k][n], all in dwords. */
typedef struct product {
    tile *sums;
    const tile *a, *b;
    uint32_t m, n, k;
} product;

static product operands(int sums, int a, int b, const char *what)
{
    product p = {tile_at(sums, what), tile_at(a, what), tile_at(b, what), 0, 0, 0};
    if (sums == a || sums == b || a == b) fault("%s: tiles %d %d %d", what, sums, a, b);
    if (p.sums->row_bytes % 4 != 0 || p.a->row_bytes % 4 != 0 || p.b->row_bytes % 4 != 0 ||
        p.sums->rows != p.a->rows || p.sums->row_bytes != p.b->row_bytes ||
        p.b->rows != p.a->row_bytes / 4)
        fault("%s: tiles %d (%u rows of %u bytes), %d (%u, %u) and %d (%u, %u) do not fit", what,
              sums, p.sums->rows, p.sums->row_bytes, a, p.a->rows, p.a->row_bytes, b, p.b->rows,
              p.b->row_bytes);
    p.m = p.sums->rows;
    p.n = p.sums->row_bytes / 4;
    p.k = p.b->rows;
    return p;
}

/* Byte i of a dword. */
static int32_t byte_of(uint32_t dword, int i, bool is_signed)
{
    uint8_t byte = (uint8_t)(dword >> 8 * i);
    return is_signed ? (int8_t)byte : byte;
}

/* Sums wrap, as the CPU's do. */
static void multiply_bytes(const product *p, bool signed_b)
{
    for (uint32_t m = 0; m < p->m; m++) {
        for (uint32_t k = 0; k < p->k; k++) {
            const uint32_t a = p->a->data[m][k], *b = p->b->data[k];
            uint32_t *sums = p->sums->data[m];
            for (uint32_t n = 0; n < p->n; n++) {
                for (int i = 0; i < 4; i++)
                    sums[n] += (uint32_t)(byte_of(a, i, true) * byte_of(b[n], i, signed_b));
            }
        }
    }
}

void emulate_tile_dpbssd(int sums, int a, int b)
{
    product p = operands(sums, a, b, "tdpbssd");
    multiply_bytes(&p, true);
}

void emulate_tile_dpbsud(int sums, int a, int b)
{
    product p = operands(sums, a, b, "tdpbsud");
    multiply_bytes(&p, false);
}

/* Even and odd k have sums of their own, which begin at 0 in each instruction, are added to each
 * other at its end, and then to what was there (Intel SDM, TDPBF16PS, operation). Not inlined, so
 * that no operation moves over the change of MXCSR around the call. */
__attribute__((target("avx512f"), noinline)) static void multiply_pairs(const product *p)
{
    const __m512i high = _mm512_set1_epi32((int)0xffff0000u);
    const __mmask16 columns = (__mmask16)((1u << p->n) - 1);
    for (uint32_t m = 0; m < p->m; m++) {
        __m512 even = _mm512_setzero_ps(), odd = even;
        for (uint32_t k = 0; k < p->k; k++) {
            const __m512i a = _mm512_set1_epi32((int)p->a->data[m][k]);
            const __m512i b = _mm512_loadu_si512(p->b->data[k]);
            even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)),
                                   _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), even);
            odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, high)),
                                  _mm512_castsi512_ps(_mm512_and_si512(b, high)), odd);
        }
        float *sums = (float *)(void *)p->sums->data[m];
        __m512 before = _mm512_loadu_ps(sums);
        _mm512_mask_storeu_ps(sums, columns, _mm512_add_ps(before, _mm512_add_ps(even, odd)));
    }
}

/* Denormals are zero on both sides and rounding is to nearest even, whatever MXCSR says. */
void emulate_tile_dpbf16ps(int sums, int a, int b)
{
    enum { EXCEPTIONS_MASKED = 0x1f80, FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x40 };
    product p = operands(sums, a, b, "tdpbf16ps");
    unsigned before = _mm_getcsr();
    _mm_setcsr(EXCEPTIONS_MASKED | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    multiply_pairs(&p);
    _mm_setcsr(before);
}
