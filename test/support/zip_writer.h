/* SPDX-License-Identifier: MIT
 * Zip archives in memory, stored entries only, for tests. */
#ifndef TEST_SUPPORT_ZIP_WRITER_H
#define TEST_SUPPORT_ZIP_WRITER_H

#include <stddef.h>
#include <stdint.h>

typedef struct zip_writer {
    uint8_t *file, *central;
    size_t size, cap, central_size, central_cap;
    uint32_t n;
} zip_writer;

void zip_begin(zip_writer *w);
void zip_add(zip_writer *w, const char *name, const void *data, size_t size);
/* The archive, from malloc. zip64 != 0: with the records and fields of zip64. */
uint8_t *zip_end(zip_writer *w, int zip64, size_t *size);

/* A checkpoint of torch.save around a pickle: x/data.pkl, x/data/0 (64 bytes 0 .. 63) and
 * x/data/1 (4 bytes). */
uint8_t *zip_checkpoint(const void *pickle, size_t pickle_size, size_t *size);

#endif
