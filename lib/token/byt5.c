/* SPDX-License-Identifier: MIT
 * ByT5 (Xue et al. 2022): <pad>, </s>, <unk>, a token for every byte, sentinels. It has no file of
 * its own; tokenizer_config.json names it. */
#include "token/pipeline.h"

enum { FIRST_BYTE = 3, FIRST_EXTRA = FIRST_BYTE + 256, SENTINELS = 125, NAME = 24 };

static nib_status put(nib__hf_tokens *tokens, uint32_t id, const char *text, size_t len,
                      uint8_t type, uint8_t flags, nib_error *err)
{
    tokens->type[id] = type;
    if (type == NIB__TYPE_CONTROL) tokens->added[id] = NIB__ADDED | flags;
    return nib__hf_tokens_put(tokens, "ByT5", id, (nib__str){text, len}, err);
}

static nib_status fill(nib__hf *hf, nib__hf_tokens *tokens, char *names, uint32_t extra,
                       nib_error *err)
{
    static const char *const FIRST[FIRST_BYTE] = {"<pad>", "</s>", "<unk>"};
    enum { BOTH = NIB__ADDED_LSTRIP | NIB__ADDED_RSTRIP };
    nib_status status = nib__hf_tokens_make(hf, "tokenizer_config.json", FIRST_EXTRA + extra - 1,
                                            FIRST_EXTRA + extra, tokens, err);
    for (uint32_t id = 0; id < FIRST_EXTRA + extra && status == NIB_OK; id++) {
        char *name = names + (size_t)id * NAME;
        if (id < FIRST_BYTE) {
            status = put(tokens, id, FIRST[id], strlen(FIRST[id]), NIB__TYPE_CONTROL, BOTH, err);
        } else if (id < FIRST_EXTRA) {
            name[0] = (char)(id - FIRST_BYTE);
            status = put(tokens, id, name, 1, NIB__TYPE_BYTE, 0, err);
        } else {
            size_t len = nib__text(name, NAME, "<extra_id_%u>", id - FIRST_EXTRA);
            status = put(tokens, id, name, len, NIB__TYPE_CONTROL, 0, err);
        }
    }
    return status == NIB_OK ? nib__hf_vocab(hf, tokens, err) : status;
}

nib_status nib__hf_byt5_read(nib__hf *hf, nib_error *err)
{
    nib__tokenizer *t = hf->t;
    nib__hf_tokens tokens = {0};
    int64_t extra = SENTINELS;
    nib__json_integer(hf->tokenizer_config, nib__json_get(hf->tokenizer_config, 0, "extra_ids"),
                      &extra);
    if (extra < 0 || extra > 10000)
        return nib__fail(err, NIB_ERR_LIMIT, "tokenizer_config.json: extra_ids: %lld",
                         (long long)extra);
    char *names = nib__alloc(hf->mem, FIRST_EXTRA + (size_t)extra, NAME);
    if (names == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
    t->model = NIB__BYTES;
    nib__text(t->name, sizeof t->name, "byt5");
    nib_status status = fill(hf, &tokens, names, (uint32_t)extra, err);
    nib__hf_tokens_free(hf, &tokens);
    nib__free(hf->mem, names);
    if (status != NIB_OK) return status;
    t->ids[NIB_TOKEN_PAD] = 0;
    t->ids[NIB_TOKEN_EOS] = 1;
    t->ids[NIB_TOKEN_UNK] = 2;
    t->pipe->unknown = 2;
    t->pipe->after[t->pipe->n_after++] = 1;
    t->pipe->end_once = true;
    status = nib__hf_special(hf, err);
    if (status == NIB_OK) status = nib__hf_plain_bytes(hf, err);
    for (uint32_t byte = 0; byte < 256; byte++)
        t->vocab.byte_id[byte] = (int32_t)(FIRST_BYTE + byte);
    return status;
}
