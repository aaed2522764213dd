/* SPDX-License-Identifier: MIT
 * JSON: text -> flat array of values in the order of the text. The text is copied once and strings
 * are decoded in place in the copy, so memory is the text and 12 bytes a value. A number stays text
 * until somebody asks for it. */
#include "base/json.h"

#include <string.h>

#include "base/hash.h"
#include "base/json_private.h"
#include "base/sort.h"

enum {
    MAX_TEXT = 1 << 30,
    MAX_VALUES = (1 << 28) - 1, /* what nib__json_node.next can count */
    FEW_MEMBERS = 8             /* keys are compared pairwise up to here */
};

typedef struct frame {
    uint32_t container;
    uint32_t last; /* newest value in it, or 0 */
} frame;

typedef struct parser {
    nib__json *json;
    const char *what;
    const char *source; /* the caller's text, for the line and column of a message */
    char *text;
    size_t size, at;
    frame stack[NIB__JSON_MAX_DEPTH];
    uint32_t depth;
    uint32_t key;     /* node of the key read last; 0: the next value is no member */
    uint64_t *hashes; /* scratch of the search for duplicate keys, one a member */
    uint32_t *order;
    size_t cap_hashes, cap_order;
    nib_error *err;
} parser;

/* ---- messages ---- */

static nib_status fail(parser *p, size_t at, nib_status code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static nib_status fail(parser *p, size_t at, nib_status code, const char *format, ...)
{
    char message[160];
    va_list args;
    va_start(args, format);
    nib__text_v(message, sizeof message, format, args);
    va_end(args);
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < p->size; i++) {
        bool end_of_line = p->source[i] == '\n';
        line += end_of_line;
        if (end_of_line)
            column = 1;
        else
            column += (p->source[i] & 0xc0) != 0x80;
    }
    return nib__fail_file(p->err, code, at, p->what, "line %zu column %zu: %s", line, column,
                          message);
}

static nib_status expected(parser *p, const char *what)
{
    if (p->at >= p->size)
        return fail(p, p->at, NIB_ERR_FORMAT, "expected %s, the text ends here", what);
    unsigned char c = (unsigned char)p->source[p->at];
    if (c > 0x20 && c < 0x7f)
        return fail(p, p->at, NIB_ERR_FORMAT, "expected %s, got '%c'", what, (char)c);
    return fail(p, p->at, NIB_ERR_FORMAT, "expected %s, got byte 0x%x", what, c);
}

static nib_status no_memory(parser *p)
{
    return nib__fail_file(p->err, NIB_ERR_MEMORY, NIB_NO_OFFSET, p->what, "out of memory for JSON");
}

/* ---- strings ---- */

/* Length of the UTF-8 character at p, 2 to 4, or 0 (Unicode 15, table 3-7). The text ends in NUL,
 * which continues no character. */
