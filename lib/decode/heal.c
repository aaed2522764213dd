/* SPDX-License-Identifier: MIT */
#include "decode/heal.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum char_class { BLANK, WORD, MARK };

static enum char_class class_of(char ch)
{
    unsigned char c = (unsigned char)ch;
    if (c == ' ' || c == '\t') return BLANK;
    int word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return word || c >= 0x80 ? WORD : MARK;
}

size_t nib__heal_length(nib_text line)
{
    if (line.len == 0) return 0;
    enum char_class last = class_of(line.data[line.len - 1]);
    size_t n = 1;
    while (n < line.len && class_of(line.data[line.len - 1 - n]) == last) n++;
    /* Byte-level vocabularies join a word with one blank or punctuation mark before it, and
     * punctuation with a blank. */
    if (n < line.len && last != BLANK) {
        enum char_class before = class_of(line.data[line.len - 1 - n]);
        if (before == BLANK || last == WORD) n++;
    }
    return n <= NIB__HEAL_MAX ? n : 0;
}

nib_status nib__heal_init(nib__heal *heal, const nib_allocator *mem, nib_text text,
                          uint32_t n_vocab, size_t n_user, nib_error *err)
{
    *heal = (nib__heal){.len = 0};
    if (text.len == 0 || text.len > NIB__HEAL_MAX) return NIB_OK;
    size_t entries;
    if (nib__add(n_vocab, n_user, &entries))
        heal->bias = nib__alloc_raw(mem, entries, sizeof *heal->bias);
    if (heal->bias == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for a completion");
    memcpy(heal->text, text.data, text.len);
    heal->len = (uint32_t)text.len;
    return NIB_OK;
}

void nib__heal_free(nib__heal *heal, const nib_allocator *mem)
{
    nib__free(mem, heal->bias);
    heal->bias = NULL;
}

/* 1 if one of the two begins with the other. */
static int32_t agrees(nib__str token, const char *rest, size_t len)
{
    size_t n = token.len < len ? token.len : len;
    return n != 0 && token.data[0] == rest[0] && memcmp(token.data, rest, n) == 0;
}

size_t nib__heal_bias(nib__heal *heal, const nib__tokenizer *t, uint32_t n_vocab,
                      const nib_logit_bias *user, size_t n_user)
{
    const char *rest = heal->text + heal->drawn;
    size_t len = heal->len - heal->drawn, n = n_user;
    if (n_user != 0) memcpy(heal->bias, user, n_user * sizeof *user);
    uint32_t n_ids = nib__tokenizer_size(t);
    for (uint32_t id = 0; id < n_vocab; id++) {
        nib__str bytes = {NULL, 0};
        if (id < n_ids) bytes = nib__token_bytes(t, (int32_t)id, 0);
        if (!agrees(bytes, rest, len)) heal->bias[n++] = (nib_logit_bias){(int32_t)id, -INFINITY};
    }
    if (n - n_user < n_vocab) return n;
    heal->len = heal->drawn;
    return n_user;
}

void nib__heal_take(nib__heal *heal, nib__str token)
{
    uint32_t left = heal->len - heal->drawn;
    heal->drawn += token.len < left ? (uint32_t)token.len : left;
}

size_t nib__heal_skip(const nib__heal *heal, size_t len)
{
    size_t left = heal->len > heal->skipped ? heal->len - heal->skipped : 0;
    return len < left ? len : left;
}
