/* SPDX-License-Identifier: MIT
 * Regular expressions of tokenizer files, with the meaning that Oniguruma gives them: the leftmost
 * match, the first alternative that works. regex_parse.c and regex_class.c turn a pattern into a
 * small program, regex.c runs all of its alternatives side by side (Pike's method: R. Cox, "Regular
 * Expression Matching: the Virtual Machine Approach", 2009), so that no pattern makes the time
 * explode.
 *
 * Read are: characters and escapes, . [...] \d \s \w \h \p{..} and their opposites, groups, (?i:..),
 * alternatives, ? * + {n,m} greedy and lazy, possessive ones behind a single character, ^ $ \A \z
 * \Z \b \B, (?=..) (?!..), and (?<=.) (?<!.) of one character. Anything else is refused by name. */
#ifndef NIB_TOKEN_REGEX_H
#define NIB_TOKEN_REGEX_H

#include "base/mem.h"
#include "base/status.h"
#include "token/token.h"

enum { NIB__REGEX_OPS = 320 };

typedef enum nib__regex_kind {
    NIB__RX_SET,    /* one character of a set */
    NIB__RX_SPLIT,  /* goes on behind, or at `to`; the latter first with `other` */
    NIB__RX_JUMP,   /* goes on at `to` */
    NIB__RX_LEAVE,  /* while parsing: a jump to the end of the group */
    NIB__RX_AHEAD,  /* a character of a set follows; `other`: none does */
    NIB__RX_BEHIND, /* the same of the character before */
    NIB__RX_LOOK,   /* what follows up to `to` matches here; `other`: it does not */
    NIB__RX_LINE_BEGIN,
    NIB__RX_LINE_END,
    NIB__RX_BEGIN,
    NIB__RX_END,
    NIB__RX_FINAL_LINE, /* the end, or the newline before it */
    NIB__RX_WORD_EDGE,  /* `other`: no edge */
    NIB__RX_MATCH
} nib__regex_kind;

typedef struct nib__regex_op {
    uint8_t kind;
    bool other;
    int16_t to; /* relative to this operation */
    uint32_t set;
} nib__regex_op;

typedef enum nib__regex_item_kind {
    NIB__RXI_RANGE, /* a to b */
    NIB__RXI_CLASS, /* classes a of unicode.h */
    NIB__RXI_TABLE, /* table a of regex_sets.c */
    NIB__RXI_WORD   /* \w; a: in brackets */
} nib__regex_item_kind;

/* What a set has in it. */
typedef struct nib__regex_item {
    uint8_t kind;
    bool negate;
    uint32_t a, b;
} nib__regex_item;

typedef struct nib__regex_set {
    uint32_t first, count; /* of items */
    bool negate;
    uint32_t ascii[4]; /* a bit for each of the first 128 characters */
} nib__regex_set;

typedef struct nib__regex {
    nib__regex_op ops[NIB__REGEX_OPS];
    uint32_t n;
    nib__regex_set *sets;
    nib__regex_item *items;
    size_t n_sets, cap_sets, n_items, cap_items;
} nib__regex;

/* `where` starts the message of an error. */
nib_status nib__regex_make(const nib_allocator *mem, const char *where, nib__str pattern,
                           nib__regex **out, nib_error *err);
void nib__regex_free(const nib_allocator *mem, nib__regex *r);

/* A walk over the matches in text[0..end). */
typedef struct nib__regex_walk {
    const nib__regex *regex;
    const char *text;
    size_t end, at; /* where the next match may begin */
    size_t last;    /* end of the last one, or SIZE_MAX */
    uint64_t work;  /* operations that may still be made; 0: given up */
} nib__regex_walk;

/* A pattern can look far ahead of every match it finds; beyond a generous multiple of the time that
 * one pass takes the walk gives up: false, and walk->work is 0. */
nib__regex_walk nib__regex_start(const nib__regex *r, const char *text, size_t end);
bool nib__regex_next(nib__regex_walk *walk, size_t *begin, size_t *stop);

/* regex_sets.c */
bool nib__regex_has(const nib__regex *r, const nib__regex_set *set, uint32_t code);
bool nib__regex_is_word(uint32_t code, bool brackets);
/* The item that \p{name} stands for; false: unknown. */
bool nib__regex_property(nib__str name, nib__regex_item *item);

#endif
