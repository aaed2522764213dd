/* SPDX-License-Identifier: MIT
 * Repacked files: the same bits as the original, used in place; damaged, foreign and hostile ones
 * are refused; writing is all or nothing. */
#define _GNU_SOURCE
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "fault_turn.h"
#include "file/packed.h"
#include "file/source_private.h"
#include "fixture.h"
#include "kernels/panel.h"
#include "matrices.h"
#include "model/model.h"
#include "model_use.h"
#include "stop_later.h"
#include "temp_dir.h"
#include "tiny_model.h"

static const char *const names[] = {"llama-mixed", "llama-f32", "llama-llama3", "qwen2"};
enum { N_NAMES = sizeof names / sizeof names[0], MAX_BYTES = 64 << 20 };

static char output[512];

static int make_folder(void **state)
{
    if (make_test_folder(state) != 0) return -1;
    strcpy(output, temp_dir_file(&test_folder, "model.nib"));
    return 0;
}

static int remove_folder(void **state)
{
    (void)unlink(output);
    return remove_empty_test_folder(state); /* no temporary file was left behind */
}

static const char *input_path(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "fixtures/tiny/%s.gguf", name);
    return fixture_path(path);
}

static nib_status repack(const char *in, uint32_t n_threads, nib_error *err)
{
    nib_quantize_options o;
    nib_quantize_options_init(&o, sizeof o);
    o.scheme = NIB_SCHEME_REPACK;
    o.n_threads = n_threads;
    return nib_quantize(in, output, &o, err);
}

static nib_status open_output(uint32_t flags, uint32_t precision, nib_model **model, nib_error *err)
{
    nib_model_options o;
    nib_model_options_init(&o, sizeof o);
    o.flags = flags;
    o.precision = precision;
    return nib_model_open(output, &o, model, err);
}

/* The bytes of the repacked file of a tiny model; from malloc. */
static uint8_t *repacked_bytes(const char *name, size_t *size)
{
    nib_error err;
    assert_ok(repack(input_path(name), 1, &err), err);
    uint8_t *data = file_read(output, size);
    assert_non_null(data);
    return data;
}

static void compare(nib_model *a, nib_model *b, const char *what)
{
    rng r = {7};
    int32_t ids[60];
    tiny_ids(&r, a, ids, 60);
    for (uint32_t n_batch = 0; n_batch <= 1; n_batch++) {
        nib_session *s = tiny_session(a, 1, n_batch, NIB_KV_F16);
        nib_session *t = tiny_session(b, 2, n_batch, NIB_KV_F16);
        (void)tiny_eval(s, ids, 60);
        (void)tiny_eval(t, ids, 60);
        assert_same_logits(s, t, what);
        nib_session_free(s);
        nib_session_free(t);
    }
}

static void test_same_bits(void **state)
{
    (void)state;
    static const uint32_t precisions[] = {NIB_PRECISION_DEFAULT, NIB_PRECISION_EXACT,
                                          NIB_PRECISION_F32};
    for (int i = 0; i < N_NAMES; i++) {
        nib_error err;
        assert_ok(repack(input_path(names[i]), 1 + i % 2, &err), err);
        for (int p = 0; p < 3; p++) {
            nib_model *a = tiny_open(names[i], precisions[p]), *b = NULL;
            assert_ok(open_output(NIB_OPEN_VERIFY, precisions[p], &b, &err), err);
            assert_null(b->weights);
            assert_true(a->identity == b->identity);
            compare(a, b, names[i]);
            nib_model_free(a);
            nib_model_free(b);
        }
    }
}

static void test_described_alike(void **state)
{
    (void)state;
    nib_error err;
    nib_model *a = tiny_open("llama-mixed", 0), *b = NULL;
    nib_model_info x = {.struct_size = sizeof x}, y = {.struct_size = sizeof y};
    assert_ok(repack(input_path("llama-mixed"), 1, &err), err);
    assert_ok(open_output(NIB_OPEN_INSPECT, 0, &b, &err), err);
    assert_int_equal(nib_model_get_info(a, &x), NIB_OK);
    assert_int_equal(nib_model_get_info(b, &y), NIB_OK);
    assert_int_equal(x.repacked, 0);
    assert_int_equal(y.repacked, 1);
    assert_string_equal(x.name, y.name);
    assert_string_equal(x.tokenizer, y.tokenizer);
    assert_true(x.n_params == y.n_params);
    assert_int_equal(x.n_ctx_train, y.n_ctx_train);
    nib_model_free(a);
    nib_model_free(b);
}

