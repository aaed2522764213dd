/* SPDX-License-Identifier: MIT
 * What each token stands for in running text. Byte-level BPE (Radford et al. 2019) spells a byte as
 * one printable character; SentencePiece spells a space as U+2581 and a lone byte as "<0x0A>". */
#include <string.h>

#include "token/unicode.h"
#include "token/vocab.h"

uint32_t nib__byte_char(uint8_t byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173)) return byte;
    if (byte <= 32) return 256u + byte;
    if (byte == 173) return 256 + 67;
    return 256u + 33 + (byte - 127u); /* 127 .. 160 */
}

/* The byte that a character stands for, or -1. */
static int32_t char_byte(uint32_t code)
{
    if ((code >= 33 && code <= 126) || (code >= 161 && code <= 255 && code != 173))
        return (int32_t)code;
    if (code >= 256 && code <= 256 + 32) return (int32_t)code - 256;
    if (code > 256 + 32 && code < 256 + 67) return (int32_t)code - 256 - 33 + 127;
    return code == 256 + 67 ? 173 : -1;
}

/* Each decoder writes at most text.len bytes and returns how many. */
size_t nib__decode_byte_level(nib__str text, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        uint32_t code;
        at += nib__utf8_next(text.data + at, text.len - at, &code);
        int32_t byte = char_byte(code);
        if (byte < 0) { /* not spelled in this alphabet: the text itself, as HF's decoder does */
            memcpy(out, text.data, text.len);
            return text.len;
        }
        out[n++] = (char)byte;
    }
    return n;
}

static size_t decode_spaces(nib__str text, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        if (text.len - at >= 3 && memcmp(text.data + at, NIB__SPM_SPACE, 3) == 0) {
            out[n++] = ' ';
            at += 3;
        } else {
            out[n++] = text.data[at++];
        }
    }
    return n;
}

static int32_t hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* "<0xHH>" as a byte, or -1. */
int32_t nib__hex_byte(nib__str text)
{
    if (text.len != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') return -1;
    int32_t high = hex_digit(text.data[3]), low = hex_digit(text.data[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static size_t decode(const nib__tokenizer *t, uint32_t id, char *out)
{
    nib__str text = nib__vocab_text(&t->vocab, id);
    switch (t->vocab.type[id]) {
    case NIB__TYPE_BYTE: {
        int32_t byte = nib__hex_byte(text);
        if (byte >= 0) {
            *out = (char)byte;
            return 1;
        }
        break;
    }
    case NIB__TYPE_CONTROL:
    case NIB__TYPE_UNKNOWN:
    case NIB__TYPE_USER: break;
    default: return t->byte_level ? nib__decode_byte_level(text, out) : decode_spaces(text, out);
    }
    memcpy(out, text.data, text.len);
    return text.len;
}

static void find_byte_tokens(nib__tokenizer *t)
{
    static const char HEX[] = "0123456789ABCDEF";
    nib__vocab *v = &t->vocab;
    for (uint32_t byte = 0; byte < 256; byte++) {
        char name[8] = {'<', '0', 'x', HEX[byte >> 4], HEX[byte & 15], '>'};
        size_t len = 6;
        if (t->byte_level) len = nib__utf8_put(nib__byte_char((uint8_t)byte), name);
        int32_t id = nib__vocab_find(v, name, len);
        /* A user-defined token of that spelling means the character, not the byte. */
        bool fits = id >= 0 &&
                    (t->byte_level ? v->type[id] != NIB__TYPE_USER : v->type[id] == NIB__TYPE_BYTE);
        v->byte_id[byte] = fits ? id : -1;
    }
}

nib_status nib__token_bytes_make(nib__tokenizer *t, nib_error *err)
{
    nib__vocab *v = &t->vocab;
    v->bytes.at = nib__alloc_raw(&t->mem, (size_t)v->n + 1, sizeof *v->bytes.at);
    v->bytes.data = nib__alloc_raw(&t->mem, (size_t)v->text.at[v->n] + 1, 1);
    if (v->bytes.at == NULL || v->bytes.data == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    size_t used = 0;
    for (uint32_t id = 0; id < v->n; id++) {
        v->bytes.at[id] = (uint32_t)used;
        size_t len = decode(t, id, v->bytes.data + used);
        if (len > v->max_bytes) v->max_bytes = len;
        used += len;
    }
    v->bytes.at[v->n] = (uint32_t)used;
    find_byte_tokens(t);
    return NIB_OK;
}
