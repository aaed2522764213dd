/* SPDX-License-Identifier: MIT
 * A checkpoint of torch.save (PyTorch 1.6 and later): a zip archive -> checked tensors.
 *
 *   ROOT/data.pkl    pickle of the state dict: names, and for each tensor its storage, offset,
 * shape and strides ROOT/data/KEY    the bytes of one storage ROOT/byteorder   "little", from
 * PyTorch 2.1 on
 *
 * Tensors may share a storage (tied weights, views); nothing is copied but views whose rows do not
 * follow each other (a matrix that was turned before it was saved). */
#include <string.h>

#include "file/pickle.h"
#include "file/source_private.h"
#include "file/zip.h"

enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, SIZE, FIRST_STORAGE };

/* All that a pickle may name. The order is that of the enum, then dtypes[]. */
static const nib__pickle_global globals[] = {
    {"collections", "OrderedDict", true},
    {"torch._utils", "_rebuild_tensor_v2", false},
    {"torch._utils", "_rebuild_parameter", false},
    {"torch", "Size", false},
    {"torch", "FloatStorage", false},
    {"torch", "HalfStorage", false},
    {"torch", "BFloat16Storage", false},
    {"torch", "DoubleStorage", false},
    {"torch", "LongStorage", false},
    {"torch", "IntStorage", false},
    {"torch", "ShortStorage", false},
    {"torch", "CharStorage", false},
    {"torch", "ByteStorage", false},
    {"torch", "BoolStorage", false},
    {"torch", "ComplexFloatStorage", false},
};
enum { N_GLOBALS = sizeof globals / sizeof globals[0] };

static const char *const dtypes[N_GLOBALS - FIRST_STORAGE] = {
    "F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL", "C64"};

typedef struct reader {
    nib__source *source;
    nib__shard *shard;
    uint32_t part;
    nib__zip zip;
    nib__pickle pickle;
    char *storages; /* "ROOT/data/" */
    nib_error *err;
} reader;

/* ---- the file ---- */

static bool begins_with(const nib__map *map, size_t at, const char *text, size_t len)
{
    return map->size >= at + len && memcmp(map->data + at, text, len) == 0;
}

/* Files that people have under this name; NULL: it may be a zip archive. */
static const char *why_not(const nib__map *map)
{
    if (begins_with(map, 0, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15) ||
        begins_with(map, 257, "ustar", 5)) {
        return "PyTorch's format from before version 1.6; load it with PyTorch and save it again "
               "with torch.save, or as safetensors";
    }
    if (begins_with(map, 0, "version https://git-lfs", 23))
        return "expected a PyTorch checkpoint, got a Git LFS pointer; fetch the file itself";
    if (begins_with(map, 0, "\x89HDF\r\n", 6))
        return "expected a PyTorch checkpoint, got HDF5 (TensorFlow)";
    if (!begins_with(map, 0, "PK\3\4", 4)) return "expected a PyTorch checkpoint (a zip archive)";
    return NULL;
}

static bool ends_with(const nib__zip_entry *e, const char *text)
{
    size_t len = strlen(text);
    return e->name_len > len && memcmp(e->name + e->name_len - len, text, len) == 0;
}

/* The entry ROOT/data.pkl, where ROOT has no slash. */
static nib_status find_pickle(reader *r, const nib__zip_entry **pickle)
{
    static const char name[] = "/data.pkl";
    const nib__zip_entry *found = NULL;
    for (size_t i = 0; i < r->zip.n; i++) {
        const nib__zip_entry *e = &r->zip.entries[i];
        if (!ends_with(e, name) || memchr(e->name, '/', e->name_len - (sizeof name - 1)) != NULL)
            continue;
        if (found != NULL)
            return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT, "two entries data.pkl");
        found = e;
    }
    if (found == NULL) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "expected a PyTorch checkpoint, but the archive has no data.pkl");
    }
    size_t root = found->name_len - (sizeof name - 1);
    r->storages = nib__alloc(&r->source->mem, root + sizeof "/data/", 1);
    if (r->storages == NULL)
        return nib__shard_fail(r->shard, r->err, NIB_ERR_MEMORY, "out of memory");
    memcpy(r->storages, found->name, root);
    memcpy(r->storages + root, "/data/", sizeof "/data/");
    *pickle = found;
    return NIB_OK;
}

