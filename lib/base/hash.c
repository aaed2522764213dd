/* SPDX-License-Identifier: MIT
 * XXH64 after the xxHash fast digest specification 0.2.0: four lanes over stripes of 32 bytes, the
 * rest in words of 8, 4 and 1 bytes, then an avalanche. */
#include "base/hash.h"

#include <string.h>

#include "base/bytes.h"

static const uint64_t P1 = 0x9e3779b185ebca87u, P2 = 0xc2b2ae3d27d4eb4fu, P3 = 0x165667b19e3779f9u,
                      P4 = 0x85ebca77c2b2ae63u, P5 = 0x27d4eb2f165667c5u;

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t round_of(uint64_t lane, uint64_t word)
{
    return rotate(lane + word * P2, 31) * P1;
}

static void add_stripe(nib__hash *hash, const uint8_t *p)
{
    for (int i = 0; i < 4; i++) hash->lane[i] = round_of(hash->lane[i], nib__le64(p + 8 * i));
}

void nib__hash_init(nib__hash *hash, uint64_t seed)
{
    *hash = (nib__hash){.lane = {seed + P1 + P2, seed + P2, seed, seed - P1}, .seed = seed};
}

void nib__hash_add(nib__hash *hash, const void *data, size_t size)
{
    const uint8_t *p = data;
    hash->total += size;
    if (hash->n_stripe != 0) {
        size_t room = sizeof hash->stripe - hash->n_stripe;
        size_t n = size < room ? size : room;
        memcpy(hash->stripe + hash->n_stripe, p, n);
        hash->n_stripe += (uint32_t)n;
        p += n;
        size -= n;
        if (hash->n_stripe < sizeof hash->stripe) return;
        add_stripe(hash, hash->stripe);
        hash->n_stripe = 0;
    }
    for (; size >= 32; p += 32, size -= 32) add_stripe(hash, p);
    if (size != 0) memcpy(hash->stripe, p, size);
    hash->n_stripe = (uint32_t)size;
}

uint64_t nib__hash_value(const nib__hash *hash)
{
    uint64_t h = hash->seed + P5;
    if (hash->total >= 32) {
        const uint64_t *lane = hash->lane;
        h = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
        for (int i = 0; i < 4; i++) h = (h ^ round_of(0, lane[i])) * P1 + P4;
    }
    h += hash->total;
    const uint8_t *p = hash->stripe, *end = p + hash->n_stripe;
    for (; end - p >= 8; p += 8) h = rotate(h ^ round_of(0, nib__le64(p)), 27) * P1 + P4;
    if (end - p >= 4) {
        h = rotate(h ^ nib__le32(p) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) h = rotate(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

uint64_t nib__hash64(const void *data, size_t size)
{
    nib__hash hash;
    nib__hash_init(&hash, 0);
    nib__hash_add(&hash, data, size);
    return nib__hash_value(&hash);
}
