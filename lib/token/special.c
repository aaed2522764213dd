/* SPDX-License-Identifier: MIT
 * Special tokens: which ids they have, which of them end a generation, and the tries that cut their
 * text out of a prompt. Files rarely name fill-in-the-middle tokens, so those are looked up by
 * their text; the lists are the ones llama.cpp uses, with StarCoder2, CodeGemma and Codestral. */
#include <string.h>

#include "token/vocab.h"

typedef struct special_name {
    uint32_t which;        /* NIB_TOKEN_* */
    const char *key;       /* tokenizer.ggml.<key> */
    const char *old_key;   /* an earlier name of it, or NULL */
    const char *texts[12]; /* looked up in this order when there is no key */
} special_name;

static const special_name NAMES[] = {
    {NIB_TOKEN_BOS, "bos_token_id", "cls_token_id", {NULL}},
    {NIB_TOKEN_EOS, "eos_token_id", NULL, {NULL}},
    {NIB_TOKEN_UNK, "unknown_token_id", NULL, {NULL}},
    {NIB_TOKEN_PAD, "padding_token_id", NULL, {NULL}},
    {NIB_TOKEN_EOT,
     "eot_token_id",
     NULL,
     {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
      "<EOT>", "_<EOT>", "\xe2\x96\x81<EOT>", "[EOT]", "<｜end▁of▁sentence｜>"}},
    {NIB_TOKEN_FIM_PREFIX,
     "fim_pre_token_id",
     "prefix_token_id",
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>",
      "\xe2\x96\x81<PRE>", "<|code_prefix|>", "<|prefix|>", "[PREFIX]"}},
    {NIB_TOKEN_FIM_SUFFIX,
     "fim_suf_token_id",
     "suffix_token_id",
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>",
      "\xe2\x96\x81<SUF>", "<|code_suffix|>", "<|suffix|>", "[SUFFIX]"}},
    {NIB_TOKEN_FIM_MIDDLE,
     "fim_mid_token_id",
     "middle_token_id",
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
      "\xe2\x96\x81<MID>", "<|code_middle|>", "<|middle|>", "[MIDDLE]"}},
    {NIB_TOKEN_FIM_PAD,
     "fim_pad_token_id",
     NULL,
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {NIB_TOKEN_REPO,
     "fim_rep_token_id",
     NULL,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<repo_name>"}},
    {NIB_TOKEN_FILE,
     "fim_sep_token_id",
     NULL,
     {"<|file_sep|>", "<file_sep>", "<|file_separator|>", "<filename>"}},
};

/* Tokens that end a generation wherever they exist. */
static const char *const END_TEXTS[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "\xe2\x96\x81<EOT>",
    "[EOT]",
    "<|EOT|>",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|endofmask|>",
};

static int32_t find(const nib__tokenizer *t, const char *text)
{
    return nib__vocab_find(&t->vocab, text, strlen(text));
}

/* NIB_OK, NIB__ABSENT or an error. -1 in the file means that there is none. */
static int32_t read_id(const nib__tokenizer *t, const nib__source *source, const char *name,
                       int32_t *id, nib_error *err)
{
    char key[64];
    int64_t value;
    nib__text(key, sizeof key, "tokenizer.ggml.%s", name);
    int32_t got = nib__meta_i64(source, key, &value, err);
    if (got != NIB_OK) return got;
    if (value == -1 || value == UINT32_MAX) {
        *id = -1;
        return NIB_OK;
    }
    if (value < 0 || value >= t->vocab.n)
        return nib__fail(err, NIB_ERR_FORMAT, "%s: %lld is not an id below %u", key,
                         (long long)value, t->vocab.n);
    *id = (int32_t)value;
    return NIB_OK;
}

static void look_up(nib__tokenizer *t, const special_name *name)
{
    int32_t *id = &t->ids[name->which];
    for (uint32_t i = 0; i < 12 && name->texts[i] != NULL && *id < 0; i++)
        *id = find(t, name->texts[i]);
}

static nib_status read_special(nib__tokenizer *t, const nib__source *source,
                               const special_name *name, nib_error *err)
{
    int32_t *id = &t->ids[name->which];
    int32_t got = read_id(t, source, name->key, id, err);
    if (got == NIB__ABSENT && name->old_key != NULL)
        got = read_id(t, source, name->old_key, id, err);
    if (got != NIB__ABSENT) return got;
    look_up(t, name);
    return NIB_OK;
}

/* Control tokens never come from text unless the caller asks. A file may call a marker "user
 * defined" or even "normal": what a prompt is built of is a control token here all the same. */
void nib__special_mark(nib__tokenizer *t, int32_t id, bool end)
{
    if (id < 0) return;
    t->vocab.type[id] = NIB__TYPE_CONTROL;
    if (end) t->vocab.end[id] = 1;
}

static void find_ends(nib__tokenizer *t)
{
    for (size_t i = 0; i < sizeof END_TEXTS / sizeof *END_TEXTS; i++)
        nib__special_mark(t, find(t, END_TEXTS[i]), true);
    int32_t s = find(t, "</s>"); /* in some vocabularies a HTML tag like any other */
    if (s >= 0 && t->vocab.type[s] == NIB__TYPE_CONTROL) t->vocab.end[s] = 1;
    int32_t end = find(t, "<|end|>"); /* in the harmony format it ends a message, not a turn */
    if (end >= 0 && end != t->ids[NIB_TOKEN_EOS] && find(t, "<|call|>") >= 0 &&
        find(t, "<|return|>") >= 0)
        t->vocab.end[end] = 0;
    static const uint8_t END[] = {NIB_TOKEN_EOS,        NIB_TOKEN_EOT,        NIB_TOKEN_FIM_PREFIX,
                                  NIB_TOKEN_FIM_SUFFIX, NIB_TOKEN_FIM_MIDDLE, NIB_TOKEN_FIM_PAD,
                                  NIB_TOKEN_REPO,       NIB_TOKEN_FILE};
    for (size_t i = 0; i < sizeof END; i++) nib__special_mark(t, t->ids[END[i]], true);
}

void nib__special_find(nib__tokenizer *t)
{
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) look_up(t, &NAMES[i]);
    find_ends(t);
}

