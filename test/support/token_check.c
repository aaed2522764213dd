/* SPDX-License-Identifier: MIT
 * What tests of tokenizers ask of one. */
#include "token_check.h"

#include "fixture.h"
#include "test.h"
#include "token_folder.h"

nib__tokenizer *tokenizer_hf(const char *name)
{
    char path[96];
    nib_error err = {0};
    nib__tokenizer *t = NULL;
    snprintf(path, sizeof path, "fixtures/hf_tokenizers/%s", name);
    assert_ok(tokenizer_from_folder(NULL, fixture_path(path), &t, &err), err);
    return t;
}

void assert_stand_for(const nib__tokenizer *t, const nib__ids *ids, const char *text, size_t len)
{
    nib_error err = {0};
    char *back = malloc(len + 1);
    size_t n = 0;
    assert_ok(nib__detokenize(t, ids->items, ids->count, 0, back, len, &n, &err), err);
    assert_int_equal(n, len);
    if (len != 0) assert_memory_equal(back, text, len);
    free(back);
}

nib_status tokenize_and_free(nib__tokenizer *t, const nib_allocator *mem, const char *text,
                             size_t len, nib_error *err)
{
    nib__ids ids = nib__ids_make(mem);
    nib_status status = nib__tokenize(t, text, len, NIB_TOKENIZE_BOS, &ids, err);
    if (status != NIB_OK) assert_int_equal(ids.count, 0);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
    return status;
}
