/* SPDX-License-Identifier: MIT
 * A good GGUF file cut off at every length, and with bytes changed. */
#include "test.h"

#include "file/source.h"
#include "gguf_open.h"
#include "gguf_writer.h"

static uint8_t *valid_file(size_t *size)
{
    gguf_writer w;
    gguf_begin(&w);
    gguf_str(&w, "general.architecture", "llama");
    gguf_u32(&w, "general.alignment", 32);
    gguf_u32(&w, "llama.block_count", 2);
    gguf_f32(&w, "llama.rope.freq_base", 10000.0f);
    gguf_strs(&w, "tokenizer.ggml.tokens", (const char *const[]){"a", "", "bc"}, 3);
    gguf_i32s(&w, "tokenizer.ggml.token_type", (const int32_t[]){1, 3, 1}, 3);
    gguf_bool(&w, "tokenizer.ggml.add_bos_token", 1);
    gguf_tensor(&w, "token_embd.weight", 8, 2, (const uint64_t[]){32, 3}, NULL, 102);
    gguf_tensor(&w, "output_norm.weight", 0, 1, (const uint64_t[]){32}, NULL, 128);
    gguf_tensor(&w, "blk.0.ffn_down.weight", 12, 1, (const uint64_t[]){256}, NULL, 144);
    return gguf_end(&w, size);
}

static void test_truncations(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = valid_file(&size);
    nib_error err;
    assert_int_equal(gguf_open_exactly(file, size, &err), NIB_OK);
    for (size_t cut = 1; cut < size; cut++) {
        err.code = 0;
        nib_status status = gguf_open_exactly(file, cut, &err);
        if (status != NIB_ERR_FORMAT) fail_msg("%zu of %zu bytes: status %d", cut, size, status);
        assert_int_equal(err.code, NIB_ERR_FORMAT);
        assert_true(err.offset <= cut);
    }
    /* More than nothing has to be there. */
    nib__source *s;
    assert_int_equal(nib__source_open_memory(NULL, file, 0, &s, &err), NIB_ERR_FORMAT);
    free(file);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Values that sit on the edge of something. */
static const uint64_t edges[] = {0,
                                 1,
                                 2,
                                 31,
                                 32,
                                 255,
                                 65535,
                                 65536,
                                 INT32_MAX,
                                 UINT32_MAX,
                                 INT64_MAX,
                                 UINT64_MAX,
                                 1u << 20,
                                 1u << 30,
                                 (uint64_t)1 << 32,
                                 (uint64_t)1 << 61,
                                 (uint64_t)1 << 63,
                                 UINT64_MAX - 31};

static void test_mutations(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = valid_file(&size), *mutant = malloc(2 * size);
    size_t header = size - 384; /* where the data begins, about */
    int opened = 0, refused = 0;
    for (uint32_t seed = 0; seed < 4000; seed++) {
        uint64_t random = seed;
        (void)next_random(&random);
        memcpy(mutant, file, size);
        size_t length = size;
        for (uint32_t n = 1 + next_random(&random) % 4; n > 0; n--) {
            size_t at = next_random(&random) % header;
            uint64_t edge = edges[next_random(&random) % (sizeof edges / sizeof edges[0])];
            switch (next_random(&random) % 5) {
            case 0: mutant[at] ^= (uint8_t)(1u << next_random(&random) % 8); break;
            case 1: mutant[at] = (uint8_t)next_random(&random); break;
            case 2: /* this machine is little endian, as the file is */
                memcpy(mutant + at, &edge, 8);
                break;
            case 3: memcpy(mutant + at, &edge, 4); break;
            default: { /* a piece moves over another one */
                size_t from = next_random(&random) % header, n_bytes = next_random(&random) % 64;
                memmove(mutant + at, mutant + from, n_bytes);
                break;
            }
            }
            if (next_random(&random) % 16 == 0) length = 1 + next_random(&random) % size;
        }
        nib_error err = {0};
        nib_status status = gguf_open_exactly(mutant, length, &err);
        if (status == NIB_OK) {
            opened++;
            continue;
        }
        refused++;
        assert_true(status == NIB_ERR_FORMAT || status == NIB_ERR_UNSUPPORTED ||
                    status == NIB_ERR_LIMIT);
        assert_int_equal(err.code, status);
        assert_true(err.text[0] != '\0');
    }
    /* Both outcomes must have been seen, or the mutations are too tame or too wild. */
    assert_true(opened >= 100 && refused >= 1000);
    free(mutant);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("gguf_damaged", tests, NULL, NULL);
}
