/* SPDX-License-Identifier: MIT
 * What a tokenizer of a Hugging Face directory does around its algorithm: added tokens are cut out,
 * the rest is normalized, added tokens are cut out again, the rest goes through the pre-tokenizer.
 * Follows the `tokenizers` library step by step. Only files of lib/token include this. */
#ifndef NIB_TOKEN_PIPELINE_H
#define NIB_TOKEN_PIPELINE_H

#include "base/json.h"
#include "token/buffer.h"
#include "token/vocab.h"

enum {
    NIB__MAX_STEPS = 16, /* of a normalizer */
    NIB__MAX_FRAME = 16, /* tokens before, and behind, a text */
    NIB__MAX_AFFIX = 32  /* bytes of a BPE prefix or suffix */
};

typedef enum nib__step_kind {
    NIB__STEP_PREPEND, /* `to` in front, unless the text is empty */
    NIB__STEP_REPLACE, /* every `from`, or match of `regex`, by `to` */
    NIB__STEP_NFC,
    NIB__STEP_NFD,
    NIB__STEP_NFKC,
    NIB__STEP_NFKD,
    NIB__STEP_LOWERCASE,
    NIB__STEP_STRIP_ACCENTS, /* drops marks */
    NIB__STEP_STRIP_NONSPACING,
    NIB__STEP_STRIP, /* white space: left, right */
    NIB__STEP_NMT,
    NIB__STEP_CHARSMAP,
    NIB__STEP_BERT_CLEAN,
    NIB__STEP_BERT_CHINESE, /* a space on both sides */
    NIB__STEP_SENTENCEPIECE /* all of a SentencePiece normalizer: see normal.c */
} nib__step_kind;

typedef struct nib__step {
    nib__step_kind kind;
    char *from, *to;   /* owned */
    nib__regex *regex; /* owned; or NULL */
    size_t n_from, n_to;
    bool left, right;
} nib__step;

enum { /* of an added token */
       NIB__ADDED_LSTRIP = 1,
       NIB__ADDED_RSTRIP = 2,
       NIB__ADDED_SINGLE_WORD = 4,
       NIB__ADDED_NORMALIZED = 8,
       NIB__ADDED = 16
};

typedef struct nib__affix {
    char text[NIB__MAX_AFFIX];
    size_t len;
} nib__affix;

struct nib__pipeline {
    nib__step steps[NIB__MAX_STEPS];
    uint32_t n_steps;
    nib__pretok pretok; /* of `rules` */
    nib__rule rules[NIB__MAX_RULES];
    nib__literal literals[NIB__MAX_RULES]; /* owned texts of nib__find_text */
    nib__regex *regexes[NIB__MAX_RULES];   /* owned */
    uint32_t n_rules;
    uint8_t *added;      /* [n] NIB__ADDED_* */
    nib__trie cut[2][2]; /* [normalized or not][special tokens too] */
    /* BPE over characters */
    int32_t unknown; /* -1: what has no token is left out */
    bool fuse_unknown, byte_fallback;
    nib__affix prefix, suffix; /* of a character that does not start, that ends, a piece */
    uint32_t max_word;         /* WordPiece: characters; a longer word is unknown */
    double *scores;            /* [n] unigram */
    bool float_scores;         /* SentencePiece adds them in float */
    double led_score;          /* the sum with which a text that starts with a space begins */
    /* NIB__STEP_SENTENCEPIECE: a space before a text, or before the first one; runs become one. */
    bool dummy_prefix, first_only, extra_spaces;
    bool words;       /* a SentencePiece word model */
    nib__texts first; /* bytes of tokens where they come first; at == NULL: as anywhere */
    bool hold_space;  /* a space at the very end of the text is not shown */
    int32_t before[NIB__MAX_FRAME], after[NIB__MAX_FRAME]; /* NIB_TOKENIZE_BOS */
    uint32_t n_before, n_after;
    bool end_once;     /* a text that ends in after[0] gets no other */
    bool space_first;  /* a space before the whole text */
    bool unless_space; /* unless it starts with white space */
};

