/* SPDX-License-Identifier: MIT
 * Pre-tokenizers: cut text into the pieces within which BPE may merge. Each is published as a
 * sequence of regular expressions; here they are hand-written scanners that look at every character
 * a bounded number of times and keep no stack. */
#ifndef NIB_TOKEN_PRETOK_H
#define NIB_TOKEN_PRETOK_H

#include "base/mem.h"
#include "token/regex.h"

enum { NIB__MAX_RULES = 12 };

typedef struct nib__rule nib__rule;

/* Finds the first match of a rule in text[at..end): true, and *begin, *stop. What lies between two
 * matches is a piece too. */
typedef bool nib__find_fn(const nib__rule *rule, const char *text, size_t at, size_t end,
                          size_t *begin, size_t *stop);

/* What becomes of matches and of the text between them. */
typedef enum nib__behavior {
    NIB__ISOLATED,     /* both are pieces */
    NIB__REMOVED,      /* matches are dropped */
    NIB__CONTIGUOUS,   /* matches that touch are one piece */
    NIB__WITH_PREVIOUS, /* a match ends the text before it */
    NIB__WITH_NEXT     /* a match starts the text behind it */
} nib__behavior;

/* What a rule does to a piece before it cuts it. */
typedef enum nib__prefix {
    NIB__PREFIX_NONE,
    NIB__PREFIX_SPACE,       /* a space before it, unless it starts with one */
    NIB__PREFIX_META_ALWAYS, /* spaces become U+2581, and one before it unless it starts so */
    NIB__PREFIX_META_FIRST,  /* the same, only at the start of the text */
    NIB__PREFIX_META_NEVER   /* spaces become U+2581 */
} nib__prefix;

struct nib__rule {
    nib__find_fn *find; /* NULL: the piece stays whole */
    const nib__regex *regex; /* in place of `find` */
    const void *param;
    uint32_t max; /* longest match in characters, where the rule has one */
    nib__behavior behavior;
    bool invert; /* what does not match counts as matches */
    nib__prefix prefix;
};

typedef struct nib__pretok {
    const char *name; /* tokenizer.ggml.pre */
    const nib__rule *rules[NIB__MAX_RULES]; /* each cuts the pieces of the one before */
    uint32_t flags;
} nib__pretok;

enum {
    NIB__PRE_IGNORE_MERGES = 1, /* a piece that is a token is that token */
    NIB__PRE_ADD_BOS = 2,       /* unless tokenizer.ggml.add_bos_token says otherwise */
    NIB__PRE_SPACES = 4         /* spaces are written as U+2581, text is not byte-encoded */
};

/* false: unknown. */
bool nib__pretok_find(const char *name, size_t len, nib__pretok *found);

/* Where a text or a piece stands in what the caller tokenizes. */
typedef enum nib__place {
    NIB__AT_START,
    NIB__INSIDE,
    NIB__CONTINUED /* at the start, but it goes on from other text: no prefix */
} nib__place;

/* Walks over the pieces of a text. */
typedef struct nib__splitter {
    const nib__pretok *pretok;
    const nib_allocator *mem;
    uint32_t n_rules, depth;
    bool failed; /* out of memory */
    bool slow;   /* a regular expression gave up */
    struct nib__split_level {
        const char *text;
        size_t at, end;     /* of the piece of the level above that is still to cut */
        size_t begin, stop; /* a match, which may be empty, not yet handed out if `found` */
        bool found;
        nib__regex_walk walk;
        nib__place place;
        char *owned;        /* text with a prefix, or NULL */
        size_t cap;
    } level[NIB__MAX_RULES];
} nib__splitter;

void nib__split_start(nib__splitter *s, const nib__pretok *pretok, const nib_allocator *mem,
                      const char *text, size_t len, nib__place place);
/* false: no piece is left, s->failed or s->slow. Pieces are not empty; *piece is valid until the next call. */
bool nib__split_next(nib__splitter *s, const char **piece, size_t *len);
void nib__split_end(nib__splitter *s);

/* ---- rules (pretok_word.c, pretok_run.c) ---- */

enum nib__contraction { /* 's 't 're 've 'm 'll 'd */
                        NIB__CONTRACT_NONE,
                        NIB__CONTRACT_BEFORE, /* any case, a piece of its own */
                        NIB__CONTRACT_AFTER   /* any case, at the end of a word */
};

/* The word patterns of cl100k, o200k and their descendants; see pretok_word.c. */
typedef struct nib__words {
    uint32_t letters;    /* classes that make a word */
    uint32_t not_symbol; /* classes that never are in a run of symbols, besides space */
    enum nib__contraction contraction;
    bool cased;              /* a word goes from upper to lower case once, as in o200k */
    const char *symbol_tail; /* characters that may follow a run of symbols */
} nib__words;
nib__find_fn nib__find_gpt2, nib__find_words, nib__find_deepseek3;

typedef struct nib__range {
    uint32_t low, high;
} nib__range;
enum { NIB__N_CASED_LETTERS = 87 };
extern const nib__range nib__cased_letters[NIB__N_CASED_LETTERS]; /* pretok_ranges.c */

/* A run of characters, at most rule->max of them (0: no limit). */
typedef struct nib__run_set {
    uint32_t classes;
    const nib__range *ranges; /* ascending */
    uint32_t n_ranges;
    bool punct; /* punctuation of nib__is_punct */
    bool space; /* one white space character may come before */
} nib__run_set;
nib__find_fn nib__find_run;
nib__find_fn nib__find_final_space;  /* \s+$ */
nib__find_fn nib__find_three_digits; /* [0-9][0-9][0-9] */
nib__find_fn nib__find_numeric_bytes;
nib__find_fn nib__find_text;    /* a nib__literal */
nib__find_fn nib__find_word;    /* \w+|[^\w\s]+ of Rust's regex */

typedef struct nib__literal {
    const char *text;
    size_t len;
} nib__literal;

/* The rule of a regular expression of a tokenizer.json, known by its exact text; NULL: unknown. */
const nib__rule *nib__pattern_find(const char *regex, size_t len);

#endif
