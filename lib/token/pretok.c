/* SPDX-License-Identifier: MIT
 * The table of pre-tokenizers by the name a GGUF file gives them, and the walk over their pieces.
 * Where llama.cpp's regular expressions differ from those in the models' own tokenizer.json, the
 * latter are followed. An unknown name is refused: a guess costs quality that nobody can see. */
#include "token/pretok.h"

#include <string.h>

#include "token/unicode.h"

/* ---- rules ---- */

static const nib__run_set NUMBERS = {.classes = NIB__S_NUMBER};

static const nib__words CL100K = {
    .letters = NIB__S_LETTER,
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_BEFORE,
    .symbol_tail = "\r\n",
};

static const nib__words CL100K_MARKS = {
    .letters = NIB__S_LETTER | NIB__S_MARK,
    .not_symbol = NIB__S_LETTER | NIB__S_MARK | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_BEFORE,
    .symbol_tail = "\r\n",
};

static const nib__words SEED = {
    .letters = NIB__S_LETTER,
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_BEFORE,
    .symbol_tail = "",
};

static const nib__words O200K = {
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER,
    .contraction = NIB__CONTRACT_AFTER,
    .cased = true,
    .symbol_tail = "\r\n/",
};
static const nib__words TEKKEN_WORDS = {
    .not_symbol = NIB__S_LETTER | NIB__S_NUMBER, .cased = true, .symbol_tail = "\r\n/"};

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

/* DeepSeek V3 */
static const nib__range KANA_RANGES[] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}};
static const nib__run_set KANA = {.ranges = KANA_RANGES, .n_ranges = 2};

/* Falcon: Punctuation, ByteLevel, Digits, Split. Its digits are looked for after every byte has
 * become a character, so bytes such as 0xB2, written as superscript two, count among them. */
static const nib__range ASCII_PUNCT[] = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
static const nib__run_set FALCON_PUNCT = {.punct = true, .ranges = ASCII_PUNCT, .n_ranges = 4};

/* What llama.cpp calls "default", for files that name it: [\p{P}$+<=>^~|]+ */
static const nib__range SOME_PUNCT[] = {{'$', '$'}, {'+', '+'}, {'<', '>'},
                                        {'^', '^'}, {'|', '|'}, {'~', '~'}};
static const nib__run_set DEFAULT_PUNCT = {
    .classes = NIB__S_PUNCT, .ranges = SOME_PUNCT, .n_ranges = 6};

/* Gemma 4: no token spans a newline and something else. */
static const nib__range LINE_FEED[] = {{'\n', '\n'}};
static const nib__run_set LINE_FEEDS = {.ranges = LINE_FEED, .n_ranges = 1};

static const nib__run_set DIGITS = {.classes = 1 << NIB__C_DIGIT};
static const nib__run_set ANY_SPACE = {.classes = NIB__S_SPACE};

/* Small numbers in place of pointers, which a shared library pays for three times. */
enum { /* rules; 0 ends a list of them */
       GPT2 = 1,
       ONE_DIGIT,
       QWEN2,
       LLAMA3,
       QWEN35,
       SEED_CODER,
       GPT4O,
       TEKKEN,
       EACH_NEWLINE,
       CJK_RUN,
       LETTER_RUN,
       PUNCT_RUN,
       SYMBOL_RUN,
       CASED_RUN,
       FINAL_SPACE,
       NUMBER_RUN,
       KANA_RUN,
       THREE_NUMBERS,
       DEEPSEEK3,
       FALCON_PUNCT_RUN,
       NUMERIC_BYTES,
       THREE_DIGITS,
       DEFAULT_PUNCT_RUN,
       LINE_FEED_RUN,
       ONE_DECIMAL,
       DECIMALS,
       SPACE_RUN
};

