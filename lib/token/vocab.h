/* SPDX-License-Identifier: MIT
 * The vocabulary inside a tokenizer: texts, types, look-up by text, and what each algorithm keeps
 * beside it. Only files of lib/token include this. */
#ifndef NIB_TOKEN_VOCAB_H
#define NIB_TOKEN_VOCAB_H

#include "token/merge.h"
#include "token/pretok.h"
#include "token/token.h"
#include "token/trie.h"

enum { /* tokenizer.ggml.token_type, as numbered by llama.cpp */
       NIB__TYPE_NORMAL = 1,
       NIB__TYPE_UNKNOWN = 2,
       NIB__TYPE_CONTROL = 3,
       NIB__TYPE_USER = 4,
       NIB__TYPE_UNUSED = 5,
       NIB__TYPE_BYTE = 6,
       NIB__TYPE_ADDED = 7 /* of ours: user-defined beside the vocabulary that text is spelled in */
};

enum {
    /* Longer tokens are valid ids with bytes, but text is never matched against them: it bounds the
     * work per character. The longest of the common vocabularies has 1024 bytes. */
    NIB__MAX_MATCH = 1024,
    NIB__N_SPECIAL = 11 /* NIB_TOKEN_BOS .. NIB_TOKEN_UNK */
};

/* Strings back to back; string i is data[at[i] .. at[i+1]). */
typedef struct nib__texts {
    char *data;
    uint32_t *at; /* [n + 1] */
} nib__texts;

typedef struct nib__vocab {
    uint32_t n;
    nib__texts text;  /* as the file spells them */
    nib__texts bytes; /* what they stand for in running text */
    uint8_t *type;    /* [n] NIB__TYPE_* */
    uint8_t *end;     /* [n] 1: ends a generation */
    float *scores;    /* [n], or NULL */
    uint32_t *slots;  /* [mask + 1] hash table of text: id + 1, or 0 */
    uint32_t mask;
    uint64_t seed;
    bool repeats; /* some text occurs twice */
    size_t max_text, max_bytes;
    int32_t byte_id[256]; /* the token of a single byte, or -1 */
} nib__vocab;

/* BPE: pairs of ids that merge, in one open hash table. */
typedef struct nib__merge_pair {
    uint32_t left, right;
    uint32_t rank;   /* its place in the file; lower merges first; NIB__NO_RANK: empty slot */
    uint32_t result; /* the id they become */
} nib__merge_pair;

typedef struct nib__merges {
    nib__merge_pair *slots; /* [mask + 1] */
    uint32_t mask;
    uint64_t seed;
} nib__merges;

typedef struct nib__charsmap { /* SentencePiece normalization rules, see charsmap.c */
    uint32_t *units;           /* [n_units] double array trie */
    size_t n_units;
    char *replacements; /* [n_replacements], NUL terminated strings */
    size_t n_replacements;
} nib__charsmap;

typedef enum nib__token_model {
    NIB__BPE,
    NIB__SPM,
    NIB__UNIGRAM,
    NIB__WORDPIECE,
    NIB__WORDLEVEL, /* a piece is a token */
    NIB__BYTES,     /* ByT5: a byte is a token */
    NIB__NO_MODEL   /* the model came without a tokenizer */
} nib__token_model;

typedef struct nib__pipeline nib__pipeline;

struct nib__tokenizer {
    nib_allocator mem;
    nib__token_model model;
    char name[64];
    nib__vocab vocab;
    nib__merges merges;        /* BPE */
    const nib__pretok *pretok; /* BPE: `named`, or the pipeline's */
    nib__pretok named;         /* of a GGUF file */
    nib__charsmap charsmap;    /* unigram */
    nib__trie trie;            /* unigram, WordPiece: every token that text may become */
    nib__trie user, special;   /* tokens cut out of the text first: user-defined; control too */
    int32_t ids[NIB__N_SPECIAL];
    int32_t sep_id;       /* WordPiece: ends a text */
    double unknown_score; /* unigram */
    bool add_bos, add_eos, add_sep;
    bool add_space, drop_space; /* before the first word: when encoding, when decoding */
    bool merge_spaces, byte_level, lowercase, strip_accents;
    nib__pipeline *pipe; /* tokenizers of Hugging Face directories (pipeline.h); NULL: GGUF */
};

uint64_t nib__hash(const char *text, size_t len, uint64_t seed);
uint64_t nib__hash_mix(uint64_t a, uint64_t b); /* of two words */

