/* SPDX-License-Identifier: MIT
 * Files under test/fixtures for test programs. */
#ifndef TEST_SUPPORT_FIXTURE_H
#define TEST_SUPPORT_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

/* Path of a file given relative to test/, in static storage (overwritten by the next call). Tests
 * run from the root of the repository; NIB_TEST_ROOT may name it otherwise. */
const char *fixture_path(const char *name);

/* The whole file at `path`, from malloc; NULL if it cannot be read. */
uint8_t *file_read(const char *path, size_t *size);

/* The whole file, which must exist (the test fails otherwise); from malloc. */
uint8_t *fixture_read(const char *name, size_t *size);

/* Writes bytes to a file; 0 on success. */
int file_write(const char *path, const void *data, size_t size);

#endif
