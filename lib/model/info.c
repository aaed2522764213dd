/* SPDX-License-Identifier: MIT
 * What a model tells about itself. */
#include <string.h>

#include "model/model.h"

/* A name from a file, fit to be shown: control characters become spaces. */
static void copy_name(char *out, size_t cap, nib__str name)
{
    size_t len = name.len < cap - 1 ? name.len : cap - 1;
    /* Do not cut a UTF-8 sequence in half. */
    if (len < name.len) {
        while (len > 0 && ((uint8_t)name.data[len] & 0xc0) == 0x80) len--;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)name.data[i];
        out[i] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    out[len] = '\0';
}

/* What the file calls the model; of a directory that does not say, its own name. */
static nib__str name_of(const nib__source *source)
{
    nib__str name = {"", 0};
    if (nib__source_naming(source) == NIB__NAMING_GGUF) {
        (void)nib__meta_str(source, "general.name", &name, NULL);
        return name;
    }
    (void)nib__meta_str(source, "_name_or_path", &name, NULL);
    if (name.len != 0) return name;
    const char *path = nib__source_path(source);
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    return (nib__str){path + start, end - start};
}

/* "Q4_K:169 Q6_K:29 F32:141", in the order of first appearance. */
static void list_formats(const nib__source *source, char *text, size_t cap)
{
    enum { MAX = 64 };
    const nib__format_info *formats[MAX];
    uint32_t counts[MAX] = {0}, n_formats = 0;
    size_t n = nib__source_tensor_count(source);
    for (size_t i = 0; i < n; i++) {
        const nib__format_info *format = nib__source_tensor_at(source, i)->format;
        uint32_t f = 0;
        while (f < n_formats && formats[f] != format) f++;
        if (f == MAX) continue;
        if (f == n_formats) formats[n_formats++] = format;
        counts[f]++;
    }
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t f = 0; f < n_formats; f++) {
        len += nib__text(text + len, cap - len, "%s%s:%u", f == 0 ? "" : " ", formats[f]->name,
                         counts[f]);
    }
}

void nib__model_info(const nib_model *model, nib_model_info *info)
{
    const nib__config *c = &model->config;
    info->n_layer = c->n_layer;
    info->n_embd = c->n_embd;
    info->n_head = c->n_head;
    info->n_head_kv = c->n_head_kv;
    info->head_dim = c->head_dim;
    info->n_ff = c->n_ff;
    info->n_vocab = c->n_vocab;
    info->n_ctx_train = c->n_ctx_train;
    info->fim_family = model->fim_family;
    info->n_params = model->n_params;
    info->cache = model->cache;
    memcpy(info->cache_note, model->cache_note, sizeof model->cache_note);
    info->file_bytes = model->file_bytes;
    info->weight_bytes = model->weight_bytes;
    info->kind = c->both_ways             ? NIB_MODEL_ENCODER
                 : model->encoder != NULL ? NIB_MODEL_ENCODER_DECODER
                                          : NIB_MODEL_DECODER;
    info->n_encoder_layer = c->both_ways             ? c->n_layer
                            : model->encoder != NULL ? model->encoder->config.n_layer
                                                     : 0;
    info->start_id = c->start_id;
    info->repacked = (uint32_t)nib__source_repacked(model->source);
    info->kv_bytes_per_token =
        (uint64_t)c->n_layer * c->n_head_kv * c->head_dim * 2 * sizeof(uint16_t);
    nib__text(info->architecture, sizeof info->architecture, "%s", c->arch);
    copy_name(info->name, sizeof info->name, name_of(model->source));
    list_formats(model->source, info->formats, sizeof info->formats);
    nib__text(info->tokenizer, sizeof info->tokenizer, "%s", nib__tokenizer_name(model->tokenizer));
    nib__text(info->isa, sizeof info->isa, "%s", nib__isa_name(model->kernels.isa));
}
