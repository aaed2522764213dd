/* SPDX-License-Identifier: MIT
 * UTF-8 decoding that survives any bytes, and the character classes of pre-tokenizers. The tables
 * are generated (unicode_tables.c); the classes are those of the regular expressions of Hugging
 * Face tokenizers, so that text is cut where the model's own tokenizer cuts it. */
#ifndef NIB_TOKEN_UNICODE_H
#define NIB_TOKEN_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nib__class {
    NIB__C_OTHER, /* unassigned, private use */
    NIB__C_SPACE, /* White_Space: \s */
    NIB__C_UPPER,
    NIB__C_LOWER,
    NIB__C_TITLE,
    NIB__C_MODIFIER,
    NIB__C_LETTER, /* Lu Ll Lt Lm Lo */
    NIB__C_DIGIT,
    NIB__C_NUMBER, /* Nd; Nl and No */
    NIB__C_PUNCT,
    NIB__C_SYMBOL, /* P, S */
    NIB__C_MARK_NS,
    NIB__C_MARK, /* Mn; Mc and Me */
    NIB__C_CONTROL,
    NIB__C_FORMAT /* Cc but white space; Cf */
} nib__class;

enum { /* sets of classes */
       NIB__S_SPACE = 1 << NIB__C_SPACE,
       NIB__S_LETTER = 1 << NIB__C_UPPER | 1 << NIB__C_LOWER | 1 << NIB__C_TITLE |
                       1 << NIB__C_MODIFIER | 1 << NIB__C_LETTER,
       NIB__S_NUMBER = 1 << NIB__C_DIGIT | 1 << NIB__C_NUMBER,
       NIB__S_PUNCT = 1 << NIB__C_PUNCT,
       NIB__S_SYMBOL = 1 << NIB__C_SYMBOL,
       NIB__S_MARK = 1 << NIB__C_MARK_NS | 1 << NIB__C_MARK,
       NIB__S_ALL = (1 << (NIB__C_FORMAT + 1)) - 1
};

enum { NIB__CLASS_BLOCK = 128, NIB__CLASS_INDEXED = 0x32000, NIB__INVALID = 0xFFFD };

extern const uint8_t nib__class_index[NIB__CLASS_INDEXED / NIB__CLASS_BLOCK];
extern const uint8_t nib__class_block[][NIB__CLASS_BLOCK / 2]; /* two classes a byte, low first */

/* {first, last << 8 | value}, ascending: classes from NIB__CLASS_INDEXED on, and combining classes
 * other than 0. */
extern const uint32_t nib__class_high_count, nib__class_high_table[][2];
extern const uint32_t nib__ccc_count, nib__ccc_table[][2];

/* Some characters, 1 or 2 apart, whose texts have one length. `shape` is count << 7 | length << 2 |
 * moves << 1 | (distance - 1). Their texts follow each other in the pool; or, if they move, only the
 * first one is there, and the last unit of another's is as much higher as the character is. */
typedef struct nib__code_run {
    uint16_t first, text; /* lower 16 bits of the first character, and the place of its text */
    uint16_t shape;
} nib__code_run;

/* Characters and the text in UTF-16 that stands for each. Runs ascend; those of plane p are
 * plane[p] to plane[p + 1]. */
typedef struct nib__code_map {
    const nib__code_run *runs;
    const uint16_t *pool;
    uint16_t plane[4];
} nib__code_map;

enum { NIB__MAPPED_MAX = 18 }; /* characters that stand for one, at most */

/* Decompositions are full, without Hangul: canonical and, where it is another, compatibility. */
extern const nib__code_map nib__lower, nib__canon, nib__compat;

/* Pairs that compose, {first, second, composite}, ascending, less 0x10000 from row plane1 on. */
extern const uint32_t nib__compose_count, nib__compose_plane1;
extern const uint16_t nib__compose_table[][3];

/* How many characters stand for `code`, written to out; 0: it stands for itself. */
uint32_t nib__map_code(const nib__code_map *map, uint32_t code, uint32_t out[NIB__MAPPED_MAX]);

/* What two characters compose to, or 0; Hangul apart. */
uint32_t nib__compose_pair(uint32_t a, uint32_t b);

/* The value of the range with `code`, or 0. */
uint32_t nib__range_value(const uint32_t ranges[][2], uint32_t count, uint32_t code);

/* Ranges in which a component of Hugging Face tokenizers, resting on other tables than its regular
 * expressions, disagrees with a class; ascending. */
extern const uint32_t nib__odd_punct_count, nib__odd_punct_table[][2];
extern const uint32_t nib__odd_word_count, nib__odd_word_table[][2];
extern const uint32_t nib__odd_accent_count, nib__odd_accent_table[][2];
extern const uint32_t nib__odd_nonspacing_count, nib__odd_nonspacing_table[][2];
extern const uint32_t nib__odd_grapheme_count, nib__odd_grapheme_table[][2];

static inline bool nib__in_ranges(const uint32_t ranges[][2], uint32_t count, uint32_t code)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (code < ranges[mid][0])
            high = mid;
        else if (code > ranges[mid][1])
            low = mid + 1;
        else
            return true;
    }
    return false;
}

/* The set that holds just this code point's class. */
static inline uint32_t nib__class_of(uint32_t code)
{
    if (code >= NIB__CLASS_INDEXED)
        return 1u << nib__range_value(nib__class_high_table, nib__class_high_count, code);
    uint32_t block = nib__class_index[code / NIB__CLASS_BLOCK];
    uint32_t pair = nib__class_block[block][code % NIB__CLASS_BLOCK / 2];
    return 1u << (pair >> code % 2 * 4 & 15);
}