static nib_status check_byte_order(const reader *r)
{
    size_t root = strlen(r->storages) - strlen("data/");
    const nib__zip_entry *e =
        nib__zip_find(&r->zip, r->storages, root, "byteorder", strlen("byteorder"));
    if (e == NULL || (e->size == 6 && memcmp(e->data, "little", 6) == 0)) return NIB_OK;
    return nib__shard_fail(r->shard, r->err, NIB_ERR_UNSUPPORTED,
                           "byteorder: only little-endian checkpoints are supported");
}

/* ---- one tensor ---- */

static nib_status bad_tensor(const reader *r, const nib__pickle_value *name, nib_status code,
                             const char *what)
{
    nib__shown shown = nib__show(name->text, name->n);
    return nib__shard_fail(r->shard, r->err, code, "tensor %s: %s", shown.text, what);
}

/* Parameters are tensors in a wrapper; NULL if it is no tensor at all. */
static const nib__pickle_value *tensor_call(const nib__pickle *p, const nib__pickle_value *v)
{
    while (v != NULL && v->type == NIB__PICKLE_CALL && v->global == REBUILD_PARAMETER)
        v = nib__pickle_item(p, v, 0);
    return v != NULL && v->type == NIB__PICKLE_CALL && v->global == REBUILD_TENSOR ? v : NULL;
}

/* false: no integer of 0 or more */
static bool size_of(const nib__pickle_value *v, size_t *size)
{
    if (v == NULL || v->type != NIB__PICKLE_INT || v->integer < 0 ||
        (uint64_t)v->integer > SIZE_MAX)
        return false;
    *size = (size_t)v->integer;
    return true;
}

/* A tuple of sizes, or torch.Size of one: sizes[n], of which at most NIB__MAX_DIMS are written. */
static bool sizes_of(const nib__pickle *p, const nib__pickle_value *v, size_t *sizes, size_t *n)
{
    if (v != NULL && v->type == NIB__PICKLE_CALL && v->global == SIZE)
        v = nib__pickle_item(p, v, 0);
    if (v == NULL || v->type != NIB__PICKLE_TUPLE) return false;
    *n = v->n;
    for (size_t i = 0; i < v->n && i < NIB__MAX_DIMS; i++) {
        if (!size_of(nib__pickle_item(p, v, i), &sizes[i])) return false;
    }
    return true;
}

/* The bytes of a storage: ('storage', torch.XStorage, key, location, number of elements). */
static nib_status find_storage(const reader *r, const nib__pickle_value *name,
                               const nib__pickle_value *id, const nib__format_info **format,
                               const nib__zip_entry **bytes, size_t *n_elements)
{
    const nib__pickle *p = &r->pickle;
    if (id == NULL || id->type != NIB__PICKLE_STORED || id->n != 5)
        return bad_tensor(r, name, NIB_ERR_FORMAT, "expected a storage of five fields");
    const nib__pickle_value *tag = nib__pickle_item(p, id, 0), *type = nib__pickle_item(p, id, 1);
    const nib__pickle_value *key = nib__pickle_item(p, id, 2);
    if (tag->type != NIB__PICKLE_TEXT || tag->n != 7 || memcmp(tag->text, "storage", 7) != 0 ||
        type->type != NIB__PICKLE_GLOBAL || type->global < FIRST_STORAGE ||
        key->type != NIB__PICKLE_TEXT || !size_of(nib__pickle_item(p, id, 4), n_elements))
        return bad_tensor(r, name, NIB_ERR_FORMAT,
                          "expected a storage: 'storage', its type, key, place and size");
    const char *dtype = dtypes[type->global - FIRST_STORAGE];
    *format = nib__dtype_find(dtype, strlen(dtype));
    *bytes = nib__zip_find(&r->zip, r->storages, strlen(r->storages), key->text, key->n);
    nib__shown shown = nib__show(name->text, name->n), which = nib__show(key->text, key->n);
    if (*bytes == NULL) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "tensor %s: the archive has no entry data/%s", shown.text,
                               which.text);
    }
    size_t size;
    if (nib__mul(*n_elements, (*format)->block_bytes, &size) && size == (*bytes)->size)
        return NIB_OK;
    return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                           "tensor %s: data/%s: expected %zu elements of %s, got %zu bytes",
                           shown.text, which.text, *n_elements, (*format)->name, (*bytes)->size);
}

/* Rows one after the other, as a tensor is unless it is a view of another. */
static bool is_contiguous(const size_t *shape, const size_t *strides, size_t n)
{
    size_t expected = 1;
    for (size_t i = n; i-- > 0;) {
        if (shape[i] == 0) return true;
        if (shape[i] != 1 && strides[i] != expected) return false;
        expected *= shape[i]; /* the product was checked */
    }
    return true;
}

