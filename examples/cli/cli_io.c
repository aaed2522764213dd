/* SPDX-License-Identifier: MIT
 * Whole files, lists of ids, and the little JSON that the commands read and write. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int cli_append(cli_buffer *buffer, const void *data, size_t len)
{
    if (buffer->cap - buffer->len < len) {
        size_t cap = buffer->cap < 4096 ? 4096 : buffer->cap;
        while (cap - buffer->len < len) {
            if (cap > SIZE_MAX / 2) return cli_failed("out of memory");
            cap *= 2;
        }
        char *grown = realloc(buffer->data, cap);
        if (grown == NULL) return cli_failed("out of memory: %zu bytes", cap);
        buffer->data = grown;
        buffer->cap = cap;
    }
    if (len != 0) memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    return CLI_OK;
}

int cli_read_file(const char *path, cli_buffer *buffer)
{
    int standard = !strcmp(path, "-"), status = CLI_OK;
    FILE *file = standard ? stdin : fopen(path, "rb");
    char chunk[16384];
    if (file == NULL) return cli_failed("%s: %s", path, strerror(errno));
    while (status == CLI_OK) {
        size_t n = fread(chunk, 1, sizeof chunk, file);
        if (n == 0) break;
        status = cli_append(buffer, chunk, n);
    }
    if (status == CLI_OK && ferror(file)) status = cli_failed("%s: %s", path, strerror(errno));
    if (!standard) fclose(file);
    return status;
}

int cli_close_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    return cli_failed("standard output: %s", strerror(errno));
}

static int push_id(cli_buffer *buffer, long id)
{
    int32_t value = (int32_t)id;
    return cli_append(buffer, &value, sizeof value);
}

/* Numbers between blanks, commas and brackets, up to `end`. */
int cli_read_ids(const char *text, size_t len, int32_t **ids, size_t *n_ids)
{
    cli_buffer buffer = {0};
    int status = CLI_OK;
    size_t at = 0;
    while (status == CLI_OK) {
        while (at < len && text[at] != '\0' && strchr(" \t\r\n,[]", text[at]) != NULL) at++;
        if (at == len) break;
        long long value = 0;
        size_t start = at;
        while (at < len && text[at] >= '0' && text[at] <= '9' && value <= INT32_MAX)
            value = value * 10 + (text[at++] - '0');
        int ended = at == len || (text[at] != '\0' && strchr(" \t\r\n,[]", text[at]) != NULL);
        if (at == start || !ended || value > INT32_MAX) {
            status = cli_usage("expected token ids, got '%.*s'",
                               (int)(len - start < 20 ? len - start : 20), text + start);
        } else {
            status = push_id(&buffer, (long)value);
        }
    }
    if (status != CLI_OK) {
        free(buffer.data);
        return status;
    }
    *ids = (int32_t *)(void *)buffer.data;
    *n_ids = buffer.len / sizeof(int32_t);
    return CLI_OK;
}

/* Length of the valid UTF-8 sequence at text[0..len), 0 if there is none. Overlong forms,
 * surrogates and values above 10ffff are not valid (Unicode 15, table 3-7). */
static size_t utf8_len(const unsigned char *text, size_t len)
{
    unsigned char c = text[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 4;
    if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || n > len) return 0;
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
    }
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f)) return 0;
    if ((c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] > 0x8f)) return 0;
    return n;
}

void cli_json_string(FILE *out, const char *text, size_t len)
{
    const unsigned char *bytes = (const unsigned char *)text;
    fputc('"', out);
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(bytes + i, len - i);
        if (n == 0)
            fprintf(out, "\\udc%02x", bytes[i++]);
        else if (bytes[i] == '"' || bytes[i] == '\\')
            fprintf(out, "\\%c", bytes[i++]);
        else if (bytes[i] == '\n')
            fputs("\\n", out), i++;
        else if (bytes[i] == '\t')
            fputs("\\t", out), i++;
        else if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            fprintf(out, "\\u%04x", bytes[i++]);
        else {
            fwrite(bytes + i, 1, n, out);
            i += n;
        }
    }
    fputc('"', out);
}

/* ---- reading: a cursor over one line --------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
    size_t number; /* of the line */
} reader;

static int bad(const reader *r, const char *expected)
{
    return cli_failed("line %zu: %s expected", r->number, expected);
}

static void blanks(reader *r)
{
    while (r->at < r->end && strchr(" \t\r\n", *r->at) != NULL && *r->at != '\0') r->at++;
}

static int take(reader *r, char c)
{
    blanks(r);
    if (r->at == r->end || *r->at != c) return 0;
    r->at++;
    return 1;
}

static int hex4(reader *r, unsigned *value)
{
    *value = 0;
    if (r->end - r->at < 4) return 0;
    for (int i = 0; i < 4; i++) {
        char c = *r->at++;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16u;
        if (digit > 15) return 0;
        *value = *value << 4 | digit;
    }
    return 1;
}

