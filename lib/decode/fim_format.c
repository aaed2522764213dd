/* SPDX-License-Identifier: MIT
 * The table of fill-in-the-middle formats. Each family of code models was trained on its own
 * arrangement of the same parts: a row is such an arrangement.
 *
 * Sources: model cards and technical reports of Qwen2.5-Coder (repository format: section 3 of the
 * report), StarCoder, SantaCoder, StarCoder2 (section 5.1), Code Llama (section 2.3), CodeGemma,
 * DeepSeek-Coder, Codestral (mistral_common's encode_fim), InCoder, CodeGen2, CodeT5 and ByT5; the
 * papers of T5 (section 3.1.4), BART (section 2.2) and PLBART (section 2.1). */
#include "decode/fim_format.h"

#include <string.h>

#include "decode/fim.h"

/* DeepSeek-Coder writes its markers with a fullwidth bar and a lower one eighth block. */
#define BAR "\xef\xbd\x9c"
#define BLOCK "\xe2\x96\x81"

/* clang-format off */
/* Order matters: a row with more requirements stands before one with the same markers and fewer. */
static const nib__fim_format formats[] = {
    /* Encoder-decoders: the text with a hole goes to the encoder. ByT5's sentinels are the last bytes,
     * which no UTF-8 has; T5's decoder writes <extra_id_0> middle <extra_id_1>. */
    {.family = NIB_FIM_BYT5, .arch = "t5", .files = NIB__FILES_AS_TEXT, .order = "fhPmSF",
     .target = "fmL", .prefix = {"\xff"}, .suffix = {"\xff"}, .middle = {"\xff"},
     .extra = "\xfe", .sentinels = "\xfe"},
    {.family = NIB_FIM_T5, .arch = "t5", .files = NIB__FILES_AS_TEXT, .order = "fhPmSF",
     .target = "fmL", .prefix = {"<extra_id_0>"}, .suffix = {"<extra_id_0>"},
     .middle = {"<extra_id_0>"}, .sentinels = "<extra_id_"},
    /* BART's decoder writes all of the text again. */
    {.family = NIB_FIM_BART, .arch = "bart", .files = NIB__FILES_AS_TEXT, .order = "fhPmSF",
     .target = "fhPL", .prefix = {"<mask>"}, .suffix = {"<mask>"}, .middle = {"<mask>"},
     .echo = 1},

    {.family = NIB_FIM_QWEN, .files = NIB__FILES_MARKED, .order = "bhpPsSmL",
     .prefix = {"<|fim_prefix|>"}, .suffix = {"<|fim_suffix|>"}, .middle = {"<|fim_middle|>"},
     .repo = "<|repo_name|>", .file = "<|file_sep|>"},
    {.family = NIB_FIM_CODEGEMMA, .files = NIB__FILES_ENDED, .order = "bhpPsSmL",
     .prefix = {"<|fim_prefix|>"}, .suffix = {"<|fim_suffix|>"}, .middle = {"<|fim_middle|>"},
     .file = "<|file_separator|>"},
    {.family = NIB_FIM_STARCODER2, .files = NIB__FILES_UNSPACED, .order = "bhpiPsSmL",
     .prefix = {"<fim_prefix>"}, .suffix = {"<fim_suffix>"}, .middle = {"<fim_middle>"},
     .repo = "<repo_name>", .file = "<file_sep>"},
    {.family = NIB_FIM_STARCODER, .files = NIB__FILES_MARKED, .order = "bhpPsSmL",
     .prefix = {"<fim_prefix>"}, .suffix = {"<fim_suffix>"}, .middle = {"<fim_middle>"},
     .repo = "<reponame>", .file = "<filename>", .optional_files = 1},
    {.family = NIB_FIM_SANTACODER, .files = NIB__FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {"<fim-prefix>"}, .suffix = {"<fim-suffix>"}, .middle = {"<fim-middle>"}},
    {.family = NIB_FIM_CODELLAMA, .files = NIB__FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {BLOCK "<PRE>", "<PRE>"}, .suffix = {BLOCK "<SUF>", "<SUF>"},
     .middle = {BLOCK "<MID>", "<MID>"}},
    {.family = NIB_FIM_DEEPSEEK, .files = NIB__FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {"<" BAR "fim" BLOCK "begin" BAR ">"}, .suffix = {"<" BAR "fim" BLOCK "hole" BAR ">"},
     .middle = {"<" BAR "fim" BLOCK "end" BAR ">"}},
    /* The middle follows the prefix directly, so the cursor's line is last in any case. */
    {.family = NIB_FIM_CODESTRAL, .files = NIB__FILES_AS_TEXT, .order = "bsSphP",
     .prefix = {"[PREFIX]"}, .suffix = {"[SUFFIX]"}, .middle = {"[PREFIX]"}},
    /* P <|mask:0|> S <|mask:1|> <|mask:0|> */
    {.family = NIB_FIM_INCODER, .files = NIB__FILES_AS_TEXT, .order = "bhPmSsmL",
     .prefix = {"<|mask:0|>"}, .suffix = {"<|mask:1|>"}, .middle = {"<|mask:0|>"}},
    /* P <mask_1> S <|endoftext|> <sep> <mask_1> */
    {.family = NIB_FIM_CODEGEN2, .files = NIB__FILES_AS_TEXT, .order = "bhPmSexmL",
     .prefix = {"<mask_1>"}, .suffix = {"<mask_1>"}, .middle = {"<mask_1>"}, .extra = "<sep>"},
    {.family = NIB_FIM_GENERIC, .files = NIB__FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {"<|code_prefix|>", "<|prefix|>"}, .suffix = {"<|code_suffix|>", "<|suffix|>"},
     .middle = {"<|code_middle|>", "<|middle|>"}},
};
/* clang-format on */