static const nib__rule RULES[] = {
    [GPT2] = {.find = nib__find_gpt2},
    [ONE_DIGIT] = {.find = nib__find_run, .param = &NUMBERS, .max = 1},
    [QWEN2] = {.find = nib__find_words, .param = &CL100K, .max = 1},
    [LLAMA3] = {.find = nib__find_words, .param = &CL100K, .max = 3},
    [QWEN35] = {.find = nib__find_words, .param = &CL100K_MARKS, .max = 1},
    [SEED_CODER] = {.find = nib__find_words, .param = &SEED, .max = 1},
    [GPT4O] = {.find = nib__find_words, .param = &O200K, .max = 3},
    [TEKKEN] = {.find = nib__find_words, .param = &TEKKEN_WORDS, .max = 1},
    [EACH_NEWLINE] = {.find = nib__find_run, .param = &NEWLINES, .max = 1},
    [CJK_RUN] = {.find = nib__find_run, .param = &CJK},
    [LETTER_RUN] = {.find = nib__find_run, .param = &SPACE_LETTERS},
    [PUNCT_RUN] = {.find = nib__find_run, .param = &SPACE_PUNCT},
    [SYMBOL_RUN] = {.find = nib__find_run, .param = &SPACE_SYMBOLS},
    [CASED_RUN] = {.find = nib__find_run, .param = &SPACE_CASED},
    [FINAL_SPACE] = {.find = nib__find_final_space},
    [NUMBER_RUN] = {.find = nib__find_run, .param = &NUMBERS},
    [KANA_RUN] = {.find = nib__find_run, .param = &KANA},
    [THREE_NUMBERS] = {.find = nib__find_run, .param = &NUMBERS, .max = 3},
    [DEEPSEEK3] = {.find = nib__find_deepseek3},
    [FALCON_PUNCT_RUN] = {.find = nib__find_run, .param = &FALCON_PUNCT},
    [NUMERIC_BYTES] = {.find = nib__find_numeric_bytes},
    [THREE_DIGITS] = {.find = nib__find_three_digits},
    [DEFAULT_PUNCT_RUN] = {.find = nib__find_run, .param = &DEFAULT_PUNCT},
    [LINE_FEED_RUN] = {.find = nib__find_run, .param = &LINE_FEEDS},
    [ONE_DECIMAL] = {.find = nib__find_run, .param = &DIGITS, .max = 1},
    [DECIMALS] = {.find = nib__find_run, .param = &DIGITS},
    [SPACE_RUN] = {.find = nib__find_run, .param = &ANY_SPACE},
};

/* ---- names ---- */

enum { LLAMA = NIB__PRE_IGNORE_MERGES | NIB__PRE_ADD_BOS };

static const struct {
    char name[17];
    uint8_t rules[6], flags;
} TABLE[] = {
    {"gpt-2", {GPT2}, 0},
    {"phi-2", {GPT2}, 0},
    {"mpt", {GPT2}, 0},
    {"olmo", {GPT2}, 0},
    {"jais", {GPT2}, 0},
    {"mellum", {GPT2}, 0},
    {"trillion", {GPT2}, 0},
    {"granite-docling", {GPT2}, 0},
    {"smollm", {ONE_DIGIT, GPT2}, 0},
    {"starcoder", {ONE_DIGIT, GPT2}, 0},
    {"refact", {ONE_DIGIT, GPT2}, 0},
    {"command-r", {ONE_DIGIT, GPT2}, 0},
    {"codeshell", {ONE_DIGIT, GPT2}, 0},
    {"exaone", {ONE_DIGIT, GPT2}, 0},
    {"minerva-7b", {ONE_DIGIT, GPT2}, 0},
    {"qwen2", {QWEN2}, 0},
    {"deepseek-r1-qwen", {QWEN2}, 0},
    {"stablelm2", {QWEN2}, 0},
    {"megrez", {QWEN2}, 0},
    {"hunyuan", {QWEN2}, 0},
    {"bailingmoe", {QWEN2}, 0},
    {"gpt-4o", {GPT4O}, 0},
    {"llama4", {GPT4O}, 0},
    {"tekken", {TEKKEN}, LLAMA},
    {"qwen35", {QWEN35}, 0},
    {"seed-coder", {SEED_CODER}, 0},
    {"llama-bpe", {LLAMA3}, LLAMA},
    {"llama3", {LLAMA3}, LLAMA},
    {"llama-v3", {LLAMA3}, LLAMA},
    {"falcon3", {LLAMA3}, LLAMA},
    {"pixtral", {LLAMA3}, LLAMA},
    {"dbrx", {LLAMA3}, 0},
    {"smaug-bpe", {LLAMA3}, 0},
    {"chatglm-bpe", {LLAMA3}, 0},
    {"glm4", {LLAMA3}, NIB__PRE_IGNORE_MERGES},
    {"deepseek-coder", {EACH_NEWLINE, LETTER_RUN, PUNCT_RUN, CJK_RUN, ONE_DIGIT}, 0},
    {"deepseek-llm", {EACH_NEWLINE, CASED_RUN, SYMBOL_RUN, FINAL_SPACE, CJK_RUN, ONE_DIGIT}, 0},
    {"deepseek-v3", {THREE_NUMBERS, KANA_RUN, DEEPSEEK3}, 0},
    {"falcon", {FALCON_PUNCT_RUN, GPT2, NUMERIC_BYTES, THREE_DIGITS}, 0},
    {"default", {DEFAULT_PUNCT_RUN, GPT2, NUMBER_RUN, THREE_DIGITS}, 0},
    {"gemma4", {LINE_FEED_RUN}, NIB__PRE_SPACES},
};