/* vocab.c */
nib_status nib__vocab_read(const nib_allocator *mem, const nib__source *source, nib__vocab *v,
                           nib_error *err);
/* The same from texts[n]; data == NULL: an id that nothing stands for. */
nib_status nib__vocab_make(const nib_allocator *mem, nib__vocab *v, const nib__str *texts,
                           uint32_t n, nib_error *err);
void nib__vocab_free(const nib_allocator *mem, nib__vocab *v);
int32_t nib__vocab_find(const nib__vocab *v, const char *text, size_t len);
/* This text will be looked for soon. */
void nib__vocab_prefetch(const nib__vocab *v, const char *text, size_t len);
/* true: `id`, which may be any number, is what nib__vocab_find would give. A guess that costs little. */
bool nib__vocab_is(const nib__vocab *v, uint32_t id, const char *text, size_t len);
static inline nib__str nib__vocab_text(const nib__vocab *v, uint32_t id)
{
    return (nib__str){v->text.data + v->text.at[id], v->text.at[id + 1] - v->text.at[id]};
}

/* special.c */
nib_status nib__special_read(nib__tokenizer *t, const nib__source *source, nib_error *err);
/* The ids that are still -1 by the texts that models give them; what ends a generation; which
 * tokens are markers. */
void nib__special_find(nib__tokenizer *t);
void nib__special_mark(nib__tokenizer *t, int32_t id, bool end); /* a control token */

/* merges.c */
nib_status nib__merges_read(nib__tokenizer *t, const nib__source *source, nib_error *err);
void nib__merges_free(const nib_allocator *mem, nib__merges *m);
/* An empty table for `count` pairs, and one more pair in it; if it is there already, the first or
 * the last of them counts. */
nib_status nib__merges_make(const nib_allocator *mem, nib__merges *m, uint64_t count, uint64_t seed,
                            nib_error *err);
void nib__merges_add(nib__merges *m, nib__merge_pair pair, bool last_counts);
/* NULL: they do not merge. */
const nib__merge_pair *nib__merges_find(const nib__merges *m, uint32_t left, uint32_t right);

/* bytes.c: vocab->bytes and vocab->byte_id from vocab->text. */
nib_status nib__token_bytes_make(nib__tokenizer *t, nib_error *err);
/* The character that stands for a byte in byte-level BPE vocabularies; 1 or 2 bytes of UTF-8. */
uint32_t nib__byte_char(uint8_t byte);

/* Bytes of one token as each kind of vocabulary spells them; `out` has room for text.len. */
size_t nib__decode_byte_level(nib__str text, char *out);
int32_t nib__hex_byte(nib__str text); /* "<0x0A>", or -1 */

/* charsmap.c */
/* `what` names it in messages. */
nib_status nib__charsmap_make(const nib_allocator *mem, const char *what, const uint8_t *data,
                              size_t size, nib__charsmap *c, nib_error *err);
nib_status nib__charsmap_read(const nib_allocator *mem, const nib__source *source, nib__charsmap *c,
                              nib_error *err);
void nib__charsmap_free(const nib_allocator *mem, nib__charsmap *c);
/* Bytes of text that the longest rule replaces (0: none) and the NUL terminated *replacement. */
size_t nib__charsmap_longest(const nib__charsmap *c, const char *text, size_t len,
                             const char **replacement);
/* The same of the shortest rule. */
size_t nib__charsmap_first(const nib__charsmap *c, const char *text, size_t len,
                           const char **replacement);

/* Tables an algorithm needs besides the vocabulary. */
nib_status nib__unigram_prepare(nib__tokenizer *t, nib_error *err);
nib_status nib__wordpiece_prepare(nib__tokenizer *t, nib_error *err);

/* One algorithm per file. Each appends the ids of text[len]; `lead` asks for the leading space of
 * SentencePiece models. On failure `ids` may have grown: the caller cuts it back. */
nib_status nib__bpe_encode(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids,
                           nib_error *err);
nib_status nib__bpe_piece(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids,
                          nib_error *err);
nib_status nib__spm_encode(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                           nib__ids *ids, nib_error *err);
nib_status nib__unigram_encode(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                               nib__ids *ids, nib_error *err);
nib_status nib__wordpiece_encode(const nib__tokenizer *t, const char *text, size_t len,
                                 nib__ids *ids, nib_error *err);

/* The escape of a space in SentencePiece vocabularies, U+2581. */
#define NIB__SPM_SPACE "\xe2\x96\x81"

#endif
