/* SPDX-License-Identifier: MIT
 * Weight files and configurations of a Hugging Face directory from memory, for tests. */
#ifndef TEST_SUPPORT_HF_MEMORY_H
#define TEST_SUPPORT_HF_MEMORY_H

#include "file/source.h"

/* One weight file that `read` understands, beside the config.json config[config_size] ("{}" if it
 * is NULL). The bytes must stay as long as the source. */
typedef enum hf_kind { HF_SAFETENSORS, HF_TORCH } hf_kind;
nib_status hf_from_memory(const nib_allocator *mem, hf_kind kind, const void *data, size_t size,
                          const char *config, size_t config_size, nib__source **source,
                          nib_error *err);

/* The file must be refused so, by its name, with no leak and in little memory. */
void assert_hf_refused(hf_kind kind, const uint8_t *file, size_t size, nib_status code,
                       const char *part);

#endif