static size_t utf8_length(const uint8_t *p)
{
    size_t n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (n == 0 || (p[1] & 0xc0) != 0x80) return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    return n;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* Four hexadecimal digits at text[at], or -1. */
static int32_t hex4(const parser *p, size_t at)
{
    int32_t value = 0;
    for (size_t i = at; i < at + 4; i++) { /* the NUL at the end stops it */
        char c = p->text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The escape whose backslash is at p->at; moves behind it. */
static nib_status parse_escape(parser *p, char **to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = p->text[p->at + 1];
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (name != NULL) {
        *(*to)++ = values[name - names];
        p->at += 2;
        return NIB_OK;
    }
    if (c != 'u') return fail(p, p->at, NIB_ERR_FORMAT, "unknown escape in a string");
    int32_t code = hex4(p, p->at + 2);
    if (code < 0) return fail(p, p->at, NIB_ERR_FORMAT, "expected 4 hexadecimal digits after \\u");
    if (code >= 0xd800 && code < 0xe000) {
        int32_t low = -1;
        if (code < 0xdc00 && p->text[p->at + 6] == '\\' && p->text[p->at + 7] == 'u')
            low = hex4(p, p->at + 8);
        if (low < 0xdc00 || low > 0xdfff)
            return fail(p, p->at, NIB_ERR_FORMAT, "half of a surrogate pair without the other");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        p->at += 6;
    }
    *to = put_utf8(*to, (uint32_t)code);
    p->at += 6;
    return NIB_OK;
}

/* The string whose quotation mark is at p->at. What is written never overtakes what is read: an
 * escape is at least as long as its character. */
static nib_status parse_string(parser *p, uint32_t *at, uint32_t *size)
{
    size_t start = p->at++;
    char *to = p->text + p->at;
    *at = (uint32_t)p->at;
    for (;;) {
        uint8_t c = (uint8_t)p->text[p->at];
        if (c == '"') break;
        if (c == '\\') {
            nib_status status = parse_escape(p, &to);
            if (status != NIB_OK) return status;
        } else if (c >= 0x80) {
            size_t n = utf8_length((const uint8_t *)p->text + p->at);
            if (n == 0) return fail(p, p->at, NIB_ERR_FORMAT, "invalid UTF-8 in a string");
            memmove(to, p->text + p->at, n);
            to += n;
            p->at += n;
        } else if (c < 0x20) {
            if (p->at >= p->size)
                return fail(p, start, NIB_ERR_FORMAT, "the string that begins here has no end");
            return fail(p, p->at, NIB_ERR_FORMAT, "control character 0x%x in a string", c);
        } else {
            *to++ = (char)c;
            p->at++;
        }
    }
    p->at++;
    *size = (uint32_t)(to - p->text) - *at;
    *to = '\0'; /* at the closing quotation mark or before it */
    return NIB_OK;
}

/* ---- numbers and words ---- */

static bool skip_digits(parser *p)
{
    size_t start = p->at;
    while (p->text[p->at] >= '0' && p->text[p->at] <= '9') p->at++;
    return p->at > start;
}

static nib_status parse_number(parser *p)
{
    if (p->text[p->at] == '-') p->at++;
    size_t start = p->at;
    if (!skip_digits(p)) return expected(p, "a digit");
    if (p->text[start] == '0' && p->at - start > 1)
        return fail(p, start, NIB_ERR_FORMAT, "a number that begins with 0");
    if (p->text[p->at] == '.') {
        p->at++;
        if (!skip_digits(p)) return expected(p, "a digit after the decimal point");
    }
    if (p->text[p->at] == 'e' || p->text[p->at] == 'E') {
        p->at++;
        if (p->text[p->at] == '+' || p->text[p->at] == '-') p->at++;
        if (!skip_digits(p)) return expected(p, "a digit of the exponent");
    }
    return NIB_OK;
}

static const struct {
    const char *text;
    size_t len;
    nib__json_type type;
} words[] = {{"null", 4, NIB__JSON_NULL},       {"true", 4, NIB__JSON_TRUE},
             {"false", 5, NIB__JSON_FALSE},     {"NaN", 3, NIB__JSON_NUMBER},
             {"Infinity", 8, NIB__JSON_NUMBER}, {"-Infinity", 9, NIB__JSON_NUMBER}};

static bool parse_word(parser *p, nib__json_type *type)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strncmp(p->text + p->at, words[i].text, words[i].len) != 0) continue;
        *type = words[i].type;
        p->at += words[i].len;
        return true;
    }
    return false;
}

/* ---- values ---- */

static nib_status add_node(parser *p, nib__json_node value, uint32_t *index)
{
    nib__json *json = p->json;
    if (json->n >= MAX_VALUES)
        return fail(p, p->at, NIB_ERR_LIMIT, "more than %d values", MAX_VALUES);
    void *nodes = json->nodes;
    bool grown = nib__grow(&json->mem, &nodes, &json->cap, json->n + 1, sizeof *json->nodes);
    json->nodes = nodes;
    if (!grown) return no_memory(p);
    *index = (uint32_t)json->n;
    json->nodes[json->n++] = value;
    return NIB_OK;
}

