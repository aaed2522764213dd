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
static const nib__rule ONE_DIGIT = {nib__find_run, &NUMBERS, 1}; /* \p{N} */

static const nib__words CL100K = {
    .letters = NIB__S_LETTER,
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_BEFORE,
    .symbol_tail = "\r\n",
};
static const nib__rule QWEN2 = {nib__find_words, &CL100K, 1};
static const nib__rule LLAMA3 = {nib__find_words, &CL100K, 3};

static const nib__words CL100K_MARKS = {
    .letters = NIB__S_LETTER | NIB__S_MARK,
    .not_symbol = NIB__S_LETTER | NIB__S_MARK | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_BEFORE,
    .symbol_tail = "\r\n",
};
static const nib__rule QWEN35 = {nib__find_words, &CL100K_MARKS, 1};

static const nib__words SEED = {
    .letters = NIB__S_LETTER,
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_BEFORE,
    .symbol_tail = "",
};
static const nib__rule SEED_CODER = {nib__find_words, &SEED, 1};

static const nib__words O200K = {
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_AFTER,
    .cased = true,
    .symbol_tail = "\r\n/",
};
static const nib__rule GPT4O = {nib__find_words, &O200K, 3};
static const nib__words TEKKEN_WORDS = {
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER, .cased = true, .symbol_tail = "\r\n/"};
static const nib__rule TEKKEN = {nib__find_words, &TEKKEN_WORDS, 1};

/* DeepSeek. CJK as in its tokenizer.json; U+0800 to U+4E00 is what the file says. */
static const nib__range NEWLINE_RANGES[] = {{'\n', '\n'}, {'\r', '\r'}};
static const nib__range CJK_RANGES[] = {{0x800, 0x9FA5}, {0xAC00, 0xD7FF}};
static const nib__range SYMBOL_RANGES[] = {{'!', '/'},       {':', '~'},       {0x2018, 0x201F},
                                           {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}};
static const nib__run_set NEWLINES = {.ranges = NEWLINE_RANGES, .n_ranges = 2};
static const nib__run_set CJK = {.ranges = CJK_RANGES, .n_ranges = 2};
static const nib__run_set SPACE_LETTERS = {.classes = NIB__S_LETTER, .space = true};
static const nib__run_set SPACE_PUNCT = {.classes = NIB__S_PUNCT, .space = true};
static const nib__run_set SPACE_SYMBOLS = {.ranges = SYMBOL_RANGES, .n_ranges = 6, .space = true};
static const nib__run_set SPACE_CASED = {
    .ranges = nib__cased_letters, .n_ranges = NIB__N_CASED_LETTERS, .space = true};
static const nib__rule EACH_NEWLINE = {nib__find_run, &NEWLINES, 1};
static const nib__rule CJK_RUN = {nib__find_run, &CJK, 0};
static const nib__rule LETTER_RUN = {nib__find_run, &SPACE_LETTERS, 0};
static const nib__rule PUNCT_RUN = {nib__find_run, &SPACE_PUNCT, 0};
static const nib__rule SYMBOL_RUN = {nib__find_run, &SPACE_SYMBOLS, 0};
static const nib__rule CASED_RUN = {nib__find_run, &SPACE_CASED, 0};
static const nib__rule FINAL_SPACE = {nib__find_final_space, NULL, 0};
static const nib__rule NUMBER_RUN = {nib__find_run, &NUMBERS, 0};

/* DeepSeek V3 */
static const nib__range KANA_RANGES[] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}};
static const nib__run_set KANA = {.ranges = KANA_RANGES, .n_ranges = 2};
static const nib__rule KANA_RUN = {nib__find_run, &KANA, 0};
static const nib__rule THREE_NUMBERS = {nib__find_run, &NUMBERS, 3};
static const nib__rule DEEPSEEK3 = {nib__find_deepseek3, NULL, 0};

/* Falcon: Punctuation, ByteLevel, Digits, Split. Its digits are looked for after every byte has
 * become a character, so bytes such as 0xB2, written as superscript two, count among them. */
static const nib__range ASCII_PUNCT[] = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
static const nib__run_set FALCON_PUNCT = {.punct = true, .ranges = ASCII_PUNCT, .n_ranges = 4};
static const nib__rule FALCON_PUNCT_RUN = {nib__find_run, &FALCON_PUNCT, 0};
static const nib__rule NUMERIC_BYTES = {nib__find_numeric_bytes, NULL, 0};
static const nib__rule THREE_DIGITS = {nib__find_three_digits, NULL, 0};