bool nib__pretok_find(const char *name, size_t len, nib__pretok *found)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (strlen(TABLE[i].name) != len || memcmp(TABLE[i].name, name, len) != 0) continue;
        *found = (nib__pretok){.name = TABLE[i].name, .flags = TABLE[i].flags};
        for (size_t k = 0; k < sizeof TABLE->rules && TABLE[i].rules[k] != 0; k++)
            found->rules[k] = &RULES[TABLE[i].rules[k]];
        return true;
    }
    return false;
}

/* ---- regular expressions of tokenizer.json ---- */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GAPS "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K_TAIL(digits)                                                                        \
    "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" GAPS
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_TEXT(end, digits)                                                                    \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER     \
    "*" end "|\\p{N}" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" GAPS

/* As the files spell them; each rule finds exactly what the expression matches. */
static const struct {
    const char *regex;
    uint8_t rule;
} PATTERNS[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", GPT2},
    {CONTRACTIONS CL100K_TAIL(""), QWEN2},
    {CONTRACTIONS CL100K_TAIL("{1,3}"), LLAMA3},
    {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                  "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" GAPS,
     QWEN35},
    {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" GAPS,
     SEED_CODER},
    {O200K_TEXT(CONTRACTIONS "?", "{1,3}"), GPT4O},
    {O200K_TEXT("", ""), TEKKEN},
    {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
     LLAMA3},
    {"\\p{N}", ONE_DIGIT},
    {"\\p{N}+", NUMBER_RUN},
    {"\\p{N}{1,3}", THREE_NUMBERS},
    {"\\d", ONE_DECIMAL},
    {"\\d+", DECIMALS},
    {"[0-9][0-9][0-9]", THREE_DIGITS},
    {"[0-9]{3}", THREE_DIGITS},
    {"[\\r\\n]", EACH_NEWLINE},
    {"\\s+", SPACE_RUN},
    {"\\s?\\p{L}+", LETTER_RUN},
    {"\\s?\\p{P}+", PUNCT_RUN},
    {"\\s+$", FINAL_SPACE},
    {"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", CJK_RUN},
    {"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", KANA_RUN},
    {"\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", SYMBOL_RUN},
    {"[!\"#$%&'()*+,\\-./"
     ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
     "?[\\p{P}\\p{S}]+[\\r\\n]*" GAPS,
     DEEPSEEK3},
};

const nib__rule *nib__pattern_find(const char *regex, size_t len)
{
    for (size_t i = 0; i < sizeof PATTERNS / sizeof *PATTERNS; i++)
        if (strlen(PATTERNS[i].regex) == len && memcmp(PATTERNS[i].regex, regex, len) == 0)
            return &RULES[PATTERNS[i].rule];
    return NULL;
}

/* ---- pieces ---- */

/* The next match, or text between two; false at the end of the level. */
static bool next_part(struct nib__split_level *l, const nib__rule *rule, size_t *begin, size_t *end,
                      bool *match)
{
    if (l->at == l->end) return false;
    if (!l->found) {
        if (rule->regex != NULL)
            l->found = nib__regex_next(&l->walk, &l->begin, &l->stop);
        else if (rule->find != NULL)
            l->found = rule->find(rule, l->text, l->at, l->end, &l->begin, &l->stop);
        if (!l->found) l->begin = l->stop = l->end;
        l->found = true;
    }
    *begin = l->at;
    *match = l->at == l->begin;
    *end = *match ? l->stop : l->begin;
    l->found = !*match;
    l->at = *end;
    *match ^= rule->invert;
    return true;
}