static int put_code_point(cli_buffer *out, unsigned c)
{
    unsigned char b[4];
    size_t n = 0;
    if (c >= 0xdc80 && c <= 0xdcff) {
        b[n++] = (unsigned char)(c - 0xdc00); /* a byte that is not UTF-8 */
    } else if (c < 0x80) {
        b[n++] = (unsigned char)c;
    } else if (c < 0x800) {
        b[n++] = (unsigned char)(0xc0 | c >> 6);
        b[n++] = (unsigned char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        b[n++] = (unsigned char)(0xe0 | c >> 12);
        b[n++] = (unsigned char)(0x80 | (c >> 6 & 63));
        b[n++] = (unsigned char)(0x80 | (c & 63));
    } else {
        b[n++] = (unsigned char)(0xf0 | c >> 18);
        b[n++] = (unsigned char)(0x80 | (c >> 12 & 63));
        b[n++] = (unsigned char)(0x80 | (c >> 6 & 63));
        b[n++] = (unsigned char)(0x80 | (c & 63));
    }
    return cli_append(out, b, n);
}

/* After the backslash. */
static int read_escape(reader *r, cli_buffer *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at++ : '\0';
    const char *hit = c != '\0' ? strchr(from, c) : NULL;
    if (hit != NULL) return cli_append(out, &to[hit - from], 1);
    unsigned high, low;
    if (c != 'u' || !hex4(r, &high)) return bad(r, "a valid escape");
    if (high >= 0xd800 && high < 0xdc00) {
        const char *mark = r->at;
        if (r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
            r->at += 2;
            if (hex4(r, &low) && low >= 0xdc00 && low < 0xe000)
                return put_code_point(out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
        }
        r->at = mark;
    }
    return put_code_point(out, high);
}

static int read_string(reader *r, cli_buffer *out)
{
    if (!take(r, '"')) return bad(r, "a string");
    for (;;) {
        const char *start = r->at;
        while (r->at < r->end && *r->at != '"' && *r->at != '\\') r->at++;
        if (cli_append(out, start, (size_t)(r->at - start)) != CLI_OK) return CLI_FAILED;
        if (r->at == r->end) return bad(r, "the end of a string");
        if (*r->at++ == '"') return CLI_OK;
        if (read_escape(r, out) != CLI_OK) return CLI_FAILED;
    }
}

/* Any value, of which only the end matters: brackets are counted, strings are skipped. */
static int skip_value(reader *r)
{
    cli_buffer ignored = {0};
    size_t depth = 0;
    blanks(r);
    do {
        blanks(r);
        if (r->at == r->end) return bad(r, "a value");
        if (*r->at == '"') {
            int status = read_string(r, &ignored);
            free(ignored.data);
            ignored = (cli_buffer){0};
            if (status != CLI_OK) return status;
        } else if (*r->at == '[' || *r->at == '{') {
            depth++, r->at++;
        } else if (*r->at == ']' || *r->at == '}') {
            if (depth == 0) return bad(r, "a value");
            depth--, r->at++;
        } else if (depth > 0) {
            r->at++;
        } else {
            while (r->at < r->end && strchr(",} \t\r\n", *r->at) == NULL) r->at++;
        }
    } while (depth > 0);
    return CLI_OK;
}

/* Moves to the value of member `name`; CLI_FAILED if the line is not an object that has it. */
static int find_member(reader *r, const char *name)
{
    if (!take(r, '{')) return bad(r, "a JSON object");
    do {
        cli_buffer key = {0};
        int status = read_string(r, &key);
        int match = status == CLI_OK && key.len == strlen(name) && !memcmp(key.data, name, key.len);
        free(key.data);
        if (status != CLI_OK) return status;
        if (!take(r, ':')) return bad(r, "':'");
        if (match) return CLI_OK;
        if (skip_value(r) != CLI_OK) return CLI_FAILED;
    } while (take(r, ','));
    return cli_failed("line %zu: no member \"%s\"", r->number, name);
}

int cli_json_text(const char *line, size_t len, size_t number, cli_buffer *text)
{
    reader r = {line, line + len, number};
    int status = find_member(&r, "text");
    return status == CLI_OK ? read_string(&r, text) : status;
}

int cli_json_ids(const char *line, size_t len, size_t number, int32_t **ids, size_t *n_ids)
{
    reader r = {line, line + len, number};
    if (find_member(&r, "ids") != CLI_OK) return CLI_FAILED;
    if (!take(&r, '[')) return bad(&r, "a list of ids");
    const char *end = memchr(r.at, ']', (size_t)(r.end - r.at));
    if (end == NULL) return bad(&r, "']'");
    return cli_read_ids(r.at, (size_t)(end - r.at), ids, n_ids) == CLI_OK ? CLI_OK : CLI_FAILED;
}
