/* SPDX-License-Identifier: MIT
 * Puts together what nib__hf_open makes of a directory. */
#include "hf_memory.h"

#include "test.h"

#include <string.h>

#include "fault_alloc.h"
#include "file/source_private.h"

static nib_status fill(nib__source *s, hf_kind kind, const void *data, size_t size,
                       const char *config, size_t config_size, nib_error *err)
{
    nib__hf *hf = s->hf = nib__alloc(&s->mem, 1, sizeof *hf);
    if (hf == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory");
    hf->mem = s->mem;
    hf->path = nib__strndup(&s->mem, "(memory)", 8);
    hf->dir = nib__strndup(&s->mem, "", 0);
    hf->config.path = nib__strndup(&s->mem, "config.json", 11);
    hf->shards = nib__alloc(&s->mem, 1, sizeof *hf->shards);
    if (hf->path == NULL || hf->dir == NULL || hf->config.path == NULL || hf->shards == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory");
    hf->n_shards = hf->cap_shards = 1;
    hf->shards[0].map = nib__map_memory(data, size);
    hf->shards[0].path = nib__strndup(&s->mem, "(memory)", 8);
    if (hf->shards[0].path == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory");
    if (config == NULL) config_size = strlen(config = "{}");
    nib_status status = nib__hf_config_parse(hf, &hf->config, config, config_size, err);
    if (status == NIB_OK) status = nib__hf_files_new(hf, err);
    if (status != NIB_OK) return status;
    status = kind == HF_SAFETENSORS ? nib__safetensors_read(s, 0, err) : nib__torch_read(s, 0, err);
    return status == NIB_OK ? nib__source_index(s, err) : status;
}

nib_status hf_from_memory(const nib_allocator *mem, hf_kind kind, const void *data, size_t size,
                          const char *config, size_t config_size, nib__source **source,
                          nib_error *err)
{
    nib_allocator allocator = nib__allocator(mem);
    nib__source *s = nib__alloc(&allocator, 1, sizeof *s);
    if (s == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory");
    s->mem = allocator;
    nib_status status = fill(s, kind, data, size, config, config_size, err);
    if (status == NIB_OK)
        *source = s;
    else
        nib__source_close(s);
    return status;
}

void assert_hf_refused(hf_kind kind, const uint8_t *file, size_t size, nib_status code,
                       const char *part)
{
    fault_alloc fa;
    fault_alloc_init(&fa);
    uint8_t *exact = malloc(size == 0 ? 1 : size); /* so that a read behind it is seen */
    memcpy(exact, file, size);
    nib__source *s = NULL;
    nib_error err = {0};
    nib_status status = hf_from_memory(&fa.mem, kind, exact, size, NULL, 0, &s, &err);
    assert_fails(status, code, err, part);
    assert_fails(status, code, err, "(memory): ");
    assert_null(s);
    assert_int_equal(fa.live_blocks, 0);
    assert_true(fa.peak_bytes < 100 * size + 8192);
    free(exact);
    fault_alloc_done(&fa);
}