static nib_status make_tries(nib__tokenizer *t, nib_error *err)
{
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        uint8_t type = t->vocab.type[id];
        nib__str text = nib__vocab_text(&t->vocab, id);
        bool user = type == NIB__TYPE_USER;
        if (!user && type != NIB__TYPE_CONTROL && type != NIB__TYPE_UNKNOWN) continue;
        if (text.len > NIB__MAX_MATCH) continue;
        if ((user && !nib__trie_add(&t->mem, &t->user, text.data, text.len, (int32_t)id)) ||
            !nib__trie_add(&t->mem, &t->special, text.data, text.len, (int32_t)id))
            return nib__fail(err, NIB_ERR_MEMORY, "out of memory for special tokens");
    }
    return NIB_OK;
}

static nib_status read_flag(const nib__source *source, const char *key, bool *flag, nib_error *err)
{
    int32_t value;
    int32_t got = nib__meta_bool(source, key, &value, err);
    if (got < 0) return got;
    if (got == NIB_OK) *flag = value != 0;
    return NIB_OK;
}

static nib_status read_flags(nib__tokenizer *t, const nib__source *source, nib_error *err)
{
    const struct {
        const char *key;
        bool *flag;
    } FLAGS[] = {
        {"tokenizer.ggml.add_bos_token", &t->add_bos},
        {"tokenizer.ggml.add_eos_token", &t->add_eos},
        {"tokenizer.ggml.add_sep_token", &t->add_sep},
        {"tokenizer.ggml.add_space_prefix", &t->add_space},
        {"tokenizer.ggml.remove_extra_whitespaces", &t->merge_spaces},
        {"tokenizer.ggml.normalizer.lowercase", &t->lowercase},
    };
    nib_status status = NIB_OK;
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS && status == NIB_OK; i++)
        status = read_flag(source, FLAGS[i].key, FLAGS[i].flag, err);
    if (status != NIB_OK) return status;
    t->strip_accents = t->lowercase;
    return read_flag(source, "tokenizer.ggml.normalizer.strip_accents", &t->strip_accents, err);
}

/* t->ids and the flags hold the model's defaults on entry. */
nib_status nib__special_read(nib__tokenizer *t, const nib__source *source, nib_error *err)
{
    for (uint32_t i = 0; i < NIB__N_SPECIAL; i++)
        if (t->ids[i] >= (int32_t)t->vocab.n) t->ids[i] = -1;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        nib_status status = read_special(t, source, &NAMES[i], err);
        if (status != NIB_OK) return status;
    }
    if (t->sep_id >= (int32_t)t->vocab.n) t->sep_id = -1;
    int32_t got =
        read_id(t, source, "seperator_token_id", &t->sep_id, err); /* sic, in the format */
    if (got < 0) return got;
    int32_t eom = -1;
    got = read_id(t, source, "eom_token_id", &eom, err);
    if (got < 0) return got;
    nib_status status = read_flags(t, source, err);
    if (status != NIB_OK) return status;
    nib__special_mark(t, eom, true);
    nib__special_mark(t, t->ids[NIB_TOKEN_BOS], false);
    find_ends(t);
    return make_tries(t, err);
}
