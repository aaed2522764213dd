/* SPDX-License-Identifier: MIT
 * Fill-in-the-middle prompts of published vocabularies against ids that Hugging Face tokenizers
 * gave (test/oracle/make_fim_golden.py). A vocabulary that is not there is reported as skipped. */
#include "decode/fim.h"
#include "fim_golden.h"
#include "test.h"
#include "tokenizer_files.h"

static void compare(const nib__tokenizer *t, uint32_t family, uint32_t layout, const int32_t *want,
                    size_t n_want)
{
    char before[512];
    nib_error err = {0};
    int len = snprintf(before, sizeof before, "%s%s", fim_before, fim_line);
    nib_fim fim = {.struct_size = sizeof fim,
                   .layout = layout,
                   .prefix = {before, (size_t)len},
                   .suffix = {fim_after, strlen(fim_after)}};
    nib_allocator mem = nib__allocator(NULL);
    nib__ids ids = nib__ids_make(&mem);
    assert_ok(nib__fim_build(t, family, &fim, 0, NULL, &ids, &err), err);
    assert_int_equal(ids.count, n_want);
    assert_memory_equal(ids.items, want, n_want * sizeof *want);
    nib__ids_free(&ids);
}

static void agrees(size_t i)
{
    const char *path = nib_test_model(fim_golden[i].path);
    if (path == NULL) skip();
    nib__tokenizer *t = tokenizer_open(path);
    uint32_t family = fim_golden[i].family;
    assert_int_equal(nib__fim_detect(t, NULL), family);
    compare(t, family, NIB_FIM_LAYOUT_LINE_LAST, fim_golden[i].line_last,
            fim_golden[i].n_line_last);
    compare(t, family, NIB_FIM_LAYOUT_PREFIX, fim_golden[i].prefix, fim_golden[i].n_prefix);
    nib__tokenizer_free(t);
}

static void qwen(void **state)
{
    (void)state;
    agrees(0);
}

static void starcoder2(void **state)
{
    (void)state;
    agrees(1);
}

static void refact(void **state)
{
    (void)state;
    agrees(2);
}

static void deepseek(void **state)
{
    (void)state;
    agrees(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen),
        cmocka_unit_test(starcoder2),
        cmocka_unit_test(refact),
        cmocka_unit_test(deepseek),
    };
    return cmocka_run_group_tests_name("decode/fim_golden", tests, NULL, NULL);
}
