/* SPDX-License-Identifier: MIT
 * Reading hyperparameters: what a key is called in each kind of file, and getters that check. */
#ifndef NIB_MODEL_KEYS_H
#define NIB_MODEL_KEYS_H

#include "file/source.h"

/* Keys that mean the same everywhere. NULL: these files have no such key. */
typedef struct nib__keys {
    const char *n_layer, *n_ctx, *n_embd, *n_ff, *n_head, *n_head_kv, *head_dim, *value_dim;
    const char *n_vocab, *eps, *act, *window;
    const char *n_rot, *rot_fraction, *rope_base;
    const char *n_layer_else; /* where n_layer is not there */
    const char *inner;        /* the object that holds all of these; NULL: the file itself */
    uint32_t usual_ctx;       /* where n_ctx is not there; 0: an error */
    uint32_t usual_head, usual_head_kv, usual_dim, usual_vocab; /* likewise */
    float usual_eps;          /* likewise; 0: 1e-5, an error in GGUF */
    float usual_fraction;     /* of rot_fraction; 0: all dimensions are rotated */
} nib__keys;

extern const nib__keys nib__keys_gguf_rms, nib__keys_gguf_layer, /* behind "llama." */
    nib__keys_gguf_t5;
extern const nib__keys nib__keys_gpt2, nib__keys_llama, nib__keys_gemma, nib__keys_gemma3_images, nib__keys_phi,
    nib__keys_neox, nib__keys_gptneo, nib__keys_starcoder2, nib__keys_xglm, nib__keys_opt, nib__keys_stablelm;
extern const nib__keys nib__keys_t5, nib__keys_t5_encoder, nib__keys_bart, nib__keys_bart_encoder,
    nib__keys_roberta;

/* Reads keys of one model. The first failure sticks: later reads return their lower bound, which
 * every computation can bear. */
typedef struct nib__key_reader {
    const nib__source *source;
    const char *file;   /* "", or "/config.json": behind the source's path in messages */
    const char *prefix; /* "llama", or "" */
    const char *arch;
    nib_error *err;
    nib_status status;
    char key[96]; /* the last one that was looked for */
} nib__key_reader;

/* Full key in r->key, which is returned. */
const char *nib__key_of(nib__key_reader *r, const char *name);
bool nib__key_there(nib__key_reader *r, const char *name);

/* A count in [lo, hi]; `fallback` if the key is absent, an error if the fallback is 0. */
uint32_t nib__key_count(nib__key_reader *r, const char *name, uint32_t lo, uint32_t hi,
                        uint32_t fallback);
/* The same for a key that may be one number or an array with one number per layer, which must all
 * be equal: layers of different shapes are well formed, but cannot be run. */
uint32_t nib__key_layer_count(nib__key_reader *r, const char *name, uint32_t lo, uint32_t hi,
                              uint32_t fallback, uint32_t n_layer);
/* A number in [lo, hi]; `fallback` if the key is absent, an error if the fallback is 0. */
float nib__key_real(nib__key_reader *r, const char *name, float lo, float hi, float fallback);
/* Whether the key is there and its array was read; see r->status. */
bool nib__key_array(nib__key_reader *r, const char *name, nib__meta_type type, nib__array *array);
bool nib__key_bool(nib__key_reader *r, const char *name, bool fallback);
/* Index of the value in names[n]; `fallback` if the key is absent; UNSUPPORTED for other values. */
uint32_t nib__key_choice(nib__key_reader *r, const char *name, const char *const *names, uint32_t n,
                         uint32_t fallback);

/* "PATH: key KEY: expected EXPECTED, got GOT", of the last key that was looked for. */
nib_status nib__key_refuse(nib__key_reader *r, nib_status code, const char *expected, uint32_t got);
/* UNSUPPORTED if one of these keys is there and neither 0 nor false: names of features that change
 * what a model computes. */
void nib__key_refuse_all(nib__key_reader *r, const char *const *names, size_t n);

#endif
