/* SPDX-License-Identifier: MIT
 * Opens bytes as a model through the public API and uses it: what the fuzz target and the tests
 * with damaged models do. */
#ifndef TEST_SUPPORT_MODEL_USE_H
#define TEST_SUPPORT_MODEL_USE_H

#include <stddef.h>
#include <stdint.h>

#include "nibble.h"

typedef struct model_result {
    nib_status status;    /* of the open */
    nib_error error;      /* of the open */
    int completed;        /* whether a completion succeeded */
    size_t n_allocations; /* asked for */
} model_result;

/* Opens, describes, tokenizes, and completes a few tokens of two prompts. Memory is limited to
 * max_bytes; allocation number fail_at fails (0: none). Ends the program by abort if a failure
 * comes without a message or with an unknown status, or if anything leaks. */
model_result model_use(const uint8_t *data, size_t size, size_t max_bytes, size_t fail_at);
/* The same for a file or a directory. */
model_result model_use_path(const char *path, size_t max_bytes, size_t fail_at);

#endif