/* Takes the next part too if it is a match or not, as asked. */
static bool take_part(struct nib__split_level *l, const nib__rule *rule, bool wanted, size_t *end)
{
    size_t at = l->at, begin, stop;
    bool match;
    if (!next_part(l, rule, &begin, &stop, &match)) return false;
    if (match == wanted) {
        *end = stop;
        return true;
    }
    l->at = at; /* back; what was found stays found */
    if (!l->found) {
        l->begin = begin;
        l->stop = stop;
        l->found = true;
    }
    return false;
}

static bool next_piece(struct nib__split_level *l, const nib__rule *rule, size_t *begin,
                       size_t *end)
{
    bool match;
    while (next_part(l, rule, begin, end, &match)) {
        switch (rule->behavior) {
        case NIB__ISOLATED: break;
        case NIB__REMOVED:
            if (match) continue;
            break;
        case NIB__CONTIGUOUS:
            while (take_part(l, rule, match, end)) continue;
            break;
        case NIB__WITH_PREVIOUS:
            if (!match) take_part(l, rule, true, end);
            break;
        case NIB__WITH_NEXT:
            if (match) take_part(l, rule, false, end);
            break;
        }
        if (*begin < *end) return true;
    }
    return false;
}

/* The text of a level: text[0..len), or a copy with a prefix and escaped spaces. */
static bool enter(nib__splitter *s, uint32_t depth, const char *text, size_t len, nib__place place)
{
    struct nib__split_level *l = &s->level[depth];
    nib__prefix kind = s->pretok->rules[depth]->prefix;
    const nib__regex *regex = s->pretok->rules[depth]->regex;
    l->text = text;
    l->at = 0;
    l->found = false;
    l->end = len;
    l->place = place;
    if (regex != NULL) l->walk = nib__regex_start(regex, text, len);
    if (kind == NIB__PREFIX_NONE || len == 0) return true;
    bool meta = kind != NIB__PREFIX_SPACE;
    bool starts = text[0] == ' ' || (meta && len >= 3 && memcmp(text, "\xe2\x96\x81", 3) == 0);
    bool add = !starts && place != NIB__CONTINUED && kind != NIB__PREFIX_META_NEVER &&
               (kind != NIB__PREFIX_META_FIRST || place == NIB__AT_START);
    size_t spaces = add, need, n = 0;
    for (size_t i = 0; meta && i < len; i++) spaces += text[i] == ' ';
    if (spaces == 0) return true;
    if (!nib__mul(spaces, 3, &need) || !nib__add(need, len, &need) ||
        !nib__grow(s->mem, (void **)&l->owned, &l->cap, need, 1)) {
        s->failed = true;
        return false;
    }
    for (size_t i = add ? SIZE_MAX : 0; i != len; i++) {
        char c = i == SIZE_MAX ? ' ' : text[i];
        if (meta && c == ' ') {
            memcpy(l->owned + n, "\xe2\x96\x81", 3);
            n += 3;
        } else {
            l->owned[n++] = c;
        }
    }
    l->text = l->owned;
    l->end = n;
    return true;
}

void nib__split_start(nib__splitter *s, const nib__pretok *pretok, const nib_allocator *mem,
                      const char *text, size_t len, nib__place place)
{
    *s = (nib__splitter){.pretok = pretok, .mem = mem};
    while (s->n_rules < NIB__MAX_RULES && pretok->rules[s->n_rules] != NULL) s->n_rules++;
    enter(s, 0, text, len, place);
}

bool nib__split_next(nib__splitter *s, const char **piece, size_t *len)
{
    while (!s->failed && !s->slow) {
        uint32_t d = s->depth;
        struct nib__split_level *l = &s->level[d];
        size_t begin, end;
        bool piece_left = next_piece(l, s->pretok->rules[d], &begin, &end);
        s->slow = s->pretok->rules[d]->regex != NULL && l->walk.work == 0;
        if (s->slow) return false;
        if (!piece_left) {
            if (d == 0) return false;
            s->depth--;
            continue;
        }
        *piece = l->text + begin;
        *len = end - begin;
        if (d + 1 == s->n_rules) return true;
        s->depth++;
        enter(s, d + 1, *piece, *len, begin == 0 ? l->place : NIB__INSIDE);
    }
    return false;
}

void nib__split_end(nib__splitter *s)
{
    for (uint32_t i = 0; i < s->n_rules; i++) nib__free(s->mem, s->level[i].owned);
}