enum { N_FORMATS = sizeof formats / sizeof *formats };

static int32_t find(const nib__tokenizer *t, const char *name)
{
    return name == NULL ? -1 : nib__tokenizer_find(t, name, strlen(name));
}

static int32_t find_any(const nib__tokenizer *t, const char *const names[NIB__FIM_NAMES])
{
    for (int i = 0; i < NIB__FIM_NAMES && names[i] != NULL; i++) {
        int32_t id = find(t, names[i]);
        if (id >= 0) return id;
    }
    return -1;
}

/* 1 if the vocabulary has all markers the format needs. */
static int32_t resolve(const nib__tokenizer *t, const nib__fim_format *f, nib__fim_ids *ids)
{
    *ids = (nib__fim_ids){find_any(t, f->prefix), find_any(t, f->suffix), find_any(t, f->middle),
                          find(t, f->extra),      find(t, f->repo),       find(t, f->file)};
    if (ids->prefix < 0 || ids->suffix < 0 || ids->middle < 0) return 0;
    if (f->extra != NULL && ids->extra < 0) return 0;
    if (f->file != NULL && !f->optional_files && ids->file < 0) return 0;
    return 1;
}

/* Files that say in their metadata which tokens they use, under names we do not know. */
static int32_t resolve_generic(const nib__tokenizer *t, nib__fim_ids *ids)
{
    *ids = (nib__fim_ids){nib__tokenizer_special(t, NIB_TOKEN_FIM_PREFIX),
                          nib__tokenizer_special(t, NIB_TOKEN_FIM_SUFFIX),
                          nib__tokenizer_special(t, NIB_TOKEN_FIM_MIDDLE),
                          -1,
                          -1,
                          -1};
    return ids->prefix >= 0 && ids->suffix >= 0 && ids->middle >= 0;
}

uint32_t nib__fim_detect(const nib__tokenizer *t, const char *pair)
{
    nib__fim_ids ids;
    if (t == NULL) return NIB_FIM_NONE;
    for (size_t i = 0; i < N_FORMATS; i++) {
        const char *arch = formats[i].arch;
        if ((arch != NULL) != (pair != NULL)) continue;
        if (arch != NULL && strstr(pair, arch) == NULL) continue;
        if (resolve(t, &formats[i], &ids)) return formats[i].family;
    }
    return pair == NULL && resolve_generic(t, &ids) ? NIB_FIM_GENERIC : NIB_FIM_NONE;
}

const nib__fim_format *nib__fim_find(const nib__tokenizer *t, uint32_t family, nib__fim_ids *ids)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (formats[i].family == family && resolve(t, &formats[i], ids)) return &formats[i];
    }
    if (family == NIB_FIM_GENERIC && resolve_generic(t, ids)) return &formats[N_FORMATS - 1];
    return NULL;
}
