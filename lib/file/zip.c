/* SPDX-License-Identifier: MIT
 * Zip (APPNOTE 6.3), as much of it as PyTorch writes: entries stored without compression, zip64
 * where something is large, alignment by padding in the extra field of the local header.
 *
 *   local header, name, extra, data   (once per entry)
 *   central directory                 (once per entry: sizes and where its local header is)
 *   [zip64 end of directory, its locator]   end of central directory, comment
 *
 * The central directory decides; a local header may not contradict it, and no byte belongs to two
 * entries. */
#include "file/zip.h"

#include <string.h>

#include "base/bytes.h"
#include "base/sort.h"

enum {
    END_SIZE = 22, /* end of central directory, without its comment */
    END64_SIZE = 56,
    LOCATOR_SIZE = 20,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    MAX_COMMENT = 65535,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8, /* sizes are behind the data, and 0 in the local header */
    EXTRA_ZIP64 = 1
};

static const uint32_t LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50,
                      END64 = 0x06064b50, LOCATOR = 0x07064b50;

/* What the end of the archive says of its central directory. */
typedef struct directory {
    uint64_t n, size, offset;
    size_t end; /* where the records behind the directory begin */
} directory;

static nib_status fail(const nib__zip *zip, nib_error *err, uint64_t at, const char *what)
{
    return nib__fail_file(err, NIB_ERR_FORMAT, at, zip->shard->path, "zip archive: byte %llu: %s",
                          (unsigned long long)at, what);
}

static nib_status fail_entry(const nib__zip *zip, nib_error *err, nib_status code,
                             const nib__zip_entry *e, const char *what)
{
    nib__shown name = nib__show(e->name, e->name_len);
    return nib__shard_fail(zip->shard, err, code, "zip archive: entry %s: %s", name.text, what);
}

/* ---- the end of the archive ---- */

/* The last record whose comment ends with the file. */
static const uint8_t *find_end(const nib__map *map)
{
    if (map->size < END_SIZE) return NULL;
    size_t first = map->size > END_SIZE + MAX_COMMENT ? map->size - END_SIZE - MAX_COMMENT : 0;
    for (size_t at = map->size - END_SIZE + 1; at-- > first;) {
        const uint8_t *p = map->data + at;
        if (nib__le32(p) == END && nib__le16(p + 20) == map->size - at - END_SIZE) return p;
    }
    return NULL;
}

/* Replaces what the short record could not hold. */
static nib_status read_end64(const nib__zip *zip, directory *d, nib_error *err)
{
    const nib__map *map = &zip->shard->map;
    if (d->end < LOCATOR_SIZE || nib__le32(map->data + d->end - LOCATOR_SIZE) != LOCATOR)
        return NIB_OK;
    size_t at = d->end - LOCATOR_SIZE;
    uint64_t where = nib__le64(map->data + at + 8);
    if (at < END64_SIZE || where > at - END64_SIZE || nib__le32(map->data + where) != END64)
        return fail(zip, err, at, "the locator does not point to an end of directory of zip64");
    const uint8_t *p = map->data + where;
    /* Another disk is no file of ours. */
    if (nib__le32(p + 16) != 0 || nib__le32(p + 20) != 0 || nib__le64(p + 24) != nib__le64(p + 32))
        return fail(zip, err, where, "expected an archive in one file");
    *d = (directory){nib__le64(p + 32), nib__le64(p + 40), nib__le64(p + 48), (size_t)where};
    return NIB_OK;
}

static nib_status read_end(const nib__zip *zip, directory *d, nib_error *err)
{
    const nib__map *map = &zip->shard->map;
    const uint8_t *p = find_end(map);
    if (p == NULL) {
        return fail(zip, err, map->size,
                    "the file ends without an end of directory; it may be cut off");
    }
    size_t at = (size_t)(p - map->data);
    if (nib__le16(p + 4) != nib__le16(p + 6) || nib__le16(p + 8) != nib__le16(p + 10))
        return fail(zip, err, at, "expected an archive in one file");
    *d = (directory){nib__le16(p + 10), nib__le32(p + 12), nib__le32(p + 16), at};
    nib_status status = read_end64(zip, d, err);
    if (status != NIB_OK) return status;
    if (d->offset > d->end || d->size != d->end - d->offset)
        return fail(zip, err, at, "the directory does not end where the records behind it begin");
    if (d->n > d->size / CENTRAL_SIZE)
        return fail(zip, err, at, "more entries declared than the directory can hold");
    if (d->n > NIB__ZIP_MAX_ENTRIES) {
        return nib__shard_fail(zip->shard, err, NIB_ERR_LIMIT, "expected at most %d entries",
                               NIB__ZIP_MAX_ENTRIES);
    }
    return NIB_OK;
}

