/* SPDX-License-Identifier: MIT
 * A directory of its own for a test. */
#define _XOPEN_SOURCE 700
#include "temp_dir.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "test.h"

void temp_dir_make(temp_dir *d)
{
    const char *base = getenv("TMPDIR");
    snprintf(d->path, sizeof d->path, "%s/nibble-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(d->path));
}

/* The name of the next file, NULL behind the last. */
static const char *next_name(DIR *dir)
{
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    }
    return NULL;
}

void temp_dir_remove(temp_dir *d)
{
    DIR *dir = opendir(d->path);
    assert_non_null(dir);
    for (const char *name; (name = next_name(dir)) != NULL;) {
        assert_int_equal(unlink(temp_dir_file(d, name)), 0);
    }
    closedir(dir);
    assert_int_equal(rmdir(d->path), 0);
}

size_t temp_dir_count(const temp_dir *d)
{
    DIR *dir = opendir(d->path);
    assert_non_null(dir);
    size_t n = 0;
    while (next_name(dir) != NULL) n++;
    closedir(dir);
    return n;
}

const char *temp_dir_file(temp_dir *d, const char *name)
{
    snprintf(d->file, sizeof d->file, "%s/%s", d->path, name);
    return d->file;
}

void temp_dir_write(temp_dir *d, const char *name, const void *data, size_t size)
{
    assert_int_equal(file_write(temp_dir_file(d, name), data, size), 0);
}

void temp_dir_text(temp_dir *d, const char *name, const char *text)
{
    temp_dir_write(d, name, text, strlen(text));
}

void temp_dir_delete(temp_dir *d, const char *name)
{
    assert_int_equal(unlink(temp_dir_file(d, name)), 0);
}

void temp_dir_fixture(temp_dir *d, const char *folder, const char *name)
{
    char path[300];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    uint8_t *bytes = fixture_read(path, &size);
    temp_dir_write(d, name, bytes, size);
    free(bytes);
}

temp_dir test_folder;

int make_test_folder(void **state)
{
    (void)state;
    temp_dir_make(&test_folder);
    return 0;
}

int remove_test_folder(void **state)
{
    (void)state;
    temp_dir_remove(&test_folder);
    return 0;
}

int remove_empty_test_folder(void **state)
{
    const size_t left = temp_dir_count(&test_folder);
    return remove_test_folder(state) == 0 && left == 0 ? 0 : -1;
}
