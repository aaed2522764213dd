/* SPDX-License-Identifier: MIT */
#include "token_use.h"

#include <stdlib.h>
#include <string.h>

static void require(int condition)
{
    if (!condition) abort();
}

bool token_use_text(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags,
                    bool exact)
{
    nib__ids ids = nib__ids_make(NULL);
    if (nib__tokenize(t, text, len, flags, &ids, NULL) != NIB_OK) {
        require(ids.count == 0);
        return false;
    }
    size_t cap = ids.count * nib__tokenizer_max_bytes(t) + 8, n = 0, total = 0, part = 0;
    char *back = malloc(cap);
    require(back != NULL);
    require(nib__detokenize(t, ids.items, ids.count, flags, back, cap, &n, NULL) == NIB_OK);
    require(!exact || (n == len && (len == 0 || memcmp(back, text, len) == 0)));
    nib_detok stream = {0};
    for (size_t i = 0; i < ids.count; i++) {
        require(nib__detok_push(t, &stream, ids.items[i], back + total, cap - total, &part, NULL) ==
                NIB_OK);
        total += part;
    }
    require(nib__detok_push(t, &stream, -1, back + total, cap - total, &part, NULL) == NIB_OK);
    if (!(flags & NIB_TOKENIZE_SPECIAL)) require(total + part == n);
    free(back);
    nib__ids_free(&ids);
    return true;
}

void token_use_letters(const nib__tokenizer *t)
{
    char text[700];
    memset(text, 'a', sizeof text);
    for (size_t len = 1; len <= sizeof text; len++) {
        size_t n = 0;
        nib__ids ids = nib__ids_make(NULL);
        require(nib__tokenize(t, text, len, 0, &ids, NULL) == NIB_OK);
        for (size_t i = 0; i < ids.count; i++) n += (size_t)ids.items[i] + 1;
        require(n == len);
        nib__ids_free(&ids);
    }
}

void token_use(const nib__tokenizer *t)
{
    static const char TEXT[] =
        "  def f(x):\r\n\treturn \"\xc3\xa9\" + x[10]  # <x> \xe2\x96\x81 \xff e\xcc\xa3\xcc\x81 "
        "it's "
        "\xef\xac\x81\xea\xb0\x80\xe1\x86\xa8 \xe4\xb8\xad\xe6\x96\x87 <mask> ab abab 12345 ... "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ";
    (void)token_use_text(t, TEXT, sizeof TEXT - 1, 0, false);
    (void)token_use_text(t, TEXT, sizeof TEXT - 1, NIB_TOKENIZE_SPECIAL | NIB_TOKENIZE_BOS, false);
    (void)token_use_text(t, "", 0, NIB_TOKENIZE_BOS, false);
    nib__ids ids = nib__ids_make(NULL);
    require(nib__tokenize_continuation(t, TEXT, sizeof TEXT - 1, &ids, NULL) == NIB_OK ||
            ids.count == 0);
    nib__ids_free(&ids);
    for (int32_t id = 0; id < (int32_t)nib__tokenizer_size(t) && id < 2000; id++)
        require(nib__token_bytes(t, id, NIB_TOKENIZE_SPECIAL).len <= nib__tokenizer_max_bytes(t));
}
