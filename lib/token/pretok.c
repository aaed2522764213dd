/* SPDX-License-Identifier: MIT
 * The table of pre-tokenizers by the name a GGUF file gives them, and the walk over their pieces.
 * Where llama.cpp's regular expressions differ from those in the models' own tokenizer.json, the
 * latter are followed. An unknown name is refused: a guess costs quality that nobody can see. */
#include "token/pretok.h"

#include <string.h>

#include "token/unicode.h"

/* ---- rules ---- */

static const nib__rule GPT2 = {nib__find_gpt2, NULL, 0};

static const nib__run_set NUMBERS = {.classes = NIB__S_NUMBER};
static const nib__rule ONE_DIGIT = {nib__find_run, &NUMBERS, 1};  /* \p{N} */

static const nib__words CL100K = {
    .letters = NIB__S_LETTER,
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_ANY_CASE,
    .symbol_tail = "\r\n",
};
static const nib__rule QWEN2 = {nib__find_words, &CL100K, 1};
static const nib__rule LLAMA3 = {nib__find_words, &CL100K, 3};

static const nib__words CL100K_MARKS = {
    .letters = NIB__S_LETTER | NIB__S_MARK,
    .not_symbol = NIB__S_LETTER | NIB__S_MARK | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_ANY_CASE,
    .symbol_tail = "\r\n",
};
static const nib__rule QWEN35 = {nib__find_words, &CL100K_MARKS, 1};

/* ---- names ---- */

static const nib__pretok TABLE[] = {
    {"gpt-2", {&GPT2}, 0},
    {"mpt", {&GPT2}, 0},
    {"olmo", {&GPT2}, 0},
    {"smollm", {&ONE_DIGIT, &GPT2}, 0},
    {"starcoder", {&ONE_DIGIT, &GPT2}, 0},
    {"refact", {&ONE_DIGIT, &GPT2}, 0},
    {"command-r", {&ONE_DIGIT, &GPT2}, 0},
    {"codeshell", {&ONE_DIGIT, &GPT2}, 0},
    {"qwen2", {&QWEN2}, 0},
    {"deepseek-r1-qwen", {&QWEN2}, 0},
    {"stablelm2", {&QWEN2}, 0},
    {"qwen35", {&QWEN35}, 0},
    {"llama-bpe", {&LLAMA3}, NIB__PRE_IGNORE_MERGES | NIB__PRE_ADD_BOS},
    {"llama3", {&LLAMA3}, NIB__PRE_IGNORE_MERGES | NIB__PRE_ADD_BOS},
    {"llama-v3", {&LLAMA3}, NIB__PRE_IGNORE_MERGES | NIB__PRE_ADD_BOS},
};

const nib__pretok *nib__pretok_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (strlen(TABLE[i].name) == len && memcmp(TABLE[i].name, name, len) == 0)
            return &TABLE[i];
    return NULL;
}

/* ---- pieces ---- */

void nib__split_start(nib__splitter *s, const nib__pretok *pretok, const char *text, size_t len)
{
    *s = (nib__splitter){.pretok = pretok, .text = text};
    while (s->n_rules < NIB__MAX_RULES && pretok->rules[s->n_rules] != NULL) s->n_rules++;
    s->level[0].end = len;
}

bool nib__split_next(nib__splitter *s, size_t *begin, size_t *end)
{
    for (;;) {
        uint32_t d = s->depth;
        if (s->level[d].at == s->level[d].end) {
            if (d == 0) return false;
            s->depth--;
            continue;
        }
        if (s->level[d].stop == 0) {
            const nib__rule *rule = s->pretok->rules[d];
            size_t from, stop;
            if (!rule->find(rule, s->text, s->level[d].at, s->level[d].end, &from, &stop))
                from = stop = s->level[d].end;
            s->level[d].begin = from;
            s->level[d].stop = stop;
        }
        *begin = s->level[d].at;
        *end = s->level[d].begin;
        if (*begin == *end) { /* the match itself; else the text before it */
            *end = s->level[d].stop;
            s->level[d].stop = 0;
        }
        s->level[d].at = *end;
        if (d + 1 == s->n_rules) return true;
        s->depth++;
        s->level[d + 1].at = *begin;
        s->level[d + 1].end = *end;
        s->level[d + 1].stop = 0;
    }
}
