/* SPDX-License-Identifier: MIT
 * XXH64, the 64-bit checksum of the published xxHash specification (version 0.2.0): guards files of
 * ours against damage, not against an attacker. */
#ifndef NIB_BASE_HASH_H
#define NIB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct nib__hash {
    uint64_t lane[4];
    uint64_t seed;
    uint64_t total;      /* bytes seen */
    uint8_t stripe[32];  /* bytes of an unfinished stripe */
    uint32_t n_stripe;
} nib__hash;

void nib__hash_init(nib__hash *hash, uint64_t seed);
void nib__hash_add(nib__hash *hash, const void *data, size_t size);
uint64_t nib__hash_value(const nib__hash *hash);

/* Of one block, seed 0. */
uint64_t nib__hash64(const void *data, size_t size);

#endif