/* The place behind the last element that a view has in its storage; false: beyond all. */
static bool view_end(const size_t *shape, const size_t *strides, size_t n, size_t offset,
                     size_t *end)
{
    *end = offset;
    for (size_t i = 0; i < n; i++) {
        size_t reach;
        if (!nib__mul(shape[i] - 1, strides[i], &reach) || !nib__add(*end, reach, end))
            return false;
    }
    return nib__add(*end, 1, end);
}

/* The elements of a view, of which `first` is the first, in their order. */
static void copy_view(const uint8_t *first, size_t block, const size_t *shape,
                      const size_t *strides, size_t n, uint8_t *out, size_t size)
{
    size_t index[NIB__MAX_DIMS] = {0}, at = 0;
    for (const uint8_t *end = out + size; out < end; out += block) {
        memcpy(out, first + at * block, block);
        for (size_t i = n; i-- > 0;) {
            at += strides[i];
            if (++index[i] < shape[i]) break;
            at -= strides[i] * shape[i];
            index[i] = 0;
        }
    }
}

/* Makes t->data of a view that cannot be used where it lies. Views can repeat what a storage has
 * once: all copies together are at most as large as the file. */
static nib_status read_view(const reader *r, const nib__pickle_value *name, const uint8_t *first,
                            const size_t *shape, const size_t *strides, size_t n, nib__tensor *t)
{
    nib__shard *shard = r->shard;
    if (t->size > shard->map.size - shard->copied)
        return bad_tensor(r, name, NIB_ERR_LIMIT,
                          "views whose rows do not follow each other are larger than the file; "
                          "save it again after .contiguous()");
    nib__copy *copy = nib__alloc_raw(&r->source->mem, 1, sizeof *copy + t->size);
    if (copy == NULL) return bad_tensor(r, name, NIB_ERR_MEMORY, "out of memory for a view");
    *copy = (nib__copy){shard->copies, t->size};
    shard->copies = copy;
    shard->copied += t->size;
    uint8_t *data = (uint8_t *)(copy + 1);
    copy_view(first, t->format->block_bytes, shape, strides, n, data, t->size);
    t->data = data;
    t->copied = true;
    return NIB_OK;
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks) */
static nib_status read_tensor(const reader *r, const nib__pickle_value *name,
                              const nib__pickle_value *call, nib__tensor *t)
{
    const nib__pickle *p = &r->pickle;
    const nib__format_info *format = NULL;
    const nib__zip_entry *bytes = NULL;
    size_t shape[NIB__MAX_DIMS], strides[NIB__MAX_DIMS], n, n_strides, offset, stored = 0;
    nib_status status =
        find_storage(r, name, nib__pickle_item(p, call, 0), &format, &bytes, &stored);
    if (status != NIB_OK) return status;
    if (!size_of(nib__pickle_item(p, call, 1), &offset) ||
        !sizes_of(p, nib__pickle_item(p, call, 2), shape, &n) ||
        !sizes_of(p, nib__pickle_item(p, call, 3), strides, &n_strides) || n != n_strides)
        return bad_tensor(r, name, NIB_ERR_FORMAT, "expected an offset, a shape and its strides");
    if (n > NIB__MAX_DIMS)
        return bad_tensor(r, name, NIB_ERR_UNSUPPORTED, "more than 4 dimensions");
    if (!nib__tensor_set_shape(t, format, shape, n))
        return bad_tensor(r, name, NIB_ERR_FORMAT, "shape: the product does not fit 64 bits");
    size_t end = 0;
    bool in_order = is_contiguous(shape, strides, n);
    bool fits = in_order ? nib__add(offset, t->size / format->block_bytes, &end)
                         : view_end(shape, strides, n, offset, &end);
    if (!fits || end > stored)
        return bad_tensor(r, name, NIB_ERR_FORMAT, "offset and shape reach beyond its storage");
    t->data = bytes->data + offset * format->block_bytes;
    t->part = r->part;
    return in_order ? NIB_OK : read_view(r, name, t->data, shape, strides, n, t);
}

/* ---- the state dict ---- */

