/* SPDX-License-Identifier: MIT
 * Found before the compiler's own <immintrin.h> in the build of `make test-emulated`, which has the
 * kernels of two levels run on CPUs that lack them: AMX tile instructions become calls into
 * emulate_tiles.c, and the VEX forms of AVX-VNNI the EVEX forms of AVX-512 VNNI, which compute the
 * same. The kernels themselves are compiled as they are. */
#ifndef NIB_TEST_EMULATE_IMMINTRIN_H
#define NIB_TEST_EMULATE_IMMINTRIN_H

#include_next <immintrin.h>

#include "emulate_tiles.h"

#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbf16ps
#define _tile_loadconfig emulate_tile_loadconfig
#define _tile_release emulate_tile_release
#define _tile_loadd emulate_tile_loadd
#define _tile_stream_loadd emulate_tile_loadd
#define _tile_stored emulate_tile_stored
#define _tile_zero emulate_tile_zero
#define _tile_dpbssd emulate_tile_dpbssd
#define _tile_dpbsud emulate_tile_dpbsud
#define _tile_dpbf16ps emulate_tile_dpbf16ps

#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#define _mm256_dpwssd_avx_epi32 _mm256_dpwssd_epi32

#endif
