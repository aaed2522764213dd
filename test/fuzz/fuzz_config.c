/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a config.json, whose fields are asked for in every type, and what it
 * asks of beam search is done to a text. */
#include <stdlib.h>
#include <string.h>

#include "decode/beam_rules.h"
#include "fault_alloc.h"
#include "gguf_walk.h"
#include "hf_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_VOCAB = 50 };

static void use_rules(nib__source *source)
{
    static const int32_t ids[] = {3, 4, 3, 4, 3, 7};
    const nib_model model = {.source = source, .config = {.arch = "bart", .n_vocab = N_VOCAB}};
    const nib__so_far text = {ids, ids + 2, 2, 4};
    float logits[N_VOCAB] = {0};
    nib__rules rules;
    nib_beam_options options;
    nib_error err = {0};
    nib_beam_options_init(&options, sizeof options);
    nib_status status = nib__rules_read(&rules, &options, &model, 2, &err);
    if (status != NIB_OK && (err.code != status || err.text[0] == '\0')) abort();
    if (status != NIB_OK) return;
    if (nib__rules_forced(&rules, &text) >= N_VOCAB) abort();
    (void)nib__rules_end(&rules, &text);
    nib__rules_apply(&rules, &text, 1, logits);
}

static void read_once(const uint8_t *data, size_t size, size_t fail_at)
{
    static const uint8_t empty[] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    fault_alloc fa;
    fault_alloc_init(&fa);
    fa.fail_at = fail_at;
    nib__source *source = NULL;
    nib_error err = {0};
    nib_status status = hf_from_memory(&fa.mem, HF_SAFETENSORS, empty, sizeof empty,
                                       (const char *)data, size, &source, &err);
    if (status == NIB_OK) {
        gguf_walk(source);
        use_rules(source);
    } else if (source != NULL || err.code != status || err.text[0] == '\0') {
        abort();
    }
    if (fa.failed != 0 && status != NIB_ERR_MEMORY) abort();
    nib__source_close(source);
    if (fa.live_blocks != 0) abort();
    fault_alloc_done(&fa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_once(data, size, 0);
    read_once(data, size, 1 + size % 24);
    return 0;
}