/* ---- entries ---- */

/* Sizes that do not fit 32 bits are in the zip64 extra field, in this order, only those that the
 * header has as 0xffffffff. false: the field is missing or too short. */
static bool read_zip64(const uint8_t *extra, size_t extra_len, uint64_t *values[3])
{
    nib__cursor c = {extra, extra_len, 0, false};
    while (nib__cursor_left(&c) >= 4) {
        uint32_t head = nib__cursor_u32(&c);
        size_t len = head >> 16;
        const uint8_t *body = nib__cursor_take(&c, len);
        if (body == NULL) return false;
        if ((head & 0xffff) != EXTRA_ZIP64) continue;
        nib__cursor field = {body, len, 0, false};
        for (int i = 0; i < 3; i++) {
            if (values[i] != NULL && *values[i] == UINT32_MAX) *values[i] = nib__cursor_u64(&field);
        }
        return !field.failed;
    }
    for (int i = 0; i < 3; i++) {
        if (values[i] != NULL && *values[i] == UINT32_MAX) return false;
    }
    return true;
}

/* Finds the data of an entry through its local header, which must agree. `limit`: where the
 * directory begins. */
static nib_status read_local(const nib__zip *zip, nib__zip_entry *e, uint64_t offset, uint64_t size,
                             size_t limit, nib_error *err)
{
    const nib__map *map = &zip->shard->map;
    if (offset > limit || limit - offset < LOCAL_SIZE || nib__le32(map->data + offset) != LOCAL)
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "there is no local header at its offset");
    const uint8_t *p = map->data + offset;
    size_t left = limit - (size_t)offset - LOCAL_SIZE;
    size_t name_len = nib__le16(p + 26), extra_len = nib__le16(p + 28);
    if (name_len + extra_len > left || name_len != e->name_len ||
        memcmp(p + LOCAL_SIZE, e->name, name_len) != 0)
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "the local header has another name");
    uint64_t packed = nib__le32(p + 18), full = nib__le32(p + 22);
    uint64_t *values[3] = {&full, &packed, NULL};
    if (!read_zip64(p + LOCAL_SIZE + name_len, extra_len, values))
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "a zip64 field is missing or too short");
    bool later = (nib__le16(p + 6) & FLAG_DESCRIPTOR) != 0 && packed == 0 && full == 0;
    if (nib__le16(p + 8) != 0 || (!later && (packed != size || full != size)))
        return fail_entry(zip, err, NIB_ERR_FORMAT, e,
                          "the local header has another size or compression");
    left -= name_len + extra_len;
    if (size > left)
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "its data reaches into the directory");
    e->start = (size_t)offset;
    e->data = p + LOCAL_SIZE + name_len + extra_len;
    e->size = (size_t)size;
    return NIB_OK;
}

static nib_status read_entry(const nib__zip *zip, nib__cursor *c, size_t limit, nib__zip_entry *e,
                             nib_error *err)
{
    size_t at = c->at;
    const uint8_t *p = nib__cursor_take(c, CENTRAL_SIZE);
    if (p == NULL || nib__le32(p) != CENTRAL)
        return fail(zip, err, limit + at, "expected an entry of the directory");
    size_t extra_len = nib__le16(p + 30);
    e->name_len = nib__le16(p + 28);
    e->name = (const char *)nib__cursor_take(c, e->name_len);
    const uint8_t *extra = nib__cursor_take(c, extra_len);
    (void)nib__cursor_take(c, nib__le16(p + 32)); /* comment */
    if (c->failed || e->name_len == 0)
        return fail(zip, err, limit + at, "the directory ends inside an entry, or one has no name");
    if ((nib__le16(p + 8) & FLAG_ENCRYPTED) != 0)
        return fail_entry(zip, err, NIB_ERR_UNSUPPORTED, e, "it is encrypted");
    if (nib__le16(p + 10) != 0)
        return fail_entry(zip, err, NIB_ERR_UNSUPPORTED, e,
                          "it is compressed; PyTorch stores without compression");
    uint64_t packed = nib__le32(p + 20), full = nib__le32(p + 24), offset = nib__le32(p + 42);
    uint64_t *values[3] = {&full, &packed, &offset};
    if (!read_zip64(extra, extra_len, values))
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "a zip64 field is missing or too short");
    if (packed != full)
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "two sizes, though it is not compressed");
    return read_local(zip, e, offset, full, limit, err);
}