/* What llama.cpp calls "default", for files that name it: [\p{P}$+<=>^~|]+ */
static const nib__range SOME_PUNCT[] = {{'$', '$'}, {'+', '+'}, {'<', '>'},
                                        {'^', '^'}, {'|', '|'}, {'~', '~'}};
static const nib__run_set DEFAULT_PUNCT = {
    .classes = NIB__S_PUNCT, .ranges = SOME_PUNCT, .n_ranges = 6};
static const nib__rule DEFAULT_PUNCT_RUN = {nib__find_run, &DEFAULT_PUNCT, 0};

/* Gemma 4: no token spans a newline and something else. */
static const nib__range LINE_FEED[] = {{'\n', '\n'}};
static const nib__run_set LINE_FEEDS = {.ranges = LINE_FEED, .n_ranges = 1};
static const nib__rule LINE_FEED_RUN = {nib__find_run, &LINE_FEEDS, 0};

/* ---- names ---- */

enum { LLAMA = NIB__PRE_IGNORE_MERGES | NIB__PRE_ADD_BOS };

static const nib__pretok TABLE[] = {
    {"gpt-2", {&GPT2}, 0},
    {"phi-2", {&GPT2}, 0},
    {"mpt", {&GPT2}, 0},
    {"olmo", {&GPT2}, 0},
    {"jais", {&GPT2}, 0},
    {"mellum", {&GPT2}, 0},
    {"trillion", {&GPT2}, 0},
    {"granite-docling", {&GPT2}, 0},
    {"smollm", {&ONE_DIGIT, &GPT2}, 0},
    {"starcoder", {&ONE_DIGIT, &GPT2}, 0},
    {"refact", {&ONE_DIGIT, &GPT2}, 0},
    {"command-r", {&ONE_DIGIT, &GPT2}, 0},
    {"codeshell", {&ONE_DIGIT, &GPT2}, 0},
    {"exaone", {&ONE_DIGIT, &GPT2}, 0},
    {"minerva-7b", {&ONE_DIGIT, &GPT2}, 0},
    {"qwen2", {&QWEN2}, 0},
    {"deepseek-r1-qwen", {&QWEN2}, 0},
    {"stablelm2", {&QWEN2}, 0},
    {"megrez", {&QWEN2}, 0},
    {"hunyuan", {&QWEN2}, 0},
    {"bailingmoe", {&QWEN2}, 0},
    {"gpt-4o", {&GPT4O}, 0},
    {"llama4", {&GPT4O}, 0},
    {"tekken", {&TEKKEN}, LLAMA},
    {"qwen35", {&QWEN35}, 0},
    {"seed-coder", {&SEED_CODER}, 0},
    {"llama-bpe", {&LLAMA3}, LLAMA},
    {"llama3", {&LLAMA3}, LLAMA},
    {"llama-v3", {&LLAMA3}, LLAMA},
    {"falcon3", {&LLAMA3}, LLAMA},
    {"pixtral", {&LLAMA3}, LLAMA},
    {"dbrx", {&LLAMA3}, 0},
    {"smaug-bpe", {&LLAMA3}, 0},
    {"chatglm-bpe", {&LLAMA3}, 0},
    {"glm4", {&LLAMA3}, NIB__PRE_IGNORE_MERGES},
    {"deepseek-coder", {&EACH_NEWLINE, &LETTER_RUN, &PUNCT_RUN, &CJK_RUN, &ONE_DIGIT}, 0},
    {"deepseek-llm",
     {&EACH_NEWLINE, &CASED_RUN, &SYMBOL_RUN, &FINAL_SPACE, &CJK_RUN, &ONE_DIGIT},
     0},
    {"deepseek-v3", {&THREE_NUMBERS, &KANA_RUN, &DEEPSEEK3}, 0},
    {"falcon", {&FALCON_PUNCT_RUN, &GPT2, &NUMERIC_BYTES, &THREE_DIGITS}, 0},
    {"default", {&DEFAULT_PUNCT_RUN, &GPT2, &NUMBER_RUN, &THREE_DIGITS}, 0},
    {"gemma4", {&LINE_FEED_RUN}, NIB__PRE_SPACES},
};

const nib__pretok *nib__pretok_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (strlen(TABLE[i].name) == len && memcmp(TABLE[i].name, name, len) == 0) return &TABLE[i];
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
