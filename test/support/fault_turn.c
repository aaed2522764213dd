/* SPDX-License-Identifier: MIT */
#include "fault_turn.h"

#include "test.h"

bool fault_turn_last(fault_alloc *fa, nib_status status, const nib_error *err, size_t least)
{
    const size_t turn = fa->fail_at;
    assert_int_equal(fa->live_blocks, 0);
    const bool last = fa->count < turn;
    fault_alloc_done(fa);
    if (last) {
        assert_ok(status, *err);
        assert_true(turn > least);
    } else {
        assert_int_equal(status, NIB_ERR_MEMORY);
        assert_true(err->text[0] != '\0');
    }
    return last;
}
