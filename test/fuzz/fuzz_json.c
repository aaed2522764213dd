/* SPDX-License-Identifier: MIT
 * Fuzz target: the bytes are JSON text. What is accepted is written out, and parsed again to the
 * same; it is parsed once more with an allocation that fails. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "fault_alloc.h"
#include "json_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nib__json *parse(fault_alloc *fa, const char *text, size_t size)
{
    nib__json *json = NULL;
    nib_error err = {0};
    nib_status status = nib__json_parse(&fa->mem, "file", text, size, &json, &err);
    if (status != NIB_OK && (json != NULL || err.code != status || err.text[0] == '\0')) abort();
    if (fa->failed != 0 && status != NIB_ERR_MEMORY) abort();
    return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    nib__json *json = parse(&fa, (const char *)data, size);
    if (json != NULL) {
        size_t len, again_len;
        char *text = json_text(json, &len);
        nib__json *again = parse(&fa, text, len);
        if (again == NULL) abort();
        char *again_text = json_text(again, &again_len);
        if (again_len != len || memcmp(text, again_text, len) != 0) abort();
        free(text);
        free(again_text);
        nib__json_free(again);
        nib__json_free(json);
    }
    fault_alloc_done(&fa);
    fault_alloc_init(&fa);
    fa.fail_at = 1 + size % 6;
    nib__json_free(parse(&fa, (const char *)data, size));
    if (fa.live_blocks != 0) abort();
    fault_alloc_done(&fa);
    return 0;
}
