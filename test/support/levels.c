/* SPDX-License-Identifier: MIT
 * Kernel tests that run once for each instruction set. */
#include "levels.h"

void levels_list(CMUnitTestFunction test, struct CMUnitTest *tests)
{
    static nib__isa levels[NIB__ISA_COUNT];
    for (int i = 0; i < NIB__ISA_COUNT; i++) {
        levels[i] = (nib__isa)i;
        tests[i] = (struct CMUnitTest){
            .name = nib__isa_name(levels[i]), .test_func = test, .initial_state = &levels[i]};
    }
}

nib__isa level_here(void **state)
{
    nib__isa isa = *(const nib__isa *)*state;
    if (!nib__isa_available(isa)) {
        printf("[  NOT RUN ] %s: this CPU lacks it\n", nib__isa_name(isa));
        skip();
    }
    return isa;
}

int levels_run(const char *name, CMUnitTestFunction test)
{
    struct CMUnitTest tests[NIB__ISA_COUNT];
    levels_list(test, tests);
    return _cmocka_run_group_tests(name, tests, NIB__ISA_COUNT, NULL, NULL);
}
