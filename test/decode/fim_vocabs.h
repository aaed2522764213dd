/* SPDX-License-Identifier: MIT
 * Vocabularies with the markers of the families that fill in the middle, one token per byte. */
#ifndef TEST_DECODE_FIM_VOCABS_H
#define TEST_DECODE_FIM_VOCABS_H

#include "test.h"

#include "decode/fim.h"
#include "gguf_writer.h"

enum { N_BYTES = 256, MAX_MARKERS = 8, CONTROL = 3, USER_DEFINED = 4 };

/* A vocabulary of all bytes (id = byte) and then some markers. */
typedef struct vocab {
    const char *markers[MAX_MARKERS];
    uint32_t marker_type;
    uint32_t bos; /* 1: markers[0] is the begin-of-text token and is put in front */
} vocab;

/* The printable stand-in of a byte in byte-level vocabularies (GPT-2's encoder.py), as UTF-8. */
static void byte_text(unsigned byte, char text[4])
{
    unsigned code = 0, next = 256;
    for (unsigned b = 0; b <= byte; b++) {
        int printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        code = printable ? b : next++;
    }
    memset(text, 0, 4);
    if (code < 0x80) {
        text[0] = (char)code;
    } else {
        text[0] = (char)(0xc0 | code >> 6);
        text[1] = (char)(0x80 | (code & 63));
    }
}

static nib__tokenizer *make_tokenizer(const vocab *v, const nib_allocator *mem)
{
    char texts[N_BYTES][4];
    const char *tokens[N_BYTES + MAX_MARKERS];
    int32_t types[N_BYTES + MAX_MARKERS];
    size_t n = 0, size;
    for (; n < N_BYTES; n++) {
        byte_text((unsigned)n, texts[n]);
        tokens[n] = texts[n];
        types[n] = 1;
    }
    for (size_t i = 0; i < MAX_MARKERS && v->markers[i] != NULL; i++, n++) {
        tokens[n] = v->markers[i];
        types[n] = (int32_t)v->marker_type;
    }
    gguf_writer w;
    gguf_begin(&w);
    gguf_str(&w, "general.architecture", "llama");
    gguf_str(&w, "tokenizer.ggml.model", "gpt2");
    gguf_str(&w, "tokenizer.ggml.pre", "gpt-2");
    gguf_strs(&w, "tokenizer.ggml.tokens", tokens, n);
    gguf_i32s(&w, "tokenizer.ggml.token_type", types, n);
    gguf_strs(&w, "tokenizer.ggml.merges", NULL, 0);
    if (v->bos) {
        gguf_u32(&w, "tokenizer.ggml.bos_token_id", N_BYTES);
        gguf_u32(&w, "tokenizer.ggml.eos_token_id", N_BYTES);
        gguf_bool(&w, "tokenizer.ggml.add_bos_token", 1);
    }
    uint8_t *file = gguf_end(&w, &size);
    nib__source *source;
    nib_error err = {0};
    nib_allocator standard = nib__allocator(NULL);
    if (mem == NULL) mem = &standard;
    if (nib__source_open_memory(mem, file, size, &source, &err) != NIB_OK) fail_msg("%s", err.text);
    nib__tokenizer *t;
    if (nib__tokenizer_new(mem, source, &t, &err) != NIB_OK) fail_msg("%s", err.text);
    nib__source_close(source);
    free(file);
    return t;
}

/* The prompt as text, markers by their name. */
static char *render(const vocab *v, const nib__ids *ids)
{
    char *text = malloc(ids->count * 40 + 1);
    size_t len = 0;
    assert_non_null(text);
    for (size_t i = 0; i < ids->count; i++) {
        int32_t id = ids->items[i];
        if (id < N_BYTES) {
            text[len++] = (char)id;
        } else {
            const char *name = v->markers[id - N_BYTES];
            memcpy(text + len, name, strlen(name));
            len += strlen(name);
        }
    }
    text[len] = '\0';
    return text;
}

static const vocab qwen = {{"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
                            "<|repo_name|>", "<|file_sep|>"},
                           CONTROL,
                           0};
static const vocab codegemma = {
    {"<bos>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|file_separator|>"},
    CONTROL,
    1};
static const vocab starcoder = {
    {"<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<reponame>", "<filename>"},
    CONTROL,
    0};
static const vocab starcoder2 = {
    {"<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"},
    CONTROL,
    0};
static const vocab santacoder = {
    {"<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"}, CONTROL, 0};
static const vocab deepseek = {
    {"<s>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"}, USER_DEFINED, 1};
static const vocab codestral = {{"<s>", "[SUFFIX]", "[PREFIX]"}, CONTROL, 1};
static const vocab incoder = {
    {"<|endoftext|>", "<|mask:0|>", "<|mask:1|>", "<|endofmask|>"}, CONTROL, 1};
static const vocab codegen2 = {{"<|endoftext|>", "<mask_1>", "<sep>", "<eom>"}, CONTROL, 0};
static const vocab codellama = {{"<s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"}, CONTROL, 1};
static const vocab glm = {{"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"}, CONTROL, 0};
static const vocab plain = {{"<|endoftext|>"}, CONTROL, 0};

#endif
