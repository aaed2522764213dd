/* SPDX-License-Identifier: MIT
 * Instruction set levels: detection against the compiler's own, the cap only lowers. */
#define _GNU_SOURCE
#include "base/cpu.h"

#include <sched.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/test.h"

static void names_are_distinct(void **state)
{
    (void)state;
    for (int i = 0; i < NIB__ISA_COUNT; i++) {
        for (int j = 0; j < i; j++)
            assert_string_not_equal(nib__isa_name((nib__isa)i), nib__isa_name((nib__isa)j));
    }
    assert_string_equal(nib__isa_name(NIB__ISA_AVX512VNNI), "avx512vnni");
    assert_string_equal(nib__isa_name(NIB__ISA_COUNT), "unknown");
}

static void detection_agrees_with_the_compiler(void **state)
{
    (void)state;
    assert_int_equal(nib__isa_available(NIB__ISA_SCALAR), 1);
    assert_int_equal(nib__isa_available(NIB__ISA_COUNT), 0);
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool vnni =
        avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    assert_int_equal(nib__isa_available(NIB__ISA_AVX2), avx2);
    assert_int_equal(nib__isa_available(NIB__ISA_AVX512), avx512);
    assert_int_equal(nib__isa_available(NIB__ISA_AVX512VNNI), vnni);
    assert_int_equal(nib__isa_available(NIB__ISA_AVX512BF16),
                     vnni && __builtin_cpu_supports("avx512bf16"));
    assert_int_equal(nib__isa_available(NIB__ISA_NEON), 0);
    if (nib__isa_available(NIB__ISA_AMX))
        assert_int_equal(nib__isa_available(NIB__ISA_AVX512BF16), 1);
#elif defined(__aarch64__)
    assert_int_equal(nib__isa_available(NIB__ISA_NEON), 1);
    assert_int_equal(nib__isa_available(NIB__ISA_AVX2), 0);
    if (nib__isa_available(NIB__ISA_I8MM)) assert_int_equal(nib__isa_available(NIB__ISA_NEON), 1);
#endif
}

static void cap_only_lowers(void **state)
{
    (void)state;
    nib_error err;
    nib__isa best, isa;
    assert_ok(nib__isa_choose(NULL, &best, &err), err);
    assert_ok(nib__isa_choose("", &isa, &err), err);
    assert_int_equal(isa, best);
    for (int i = 0; i < NIB__ISA_COUNT; i++) {
        assert_ok(nib__isa_choose(nib__isa_name((nib__isa)i), &isa, &err), err);
        assert_true((int)isa <= i && isa <= best);
        assert_int_equal(nib__isa_available(isa), 1);
        if (nib__isa_available((nib__isa)i)) assert_int_equal(isa, i);
    }
    assert_ok(nib__isa_choose("scalar", &isa, &err), err);
    assert_int_equal(isa, NIB__ISA_SCALAR);
    assert_fails(nib__isa_choose("avx1024", &isa, &err), NIB_ERR_ARGUMENT, err, "avx1024");
    assert_fails(nib__isa_choose("AVX2", &isa, &err), NIB_ERR_ARGUMENT, err, "expected one of");
}

static void cpu_count_honours_affinity(void **state)
{
    (void)state;
    uint32_t all = nib__cpu_count();
    assert_in_range(all, 1, 4096);
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(nib__cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(nib__cpu_count(), all);
}

static void clock_goes_forward(void **state)
{
    (void)state;
    uint64_t start = nib__now_ns();
    usleep(2000);
    uint64_t spent = nib__now_ns() - start;
    assert_in_range(spent, 2000000, 60ull * 1000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_distinct), cmocka_unit_test(detection_agrees_with_the_compiler),
        cmocka_unit_test(cap_only_lowers),    cmocka_unit_test(cpu_count_honours_affinity),
        cmocka_unit_test(clock_goes_forward),
    };
    return cmocka_run_group_tests_name("base/cpu", tests, NULL, NULL);
}
