/* SPDX-License-Identifier: MIT
 * Tokenizers, two ways by the first byte of the input.
 *   0 .. 15   that family of test/fixtures/token encodes the rest, at once and as a stream back;
 *             families that promise it must give the same bytes
 *   16 ..     the rest is a GGUF file: a tokenizer is made of its metadata and used */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_FAMILIES = 12, N_EXACT = 10, METADATA = 16, MAX_FILE = 1 << 20 };

/* The first N_EXACT have a token for every byte. */
static const char *const FAMILIES[N_FAMILIES] = {"bpe/gpt-2",
                                                 "bpe/smollm",
                                                 "bpe/qwen2",
                                                 "bpe/qwen35",
                                                 "bpe/llama-bpe",
                                                 "bpe/falcon",
                                                 "bpe/deepseek-coder",
                                                 "bpe/deepseek-llm",
                                                 "bpe/default",
                                                 "spm",
                                                 "unigram",
                                                 "wpm"};

static void require(int condition)
{
    if (!condition) abort();
}

/* Ids in range, and as many bytes back as nib__detokenize says it writes. */
static void use(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags, int exact)
{
    nib__ids ids = nib__ids_make(NULL);
    require(nib__tokenize(t, text, len, flags, &ids, NULL) == NIB_OK);
    size_t cap = ids.count * nib__tokenizer_max_bytes(t) + 8, n = 0, total = 0, part;
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
}

static void fuzz_metadata(const uint8_t *data, size_t size)
{
    static const char TEXT[] =
        "def f(x):\n\treturn \"\xc3\xa9\" + x[10]  # <x> \xe2\x96\x81 \xff aaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    nib__tokenizer *t;
    if (size > MAX_FILE || tokenizer_from_bytes(NULL, data, size, &t, NULL) != NIB_OK) return;
    use(t, TEXT, sizeof TEXT - 1, 0, 0);
    use(t, TEXT, sizeof TEXT - 1, NIB_TOKENIZE_SPECIAL | NIB_TOKENIZE_BOS, 0);
    nib__tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static nib__tokenizer *made[N_FAMILIES];
    if (size == 0) return 0;
    uint8_t kind = data[0];
    if (kind >= METADATA) {
        fuzz_metadata(data + 1, size - 1);
        return 0;
    }
    kind %= N_FAMILIES;
    if (made[kind] == NULL) made[kind] = tokenizer_small(FAMILIES[kind]);
    use(made[kind], (const char *)data + 1, size - 1, 0, kind < N_EXACT);
    use(made[kind], (const char *)data + 1, size - 1, NIB_TOKENIZE_SPECIAL, 0);
    return 0;
}
