/* SPDX-License-Identifier: MIT
 * Files under test/fixtures for test programs. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

const char *fixture_path(const char *name)
{
    static char path[4096];
    const char *root = getenv("NIB_TEST_ROOT");
    snprintf(path, sizeof path, "%s/test/%s", root != NULL ? root : ".", name);
    return path;
}

uint8_t *file_read(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    uint8_t *data = NULL;
    long end;
    if (fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        data = malloc((size_t)end + 1); /* + 1: an empty file is not NULL */
        if (data != NULL && fread(data, 1, (size_t)end, f) != (size_t)end) {
            free(data);
            data = NULL;
        }
        *size = (size_t)end;
    }
    fclose(f);
    return data;
}

uint8_t *fixture_read(const char *name, size_t *size)
{
    uint8_t *data = file_read(fixture_path(name), size);
    if (data == NULL) {
        fprintf(stderr, "cannot read fixture %s (run tests from the root)\n", fixture_path(name));
        exit(1);
    }
    return data;
}

int file_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL) return -1;
    size_t written = fwrite(data, 1, size, f);
    return fclose(f) == 0 && written == size ? 0 : -1;
}
