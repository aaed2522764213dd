/* SPDX-License-Identifier: MIT
 * Uses everything that an opened source offers. */
#include "gguf_walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"

static const char *const keys[] = {"general.architecture",
                                   "general.alignment",
                                   "general.name",
                                   "general.file_type",
                                   "llama.block_count",
                                   "llama.context_length",
                                   "llama.embedding_length",
                                   "llama.feed_forward_length",
                                   "llama.attention.head_count",
                                   "llama.attention.head_count_kv",
                                   "llama.attention.layer_norm_rms_epsilon",
                                   "llama.rope.freq_base",
                                   "llama.rope.scaling.type",
                                   "llama.rope.scaling.factor",
                                   "qwen2.block_count",
                                   "tokenizer.ggml.model",
                                   "tokenizer.ggml.pre",
                                   "tokenizer.ggml.tokens",
                                   "tokenizer.ggml.token_type",
                                   "tokenizer.ggml.merges",
                                   "tokenizer.ggml.scores",
                                   "tokenizer.ggml.bos_token_id",
                                   "tokenizer.ggml.add_bos_token",
                                   "split.no",
                                   "split.count",
                                   "split.tensors.count",
                                   "n_layer",
                                   "hidden_act",
                                   "rope_scaling",
                                   "rope_scaling.factor",
                                   "eos_token_id",
                                   "architectures",
                                   "generation_config.eos_token_id",
                                   "a.b.c",
                                   "a.",
                                   ".",
                                   "a",
                                   "k",
                                   ""};

static void require(int condition)
{
    if (!condition) abort();
}

static uint64_t sum_bytes(const void *data, size_t size)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += ((const uint8_t *)data)[i];
    return sum;
}

static uint64_t walk_array(const nib__source *s, const char *key)
{
    uint64_t sum = 0;
    for (nib__meta_type type = NIB__META_U8; type <= NIB__META_F64; type++) {
        nib__array a;
        if (nib__meta_array(s, key, type, &a, NULL) != NIB_OK) continue;
        sum += sum_bytes(a.data, a.size);
        sum += nib__array_u32(&a, 0) + nib__array_u32(&a, a.count) + nib__array_u32(&a, UINT64_MAX);
        if (a.count > 0) sum += nib__array_u32(&a, a.count - 1);
        sum += nib__bits_of_f32(nib__array_f32(&a, a.count / 2));
        nib__str str;
        uint64_t n = 0;
        for (size_t at = 0; nib__array_next_str(&a, &at, &str); n++)
            sum += sum_bytes(str.data, str.len);
        require(n == (type == NIB__META_STRING ? a.count : 0));
    }
    return sum;
}

static uint64_t walk_key(const nib__source *s, const char *key)
{
    uint32_t u32 = 0;
    int64_t i64 = 0;
    float f32 = 0;
    int32_t flag = 0;
    nib__str str = {NULL, 0};
    nib_error err;
    int32_t type = nib__meta_type_of(s, key);
    int found = 0;
    found |= nib__meta_u32(s, key, &u32, &err) == NIB_OK;
    found |= nib__meta_i64(s, key, &i64, &err) == NIB_OK;
    found |= nib__meta_f32(s, key, &f32, &err) == NIB_OK;
    found |= nib__meta_bool(s, key, &flag, &err) == NIB_OK;
    found |= nib__meta_str(s, key, &str, &err) == NIB_OK;
    require(!found || type >= 0);
    require(flag == 0 || flag == 1);
    return u32 + (uint64_t)i64 + nib__bits_of_f32(f32) + sum_bytes(str.data, str.len) +
           walk_array(s, key);
}

static uint64_t walk_tensor(const nib__source *s, const nib__tensor *t)
{
    const nib__format_info *f = t->format;
    size_t elements = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    require(t->n_dims >= 1 && t->n_dims <= NIB__MAX_DIMS);
    require(t->ne[0] >= 1 && t->ne[1] >= 1 && t->ne[2] >= 1 && t->ne[3] >= 1);
    require(t->ne[0] % f->block == 0);
    require(t->size == elements / f->block * f->block_bytes);
    require(nib__source_tensor(s, t->name) == t);
    float block[256] = {0};
    require(!t->packed || nib__source_repacked(s));
    require(f->decode != NULL || nib__source_naming(s) == NIB__NAMING_HF);
    if (f->decode != NULL) f->decode(t->data, block, f->block);
    uint64_t sum = nib__bits_of_f32(block[0]);
    if (f->decode != NULL) f->decode(t->data + t->size - f->block_bytes, block, f->block);
    sum += nib__bits_of_f32(block[f->block - 1]);
    nib__source_drop(s, t, 0, t->size);
    return sum + sum_bytes(t->data, t->size) + strlen(t->name);
}

uint64_t gguf_walk(const nib__source *source)
{
    uint64_t sum = strlen(nib__source_path(source));
    for (size_t i = 0; i < nib__source_tensor_count(source); i++)
        sum += walk_tensor(source, nib__source_tensor_at(source, i));
    require(nib__source_tensor_at(source, nib__source_tensor_count(source)) == NULL);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) sum += walk_key(source, keys[i]);
    require(nib__source_check(source, NULL) == NIB_OK);
    return sum;
}
