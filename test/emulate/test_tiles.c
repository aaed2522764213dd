/* SPDX-License-Identifier: MIT
 * The emulated AMX instructions: sums worked out by hand and by plain loops, and that every use
 * which a CPU refuses ends the program. */
#include "emulate/emulate_tiles.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "rng.h"
#include "support/test.h"

/* What LDTILECFG reads. */
typedef struct tile_layout {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_layout;

enum { M = 5, N = 7, K = 3 }; /* dwords; none is the largest */

/* Tile 0 sums [M][N], 1 left [M][K], 2 right [K][N]. */
static tile_layout small_layout(void)
{
    return (tile_layout){.palette = 1, .row_bytes = {4 * N, 4 * K, 4 * N}, .rows = {M, M, K}};
}

static void configure(void)
{
    tile_layout layout = small_layout();
    assert_int_equal(sizeof layout, 64);
    emulate_tile_loadconfig(&layout);
}

static void bytes_are_multiplied(void **state)
{
    (void)state;
    rng r = {7};
    int8_t a[M][4 * K];
    uint8_t b[K][4 * N];
    for (int signed_b = 0; signed_b < 2; signed_b++) {
        int32_t sums[M][N + 1], expected[M][N + 1]; /* a column that is not the tile's */
        for (int m = 0; m < M; m++)
            for (int k = 0; k < 4 * K; k++) a[m][k] = (int8_t)rng_next(&r);
        for (int k = 0; k < K; k++)
            for (int n = 0; n < 4 * N; n++) b[k][n] = (uint8_t)rng_next(&r);
        for (int m = 0; m < M; m++) {
            for (int n = 0; n <= N; n++) {
                expected[m][n] = sums[m][n] = (int32_t)(rng_next(&r) >> 40);
                for (int k = 0; n < N && k < 4 * K; k++) {
                    uint8_t byte = b[k / 4][4 * n + k % 4];
                    expected[m][n] += a[m][k] * (signed_b ? (int8_t)byte : byte);
                }
            }
        }
        configure();
        emulate_tile_loadd(0, sums, sizeof sums[0]);
        emulate_tile_loadd(1, a, sizeof a[0]);
        emulate_tile_loadd(2, b, sizeof b[0]);
        if (signed_b)
            emulate_tile_dpbssd(0, 1, 2);
        else
            emulate_tile_dpbsud(0, 1, 2);
        emulate_tile_stored(0, sums, sizeof sums[0]);
        assert_memory_equal(sums, expected, sizeof sums);
        emulate_tile_release();
    }
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A pair of bf16, cut from float32: even k low, odd k high. */
static uint32_t pair(float even, float odd)
{
    return bits_of(even) >> 16 | (bits_of(odd) & 0xffff0000u);
}

/* Two pairs of products added to `sum` in one element. */
static float one_sum(float sum, const uint32_t a[2], const uint32_t b[2])
{
    const tile_layout layout = {.palette = 1, .row_bytes = {4, 8, 4}, .rows = {1, 1, 2}};
    emulate_tile_loadconfig(&layout);
    emulate_tile_loadd(0, &sum, 4);
    emulate_tile_loadd(1, a, 8);
    emulate_tile_loadd(2, b, 4);
    emulate_tile_dpbf16ps(0, 1, 2);
    emulate_tile_stored(0, &sum, 4);
    emulate_tile_release();
    return sum;
}

static void pairs_are_added_as_documented(void **state)
{
    (void)state;
    const uint32_t ones[2] = {pair(1, 1), pair(1, 1)};
    const float big = 0x1p24f, tiny = 0x1p-70f, denormal = 0x1p-130f;
    assert_float_equal(one_sum(0.5f, (uint32_t[]){pair(2, 3), pair(5, 7)},
                               (uint32_t[]){pair(11, 13), pair(17, 19)}),
                       0.5f + 22 + 39 + 85 + 133, 0);
    /* what was there comes last: first it would be lost beside 2^24 */
    assert_float_equal(one_sum(1, (uint32_t[]){pair(big, -big), 0}, ones), 1, 0);
    /* even and odd k apart: in the order of k the 1s would be lost one by one */
    assert_float_equal(one_sum(0, (uint32_t[]){pair(big, 1), pair(0, 1)}, ones), big + 2, 0);
    assert_float_equal(one_sum(0, (uint32_t[]){pair(big, 0), pair(1, 0)}, ones), big, 0);
    /* one rounding in a product and its addition: 2^-24 of 257 * 257 is not cut off before */
    assert_float_equal(one_sum(0, (uint32_t[]){pair(-1, 0), pair(1 + 0x1p-7f, 0)},
                               (uint32_t[]){pair(1, 0), pair(1 + 0x1p-7f, 0)}),
                       0x1p-6f + 0x1p-14f, 0);
    /* denormals: a product, an operand, what was there */
    assert_int_equal(
        bits_of(one_sum(0, (uint32_t[]){pair(tiny, 0), 0}, (uint32_t[]){pair(tiny, 0), 0})), 0);
    assert_int_equal(
        bits_of(one_sum(0, (uint32_t[]){pair(denormal, 0), 0}, (uint32_t[]){pair(0x1p100f, 0), 0})),
        0);
    assert_int_equal(bits_of(one_sum(denormal, (uint32_t[]){0, 0}, ones)), 0);
}

static void rounding_is_not_the_callers(void **state)
{
    (void)state;
    enum { ROUND_UP = 0x4000, ROUNDING = 0x6000, INEXACT = 0x20 };
    const uint32_t ones[2] = {pair(1, 1), pair(1, 1)}, a[2] = {pair(0x1p24f, 0), pair(1, 0)};
    unsigned before = _mm_getcsr();
    _mm_setcsr((before & ~(unsigned)(ROUNDING | INEXACT)) | ROUND_UP);
    float sum = one_sum(0, a, ones);
    unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    assert_float_equal(sum, 0x1p24f, 0);
    assert_int_equal(after & (ROUNDING | INEXACT), ROUND_UP);
}

static void shapes_limit_loads_and_stores(void **state)
{
    (void)state;
    uint8_t from[16][64], to[16][64];
    memset(from, 1, sizeof from);
    memset(to, 9, sizeof to);
    configure();
    emulate_tile_loadd(0, from, 64);
    emulate_tile_stored(0, to, 64);
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 64; n++) assert_int_equal(to[m][n], m < M && n < 4 * N ? 1 : 9);
    emulate_tile_zero(0);
    emulate_tile_stored(0, to, 64);
    assert_int_equal(to[M - 1][4 * N - 1], 0);
    emulate_tile_release();
}

/* What a CPU refuses. */
static void *use_in_thread(void *unused)
{
    emulate_tile_zero(0);
    return unused;
}

static void refused(int which)
{
    static uint8_t memory[1024];
    tile_layout layout = small_layout();
    pthread_t thread;
    if (which == 5) layout.palette = 2;
    if (which == 6) layout.rows[1] = 17;
    if (which == 7) layout.row_bytes[1] = 65;
    if (which == 8) layout.rows[4] = 1;
    if (which == 9) layout.rows[8] = 1, layout.row_bytes[8] = 4;
    if (which == 10) layout.reserved[0] = 1;
    if (which == 11) layout.rows[1]--;         /* sums have more rows than the left operand */
    if (which == 12) layout.rows[2]--;         /* fewer rows of weights than k */
    if (which == 13) layout.row_bytes[2] -= 4; /* fewer columns than sums */
    if (which != 0) emulate_tile_loadconfig(&layout);
    if (which == 4) emulate_tile_release();
    if (which == 0 || which == 4) emulate_tile_loadd(0, memory, 64);
    if (which == 1) emulate_tile_loadd(3, memory, 64);
    if (which == 2) emulate_tile_stored(8, memory, 64);
    if (which == 3) emulate_tile_dpbssd(0, 1, 1);
    if (which == 14 && pthread_create(&thread, NULL, use_in_thread, NULL) == 0)
        pthread_join(thread, NULL);
    if (which >= 11) emulate_tile_dpbf16ps(0, 1, 2);
}

static void wrong_uses_end_the_program(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "no tiles are configured",
        "tile 3 is not configured",
        "tile 8",
        "tiles 0 1 1",
        "no tiles are configured",
        "palette 2",
        "17 rows",
        "65 bytes",
        "tile 4 configured",
        "tile 8 configured",
        "byte 2 of",
        "do not fit",
        "do not fit",
        "do not fit",
        "no tiles are configured",
    };
    for (int i = 0; i < (int)(sizeof messages / sizeof messages[0]); i++) {
        char said[512] = "";
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            dup2(ends[1], STDERR_FILENO);
            refused(i);
            _exit(0);
        }
        close(ends[1]);
        for (size_t at = 0; at < sizeof said - 1;) {
            ssize_t n = read(ends[0], said + at, sizeof said - 1 - at);
            if (n <= 0) break;
            at += (size_t)n;
        }
        close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("use %d was not refused", i);
        if (strstr(said, messages[i]) == NULL) fail_msg("use %d: \"%s\"", i, said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_multiplied),
        cmocka_unit_test(pairs_are_added_as_documented),
        cmocka_unit_test(rounding_is_not_the_callers),
        cmocka_unit_test(shapes_limit_loads_and_stores),
        cmocka_unit_test(wrong_uses_end_the_program),
    };
    return cmocka_run_group_tests_name("emulate/tiles", tests, NULL, NULL);
}
