/* SPDX-License-Identifier: MIT
 * The normalization rules of SentencePiece, compiled into the model as a precompiled_charsmap: a
 * little-endian u32 size, a double array trie of that many bytes (Darts
 * clone: Yata 2007), and the replacement strings, NUL terminated, that its values point to. */
#include <string.h>

#include "base/bytes.h"
#include "token/vocab.h"

nib_status nib__charsmap_make(const nib_allocator *mem, const char *what, const uint8_t *data,
                              size_t size, nib__charsmap *c, nib_error *err)
{
    uint32_t trie = size >= 4 ? nib__le32(data) : 0;
    if (size < 9 || trie % 4 != 0 || trie == 0 || trie > size - 5 || data[size - 1] != 0)
        return nib__fail(err, NIB_ERR_FORMAT, "%s: %zu bytes with a trie of %u", what, size, trie);
    c->n_units = trie / 4;
    c->n_replacements = size - 4 - trie;
    c->units = nib__alloc_raw(mem, c->n_units, sizeof *c->units);
    c->replacements = nib__alloc_raw(mem, c->n_replacements, 1);
    if (c->units == NULL || c->replacements == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the character map");
    for (size_t i = 0; i < c->n_units; i++) c->units[i] = nib__le32(data + 4 + 4 * i);
    memcpy(c->replacements, data + 4 + trie, c->n_replacements);
    return NIB_OK;
}

nib_status nib__charsmap_read(const nib_allocator *mem, const nib__source *source, nib__charsmap *c,
                              nib_error *err)
{
    static const char KEY[] = "tokenizer.ggml.precompiled_charsmap";
    nib__array blob;
    int32_t got = nib__meta_array(source, KEY, NIB__META_U8, &blob, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT || blob.count == 0) return NIB_OK;
    return nib__charsmap_make(mem, KEY, blob.data, (size_t)blob.count, c, err);
}

void nib__charsmap_free(const nib_allocator *mem, nib__charsmap *c)
{
    nib__free(mem, c->units);
    nib__free(mem, c->replacements);
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Every index is checked: a trie that points outside itself just does not match. */
static size_t look_up(const nib__charsmap *c, const char *text, size_t len, bool first,
                      const char **replacement)
{
    if (c->n_units == 0) return 0;
    size_t longest = 0;
    uint32_t node = offset_of(c->units[0]);
    for (size_t i = 0; i < len && text[i] != 0; i++) {
        uint8_t byte = (uint8_t)text[i];
        node ^= byte;
        if (node >= c->n_units) break;
        uint32_t unit = c->units[node];
        if ((unit & (1u << 31 | 0xFF)) != byte) break;
        node ^= offset_of(unit);
        if (!(unit >> 8 & 1)) continue;
        if (node >= c->n_units) break;
        uint32_t value = c->units[node] & ~(1u << 31);
        if (value >= c->n_replacements) break;
        *replacement = c->replacements + value;
        longest = i + 1;
        if (first) break;
    }
    return longest;
}

size_t nib__charsmap_longest(const nib__charsmap *c, const char *text, size_t len,
                             const char **replacement)
{
    return look_up(c, text, len, false, replacement);
}

size_t nib__charsmap_first(const nib__charsmap *c, const char *text, size_t len,
                           const char **replacement)
{
    return look_up(c, text, len, true, replacement);
}
