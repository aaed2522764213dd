/* SPDX-License-Identifier: MIT
 * SentencePiece models. The first byte says which tokenizer class the folder names; the rest is the
 * protobuf file. */
#include <stdint.h>
#include <string.h>

#include "token_folder.h"
#include "token_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILE = 1 << 20, N_CLASSES = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const CLASSES[N_CLASSES] = {
        "{}", "{\"tokenizer_class\":\"T5Tokenizer\",\"extra_ids\":3}",
        "{\"tokenizer_class\":\"PLBartTokenizer\",\"src_lang\":\"java\"}",
        "{\"tokenizer_class\":\"XGLMTokenizer\"}", "{\"tokenizer_class\":\"LlamaTokenizer\"}"};
    nib__tokenizer *t = NULL;
    if (size == 0 || size > MAX_FILE) return 0;
    const char *config = CLASSES[data[0] % N_CLASSES];
    token_file files[2] = {{"tokenizer.model", data + 1, size - 1},
                           {"tokenizer_config.json", config, strlen(config)}};
    if (tokenizer_from_memory(NULL, files, 2, &t, NULL) != NIB_OK) return 0;
    token_use(t);
    nib__tokenizer_free(t);
    return 0;
}
