/* SPDX-License-Identifier: MIT
 * f16 and bf16 conversion. Widening is checked for all 65,536 values against the definition of the
 * formats; narrowing at every rounding boundary (each value, each midpoint between neighbours, and
 * one float32 step to both sides: rounding is monotonic, so this covers it), and against the CPU's
 * own conversion on 16 million bit patterns spread over float32. */
#include "base/half.h"

#include <math.h>

#include "support/test.h"

/* IEEE 754 binary16 by its definition. */
static double f16_meaning(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double value = exponent == 31  ? (mantissa != 0 ? (double)NAN : (double)INFINITY)
                   : exponent == 0 ? ldexp(mantissa, -24)
                                   : ldexp(1024 + mantissa, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static double bf16_meaning(uint16_t half)
{
    int exponent = half >> 7 & 255, mantissa = half & 127;
    double value = exponent == 255 ? (mantissa != 0 ? (double)NAN : (double)INFINITY)
                   : exponent == 0 ? ldexp(mantissa, -133)
                                   : ldexp(128 + mantissa, exponent - 134);
    return half & 0x8000 ? -value : value;
}

static void widening_is_exact(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double f16 = f16_meaning((uint16_t)h), bf16 = bf16_meaning((uint16_t)h);
        float a = nib__f32_of_f16((uint16_t)h), b = nib__f32_of_bf16((uint16_t)h);
        assert_true(isnan(f16) ? isnan(a) : (double)a == f16);
        assert_true(isnan(bf16) ? isnan(b) : (double)b == bf16);
        assert_int_equal(signbit(a) != 0, h >> 15);
        assert_int_equal(signbit(b) != 0, h >> 15);
    }
}

static void narrowing_inverts_widening(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float a = nib__f32_of_f16((uint16_t)h), b = nib__f32_of_bf16((uint16_t)h);
        if (isnan(a))
            assert_true(isnan(nib__f32_of_f16(nib__f16_of_f32(a))));
        else
            assert_int_equal(nib__f16_of_f32(a), h);
        if (isnan(b))
            assert_true(isnan(nib__f32_of_bf16(nib__bf16_of_f32(b))));
        else
            assert_int_equal(nib__bf16_of_f32(b), h);
    }
}

/* `lower` and its successor in magnitude; everything between rounds to the nearer, ties to even. */
static void check_between(uint16_t lower, double (*meaning)(uint16_t), uint16_t (*narrow)(float),
                          double top)
{
    double a = meaning(lower), b = meaning((uint16_t)(lower + 1));
    if (isinf(b)) b = top; /* where the next value would be if the exponent went on */
    float middle = (float)((a + b) / 2);
    assert_true((double)middle == (a + b) / 2);
    uint16_t even = lower & 1 ? (uint16_t)(lower + 1) : lower;
    for (int sign = 0; sign < 2; sign++) {
        uint16_t bit = sign ? 0x8000 : 0;
        float s = sign ? -1.0f : 1.0f;
        assert_int_equal(narrow(s * middle), even | bit);
        assert_int_equal(narrow(s * nextafterf(middle, 0.0f)), lower | bit);
        assert_int_equal(narrow(s * nextafterf(middle, INFINITY)), (lower + 1) | bit);
        assert_int_equal(narrow(s * nextafterf((float)a, INFINITY)), lower | bit);
    }
}

static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7c00; h++) check_between(h, f16_meaning, nib__f16_of_f32, 65536.0);
    /* bf16 subnormals have midpoints in float32 too; the last float32 exponent holds 2^128 only as
     * infinity, so the topmost midpoint is checked by hand. */
    for (uint16_t h = 0; h < 0x7f7f; h++) check_between(h, bf16_meaning, nib__bf16_of_f32, 0);
    assert_int_equal(nib__bf16_of_f32(nib__f32_of_bits(0x7f7f7fffu)), 0x7f7f);
    assert_int_equal(nib__bf16_of_f32(nib__f32_of_bits(0x7f7f8000u)), 0x7f80);
    assert_int_equal(nib__f16_of_f32(INFINITY), 0x7c00);
    assert_int_equal(nib__f16_of_f32(-3.0e38f), 0xfc00);
    assert_int_equal(nib__f16_of_f32(1.0e-45f), 0);
}

#if defined(__x86_64__)
#include <immintrin.h>
static bool has_hardware(void)
{
    /* clang 14 does not know the name f16c; every CPU with AVX2 has it. */
    return __builtin_cpu_supports("avx2") != 0;
}
__attribute__((target("f16c"))) static uint16_t hardware_f16(float value)
{
    return (uint16_t)_cvtss_sh(value, 0);
}
#elif defined(__aarch64__)
static bool has_hardware(void)
{
    return true;
}
static uint16_t hardware_f16(float value)
{
    __fp16 half = (__fp16)value;
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}
#else
static bool has_hardware(void)
{
    return false;
}
static uint16_t hardware_f16(float value)
{
    (void)value;
    return 0;
}
#endif

static void narrowing_agrees_with_the_cpu(void **state)
{
    (void)state;
    if (!has_hardware()) skip();
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 257) {
        float value = nib__f32_of_bits((uint32_t)bits);
        if (isnan(value)) continue;
        uint16_t ours = nib__f16_of_f32(value), theirs = hardware_f16(value);
        if (ours != theirs) fail_msg("%a: got %04x, expected %04x", (double)value, ours, theirs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening_is_exact),
        cmocka_unit_test(narrowing_inverts_widening),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(narrowing_agrees_with_the_cpu),
    };
    return cmocka_run_group_tests_name("base/half", tests, NULL, NULL);
}