/* Repacking a repacked file copies it. */
static void test_again(void **state)
{
    (void)state;
    nib_error err;
    size_t size, size_again;
    uint8_t *once = repacked_bytes("qwen2", &size);
    assert_ok(repack(output, 1, &err), err);
    uint8_t *twice = file_read(output, &size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(once, twice, size);
    struct stat st;
    assert_int_equal(stat(output, &st), 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    free(once);
    free(twice);
}

/* A caller's memory can lie at any address: what is not aligned is copied. */
static void test_memory(void **state)
{
    (void)state;
    nib_error err;
    size_t size;
    uint8_t *data = repacked_bytes("llama-mixed", &size);
    nib_model *a = tiny_open("llama-mixed", 0);
    for (size_t shift = 0; shift <= 8; shift += 4) {
        uint8_t *block = aligned_alloc(4096, (size + 4096 + 8) / 4096 * 4096 + 4096);
        nib_model *b = NULL;
        assert_non_null(block);
        memcpy(block + shift, data, size);
        assert_ok(nib_model_open_memory(block + shift, size, NULL, &b, &err), err);
        assert_int_equal(b->weights == NULL, shift == 0);
        compare(a, b, "unaligned");
        nib_model_free(b);
        free(block);
    }
    nib_model_free(a);
    free(data);
}

/* ---- versions and damage --------------------------------------------------------------------- */

/* Where the value of a key lies. */
static size_t value_at(const uint8_t *data, size_t size, const char *key)
{
    nib__source *source;
    assert_int_equal(nib__source_open_memory(NULL, data, size, &source, NULL), NIB_OK);
    const nib__gguf_key *found = nib__gguf_find(nib__source_meta(source), key);
    assert_non_null(found);
    size_t at = (size_t)(found->value - data);
    nib__source_close(source);
    return at;
}

static size_t data_start(const uint8_t *data, size_t size)
{
    nib__source *source;
    assert_int_equal(nib__source_open_memory(NULL, data, size, &source, NULL), NIB_OK);
    size_t start = nib__source_meta(source)->data_start;
    nib__source_close(source);
    return start;
}

/* Panels are part of the file format: their bytes may only change together with the version. A new
 * format is added at the end of the list, and its hash folded in. */
static void test_layout_is_frozen(void **state)
{
    (void)state;
    static const uint64_t expected[] = {UINT64_C(0xcf427c670d0c7053)}; /* by version */
    static const nib__format formats[] = {
        NIB__F32,    NIB__F16,   NIB__BF16,    NIB__Q4_0,   NIB__Q4_1,    NIB__Q5_0,  NIB__Q5_1,
        NIB__Q8_0,   NIB__Q2_K,  NIB__Q3_K,    NIB__Q4_K,   NIB__Q5_K,    NIB__Q6_K,  NIB__IQ1_S,
        NIB__IQ1_M,  NIB__IQ2_S, NIB__IQ2_XXS, NIB__IQ2_XS, NIB__IQ3_XXS, NIB__IQ3_S, NIB__IQ4_NL,
        NIB__IQ4_XS, NIB__TQ1_0, NIB__TQ2_0,   NIB__MXFP4};
    uint64_t all = 0;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        rng r = {3};
        matrix m;
        matrix_make(&m, formats[f], 37, 512, &weight_kinds[0], &r);
        all = all * 31 + nib__hash64(m.packed.data, m.packed.n_panels * m.packed.panel_bytes);
        matrix_free(&m);
    }
    assert_true(NIB__LAYOUT_VERSION <= (int)(sizeof expected / sizeof expected[0]));
    if (all != expected[NIB__LAYOUT_VERSION - 1]) {
        fail_msg(
            "the panels of layout %d hash to %016llx: count NIB__LAYOUT_VERSION up and put the "
            "hash here",
            (int)NIB__LAYOUT_VERSION, (unsigned long long)all);
    }
}

static void test_other_version(void **state)
{
    (void)state;
    nib_error err;
    size_t size;
    nib_model *model = NULL;
    uint8_t *data = repacked_bytes("llama-mixed", &size);
    nib__put_le32(data + value_at(data, size, NIB__PACKED_LAYOUT), NIB__LAYOUT_VERSION + 1);
    assert_fails(nib_model_open_memory(data, size, NULL, &model, &err), NIB_ERR_UNSUPPORTED, err,
                 "repack the original");
    free(data);
}

/* Any changed bit of the directory is seen when the file is opened. */
static void test_damaged_directory(void **state)
{
    (void)state;
    nib_error err;
    size_t size;
    nib_model *model = NULL;
    uint8_t *data = repacked_bytes("llama-mixed", &size);
    size_t start = data_start(data, size);
    for (size_t at = 0; at < start; at += 1 + at % 13) {
        data[at] ^= (uint8_t)(1u << at % 8);
        assert_int_not_equal(nib_model_open_memory(data, size, NULL, &model, &err), NIB_OK);
        data[at] ^= (uint8_t)(1u << at % 8);
    }
    for (size_t cut = 1; cut < size; cut += 1 + cut / 5)
        assert_int_not_equal(nib_model_open_memory(data, size - cut, NULL, &model, &err), NIB_OK);
    assert_ok(nib_model_open_memory(data, size, NULL, &model, &err), err);
    nib_model_free(model);
    free(data);
}

static void test_damaged_weights(void **state)
{
    (void)state;
    nib_error err;
    size_t size;
    nib_model *model = NULL;
    nib_model_options verify;
    nib_model_options_init(&verify, sizeof verify);
    verify.flags = NIB_OPEN_VERIFY | NIB_OPEN_INSPECT;
    uint8_t *data = repacked_bytes("llama-mixed", &size);
    data[size - 5] ^= 4;
    assert_fails(nib_model_open_memory(data, size, &verify, &model, &err), NIB_ERR_FORMAT, err,
                 "checksum of the weights");
    assert_ok(nib_model_open_memory(data, size, NULL, &model, &err), err);
    nib_model_free(model);
    free(data);
    assert_fails(nib_model_open(input_path("llama-mixed"), &verify, &model, &err),
                 NIB_ERR_UNSUPPORTED, err, "no checksums");
}

/* A hostile file has checksums that fit. */
static void forge(uint8_t *data, size_t start, size_t hash_at)
{
    nib__put_le64(data + hash_at, nib__packed_directory_hash(data, start, hash_at));
}

static void test_hostile(void **state)
{
    (void)state;
    static const char *const keys[] = {NIB__PACKED_TYPES, NIB__PACKED_ROWS, NIB__PACKED_COLUMNS};
    static const uint32_t edges[] = {0, 1, 2, 31, 4096, INT32_MAX, 0x80000000u, UINT32_MAX};
    size_t size;
    int refused = 0;
    uint8_t *data = repacked_bytes("qwen2", &size);
    size_t start = data_start(data, size), hash_at = value_at(data, size, NIB__PACKED_DIRECTORY);
    size_t places[3];
    for (int k = 0; k < 3; k++) places[k] = value_at(data, size, keys[k]) + 12;
    for (int k = 0; k < 3; k++) {
        size_t at = places[k];
        for (size_t i = 0; i < 8; i++) {
            uint32_t old = nib__le32(data + at + 4 * i);
            for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++) {
                nib__put_le32(data + at + 4 * i, edges[e]);
                forge(data, start, hash_at);
                refused += model_use(data, size, MAX_BYTES, 0).status != NIB_OK;
            }
            nib__put_le32(data + at + 4 * i, old);
        }
    }
    assert_true(refused > 100);
    rng r = {11};
    for (int trial = 0; trial < 300; trial++) { /* anything in the directory */
        size_t at = rng_below(&r, (uint32_t)start);
        uint8_t old = data[at];
        data[at] = (uint8_t)rng_below(&r, 256);
        forge(data, start, hash_at);
        (void)model_use(data, size, MAX_BYTES, 0);
        data[at] = old;
    }
    memset(data + start, 0xff, size - start); /* NaN scales, largest codes */
    forge(data, start, hash_at);
    (void)model_use(data, size, MAX_BYTES, 0);
    free(data);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void test_cancel(void **state)
{
    (void)state;
    for (int calls = 1; calls < 8; calls++) {
        nib_error err;
        nib_quantize_options o;
        int left = calls;
        nib_quantize_options_init(&o, sizeof o);
        o.scheme = NIB_SCHEME_REPACK;
        o.progress = stop_later;
        o.progress_user = &left;
        assert_int_equal(file_write(output, "old", 3), 0);
        assert_fails(nib_quantize(input_path("qwen2"), output, &o, &err), NIB_ERR_CANCELLED, err,
                     "cancelled");
        size_t size;
        uint8_t *data = file_read(output, &size);
        assert_int_equal(size, 3);
        free(data);
    }
}

static void test_refused(void **state)
{
    (void)state;
    nib_error err;
    nib_quantize_options o;
    nib_quantize_options_init(&o, sizeof o);
    const char *in = input_path("qwen2");
    assert_fails(nib_quantize(in, output, &o, &err), NIB_ERR_ARGUMENT, err, "scheme");
    o.scheme = NIB_SCHEME_REPACK;
    assert_fails(nib_quantize(in, output, NULL, &err), NIB_ERR_ARGUMENT, err, "NULL");
    assert_fails(nib_quantize(in, "/nonexistent/x", &o, &err), NIB_ERR_IO, err, "/nonexistent/x");
    assert_fails(nib_quantize("/nonexistent/y", output, &o, &err), NIB_ERR_IO, err, "nonexistent");
    assert_fails(nib_quantize(in, test_folder.path, &o, &err), NIB_ERR_IO, err, test_folder.path);
    assert_int_equal(access(output, F_OK), -1);
}

static void test_every_allocation(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib_error err = {.text = ""};
        nib_quantize_options o;
        nib_quantize_options_init(&o, sizeof o);
        fault_alloc_init(&fa);
        fa.fail_at = n;
        o.scheme = NIB_SCHEME_REPACK;
        o.n_threads = 2;
        o.allocator = &fa.mem;
        nib_status status = nib_quantize(input_path("llama-mixed"), output, &o, &err);
        if (fault_turn_last(&fa, status, &err, 8)) break;
        assert_int_equal(access(output, F_OK), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bits, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_described_alike, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_again, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_memory, make_folder, remove_folder),
        cmocka_unit_test(test_layout_is_frozen),
        cmocka_unit_test_setup_teardown(test_other_version, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_damaged_directory, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_damaged_weights, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_hostile, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_cancel, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_every_allocation, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
