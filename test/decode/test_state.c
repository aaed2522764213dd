/* SPDX-License-Identifier: MIT
 * Saved sessions: a restored one goes on with the same bits; damaged files, foreign files and full
 * disks leave both the session and the old file as they were. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "rng.h"
#include "temp_dir.h"
#include "tiny_model.h"

static const char *path_of(const char *name)
{
    return temp_dir_file(&test_folder, name);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-mixed", "qwen2", "llama-f32"};
    static const uint32_t precisions[] = {NIB_PRECISION_DEFAULT, NIB_PRECISION_F32,
                                          NIB_PRECISION_DEFAULT};
    rng r = {40};
    int32_t ids[TINY_CTX];
    for (int trial = 0; trial < 6; trial++) {
        nib_model *model = tiny_open(models[trial / 2], precisions[trial / 2]);
        nib_session *s = tiny_session(model, 1, 0, trial & 1 ? NIB_KV_Q8 : NIB_KV_F16);
        nib_session *t = tiny_session(model, 1, 0, trial & 1 ? NIB_KV_Q8 : NIB_KV_F16);
        tiny_ids(&r, model, ids, 150);
        for (size_t n = 0; n <= 120; n += 17) {
            tiny_eval(s, ids, n);
            /* n evaluated tokens, and a few that wait */
            assert_int_equal(nib_session_append(s, ids + n, n % 4, NULL), NIB_OK);
            assert_int_equal(nib_session_save(s, path_of("state"), NULL), NIB_OK);
            assert_int_equal(nib_session_load(t, path_of("state"), NULL), NIB_OK);
            const int32_t *stream;
            size_t length, evaluated;
            assert_int_equal(nib_session_tokens(t, &stream, &length, &evaluated), NIB_OK);
            assert_int_equal(length, n + n % 4);
            assert_int_equal(evaluated, n);
            assert_memory_equal(stream, ids, length * sizeof *ids);
            if (n % 4 == 0 && n > 0) assert_same_logits(s, t, "restored");
            for (size_t i = length; i < length + 5; i++) {
                assert_int_equal(nib_session_append(s, ids + i, 1, NULL), NIB_OK);
                assert_int_equal(nib_session_append(t, ids + i, 1, NULL), NIB_OK);
                assert_int_equal(nib_session_eval(s, NULL), NIB_OK);
                assert_int_equal(nib_session_eval(t, NULL), NIB_OK);
                assert_same_logits(s, t, "going on after a restore");
            }
        }
        nib_session_free(s);
        nib_session_free(t);
        nib_model_free(model);
    }
    assert_int_equal(temp_dir_count(&test_folder), 1); /* no temporary file is left */
}

/* Text that was forgotten is not written: two histories, one file. */
static void test_forgets(void **state)
{
    (void)state;
    rng r = {41};
    int32_t ids[TINY_CTX];
    uint8_t *first = NULL;
    size_t first_size = 0;
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_EXACT);
    for (int trial = 0; trial < 2; trial++) {
        nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
        rng same = {42};
        tiny_ids(&same, model, ids, 37);
        tiny_ids(&r, model, ids + 37, 100);
        tiny_eval(s, ids, 137);
        assert_int_equal(nib_session_truncate(s, 37, NULL), NIB_OK);
        assert_int_equal(nib_session_save(s, path_of("state"), NULL), NIB_OK);
        size_t size;
        uint8_t *bytes = file_read(path_of("state"), &size);
        assert_non_null(bytes);
        if (trial == 0) {
            first = bytes;
            first_size = size;
        } else {
            assert_int_equal(size, first_size);
            assert_memory_equal(bytes, first, size);
            free(bytes);
        }
        nib_session_free(s);
    }
    free(first);
    nib_model_free(model);
}

typedef struct victim {
    nib_model *model;
    nib_session *session, *copy;
    uint8_t *bytes;
    size_t size;
} victim;

/* A session of 5 tokens saved in `bytes`, and another session that bad files are loaded into. */
static victim make_victim(void)
{
    victim v;
    rng r = {43};
    int32_t ids[40];
    v.model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    v.session = tiny_session(v.model, 1, 0, NIB_KV_Q8);
    tiny_ids(&r, v.model, ids, 40);
    tiny_eval(v.session, ids, 5);
    assert_int_equal(nib_session_save(v.session, path_of("good"), NULL), NIB_OK);
    v.bytes = file_read(path_of("good"), &v.size);
    assert_non_null(v.bytes);
    tiny_eval(v.session, ids + 5, 30);
    assert_int_equal(nib_session_fork(v.session, &v.copy, NULL), NIB_OK);
    return v;
}

static void free_victim(victim *v)
{
    nib_session_free(v->session);
    nib_session_free(v->copy);
    nib_model_free(v->model);
    free(v->bytes);
}

