/* SPDX-License-Identifier: MIT
 * Memory of keys and values. One head of one layer is one run of memory:
 *     k [capacity/16][dim][16]   v [capacity][dim]   q8 only: k_scale [capacity]   v_scale
 * [capacity] so that a piece of attention work reads two streams. */
#include <string.h>

#include "nn/nn.h"

typedef struct head_shape {
    size_t k, v, scale; /* bytes of each part */
    size_t total;
    bool overflow;
} head_shape;

static uint32_t round_capacity(uint32_t capacity)
{
    return capacity > UINT32_MAX - 15 ? UINT32_MAX & ~15u : (capacity + 15) & ~15u;
}

size_t nib__kv_element(uint32_t type)
{
    return type == NIB_KV_Q8     ? sizeof(int8_t)
           : type == NIB__KV_F32 ? sizeof(float)
                                 : sizeof(uint16_t);
}

/* Sizes by arena, which checks them. */
static head_shape shape_of(uint32_t head_dim, uint32_t capacity, uint32_t type)
{
    size_t element = nib__kv_element(type);
    nib__arena arena = {.base = NULL};
    head_shape shape;
    nib__arena_take(&arena, capacity, head_dim * element);
    shape.k = arena.used;
    nib__arena_take(&arena, capacity, head_dim * element);
    shape.v = arena.used - shape.k;
    if (type == NIB_KV_Q8) nib__arena_take(&arena, capacity, sizeof(float));
    shape.scale = arena.used - shape.k - shape.v;
    if (type == NIB_KV_Q8) nib__arena_take(&arena, capacity, sizeof(float));
    shape.total = arena.used;
    shape.overflow = arena.overflow;
    return shape;
}

size_t nib__kv_bytes(const nib__config *config, uint32_t capacity, uint32_t type)
{
    head_shape shape = shape_of(config->head_dim, round_capacity(capacity), type);
    size_t bytes;
    if (shape.overflow ||
        !nib__mul(shape.total, (size_t)config->n_layer * config->n_head_kv, &bytes))
        return SIZE_MAX;
    return bytes;
}

uint32_t nib__kv_type(const nib_model *model, uint32_t option)
{
    /* A cache of 11 bits would be the coarsest step of a model that is float32 everywhere else. */
    bool plain = model->kinds == 1u << NIB__WEIGHTS_F32;
    bool exact = model->precision == NIB_PRECISION_F32 || plain;
    return exact && option == NIB_KV_F16 ? NIB__KV_F32 : option;
}

nib_status nib__kv_init(nib__kv *kv, const nib_allocator *mem, const nib__config *config,
                        uint32_t capacity, uint32_t type, nib_error *err)
{
    if (type != NIB_KV_F16 && type != NIB_KV_Q8 && type != NIB__KV_F32) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "kv_type: expected 0 (f16) or 1 (q8), got %u",
                         type);
    }
    size_t bytes = nib__kv_bytes(config, capacity, type);
    uint8_t *data = bytes == SIZE_MAX ? NULL : nib__alloc_raw(mem, bytes, 1);
    if (data == NULL) {
        return nib__fail(err, NIB_ERR_MEMORY,
                         "out of memory for keys and values of %u positions "
                         "(%zu bytes)",
                         capacity, bytes);
    }
    nib__mem_sparse(mem, data, bytes);
    *kv = (nib__kv){
        .mem = *mem,
        .n_layer = config->n_layer,
        .n_head_kv = config->n_head_kv,
        .head_dim = config->head_dim,
        .capacity = round_capacity(capacity),
        .type = type,
        .data = data,
    };
    kv->head_bytes = shape_of(kv->head_dim, kv->capacity, type).total;
    return NIB_OK;
}

void nib__kv_free(nib__kv *kv)
{
    if (kv->data != NULL) nib__free(&kv->mem, kv->data);
    *kv = (nib__kv){.data = NULL};
}

nib__kv_head nib__kv_view(const nib__kv *kv, uint32_t layer, uint32_t head)
{
    head_shape shape = shape_of(kv->head_dim, kv->capacity, kv->type);
    uint8_t *base = kv->data + ((size_t)layer * kv->n_head_kv + head) * kv->head_bytes;
    nib__kv_head view = {.k = base, .v = base + shape.k, .dim = kv->head_dim, .type = kv->type};
    if (kv->type == NIB_KV_Q8) {
        view.k_scale = (float *)(void *)(base + shape.k + shape.v);
        view.v_scale = (float *)(void *)(base + shape.k + shape.v + shape.scale);
    }
    return view;
}

/* Keys lie in whole blocks of 16 positions. */
static void copy_head(const nib__kv_head *to, const nib__kv_head *from, size_t first, size_t end)
{
    size_t row = from->dim * nib__kv_element(from->type), keys = first & ~(size_t)15;
    uint8_t *k = to->k, *v = to->v;
    const uint8_t *old_k = from->k, *old_v = from->v;
    memcpy(k + keys * row, old_k + keys * row, (nib__align_up(end, 16) - keys) * row);
    memcpy(v + first * row, old_v + first * row, (end - first) * row);
    if (from->type != NIB_KV_Q8) return;
    memcpy(to->k_scale + first, from->k_scale + first, (end - first) * sizeof(float));
    memcpy(to->v_scale + first, from->v_scale + first, (end - first) * sizeof(float));
}

void nib__kv_copy_layer(const nib__kv *to, const nib__kv *from, uint32_t layer, uint32_t first,
                        uint32_t end)
{
    if (first >= end) return;
    for (uint32_t head = 0; head < from->n_head_kv; head++) {
        nib__kv_head a = nib__kv_view(to, layer, head), b = nib__kv_view(from, layer, head);
        copy_head(&a, &b, first, end);
    }
}

void nib__kv_copy(const nib__kv *to, const nib__kv *from, uint32_t first, uint32_t end)
{
    for (uint32_t layer = 0; layer < from->n_layer; layer++)
        nib__kv_copy_layer(to, from, layer, first, end);
}