nib_status nib__pipeline_make(nib__tokenizer *t, nib_error *err); /* t->pipe */
void nib__pipeline_free(const nib_allocator *mem, nib__pipeline *p);
/* The tries of added tokens; types, flags and steps are complete. */
nib_status nib__pipeline_finish(nib__tokenizer *t, nib_error *err);

/* `lead`: the text starts a text; else it continues one, and nothing is put before it. */
nib_status nib__pipeline_encode(const nib__tokenizer *t, const char *text, size_t len,
                                uint32_t flags, bool lead, nib__ids *ids, nib_error *err);

/* normal.c. text[len] through all steps: *out points to text or into one of the buffers. *moved:
 * something in front of the text was dropped. */
nib_status nib__normalize(const nib__tokenizer *t, const char *text, size_t len, nib__place place,
                          nib__buffer scratch[2], nib__str *out, bool *moved, nib_error *err);
nib_status nib__too_slow(nib_error *err); /* a regular expression gave up */
/* compose.c: Unicode normalization forms; false: out of memory. */
bool nib__unicode_normalize(nib__step_kind form, const char *text, size_t len, nib__buffer *out);

/* Memory that pieces share. */
typedef struct nib__scratch {
    const nib_allocator *mem;
    void *best; /* unigram */
    size_t cap;
} nib__scratch;
nib_status nib__unigram_piece(const nib__tokenizer *t, const char *text, size_t len,
                              nib__scratch *scratch, nib__ids *ids, nib_error *err);
nib_status nib__word_piece(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids,
                           nib_error *err);
/* bpe_chars.c: the symbols a piece starts with, at most len of them; returns how many. */
uint32_t nib__bpe_symbols(const nib__tokenizer *t, const char *text, size_t len, uint32_t *ids);

/* A token that text may become: of the vocabulary, and no marker; else -1. */
static inline int32_t nib__model_find(const nib__tokenizer *t, const char *text, size_t len)
{
    int32_t id = nib__vocab_find(&t->vocab, text, len);
    if (id < 0) return -1;
    uint8_t type = t->vocab.type[id];
    return type == NIB__TYPE_CONTROL || type == NIB__TYPE_ADDED ? -1 : id;
}

/* ---- reading the files ---- */

typedef struct nib__hf {
    nib__tokenizer *t;
    const nib__token_files *files;
    nib__json *tokenizer_config, *special_map, *generation, *config; /* NULL: not there */
    const nib_allocator *mem;
} nib__hf;

/* Tokens on their way into the vocabulary. */
typedef struct nib__hf_tokens {
    nib__str *texts; /* [n] data == NULL: none */
    uint8_t *added;  /* [n] NIB__ADDED_* */
    uint8_t *type;   /* [n] 0: as the vocabulary has it */
    uint32_t n;
} nib__hf_tokens;

nib_status nib__hf_parse(const nib__hf *hf, const char *name, nib__json **json, nib_error *err);
/* "Xyz" of "XyzTokenizerFast" in tokenizer_config.json; len 0: none. */
nib__str nib__hf_class(const nib__hf *hf);
/* Text of a token, which may be a string or an object with "content"; data == NULL: none. */
nib__str nib__hf_token(const nib__json *j, nib__json_value v);
/* The token that a role ("eos_token") has in the configurations; data == NULL: none. */
nib__str nib__hf_role(const nib__hf *hf, const char *role);
bool nib__json_is_true(const nib__json *j, nib__json_value object, const char *key);

/* `file` holds the ids, for messages. */
nib_status nib__hf_tokens_make(const nib__hf *hf, const char *file, uint64_t highest,
                               uint64_t count, nib__hf_tokens *tokens, nib_error *err);
