/* SPDX-License-Identifier: MIT
 * The sets of characters in regular expressions: properties by name, and who belongs to a set. */
#include "token/regex.h"

#include <string.h>

#include "token/unicode.h"

/* Ranges by the Unicode version of Hugging Face's regular expressions. */
static const uint32_t CONNECTORS[][2] = {{0x5F, 0x5F},     {0x203F, 0x2040}, {0x2054, 0x2054},
                                         {0xFE33, 0xFE34}, {0xFE4D, 0xFE4F}, {0xFF3F, 0xFF3F}};
static const uint32_t SEPARATORS[][2] = {{0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                         {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                         {0x205F, 0x205F}, {0x3000, 0x3000}};
static const uint32_t SPACES[][2] = {{0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                     {0x2000, 0x200A}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                     {0x3000, 0x3000}};
static const uint32_t CONTROLS[][2] = {{0, 0x1F}, {0x7F, 0x9F}};
static const uint32_t HEX[][2] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
static const uint32_t HAN[][2] = {
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},
    {0x3007, 0x3007},   {0x3021, 0x3029},   {0x3038, 0x303B},   {0x3400, 0x4DBF},
    {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
    {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739}, {0x2B740, 0x2B81D},
    {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D}, {0x2F800, 0x2FA1D},
    {0x30000, 0x3134A}, {0x31350, 0x323AF}};
static const uint32_t HIRAGANA[][2] = {{0x3041, 0x3096},   {0x309D, 0x309F},   {0x1B001, 0x1B11F},
                                       {0x1B132, 0x1B132}, {0x1B150, 0x1B152}, {0x1F200, 0x1F200}};
static const uint32_t KATAKANA[][2] = {{0x30A1, 0x30FA},   {0x30FD, 0x30FF},   {0x31F0, 0x31FF},
                                       {0x32D0, 0x32FE},   {0x3300, 0x3357},   {0xFF66, 0xFF6F},
                                       {0xFF71, 0xFF9D},   {0x1AFF0, 0x1AFF3}, {0x1AFF5, 0x1AFFB},
                                       {0x1AFFD, 0x1AFFE}, {0x1B000, 0x1B000}, {0x1B120, 0x1B122},
                                       {0x1B155, 0x1B155}, {0x1B164, 0x1B167}};
static const uint32_t HANGUL[][2] = {
    {0x1100, 0x11FF}, {0x302E, 0x302F}, {0x3131, 0x318E}, {0x3200, 0x321E}, {0x3260, 0x327E},
    {0xA960, 0xA97C}, {0xAC00, 0xD7A3}, {0xD7B0, 0xD7C6}, {0xD7CB, 0xD7FB}, {0xFFA0, 0xFFBE},
    {0xFFC2, 0xFFC7}, {0xFFCA, 0xFFCF}, {0xFFD2, 0xFFD7}, {0xFFDA, 0xFFDC}};

typedef struct table {
    const uint32_t (*ranges)[2];
    uint32_t n;
} table;

#define TABLE(ranges)                                                                              \
    {                                                                                              \
        ranges, sizeof(ranges) / sizeof *(ranges)                                                  \
    }
static const table TABLES[] = {TABLE(CONNECTORS), TABLE(SEPARATORS), TABLE(SPACES),
                               TABLE(CONTROLS),   TABLE(HEX),        TABLE(HAN),
                               TABLE(HIRAGANA),   TABLE(KATAKANA),   TABLE(HANGUL)};

bool nib__regex_property(nib__str name, nib__regex_item *item)
{
    static const struct {
        char name[12];
        uint16_t classes; /* 0: a table */
        uint8_t table;
    } NAMES[] = {{"L", NIB__S_LETTER, 0},
                 {"Lu", 1 << NIB__C_UPPER, 0},
                 {"Ll", 1 << NIB__C_LOWER, 0},
                 {"Lt", 1 << NIB__C_TITLE, 0},
                 {"Lm", 1 << NIB__C_MODIFIER, 0},
                 {"Lo", 1 << NIB__C_LETTER, 0},
                 {"N", NIB__S_NUMBER, 0},
                 {"Nd", 1 << NIB__C_DIGIT, 0},
                 {"P", NIB__S_PUNCT, 0},
                 {"S", NIB__S_SYMBOL, 0},
                 {"M", NIB__S_MARK, 0},
                 {"Mn", 1 << NIB__C_MARK_NS, 0},
                 {"Cf", 1 << NIB__C_FORMAT, 0},
                 {"Letter", NIB__S_LETTER, 0},
                 {"Number", NIB__S_NUMBER, 0},
                 {"Pc", 0, 0},
                 {"Z", 0, 1},
                 {"Zs", 0, 2},
                 {"Cc", 0, 3},
                 {"XDigit", 0, 4},
                 {"Han", 0, 5},
                 {"Hiragana", 0, 6},
                 {"Katakana", 0, 7},
                 {"Hangul", 0, 8}};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strlen(NAMES[i].name) != name.len || memcmp(NAMES[i].name, name.data, name.len) != 0)
            continue;
        bool class = NAMES[i].classes != 0;
        *item = (nib__regex_item){.kind = class ? NIB__RXI_CLASS : NIB__RXI_TABLE,
                                  .a = class ? NAMES[i].classes : NAMES[i].table};
        return true;
    }
    return false;
}

/* \w of Rust's regular expressions, but for joiners. Outside of brackets Oniguruma looks the first
 * 256 characters up in a table of ISO 8859-1, where superscripts and fractions are numbers. */
bool nib__regex_is_word(uint32_t code, bool brackets)
{
    bool latin = code == 0xB2 || code == 0xB3 || code == 0xB9 || (code >= 0xBC && code <= 0xBE);
    if (latin || code == 0x200C || code == 0x200D) return latin && !brackets;
    return nib__is_word(code, nib__class_of(code));
}

static bool has_item(const nib__regex_item *item, uint32_t code)
{
    switch ((nib__regex_item_kind)item->kind) {
    case NIB__RXI_RANGE: return code >= item->a && code <= item->b;
    case NIB__RXI_CLASS: return (nib__class_of(code) & item->a) != 0;
    case NIB__RXI_TABLE: return nib__in_ranges(TABLES[item->a].ranges, TABLES[item->a].n, code);
    case NIB__RXI_WORD: return nib__regex_is_word(code, item->a != 0);
    }
    return false;
}

bool nib__regex_has(const nib__regex *r, const nib__regex_set *set, uint32_t code)
{
    for (uint32_t i = 0; i < set->count; i++) {
        const nib__regex_item *item = &r->items[set->first + i];
        if (has_item(item, code) != item->negate) return !set->negate;
    }
    return set->negate;
}