/* Punctuation as Punctuation and BertPreTokenizer see it, ASCII symbols apart. */
static inline bool nib__is_punct(uint32_t code, uint32_t class)
{
    bool punct = (class & NIB__S_PUNCT) != 0;
    if (code < 0x80) return punct;
    return punct != nib__in_ranges(nib__odd_punct_table, nib__odd_punct_count, code);
}

/* \w of Rust's regular expressions: alphabetic, marks, decimal digits, connectors, joiners. */
static inline bool nib__is_word(uint32_t code, uint32_t class)
{
    bool word = (class & (NIB__S_LETTER | NIB__S_MARK | 1u << NIB__C_DIGIT)) != 0;
    if (code < 0x80) return word || code == '_';
    return word != nib__in_ranges(nib__odd_word_table, nib__odd_word_count, code);
}

/* What StripAccents drops. */
static inline bool nib__is_accent(uint32_t code, uint32_t class)
{
    bool mark = (class & NIB__S_MARK) != 0;
    if (code < 0x300) return mark;
    return mark != nib__in_ranges(nib__odd_accent_table, nib__odd_accent_count, code);
}

/* What BertNormalizer drops of decomposed text. */
static inline bool nib__is_nonspacing(uint32_t code, uint32_t class)
{
    bool mark = (class & 1u << NIB__C_MARK_NS) != 0;
    if (code < 0x300) return mark;
    return mark != nib__in_ranges(nib__odd_nonspacing_table, nib__odd_nonspacing_count, code);
}

/* Joins the character before it to a grapheme cluster (Unicode standard annex 29: Extend, ZWJ,
 * SpacingMark). */
static inline bool nib__joins_grapheme(uint32_t code, uint32_t class)
{
    bool mark = (class & NIB__S_MARK) != 0;
    if (code < 0x300) return mark;
    return mark != nib__in_ranges(nib__odd_grapheme_table, nib__odd_grapheme_count, code);
}

/* Chinese characters by the ranges of BertNormalizer, its slip at U+2B920 included. */
static inline bool nib__is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Characters that BertNormalizer removes: U+0000, U+FFFD, controls, formats, private use. */
static inline bool nib__is_bert_removed(uint32_t code)
{
    if (code == 0 || code == NIB__INVALID) return true;
    if (code == '\t' || code == '\n' || code == '\r') return false;
    if (code < 0xA0) return code < ' ' || code >= 0x7F;
    if ((code >= 0xE000 && code <= 0xF8FF) || (code >= 0xF0000 && code <= 0xFFFFD) ||
        (code >= 0x100000 && code <= 0x10FFFD))
        return true;
    return (nib__class_of(code) & (1u << NIB__C_CONTROL | 1u << NIB__C_FORMAT)) != 0;
}

/* Length of the well-formed sequence at text[0..left), left >= 1, or 0; sets *code (Unicode, table
 * 3-7: no overlong forms, no surrogates, nothing above U+10FFFF). */
static inline size_t nib__utf8_valid(const char *text, size_t left, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)text;
    uint32_t a = p[0];
    if (a < 0x80) {
        *code = a;
        return 1;
    }
    if (a < 0xC2 || a > 0xF4 || left < 2 || (p[1] & 0xC0) != 0x80) return 0;
    if (a < 0xE0) {
        *code = (a & 0x1F) << 6 | (p[1] & 0x3Fu);
        return 2;
    }
    if (left < 3 || (p[2] & 0xC0) != 0x80) return 0;
    if (a < 0xF0) {
        *code = (a & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        return *code < 0x800 || (*code >= 0xD800 && *code < 0xE000) ? 0 : 3;
    }
    if (left < 4 || (p[3] & 0xC0) != 0x80) return 0;
    *code = (a & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
    return *code < 0x10000 || *code > 0x10FFFF ? 0 : 4;
}

/* The same, but a byte that starts no sequence counts as one U+FFFD. Never 0. */
static inline size_t nib__utf8_next(const char *text, size_t left, uint32_t *code)
{
    size_t n = nib__utf8_valid(text, left, code);
    if (n != 0) return n;
    *code = NIB__INVALID;
    return 1;
}

/* The character that ends at text[at], at >= 1, and where it begins. */
static inline uint32_t nib__utf8_before(const char *text, size_t at, size_t *begin)
{
    uint32_t code;
    for (size_t n = 1; n <= 4 && n <= at; n++)
        if (nib__utf8_valid(text + at - n, n, &code) == n) {
            *begin = at - n;
            return code;
        }
    *begin = at - 1;
    return NIB__INVALID;
}

/* Bytes of the well-formed sequence that a lead byte announces; 1 for any other byte. */
static inline size_t nib__utf8_length(uint8_t lead)
{
    return lead < 0xC2 || lead > 0xF4 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Writes 1 to 4 bytes and returns how many. */
static inline size_t nib__utf8_put(uint32_t code, char *out)
{
    uint8_t *p = (uint8_t *)out;
    if (code < 0x80) {
        p[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        p[0] = (uint8_t)(0xC0 | code >> 6);
        p[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        p[0] = (uint8_t)(0xE0 | code >> 12);
        p[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        p[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    p[0] = (uint8_t)(0xF0 | code >> 18);
    p[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    p[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    p[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

#endif
