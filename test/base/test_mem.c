/* SPDX-License-Identifier: MIT
 * Checked sizes, the allocator hook, growing vectors and the arena. */
#include "base/mem.h"

#include "base/bytes.h"
#include "support/test.h"

/* An allocator that counts, and fails once `left` allocations were given. */
typedef struct counter {
    size_t left, live;
    size_t last_size, last_align;
} counter;

static void *counter_alloc(void *user, size_t size, size_t align)
{
    counter *c = user;
    if (c->left == 0) return NULL;
    c->left--, c->live++;
    c->last_size = size, c->last_align = align;
    void *ptr = aligned_alloc(align, size);
    assert_non_null(ptr);
    memset(ptr, 0xcc, size);
    return ptr;
}

static void counter_free(void *user, void *ptr)
{
    counter *c = user;
    assert_non_null(ptr);
    c->live--;
    free(ptr);
}

static nib_allocator counting(counter *c)
{
    return (nib_allocator){counter_alloc, counter_free, c};
}

static void default_allocator_aligns_and_zeroes(void **state)
{
    (void)state;
    nib_allocator mem = nib__allocator(NULL);
    const size_t sizes[] = {1, 63, 64, 65, 4096, 9 << 20 /* takes the huge page path */};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *ptr = nib__alloc(&mem, sizes[i], 1);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % NIB_ALIGN, 0);
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(ptr[j], 0);
        nib__free(&mem, ptr);
    }
    nib__free(&mem, NULL);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    counter c = {.left = 100};
    nib_allocator mem = counting(&c);
    assert_null(nib__alloc(&mem, SIZE_MAX, 2));
    assert_null(nib__alloc(&mem, SIZE_MAX / 2, 2));
    assert_null(nib__alloc(&mem, 0, 8));
    assert_null(nib__alloc(&mem, 8, 0));
    assert_null(nib__alloc_raw(&mem, PTRDIFF_MAX, 1));
    assert_null(nib__strndup(&mem, "x", SIZE_MAX));
    assert_int_equal(c.left, 100);
    size_t value = 7;
    assert_false(nib__mul(SIZE_MAX, 2, &value));
    assert_false(nib__add(SIZE_MAX, 1, &value));
    assert_true(nib__mul(3, 5, &value) && value == 15);
    assert_true(nib__add(3, 5, &value) && value == 8);
    assert_int_equal(nib__align_up(0, 64), 0);
    assert_int_equal(nib__align_up(1, 64), 64);
    assert_int_equal(nib__align_up(64, 64), 64);
}

static void custom_allocator_sees_alignment_and_failures(void **state)
{
    (void)state;
    counter c = {.left = 2};
    nib_allocator mem = counting(&c);
    uint32_t *numbers = nib__alloc(&mem, 3, sizeof *numbers);
    assert_non_null(numbers);
    assert_int_equal(numbers[0] | numbers[1] | numbers[2], 0);
    assert_int_equal(c.last_align, NIB_ALIGN);
    assert_int_equal(c.last_size % NIB_ALIGN, 0); /* what aligned_alloc of C11 asks for */
    char *copy = nib__strndup(&mem, "a\0bc", 3);
    assert_memory_equal(copy, "a\0b", 4);
    assert_null(nib__alloc(&mem, 1, 1));
    nib__free(&mem, numbers);
    nib__free(&mem, copy);
    assert_int_equal(c.live, 0);
}

static void grow_keeps_contents_and_survives_failure(void **state)
{
    (void)state;
    counter c = {.left = 3};
    nib_allocator mem = counting(&c);
    void *items = NULL;
    size_t cap = 0;
    for (uint32_t i = 0; i < 32; i++) {
        assert_true(nib__grow(&mem, &items, &cap, i + 1, sizeof(uint32_t)));
        ((uint32_t *)items)[i] = i;
    }
    assert_int_equal(cap, 32);
    void *before = items;
    assert_false(nib__grow(&mem, &items, &cap, 33, sizeof(uint32_t))); /* allocation fails */
    c.left = 9;
    assert_false(nib__grow(&mem, &items, &cap, SIZE_MAX, sizeof(uint32_t)));
    assert_ptr_equal(items, before);
    assert_int_equal(cap, 32);
    for (uint32_t i = 0; i < 32; i++) assert_int_equal(((uint32_t *)items)[i], i);
    nib__free(&mem, items);
    assert_int_equal(c.live, 0);
}

static void arena_measures_then_carves(void **state)
{
    (void)state;
    static _Alignas(64) uint8_t block[1024];
    nib__arena measure = {0}, carve = {.base = block};
    assert_null(nib__arena_take(&measure, 3, 5));
    assert_null(nib__arena_take(&measure, 100, 1));
    assert_int_equal(measure.used, 64 + 128);
    assert_false(measure.overflow);
    assert_ptr_equal(nib__arena_take(&carve, 3, 5), block);
    assert_ptr_equal(nib__arena_take(&carve, 100, 1), block + 64);
    assert_int_equal(carve.used, measure.used);

    assert_null(nib__arena_take(&measure, SIZE_MAX, 2));
    assert_true(measure.overflow);
    nib__arena full = {.used = SIZE_MAX - 64};
    assert_null(nib__arena_take(&full, 1, 128));
    assert_true(full.overflow);
}

static void cursor_never_leaves_its_bounds(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    nib__cursor c = {data, sizeof data, 0, false};
    assert_int_equal(nib__cursor_u8(&c), 1);
    assert_int_equal(nib__cursor_u32(&c), 0x05040302);
    assert_true(nib__cursor_u64(&c) == 0x0d0c0b0a09080706u);
    assert_int_equal(nib__cursor_left(&c), 0);
    assert_false(c.failed);
    assert_non_null(nib__cursor_take(&c, 0));
    assert_int_equal(nib__cursor_u8(&c), 0);
    assert_true(c.failed);
    assert_null(nib__cursor_take(&c, 0)); /* stays failed */

    nib__cursor huge = {data, sizeof data, 1, false};
    assert_null(nib__cursor_take(&huge, UINT64_MAX));
    assert_true(huge.failed);
    assert_int_equal(nib__cursor_u32(&huge), 0);
    assert_int_equal(nib__cursor_left(&huge), 0);

    nib__cursor short_read = {data, 3, 0, false};
    assert_int_equal(nib__cursor_u32(&short_read), 0);
    assert_true(short_read.failed);
    const uint8_t one[] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf};
    assert_true(nib__lef32(one) == 1.0f);
    assert_true(nib__lef64(one + 4) == -1.0);
    assert_int_equal(nib__le16(one + 2), 0x3f80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_allocator_aligns_and_zeroes),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(custom_allocator_sees_alignment_and_failures),
        cmocka_unit_test(grow_keeps_contents_and_survives_failure),
        cmocka_unit_test(arena_measures_then_carves),
        cmocka_unit_test(cursor_never_leaves_its_bounds),
    };
    return cmocka_run_group_tests_name("base/mem", tests, NULL, NULL);
}
