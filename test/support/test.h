/* SPDX-License-Identifier: MIT
 * What every test program includes: cmocka with the headers it needs first, and assertions that
 * compare statuses and show the message of the failure. */
#ifndef NIB_TEST_SUPPORT_TEST_H
#define NIB_TEST_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nibble.h"

/* NIB_OK, or the test fails with the message in `err`. */
#define assert_ok(status, err) nib_test_ok((status), &(err), __FILE__, __LINE__)

static inline void nib_test_ok(nib_status status, const nib_error *err, const char *file, int line)
{
    if (status == NIB_OK) return;
    print_error("status %d (%s): %s\n", (int)status, nib_status_str(status), err->text);
    _fail(file, line);
}

/* The expected failure, with a message that contains `part`. */
#define assert_fails(status, code, err, part)                                                      \
    nib_test_fails((status), (code), &(err), (part), __FILE__, __LINE__)

static inline void nib_test_fails(nib_status status, nib_status code, const nib_error *err,
                                  const char *part, const char *file, int line)
{
    if (status == code && err->code == code && strstr(err->text, part) != NULL) return;
    print_error("expected status %d and \"%s\", got status %d, error %d: %s\n", (int)code, part,
                (int)status, (int)err->code, status == NIB_OK ? "" : err->text);
    _fail(file, line);
}

/* Path of a model file under models/, or NULL, said aloud, if it is not there: the caller skips. */
static inline const char *nib_test_model(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        print_message("%s is not there: this test is skipped\n", path);
        return NULL;
    }
    fclose(file);
    return path;
}

#define NIB_TEST_SMOLLM2 "models/smollm2-135m.gguf"
#define NIB_TEST_QWEN "models/qwen2.5-coder-1.5b.gguf"

#endif