/* ---- order ---- */

static int compare_texts(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);
    return order != 0 ? order : (na > nb) - (na < nb);
}

static int compare_names(const void *ctx, uint32_t a, uint32_t b)
{
    const nib__zip_entry *x = (const nib__zip_entry *)ctx + a;
    const nib__zip_entry *y = (const nib__zip_entry *)ctx + b;
    return compare_texts(x->name, x->name_len, y->name, y->name_len);
}

static int compare_starts(const void *ctx, uint32_t a, uint32_t b)
{
    const nib__zip_entry *x = (const nib__zip_entry *)ctx + a;
    const nib__zip_entry *y = (const nib__zip_entry *)ctx + b;
    return (x->start > y->start) - (x->start < y->start);
}

/* No two entries of one name, or with a byte in common. */
static nib_status check_entries(nib__zip *zip, nib_error *err)
{
    for (uint32_t i = 0; i < zip->n; i++) zip->by_name[i] = i;
    nib__sort_index(zip->by_name, zip->n, compare_starts, zip->entries);
    for (size_t i = 1; i < zip->n; i++) {
        const nib__zip_entry *before = &zip->entries[zip->by_name[i - 1]];
        const nib__zip_entry *e = &zip->entries[zip->by_name[i]];
        if ((size_t)(before->data - zip->shard->map.data) + before->size <= e->start) continue;
        return fail_entry(zip, err, NIB_ERR_FORMAT, e, "it shares bytes with another entry");
    }
    nib__sort_index(zip->by_name, zip->n, compare_names, zip->entries);
    for (size_t i = 1; i < zip->n; i++) {
        if (compare_names(zip->entries, zip->by_name[i - 1], zip->by_name[i]) != 0) continue;
        return fail_entry(zip, err, NIB_ERR_FORMAT, &zip->entries[zip->by_name[i]],
                          "it appears twice");
    }
    return NIB_OK;
}

nib_status nib__zip_open(const nib_allocator *mem, const nib__shard *shard, nib__zip *zip,
                         nib_error *err)
{
    directory d = {0};
    *zip = (nib__zip){.shard = shard, .mem = *mem};
    nib_status status = read_end(zip, &d, err);
    if (status != NIB_OK) return status;
    if (d.n == 0) return fail(zip, err, d.offset, "the archive is empty");
    zip->entries = nib__alloc_raw(mem, (size_t)d.n, sizeof *zip->entries);
    zip->by_name = nib__alloc_raw(mem, (size_t)d.n, sizeof *zip->by_name);
    if (zip->entries == NULL || zip->by_name == NULL) {
        return nib__shard_fail(shard, err, NIB_ERR_MEMORY, "out of memory for %llu entries",
                               (unsigned long long)d.n);
    }
    nib__cursor c = {shard->map.data + d.offset, (size_t)d.size, 0, false};
    for (; zip->n < d.n; zip->n++) {
        status = read_entry(zip, &c, (size_t)d.offset, &zip->entries[zip->n], err);
        if (status != NIB_OK) return status;
    }
    if (nib__cursor_left(&c) != 0)
        return fail(zip, err, d.offset + c.at, "the directory has more than its entries");
    return check_entries(zip, err);
}

void nib__zip_free(nib__zip *zip)
{
    nib__free(&zip->mem, zip->entries);
    nib__free(&zip->mem, zip->by_name);
    zip->entries = NULL;
    zip->by_name = NULL;
}

const nib__zip_entry *nib__zip_find(const nib__zip *zip, const char *prefix, size_t prefix_len,
                                    const char *name, size_t name_len)
{
    size_t low = 0, high = zip->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const nib__zip_entry *e = &zip->entries[zip->by_name[middle]];
        size_t head = e->name_len < prefix_len ? e->name_len : prefix_len;
        int order = compare_texts(prefix, prefix_len, e->name, head);
        if (order == 0) order = compare_texts(name, name_len, e->name + head, e->name_len - head);
        if (order == 0) return e;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
