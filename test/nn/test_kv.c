/* SPDX-License-Identifier: MIT
 * The memory of keys and values: heads do not overlap, sizes are checked, failures are clean. */
#include "test.h"

#include "fault_alloc.h"
#include "nn/nn.h"

static const nib__config config = {.n_layer = 3, .n_head = 6, .n_head_kv = 2, .head_dim = 24};

static size_t element(uint32_t type)
{
    return type == NIB_KV_Q8 ? 1 : type == NIB__KV_F32 ? 4 : 2;
}

static void test_heads_are_disjoint_and_inside(void **state)
{
    (void)state;
    static const uint32_t types[] = {NIB_KV_F16, NIB_KV_Q8, NIB__KV_F32};
    nib_allocator mem = nib__allocator(NULL);
    for (int t = 0; t < 3; t++) {
        nib_error err = {0};
        nib__kv kv;
        assert_ok(nib__kv_init(&kv, &mem, &config, 33, types[t], &err), err);
        assert_int_equal(kv.capacity, 48);
        size_t bytes = nib__kv_bytes(&config, 33, types[t]);
        uint8_t *end = kv.data;
        for (uint32_t layer = 0; layer < 3; layer++) {
            for (uint32_t head = 0; head < 2; head++) {
                nib__kv_head view = nib__kv_view(&kv, layer, head);
                size_t part = (size_t)48 * 24 * element(types[t]);
                assert_true((uint8_t *)view.k >= end);
                assert_int_equal((uintptr_t)view.k % NIB_ALIGN, 0);
                assert_int_equal((uintptr_t)view.v % NIB_ALIGN, 0);
                assert_true((uint8_t *)view.v >= (uint8_t *)view.k + part);
                end = (uint8_t *)view.v + part;
                if (types[t] != NIB_KV_Q8) continue;
                assert_true((uint8_t *)view.k_scale >= end);
                assert_true(view.v_scale >= view.k_scale + 48);
                end = (uint8_t *)(view.v_scale + 48);
            }
        }
        assert_true(end <= kv.data + bytes);
        memset(kv.data, 1, bytes); /* the address sanitizer sees it if it is less */
        nib__kv_free(&kv);
        nib__kv_free(&kv); /* a second time does nothing */
    }
}

static void test_refused(void **state)
{
    (void)state;
    nib_error err = {0};
    nib__kv kv;
    fault_alloc fa;
    fault_alloc_init(&fa);
    assert_fails(nib__kv_init(&kv, &fa.mem, &config, 64, 2, &err), NIB_ERR_ARGUMENT, err, "got 2");
    fa.fail_at = 1;
    assert_fails(nib__kv_init(&kv, &fa.mem, &config, 64, 0, &err), NIB_ERR_MEMORY, err, "64");
    fa.fail_at = 0;
    fa.max_bytes = 1 << 20;
    assert_fails(nib__kv_init(&kv, &fa.mem, &config, UINT32_MAX, 0, &err), NIB_ERR_MEMORY, err,
                 "4294967295");
    const nib__config huge = {.n_layer = 512, .n_head_kv = 1024, .head_dim = 1024};
    assert_true(nib__kv_bytes(&huge, UINT32_MAX, NIB__KV_F32) >= (uint64_t)1 << 60);
    assert_int_equal(fa.live_blocks, 0);
    fault_alloc_done(&fa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_are_disjoint_and_inside),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