/* Loads bytes, which must fail with a message and change nothing. */
static nib_status load_bad(victim *v, const uint8_t *bytes, size_t size, const char *what,
                           size_t at)
{
    nib_error err = {0};
    assert_int_equal(file_write(path_of("bad"), bytes, size), 0);
    nib_status status = nib_session_load(v->session, path_of("bad"), &err);
    if (status == NIB_OK) fail_msg("%s at byte %zu was not noticed", what, at);
    assert_true(status == NIB_ERR_FORMAT || status == NIB_ERR_MISMATCH || status == NIB_ERR_LIMIT);
    assert_int_equal(err.code, status);
    assert_true(strstr(err.text, "bad") != NULL);
    assert_same_logits(v->copy, v->session, what);
    return status;
}

static void test_damage(void **state)
{
    (void)state;
    victim v = make_victim();
    /* Every truncation of the head and tail, and some in between. */
    for (size_t size = 0; size < v.size; size += size < 300 || size + 300 > v.size ? 1 : 97)
        load_bad(&v, v.bytes, size, "truncation", size);
    uint8_t *bytes = malloc(v.size + 16);
    assert_non_null(bytes);
    memcpy(bytes, v.bytes, v.size);
    memset(bytes + v.size, 0, 16);
    load_bad(&v, bytes, v.size + 16, "trailing bytes", v.size);
    /* Every byte of the header and the tokens, and 600 random ones. */
    rng r = {44};
    for (size_t i = 0; i < 700; i++) {
        size_t at = i < 100 ? i : rng_below(&r, (uint32_t)v.size);
        uint8_t change = (uint8_t)(1u << rng_below(&r, 8));
        bytes[at] ^= change;
        load_bad(&v, bytes, v.size, "a flipped bit", at);
        bytes[at] ^= change;
    }
    /* All 0xff in each 4-byte field of the header: huge counts. */
    for (size_t at = 8; at < 56; at += 4) {
        memset(bytes + at, 0xff, 4);
        load_bad(&v, bytes, v.size, "a huge number", at);
        memcpy(bytes + at, v.bytes + at, 4);
    }
    assert_int_equal(file_write(path_of("bad"), bytes, v.size), 0);
    assert_int_equal(nib_session_load(v.session, path_of("bad"), NULL), NIB_OK);
    free(bytes);
    free_victim(&v);
}

static void test_foreign(void **state)
{
    (void)state;
    victim v = make_victim();
    nib_model *other = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(other, 1, 0, NIB_KV_Q8);
    assert_int_equal(nib_session_load(s, path_of("good"), NULL), NIB_ERR_MISMATCH);
    nib_session_free(s);
    s = tiny_session(v.model, 1, 0, NIB_KV_F16);
    assert_int_equal(nib_session_load(s, path_of("good"), NULL), NIB_ERR_MISMATCH);
    nib_session_free(s);
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = 4;
    options.kv_type = NIB_KV_Q8;
    assert_int_equal(nib_session_new(v.model, &options, &s, NULL), NIB_OK);
    assert_int_equal(nib_session_load(s, path_of("good"), NULL), NIB_ERR_LIMIT);
    nib_session_free(s);
    nib_error err = {0};
    assert_int_equal(nib_session_load(v.session, path_of("missing"), &err), NIB_ERR_IO);
    assert_non_null(strstr(err.text, "missing"));
    assert_int_equal(nib_session_load(v.session, test_folder.path, &err), NIB_ERR_IO);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0); /* must not wait for a writer */
    assert_int_equal(nib_session_load(v.session, path_of("fifo"), &err), NIB_ERR_IO);
    assert_int_equal(nib_session_save(v.session, "/nonexistent/state", &err), NIB_ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent/state"));
    assert_same_logits(v.copy, v.session, "after foreign files");
    nib_model_free(other);
    free_victim(&v);
}

/* A disk that is full after any number of bytes: the old file stays, no temporary file does. */
static void test_disk_full(void **state)
{
    (void)state;
    victim v = make_victim();
    size_t files = temp_dir_count(&test_folder);
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t size = 0; size < 100000; size = size * 2 + 1) {
        nib_error err = {0};
        limit = old;
        limit.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        nib_status status = nib_session_save(v.session, path_of("good"), &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        size_t now;
        uint8_t *bytes = file_read(path_of("good"), &now);
        assert_non_null(bytes);
        if (status == NIB_OK) {
            assert_true(size >= now && now > v.size); /* 30 tokens instead of 5 */
        } else {
            assert_int_equal(status, NIB_ERR_IO);
            assert_int_equal(now, v.size);
            assert_memory_equal(bytes, v.bytes, now);
        }
        free(bytes);
        assert_int_equal(temp_dir_count(&test_folder), files);
    }
    assert_int_equal(nib_session_load(v.session, path_of("good"), NULL), NIB_OK);
    assert_same_logits(v.copy, v.session, "after full disks");
    free_victim(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_disk_full),
    };
    return cmocka_run_group_tests_name("state", tests, make_test_folder, remove_test_folder);
}