/* Trainers wrap it: the first member of such a name that is a dictionary, if there is no tensor. */
static const nib__pickle_value *state_dict(const nib__pickle *p)
{
    static const char *const names[] = {"state_dict", "model_state_dict", "model", "module"};
    const nib__pickle_node *node = nib__pickle_first(p, &p->root);
    for (; node != NULL; node = nib__pickle_next(p, node)) {
        if (tensor_call(p, &node->value) != NULL) return &p->root;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        node = nib__pickle_first(p, &p->root);
        for (; node != NULL; node = nib__pickle_next(p, node)) {
            const nib__pickle_value *key = &node->key;
            if (key->type == NIB__PICKLE_TEXT && key->n == strlen(names[i]) &&
                memcmp(key->text, names[i], key->n) == 0 && node->value.type == NIB__PICKLE_DICT)
                return &node->value;
        }
    }
    return &p->root;
}

static nib_status count_tensors(const reader *r, const nib__pickle_value *dict, size_t *n,
                                size_t *names)
{
    const nib__pickle *p = &r->pickle;
    const nib__pickle_node *node = nib__pickle_first(p, dict);
    *n = *names = 0;
    if (dict->type != NIB__PICKLE_DICT) node = NULL;
    for (; node != NULL; node = nib__pickle_next(p, node)) {
        if (tensor_call(p, &node->value) == NULL) continue; /* an epoch, a version */
        const nib__pickle_value *key = &node->key;
        if (key->type != NIB__PICKLE_TEXT || key->n == 0 || memchr(key->text, 0, key->n) != NULL) {
            return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                                   "a tensor whose name is not 1 byte or more, without NUL");
        }
        ++*n;
        if (!nib__add(*names, (size_t)key->n + 1, names))
            return nib__shard_fail(r->shard, r->err, NIB_ERR_MEMORY, "out of memory for names");
    }
    if (*n == 0) {
        return nib__shard_fail(r->shard, r->err, NIB_ERR_FORMAT,
                               "data.pkl: expected a state dict: a dictionary of tensors");
    }
    if (*n <= NIB__HF_MAX_TENSORS - r->source->n_tensors) return NIB_OK;
    return nib__shard_fail(r->shard, r->err, NIB_ERR_LIMIT, "expected at most %d tensors",
                           NIB__HF_MAX_TENSORS);
}

static nib_status read_tensors(const reader *r)
{
    const nib__pickle *p = &r->pickle;
    const nib__pickle_value *dict = state_dict(p);
    size_t n, names;
    nib_status status = count_tensors(r, dict, &n, &names);
    if (status == NIB_OK) status = nib__source_reserve(r->source, n, r->err);
    if (status != NIB_OK) return status;
    char *at = r->shard->names = nib__alloc_raw(&r->source->mem, names, 1);
    if (at == NULL)
        return nib__shard_fail(r->shard, r->err, NIB_ERR_MEMORY, "out of memory for names");
    const nib__pickle_node *node = nib__pickle_first(p, dict);
    for (; node != NULL; node = nib__pickle_next(p, node)) {
        const nib__pickle_value *call = tensor_call(p, &node->value), *key = &node->key;
        nib__tensor tensor = {0};
        if (call == NULL) continue;
        status = read_tensor(r, key, call, &tensor);
        if (status != NIB_OK) return status;
        if (tensor.size == 0) {
            r->source->hf->n_empty++;
            continue;
        }
        tensor.name = at;
        memcpy(at, key->text, key->n);
        at[key->n] = '\0';
        at += key->n + 1;
        r->source->tensors[r->source->n_tensors++] = tensor;
    }
    return NIB_OK;
}

nib_status nib__torch_read(nib__source *source, uint32_t part, nib_error *err)
{
    reader r = {.source = source, .shard = &source->hf->shards[part], .part = part, .err = err};
    const char *why = why_not(&r.shard->map);
    if (why != NULL) return nib__shard_fail(r.shard, err, NIB_ERR_UNSUPPORTED, "%s", why);
    const nib__zip_entry *pickle = NULL;
    r.pickle.mem = source->mem;
    nib_status status = nib__zip_open(&source->mem, r.shard, &r.zip, err);
    if (status == NIB_OK) status = find_pickle(&r, &pickle);
    if (status == NIB_OK) status = check_byte_order(&r);
    if (status == NIB_OK) {
        status = nib__pickle_read(&source->mem, r.shard, "data.pkl", pickle->data, pickle->size,
                                  globals, N_GLOBALS, &r.pickle, err);
    }
    if (status == NIB_OK) status = read_tensors(&r);
    nib__pickle_free(&r.pickle);
    nib__zip_free(&r.zip);
    nib__free(&source->mem, r.storages);
    return status;
}
