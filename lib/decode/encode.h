/* SPDX-License-Identifier: MIT
 * The encoder's side of a session: source tokens in; hidden states out, and keys and values for every
 * layer of the decoder, which stay until there is another source. Can be interrupted like a pass. */
#ifndef NIB_DECODE_ENCODE_H
#define NIB_DECODE_ENCODE_H

#include "decode/forward.h"

typedef struct nib__encoding {
    const nib_model *encoder; /* NULL: the model has none */
    const nib_model *decoder; /* NULL: hidden states are all that is wanted */
    nib__activations act;     /* shares memory with the decoder's */
    float *k, *v;             /* [capacity][n_head_kv * head_dim] of one layer of the decoder */
    nib__kv own;              /* keys and values of one layer of the encoder */
    nib__kv cross;            /* of all layers of the decoder */
    int32_t *ids;             /* [capacity] */
    uint32_t n, capacity;
    nib__pass pass;
    bool active, done;
    uint32_t layer, step, piece; /* of the decoder's keys and values */
} nib__encoding;

/* Which models and how many tokens; nothing is allocated. */
void nib__encoding_init(nib__encoding *e, const nib_model *model, uint32_t n_ctx);
/* Takes its buffers, but for ids and the two caches, from the arena. */
void nib__encoding_carve(nib__encoding *e, nib__arena *arena);
size_t nib__encoding_cache_bytes(const nib__encoding *e, uint32_t kv_type); /* SIZE_MAX: too many */
nib_status nib__encoding_open(nib__encoding *e, const nib_allocator *mem, uint32_t kv_type,
                              nib_error *err);
void nib__encoding_close(nib__encoding *e);

/* Another source; ids are checked. What was made of the one before is gone. */
nib_status nib__encoding_set(nib__encoding *e, const int32_t *ids, size_t n, nib_error *err);

/* Goes on until all is done (e->done), or the deadline passed; see nib__pass_run. The decoder's
 * activations are overwritten. */
nib_status nib__encoding_run(nib__encoding *e, nib__exec *exec, uint64_t deadline_ns,
                             nib_error *err);

#endif