/* One value, of a container only its bracket; it becomes the last of the container it is in. */
static nib_status parse_value(parser *p)
{
    char c = p->text[p->at];
    nib__json_node value = {.at = (uint32_t)p->at, .member = p->key != 0};
    nib_status status = NIB_OK;
    nib__json_type type;
    if (c == '{' || c == '[') {
        type = c == '{' ? NIB__JSON_OBJECT : NIB__JSON_ARRAY;
        if (p->depth == NIB__JSON_MAX_DEPTH)
            return fail(p, p->at, NIB_ERR_LIMIT, "nested more than %d deep", NIB__JSON_MAX_DEPTH);
        p->at++;
    } else if (c == '"') {
        type = NIB__JSON_STRING;
        uint32_t at, size;
        status = parse_string(p, &at, &size);
        value.at = at;
        value.size = size;
    } else if ((c >= '0' && c <= '9') || (c == '-' && p->text[p->at + 1] != 'I')) {
        type = NIB__JSON_NUMBER;
        status = parse_number(p);
    } else if (!parse_word(p, &type)) {
        return expected(p, "a value");
    }
    if (status != NIB_OK) return status;
    if (type == NIB__JSON_NUMBER) value.size = (uint32_t)p->at - value.at;
    value.type = type;
    uint32_t index;
    status = add_node(p, value, &index);
    if (status != NIB_OK) return status;
    if (p->depth > 0) {
        frame *f = &p->stack[p->depth - 1];
        nib__json_node *nodes = p->json->nodes;
        if (f->last != 0) nodes[f->last].next = index & 0xfffffff;
        f->last = index;
        nodes[f->container].size++;
    }
    if (c == '{' || c == '[') p->stack[p->depth++] = (frame){index, 0};
    p->key = 0;
    return NIB_OK;
}

/* ---- duplicate keys ---- */

static int compare_text(const parser *p, const nib__json_node *a, const nib__json_node *b)
{
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return memcmp(p->text + a->at, p->text + b->at, a->size);
}

/* order[] holds places in the object; its first member's key is hashed in hashes[0]. */
typedef struct keys {
    const parser *p;
    const uint32_t *nodes; /* [n] node of each key */
} keys;

static int compare_keys(const void *ctx, uint32_t a, uint32_t b)
{
    const keys *k = ctx;
    uint64_t ha = k->p->hashes[a], hb = k->p->hashes[b];
    if (ha != hb) return ha < hb ? -1 : 1;
    const nib__json_node *nodes = k->p->json->nodes;
    return compare_text(k->p, &nodes[k->nodes[a]], &nodes[k->nodes[b]]);
}

static nib_status duplicate(parser *p, uint32_t key)
{
    const nib__json_node *k = &p->json->nodes[key];
    size_t len = k->size < 64 ? k->size : 64;
    return fail(p, k->at - 1, NIB_ERR_FORMAT, "the key \"%.*s\" appears twice in its object",
                (int)len, p->text + k->at);
}

static nib_status check_few_keys(parser *p, uint32_t object)
{
    const nib__json_node *nodes = p->json->nodes;
    for (uint32_t a = object + 2; a != 0; a = nodes[a].next) {
        for (uint32_t b = nodes[a].next; b != 0; b = nodes[b].next) {
            if (compare_text(p, &nodes[a - 1], &nodes[b - 1]) == 0) return duplicate(p, b - 1);
        }
    }
    return NIB_OK;
}

/* Sorting by hash, then text, cannot be made slow by an adversary as a hash table can. */
static nib_status check_many_keys(parser *p, uint32_t object)
{
    const nib__json_node *nodes = p->json->nodes;
    size_t n = nodes[object].size;
    void *hashes = p->hashes, *order = p->order;
    bool grown = nib__grow(&p->json->mem, &hashes, &p->cap_hashes, n, sizeof *p->hashes);
    p->hashes = hashes;
    grown = nib__grow(&p->json->mem, &order, &p->cap_order, 2 * n, sizeof *p->order) && grown;
    p->order = order;
    if (!grown) return no_memory(p);
    uint32_t *index = p->order, *key = p->order + n;
    uint32_t member = object + 2;
    for (uint32_t i = 0; i < n; i++, member = nodes[member].next) {
        const nib__json_node *k = &nodes[member - 1];
        p->hashes[i] = nib__hash64(p->text + k->at, k->size);
        key[i] = member - 1;
        index[i] = i;
    }
    keys ctx = {p, key};
    nib__sort_index(index, n, compare_keys, &ctx);
    for (size_t i = 1; i < n; i++) {
        if (compare_keys(&ctx, index[i - 1], index[i]) != 0) continue;
        return duplicate(p, key[index[i - 1] > index[i] ? index[i - 1] : index[i]]);
    }
    return NIB_OK;
}

