/* SPDX-License-Identifier: MIT
 * What regex_parse.c and regex_class.c share: the state of reading a pattern. */
#ifndef NIB_TOKEN_REGEX_PRIVATE_H
#define NIB_TOKEN_REGEX_PRIVATE_H

#include "token/regex.h"

enum { NIB__REGEX_GROUPS = 24 };

typedef enum nib__regex_group_kind { GROUP_PLAIN, GROUP_AHEAD, GROUP_BEHIND } nib__regex_group_kind;

typedef struct nib__regex_group {
    nib__regex_group_kind kind;
    bool negate, fold;      /* fold: any case */
    uint32_t begin, branch; /* first operation, and that of the current alternative */
} nib__regex_group;

typedef struct nib__regex_parser {
    const nib_allocator *mem;
    nib__regex *r;
    const char *p, *end;
    nib__regex_group groups[NIB__REGEX_GROUPS];
    uint32_t depth;    /* the open group; 0: the pattern */
    uint32_t looks;    /* open groups that look ahead */
    char folded;       /* the letter before, where case is ignored; or 0 */
    const char *wrong; /* what is wrong, or NULL */
    bool no_memory;
} nib__regex_parser;

/* Notes what is not supported, unless something was before; false. */
bool nib__regex_refuse(nib__regex_parser *c, const char *what);

/* regex_class.c: all give false after a refusal, or without memory. */
uint32_t nib__regex_take(nib__regex_parser *c); /* one character of the pattern */
bool nib__regex_take_char(nib__regex_parser *c, char wanted);
bool nib__regex_new_set(nib__regex_parser *c); /* what is added next goes to it */
bool nib__regex_add_item(nib__regex_parser *c, nib__regex_item item);
bool nib__regex_add_range(nib__regex_parser *c, uint32_t low, uint32_t high);
/* Behind a backslash: a character in *code; or *set, and a set of them in *item. */
bool nib__regex_take_escape(nib__regex_parser *c, uint32_t *code, bool *set, nib__regex_item *item);
/* Behind '[': a new set. */
bool nib__regex_take_brackets(nib__regex_parser *c);

#endif
