/* SPDX-License-Identifier: MIT
 * A directory of its own for a test, removed with its files at the end. */
#ifndef TEST_SUPPORT_TEMP_DIR_H
#define TEST_SUPPORT_TEMP_DIR_H

#include <stddef.h>

typedef struct temp_dir {
    char path[256];
    char file[512]; /* what temp_dir_file gave last */
} temp_dir;

void temp_dir_make(temp_dir *d);
void temp_dir_remove(temp_dir *d);

/* How many files are in it. */
size_t temp_dir_count(const temp_dir *d);

/* Path of a file in it, overwritten by the next call. */
const char *temp_dir_file(temp_dir *d, const char *name);
void temp_dir_write(temp_dir *d, const char *name, const void *data, size_t size);
void temp_dir_text(temp_dir *d, const char *name, const char *text);
/* A copy of the fixture FOLDER/NAME, as "fixtures/hf/llama" and "config.json". */
void temp_dir_fixture(temp_dir *d, const char *folder, const char *name);
/* Removes one file, which must be there. */
void temp_dir_delete(temp_dir *d, const char *name);

/* The folder of the test that runs, or of the group of tests, with a pair for cmocka that makes and
 * removes it. The third, in the place of the second, fails if anything was left in it. */
extern temp_dir test_folder;
int make_test_folder(void **state);
int remove_test_folder(void **state);
int remove_empty_test_folder(void **state);

#endif
