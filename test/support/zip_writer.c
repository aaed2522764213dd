/* SPDX-License-Identifier: MIT
 * Zip archives in memory. */
#include "zip_writer.h"

#include <stdlib.h>
#include <string.h>

static void put(uint8_t **bytes, size_t *size, size_t *cap, const void *data, size_t n)
{
    if (*size + n > *cap) {
        *cap = 2 * (*size + n);
        *bytes = realloc(*bytes, *cap);
        if (*bytes == NULL) abort();
    }
    if (n != 0) memcpy(*bytes + *size, data, n);
    *size += n;
}

static void put_number(uint8_t **bytes, size_t *size, size_t *cap, uint64_t value, size_t n)
{
    uint8_t le[8];
    for (size_t i = 0; i < 8; i++) le[i] = (uint8_t)(value >> 8 * i);
    put(bytes, size, cap, le, n);
}

static void file_number(zip_writer *w, uint64_t value, size_t n)
{
    put_number(&w->file, &w->size, &w->cap, value, n);
}

static void central_number(zip_writer *w, uint64_t value, size_t n)
{
    put_number(&w->central, &w->central_size, &w->central_cap, value, n);
}

void zip_begin(zip_writer *w)
{
    *w = (zip_writer){0};
}

void zip_add(zip_writer *w, const char *name, const void *data, size_t size)
{
    size_t start = w->size, len = strlen(name);
    file_number(w, 0x04034b50, 4);
    file_number(w, 20, 2); /* version needed; then flags, method, time, date, crc */
    for (int i = 0; i < 4; i++) file_number(w, 0, 2);
    file_number(w, 0, 4);
    file_number(w, size, 4);
    file_number(w, size, 4);
    file_number(w, len, 2);
    file_number(w, 0, 2);
    put(&w->file, &w->size, &w->cap, name, len);
    put(&w->file, &w->size, &w->cap, data, size);

    central_number(w, 0x02014b50, 4);
    central_number(w, 20, 2);
    central_number(w, 20, 2);
    for (int i = 0; i < 4; i++) central_number(w, 0, 2);
    central_number(w, 0, 4);
    central_number(w, size, 4);
    central_number(w, size, 4);
    central_number(w, len, 2);
    for (int i = 0; i < 4; i++) central_number(w, 0, 2); /* extra, comment, disk, attributes */
    central_number(w, 0, 4);
    central_number(w, start, 4);
    put(&w->central, &w->central_size, &w->central_cap, name, len);
    w->n++;
}

uint8_t *zip_end(zip_writer *w, int zip64, size_t *size)
{
    uint64_t start = w->size, length = w->central_size;
    put(&w->file, &w->size, &w->cap, w->central, w->central_size);
    free(w->central);
    if (zip64) {
        uint64_t end = w->size;
        file_number(w, 0x06064b50, 4);
        file_number(w, 44, 8);
        file_number(w, 45, 2);
        file_number(w, 45, 2);
        file_number(w, 0, 8);
        file_number(w, w->n, 8);
        file_number(w, w->n, 8);
        file_number(w, length, 8);
        file_number(w, start, 8);
        file_number(w, 0x07064b50, 4);
        file_number(w, 0, 4);
        file_number(w, end, 8);
        file_number(w, 1, 4);
    }
    file_number(w, 0x06054b50, 4);
    file_number(w, 0, 4);
    file_number(w, zip64 ? 0xffff : w->n, 2);
    file_number(w, zip64 ? 0xffff : w->n, 2);
    file_number(w, zip64 ? 0xffffffff : length, 4);
    file_number(w, zip64 ? 0xffffffff : start, 4);
    file_number(w, 0, 2);
    *size = w->size;
    return w->file;
}

uint8_t *zip_checkpoint(const void *pickle, size_t pickle_size, size_t *size)
{
    uint8_t bytes[64];
    for (int i = 0; i < 64; i++) bytes[i] = (uint8_t)i;
    zip_writer w;
    zip_begin(&w);
    zip_add(&w, "x/data.pkl", pickle, pickle_size);
    zip_add(&w, "x/data/0", bytes, 64);
    zip_add(&w, "x/data/1", bytes, 4);
    return zip_end(&w, 0, size);
}
