/* SPDX-License-Identifier: MIT
 * nib_model_options.cache_dir: the second opening uses what the first wrote and gives the same
 * bits; what is stale, damaged or foreign is replaced; no trouble with the folder keeps a model
 * from being opened. */
#define _GNU_SOURCE
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault_alloc.h"
#include "fixture.h"
#include "model/model.h"
#include "stop_later.h"
#include "temp_dir.h"
#include "tiny_model.h"

enum { N_IDS = 24 };

static char cache[300], input[300];

static int make_folder(void **state)
{
    if (make_test_folder(state) != 0) return -1;
    snprintf(cache, sizeof cache, "%s/cache", test_folder.path);
    snprintf(input, sizeof input, "%s/model.gguf", test_folder.path);
    return 0;
}

/* Files of the cache, the last of which goes to path[size]. */
static int count_files(char *path, size_t size)
{
    int n = 0;
    DIR *dir = opendir(cache);
    if (dir == NULL) return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, size, "%s/%s", cache, entry->d_name);
        n++;
    }
    closedir(dir);
    return n;
}

static void clear(void)
{
    char path[600];
    while (count_files(path, sizeof path) != 0) assert_int_equal(remove(path), 0);
}

static int remove_folder(void **state)
{
    clear();
    (void)rmdir(cache);
    (void)unlink(input);
    return remove_empty_test_folder(state);
}

static const char *fixture(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "fixtures/%s.gguf", name);
    return fixture_path(path);
}

static void write_input(const char *name)
{
    size_t size;
    uint8_t *data = file_read(fixture(name), &size);
    assert_non_null(data);
    assert_int_equal(file_write(input, data, size), 0);
    free(data);
}

static nib_model_options options_of(void)
{
    nib_model_options o;
    nib_model_options_init(&o, sizeof o);
    o.cache_dir = cache;
    return o;
}

static nib_model_info info_of(const nib_model *model)
{
    nib_model_info info = {.struct_size = sizeof info};
    assert_int_equal(nib_model_get_info(model, &info), NIB_OK);
    return info;
}

/* Opens, expecting that state of the cache. */
static nib_model *open_as(const char *path, uint32_t expected)
{
    nib_error err;
    nib_model *model = NULL;
    nib_model_options o = options_of();
    assert_ok(nib_model_open(path, &o, &model, &err), err);
    nib_model_info info = info_of(model);
    if (info.cache != expected)
        fail_msg("%s: cache %u, not %u: %s", path, info.cache, expected, info.cache_note);
    assert_int_equal(info.cache_note[0] != '\0', expected == NIB_CACHE_FAILED);
    return model;
}

/* From malloc: the logits after each of some ids. */
static float *logits_of(nib_model *model)
{
    nib_error err;
    nib_session *session;
    nib_session_options o;
    nib_model_info info = info_of(model);
    int32_t ids[N_IDS];
    float *logits = malloc((size_t)N_IDS * info.n_vocab * sizeof *logits);
    assert_non_null(logits);
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 5 + i * 7 % ((int32_t)info.n_vocab - 5);
    nib_session_options_init(&o, sizeof o);
    o.n_ctx = 2 * N_IDS;
    assert_ok(nib_session_new(model, &o, &session, &err), err);
    if (info.kind == NIB_MODEL_ENCODER_DECODER)
        assert_ok(nib_session_set_source(session, ids, N_IDS, &err), err);
    assert_ok(nib_session_eval_logits(session, ids, N_IDS, 0, logits, &err), err);
    nib_session_free(session);
    return logits;
}

/* The models, which are then freed, must give the same bits. */
static void assert_same(nib_model *a, nib_model *b)
{
    if (info_of(a).kind != NIB_MODEL_ENCODER) {
        float *x = logits_of(a), *y = logits_of(b);
        assert_memory_equal(x, y, (size_t)N_IDS * info_of(a).n_vocab * sizeof *x);
        free(x);
        free(y);
    }
    assert_true(a->identity == b->identity);
    nib_model_free(a);
    nib_model_free(b);
}

static nib_model *open_plain(const char *path)
{
    nib_error err;
    nib_model *model = NULL;
    assert_ok(nib_model_open(path, NULL, &model, &err), err);
    assert_int_equal(info_of(model).cache, NIB_CACHE_NONE);
    return model;
}

static void expect(uint32_t state)
{
    nib_model *model = open_as(input, state);
    assert_same(open_plain(input), model);
}

/* ---- what it is for -------------------------------------------------------------------------- */

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const names[] = {
        "tiny/llama-mixed", "tiny/llama-f32", "tiny/llama-llama3", "tiny/llama-yarn", "tiny/qwen2",
        "archs/gemma3",     "archs/gpt2",     "archs/gptneox",     "archs/phi2",      "archs/qwen3",
        "archs/starcoder2", "archs/t5_q8",    "archs/t5encoder"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[600];
        nib_model *first = open_as(fixture(names[i]), NIB_CACHE_WRITTEN);
        assert_same(first, open_as(fixture(names[i]), NIB_CACHE_USED));
        assert_same(open_plain(fixture(names[i])), open_as(fixture(names[i]), NIB_CACHE_USED));
        assert_int_equal(count_files(path, sizeof path), i + 1);
    }
}

