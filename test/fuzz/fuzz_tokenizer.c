/* SPDX-License-Identifier: MIT
 * Tokenizers, two ways by the first byte of the input.
 *   0 .. 15   that family of test/fixtures/token encodes the rest, at once and as a stream back;
 *             families that promise it must give the same bytes
 *   16 ..     the rest is a GGUF file: a tokenizer is made of its metadata and used */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "token_use.h"
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

static void fuzz_metadata(const uint8_t *data, size_t size)
{
    nib__tokenizer *t;
    if (size > MAX_FILE || tokenizer_from_bytes(NULL, data, size, &t, NULL) != NIB_OK) return;
    token_use(t);
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
    const char *text = (const char *)data + 1;
    require(token_use_text(made[kind], text, size - 1, 0, kind < N_EXACT));
    require(token_use_text(made[kind], text, size - 1, NIB_TOKENIZE_SPECIAL, false));
    return 0;
}
