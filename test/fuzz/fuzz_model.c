/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are a model. It is opened through the public API and, if it is not
 * refused, tokenizes and completes; then once more with an allocation that fails. */
#include "model_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 32 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)model_use(data, size, MAX_BYTES, 0);
    (void)model_use(data, size, MAX_BYTES, 1 + size % 64);
    return 0;
}