static void test_private_and_alone(void **state)
{
    (void)state;
    char path[600], other[400];
    struct stat st;
    write_input("tiny/qwen2");
    nib_model *packed = open_as(input, NIB_CACHE_WRITTEN), *mapped = open_as(input, NIB_CACHE_USED);
    assert_non_null(packed->weights);
    assert_null(mapped->weights);
    assert_same(packed, mapped);
    assert_int_equal(stat(cache, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(count_files(path, sizeof path), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(other, sizeof other, "%s/link", test_folder.path); /* another name of the same file */
    assert_int_equal(symlink(input, other), 0);
    nib_model_free(open_as(other, NIB_CACHE_USED));
    assert_int_equal(unlink(other), 0);
    if (geteuid() != 0) skip(); /* a file that somebody else put there */
    assert_int_equal(chown(path, 12345, 12345), 0);
    expect(NIB_CACHE_WRITTEN);
}

static void test_not_for_others(void **state)
{
    (void)state;
    nib_error err;
    nib_model *model = NULL;
    write_input("tiny/qwen2");
    for (int i = 0; i < 4; i++) {
        nib_model_options o = options_of();
        if (i == 0) o.flags = NIB_OPEN_INSPECT;
        if (i == 1) o.load = NIB_LOAD_INT8;
        if (i == 2) o.cache_dir = "";
        assert_ok(
            nib_model_open(i == 3 ? fixture_path("fixtures/hf/qwen2") : input, &o, &model, &err),
            err);
        assert_int_equal(info_of(model).cache, NIB_CACHE_NONE);
        nib_model_free(model);
        assert_int_equal(access(cache, F_OK), -1);
    }
    nib_model_options o = options_of();
    o.flags = NIB_OPEN_VERIFY;
    assert_fails(nib_model_open(input, &o, &model, &err), NIB_ERR_UNSUPPORTED, err, "checksums");
}

/* ---- what makes it useless ------------------------------------------------------------------- */

/* Times of files come in ticks of the kernel, of 10 ms at most. */
static void wait_a_tick(void)
{
    assert_int_equal(usleep(30000), 0);
}

static void test_stale(void **state)
{
    (void)state;
    char path[600];
    struct stat before;
    write_input("tiny/qwen2");
    expect(NIB_CACHE_WRITTEN);
    write_input("tiny/llama-mixed"); /* in place */
    expect(NIB_CACHE_WRITTEN);
    expect(NIB_CACHE_USED);
    wait_a_tick();
    /* One weight, the size and the time of the last change as they were. */
    assert_int_equal(stat(input, &before), 0);
    int fd = open(input, O_RDWR);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, before.st_size - 9), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, before.st_size - 9), 1);
    const struct timespec times[] = {before.st_atim, before.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    expect(NIB_CACHE_WRITTEN);
    expect(NIB_CACHE_USED);
    wait_a_tick();
    assert_int_equal(unlink(input), 0); /* a new file under the old name */
    write_input("tiny/llama-mixed");
    expect(NIB_CACHE_WRITTEN);
    assert_int_equal(count_files(path, sizeof path), 1);
}

static void test_damaged(void **state)
{
    (void)state;
    char path[600];
    size_t size;
    write_input("tiny/llama-mixed");
    expect(NIB_CACHE_WRITTEN);
    assert_int_equal(count_files(path, sizeof path), 1);
    uint8_t *data = file_read(path, &size);
    assert_non_null(data);
    for (size_t cut = 0; cut < size; cut += 1 + cut / 2) { /* down to nothing */
        assert_int_equal(file_write(path, data, size - 1 - cut), 0);
        expect(NIB_CACHE_WRITTEN);
    }
    for (size_t at = 0; at < 4096; at += 61) { /* its directory */
        data[at] ^= 16;
        assert_int_equal(file_write(path, data, size), 0);
        expect(NIB_CACHE_WRITTEN);
        data[at] ^= 16;
    }
    assert_int_equal(file_write(path, data, size), 0); /* whole again */
    expect(NIB_CACHE_USED);
    free(data);
    data = file_read(input, &size); /* a model, but not a repacked one */
    assert_int_equal(file_write(path, data, size), 0);
    free(data);
    expect(NIB_CACHE_WRITTEN);
    nib_quantize_options o; /* a repacked one that was not made by the cache */
    nib_error err;
    nib_quantize_options_init(&o, sizeof o);
    o.scheme = NIB_SCHEME_REPACK;
    assert_ok(nib_quantize(input, path, &o, &err), err);
    expect(NIB_CACHE_WRITTEN);
    assert_int_equal(unlink(path), 0); /* something that cannot be replaced */
    assert_int_equal(mkdir(path, 0700), 0);
    expect(NIB_CACHE_FAILED);
}

/* ---- what can go wrong with the folder ------------------------------------------------------- */

static void test_no_folder(void **state)
{
    (void)state;
    write_input("tiny/qwen2");
    assert_int_equal(file_write(cache, "x", 1), 0); /* a file of that name */
    expect(NIB_CACHE_FAILED);
    assert_int_equal(unlink(cache), 0);
    snprintf(cache, sizeof cache, "%s/no/folder", test_folder.path);
    nib_model *model = open_as(input, NIB_CACHE_FAILED);
    assert_non_null(strstr(info_of(model).cache_note, "cannot make the folder: no such file"));
    assert_same(open_plain(input), model);
    snprintf(cache, sizeof cache, "/proc/nibble");
    expect(NIB_CACHE_FAILED);
    snprintf(cache, sizeof cache, "%s/cache", test_folder.path);
}

/* Files cannot grow beyond a limit: the way of a disk that fills up. */
static void test_no_room(void **state)
{
    (void)state;
    char path[600];
    struct rlimit before, low;
    write_input("tiny/qwen2");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    low = before;
    low.rlim_cur = 20000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    nib_model *model = open_as(input, NIB_CACHE_FAILED);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_non_null(strstr(info_of(model).cache_note, "too large"));
    assert_same(open_plain(input), model);
    assert_int_equal(count_files(path, sizeof path), 0);
    expect(NIB_CACHE_WRITTEN);
}

/* Whichever allocation fails: a model, or an error, and no leak; a model is never half the cache's.
 */
static void test_every_allocation(void **state)
{
    (void)state;
    write_input("tiny/llama-mixed");
    for (int kept = 0; kept < 2; kept++) {
        size_t opened = 0;
        for (size_t n = 1;; n++) {
            fault_alloc fa;
            nib_error err = {.text = ""};
            nib_model *model = NULL;
            nib_model_options o = options_of();
            fault_alloc_init(&fa);
            fa.fail_at = n;
            o.allocator = &fa.mem;
            o.n_threads = 2;
            if (!kept) clear();
            nib_status status = nib_model_open(input, &o, &model, &err);
            bool done = fa.failed == 0;
            if (status == NIB_OK) {
                uint32_t got = info_of(model).cache;
                assert_true(got != NIB_CACHE_NONE && (got != NIB_CACHE_USED || kept));
                opened += !done;
                nib_model_free(model);
            } else {
                assert_int_equal(status, NIB_ERR_MEMORY);
                assert_true(err.text[0] != '\0');
            }
            assert_int_equal(fa.live_blocks, 0);
            fault_alloc_done(&fa);
            if (done) break;
        }
        assert_true(opened > 5); /* without the cache, or from the original */
        expect(NIB_CACHE_USED);
    }
}

/* Cancelled at any call: nothing is left behind, and the next opening writes the file. */
static void test_cancel(void **state)
{
    (void)state;
    char path[600];
    nib_status status = NIB_ERR_CANCELLED;
    write_input("tiny/qwen2");
    for (int calls = 1; status != NIB_OK; calls++) {
        nib_error err = {.text = ""};
        nib_model *model = NULL;
        nib_model_options o = options_of();
        int left = calls;
        o.progress = stop_later;
        o.progress_user = &left;
        status = nib_model_open(input, &o, &model, &err);
        if (status == NIB_OK) {
            assert_true(calls > 5);
            nib_model_free(model);
            break;
        }
        assert_int_equal(status, NIB_ERR_CANCELLED);
        assert_non_null(strstr(err.text, "cancelled"));
        assert_int_equal(count_files(path, sizeof path), 0);
    }
    expect(NIB_CACHE_USED);
}

/* ---- at once --------------------------------------------------------------------------------- */

static void *open_many(void *arg)
{
    nib_model **models = arg;
    nib_model_options o = options_of();
    for (int i = 0; i < 4; i++) {
        if (nib_model_open(input, &o, &models[i], NULL) != NIB_OK) models[i] = NULL;
    }
    return NULL;
}

static void test_at_once(void **state)
{
    (void)state;
    enum { N = 4 };
    pthread_t threads[N];
    static nib_model *models[N][4];
    char path[600];
    write_input("tiny/llama-mixed");
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_many, models[i]), 0);
    for (int i = 0; i < N; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < N * 4; i++) {
        nib_model *model = models[i / 4][i % 4];
        assert_non_null(model);
        assert_int_not_equal(info_of(model).cache, NIB_CACHE_FAILED);
        if (i % 4 != 0) assert_int_equal(info_of(model).cache, NIB_CACHE_USED);
        assert_same(open_plain(input), model); /* also those whose file was replaced since */
    }
    assert_int_equal(count_files(path, sizeof path), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bits, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_private_and_alone, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_not_for_others, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_stale, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_damaged, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_folder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_room, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_every_allocation, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_cancel, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_at_once, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