/* ---- structure ---- */

static void skip_space(parser *p)
{
    for (;; p->at++) {
        char c = p->text[p->at];
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r') return;
    }
}

static nib_status parse_key(parser *p)
{
    if (p->text[p->at] != '"') return expected(p, "a key in quotation marks");
    nib__json_node key = {.type = NIB__JSON_STRING};
    uint32_t at, size;
    nib_status status = parse_string(p, &at, &size);
    if (status != NIB_OK) return status;
    key.at = at;
    key.size = size;
    status = add_node(p, key, &p->key);
    if (status != NIB_OK) return status;
    skip_space(p);
    if (p->text[p->at] != ':') return expected(p, "':' after a key");
    p->at++;
    skip_space(p);
    return NIB_OK;
}

static nib_status close_container(parser *p)
{
    uint32_t container = p->stack[--p->depth].container;
    const nib__json_node *n = &p->json->nodes[container];
    p->at++;
    if (n->type != NIB__JSON_OBJECT || n->size < 2) return NIB_OK;
    return n->size <= FEW_MEMBERS ? check_few_keys(p, container) : check_many_keys(p, container);
}

/* Behind a value or an opening bracket: closes what closes here and goes to the next value; at the
 * end of the document the depth is 0. */
static nib_status go_on(parser *p)
{
    while (p->depth > 0) {
        skip_space(p);
        const nib__json_node *container = &p->json->nodes[p->stack[p->depth - 1].container];
        bool object = container->type == NIB__JSON_OBJECT;
        nib_status status;
        if (p->text[p->at] == (object ? '}' : ']')) {
            status = close_container(p);
            if (status != NIB_OK) return status;
            continue;
        }
        if (container->size != 0) {
            if (p->text[p->at] != ',') return expected(p, object ? "',' or '}'" : "',' or ']'");
            p->at++;
            skip_space(p);
        }
        return object ? parse_key(p) : NIB_OK;
    }
    return NIB_OK;
}

static nib_status parse_document(parser *p)
{
    if (p->size >= 3 && memcmp(p->text, "\xef\xbb\xbf", 3) == 0)
        return fail(p, 0, NIB_ERR_FORMAT, "expected JSON, got a byte order mark");
    skip_space(p);
    do {
        nib_status status = parse_value(p);
        if (status == NIB_OK) status = go_on(p);
        if (status != NIB_OK) return status;
    } while (p->depth > 0);
    skip_space(p);
    return p->at == p->size ? NIB_OK : expected(p, "nothing behind the value");
}

nib_status nib__json_parse(const nib_allocator *mem, const char *what, const char *text,
                           size_t size, nib__json **out, nib_error *err)
{
    nib_allocator allocator = nib__allocator(mem);
    parser p = {.what = what, .source = text, .size = size, .err = err};
    if (size > MAX_TEXT)
        return fail(&p, 0, NIB_ERR_LIMIT, "expected at most %d bytes, got %zu", MAX_TEXT, size);
    p.json = nib__alloc(&allocator, 1, sizeof *p.json);
    if (p.json == NULL) return no_memory(&p);
    p.json->mem = allocator;
    p.json->text = p.text = nib__strndup(&allocator, text, size);
    nib_status status = p.text != NULL ? parse_document(&p) : no_memory(&p);
    nib__free(&allocator, p.hashes);
    nib__free(&allocator, p.order);
    if (status == NIB_OK)
        *out = p.json;
    else
        nib__json_free(p.json);
    return status;
}

void nib__json_free(nib__json *json)
{
    if (json == NULL) return;
    nib_allocator mem = json->mem;
    nib__free(&mem, json->text);
    nib__free(&mem, json->nodes);
    nib__free(&mem, json);
}
