/* SPDX-License-Identifier: MIT
 * Replays a fuzz corpus as ordinary tests. Linked with one target (fuzz_<name>.c, which defines
 * LLVMFuzzerTestOneInput), the program is called replay_<name> and feeds every file of
 * test/fuzz/corpus/<name>/ (or of the folder given as argument) to it: the file itself, its
 * truncations, and copies with single bytes changed. A crash or a sanitizer's finding is the
 * failure; so is a target that returns anything but 0, and an empty corpus. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_FILES = 4096, TRUNCATIONS = 64, MUTATIONS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[512];
static char *names[MAX_FILES];
static struct CMUnitTest tests[MAX_FILES + 1];

static uint8_t *read_file(const char *name, size_t *size)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long end = ftell(file);
    assert_true(end >= 0);
    rewind(file);
    *size = (size_t)end;
    uint8_t *data = malloc(*size + 1); /* never NULL for an empty file */
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

/* A copy of exactly `size` bytes, so that AddressSanitizer sees a read past the end. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    assert_int_equal(LLVMFuzzerTestOneInput(copy, size), 0);
    free(copy);
}

static void replays(void **state)
{
    size_t size;
    uint8_t *data = read_file(*state, &size);
    feed(data, size);
    size_t step = size / TRUNCATIONS + 1;
    for (size_t cut = 0; cut < size; cut += step) feed(data, cut);
    uint64_t seed = size + 1; /* xorshift64: the same changes in every run */
    for (int i = 0; i < MUTATIONS && size > 0; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        size_t at = (size_t)(seed % size);
        uint8_t old = data[at];
        data[at] = (uint8_t)(seed >> 40);
        feed(data, size);
        data[at] = old;
    }
    free(data);
}

static void corpus_is_not_empty(void **state)
{
    const size_t *count = *state;
    assert_true(*count > 0);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    const char *base = strrchr(argv[0], '/');
    const char *name = strstr(base == NULL ? argv[0] : base, "replay_");
    if (argc > 1)
        snprintf(folder, sizeof folder, "%s", argv[1]);
    else
        snprintf(folder, sizeof folder, "test/fuzz/corpus/%s", name == NULL ? "" : name + 7);

    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.' && count < MAX_FILES) names[count++] = strdup(entry->d_name);
    }
    if (dir != NULL) closedir(dir);
    qsort(names, count, sizeof names[0], by_name);

    tests[0] = (struct CMUnitTest){"corpus_is_not_empty", corpus_is_not_empty, NULL, NULL, &count};
    for (size_t i = 0; i < count; i++)
        tests[i + 1] = (struct CMUnitTest){names[i], replays, NULL, NULL, names[i]};
    int failures = _cmocka_run_group_tests(folder, tests, count + 1, NULL, NULL);
    for (size_t i = 0; i < count; i++) free(names[i]);
    return failures;
}
