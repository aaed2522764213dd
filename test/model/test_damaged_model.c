/* SPDX-License-Identifier: MIT
 * Whole models with damaged metadata, through the public API: every number of a model's metadata
 * replaced by every edge value, array elements and lengths likewise, random damage to tensor
 * descriptions and weights, truncations. Whatever opens must also complete text or say why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "file/source_private.h"
#include "fixture.h"
#include "model_use.h"
#include "rng.h"

enum { MAX_BYTES = 64 << 20 }; /* a tiny model and its session need less than 4 MB */

static const char *const names[] = {"tiny/qwen2", "tiny/llama-yarn", "tiny/llama-llama3",
                                    "archs/gpt2", "archs/gptneox",   "archs/gemma3"};
enum { N_MODELS = sizeof names / sizeof names[0], N_TEXT = 3 };

static const uint64_t edges[] = {0,
                                 1,
                                 2,
                                 3,
                                 31,
                                 65535,
                                 65536,
                                 1u << 20,
                                 INT32_MAX,
                                 0x80000000u,
                                 UINT32_MAX,
                                 INT64_MAX,
                                 UINT64_MAX,
                                 (uint64_t)1 << 32,
                                 (uint64_t)1 << 62,
                                 0x7f800000u,  /* infinity as f32 */
                                 0x7fc00000u,  /* NaN */
                                 0xff7fffffu,  /* the most negative f32 */
                                 0x00000001u,  /* the smallest f32 */
                                 0x3f800000u}; /* 1 */
enum { N_EDGES = sizeof edges / sizeof edges[0] };

static int n_opened, n_refused, n_completed;

static void use(const uint8_t *data, size_t size)
{
    model_result result = model_use(data, size, MAX_BYTES, 0);
    n_opened += result.status == NIB_OK;
    n_refused += result.status != NIB_OK;
    n_completed += result.completed;
}

static uint8_t *read_model(size_t i, size_t *size)
{
    char name[64];
    snprintf(name, sizeof name, "fixtures/%s.gguf", names[i]);
    uint8_t *data = fixture_read(name, size);
    model_result result = model_use(data, *size, MAX_BYTES, 0);
    assert_int_equal(result.status, NIB_OK);
    assert_int_equal(result.completed, i < N_TEXT); /* the others have no token for the prompt */
    return data;
}

/* Puts each edge value over `width` bytes at `at`, uses the model, and puts the old bytes back. */
static void damage_at(uint8_t *data, size_t size, size_t at, size_t width)
{
    uint8_t old[8];
    assert_true(width <= 8 && at + width <= size);
    memcpy(old, data + at, width);
    for (size_t e = 0; e < N_EDGES; e++) {
        memcpy(data + at, &edges[e], width);
        use(data, size);
    }
    memcpy(data + at, old, width);
}

static void test_every_number(void **state)
{
    (void)state;
    n_opened = n_refused = n_completed = 0;
    for (size_t m = 0; m < N_MODELS; m++) {
        size_t size;
        uint8_t *data = read_model(m, &size);
        nib__source *source;
        assert_int_equal(nib__source_open_memory(NULL, data, size, &source, NULL), NIB_OK);
        const nib__gguf *gguf = nib__source_meta(source);
        for (size_t i = 0; i < gguf->n_keys; i++) {
            const nib__gguf_key *key = &gguf->keys[i];
            size_t at = (size_t)(key->value - data), width = nib__gguf_type_size(key->type);
            if (width != 0) { /* a number */
                damage_at(data, size, at, width);
            } else if (key->type == NIB__META_STRING) {
                damage_at(data, size, at, 8);     /* its length */
                damage_at(data, size, at + 8, 1); /* its first byte */
            } else {
                damage_at(data, size, at, 4);      /* element type */
                damage_at(data, size, at + 4, 8);  /* count */
                damage_at(data, size, at + 12, 4); /* the first element, or the length of it */
                damage_at(data, size, (size_t)(nib__gguf_value_end(key) - data) - 4, 4);
            }
        }
        nib__source_close(source);
        free(data);
    }
    /* Most damage must be found out, some is harmless; neither may be all there is. */
    assert_true(n_refused > 300 && n_opened > 100 && n_completed > 50);
}

/* Where the tensor descriptions begin and end. */
static void find_infos(const uint8_t *data, size_t size, size_t *begin, size_t *end)
{
    nib__source *source;
    assert_int_equal(nib__source_open_memory(NULL, data, size, &source, NULL), NIB_OK);
    const nib__gguf *gguf = nib__source_meta(source);
    *begin = (size_t)(gguf->keys[gguf->n_keys].record - data);
    *end = (size_t)(nib__source_tensor_at(source, 0)->data - data);
    nib__source_close(source);
}

static void test_random_damage(void **state)
{
    (void)state;
    n_opened = n_refused = n_completed = 0;
    for (size_t m = 0; m < N_MODELS; m++) {
        size_t size, begin, end;
        uint8_t *data = read_model(m, &size), *copy = malloc(size);
        find_infos(data, size, &begin, &end);
        rng r = {1000 + m};
        for (int i = 0; i < 400; i++) {
            memcpy(copy, data, size);
            /* Descriptions of tensors, metadata, or weights (NaN and infinity among them). */
            size_t from = i % 3 == 0 ? begin : i % 3 == 1 ? 24 : end;
            size_t to = i % 3 == 0 ? end : i % 3 == 1 ? begin : size;
            for (uint32_t n = 1 + rng_below(&r, i % 3 == 2 ? 64 : 3); n > 0; n--) {
                size_t at = from + rng_below(&r, (uint32_t)(to - from));
                copy[at] = (uint8_t)rng_below(&r, 256);
            }
            use(copy, size);
        }
        free(copy);
        free(data);
    }
    assert_true(n_refused > 100 && n_opened > 100 && n_completed > 100);
}

/* Of files that end with a tensor; the others end with up to 31 bytes that nobody needs. */
static void test_truncations(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_TEXT; m++) {
        size_t size;
        uint8_t *data = read_model(m, &size);
        for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 97) {
            uint8_t *exact = malloc(cut + 1);
            memcpy(exact, data, cut);
            assert_int_not_equal(model_use(exact, cut, MAX_BYTES, 0).status, NIB_OK);
            free(exact);
        }
        free(data);
    }
}

/* Every allocation of open, tokenize, and complete fails in its turn. */
static void test_failing_allocations(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = read_model(0, &size);
    for (size_t n = 1;; n++) {
        model_result result = model_use(data, size, 0, n);
        if (result.n_allocations >= n) continue; /* the nth did fail */
        assert_int_equal(result.completed, 1);
        assert_true(n > 20);
        break;
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("damaged_model", tests, NULL, NULL);
}