nib_status nib__hf_tokens_put(nib__hf_tokens *tokens, const char *file, int64_t id, nib__str text,
                              nib_error *err);
void nib__hf_tokens_free(const nib__hf *hf, nib__hf_tokens *tokens);
/* The vocabulary and t->pipe->added out of them. */
nib_status nib__hf_vocab(const nib__hf *hf, nib__hf_tokens *tokens, nib_error *err);
nib_status nib__hf_merge(nib__tokenizer *t, const char *file, uint32_t rank, nib__str left,
                         nib__str right, char *joined, nib_error *err);

/* hf_added.c: added tokens of a folder without tokenizer.json. */
typedef struct nib__hf_added_token {
    nib__str text;
    int64_t id; /* -1: the next free one */
    uint8_t flags;
    bool special, exact; /* exact: no other flags than these */
} nib__hf_added_token;

typedef struct nib__hf_added {
    nib__hf_added_token *items; /* [n] */
    uint32_t n;
    nib__json *file; /* added_tokens.json, which has the texts; or NULL */
} nib__hf_added;

/* `defaults`: bos, eos, unk, sep, pad, cls, mask where no file says them; NULL: none. To be freed
 * in any case. */
nib_status nib__hf_added_read(const nib__hf *hf, const char *const defaults[7], nib__hf_added *list,
                              nib_error *err);
void nib__hf_added_free(const nib__hf *hf, nib__hf_added *list);
/* The vocabulary has this text; an error if as another id than the files say. */
nib_status nib__hf_added_found(nib__hf_added *list, nib__str text, int64_t id, nib_error *err);
/* Ids for tokens without; returns the highest id. */
int64_t nib__hf_added_number(nib__hf_added *list, int64_t highest);
nib_status nib__hf_added_put(const nib__hf_added *list, nib__hf_tokens *tokens, nib_error *err);

nib_status nib__hf_json_read(nib__hf *hf, nib__str bytes, nib_error *err);
nib_status nib__hf_normalizer(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err);
nib_status nib__hf_pretokenizer(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err);
/* v: NIB__JSON_NONE for what tokenizer.json leaves out. */
nib_status nib__hf_decoder(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err);
nib_status nib__hf_frame(nib__hf *hf, const nib__json *j, nib__json_value v, nib_error *err);
nib_status nib__hf_special(nib__hf *hf, nib_error *err);
nib_status nib__hf_files_read(nib__hf *hf, nib__str vocab, nib__str merges, nib_error *err);
nib_status nib__hf_spm_read(nib__hf *hf, const char *file, nib__str bytes, nib_error *err);
nib_status nib__hf_spm_bytes(nib__hf *hf, nib_error *err);   /* the decoder of SentencePiece */
nib_status nib__hf_plain_bytes(nib__hf *hf, nib_error *err); /* a token is its text */
nib_status nib__hf_byt5_read(nib__hf *hf, nib_error *err);

/* The parts of a component, Sequences of Sequences unfolded; `list` names their list. */
enum { NIB__HF_DEPTH = 8 };
typedef struct nib__hf_walk {
    const nib__json *j;
    const char *list;
    nib__json_value at[NIB__HF_DEPTH]; /* next of each level; at[0]: the component itself */
    uint32_t depth;
} nib__hf_walk;
nib__hf_walk nib__hf_walk_start(const nib__json *j, nib__json_value v, const char *list);
/* NIB__JSON_NONE: no more. */
nib_status nib__hf_walk_next(nib__hf_walk *w, nib__json_value *part, nib_error *err);

nib_status nib__hf_unknown(nib_error *err, const char *what, const nib__json *j, nib__json_value v);
nib_status nib__step_add(nib__tokenizer *t, nib__step_kind kind, nib__str from, nib__str to,
                         nib_error *err);
nib_status nib__rule_add(nib__tokenizer *t, nib__rule rule, nib_error *err);

#endif
