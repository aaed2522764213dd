/* SPDX-License-Identifier: MIT */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *path, const char *what)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static char *read_file(const char *path)
{
    enum { MOST = 1 << 20 };
    char *text = malloc(MOST + 1);
    FILE *f = fopen(path, "rb");
    if (text == NULL || f == NULL) stop(path, "cannot be read");
    size_t n = fread(text, 1, MOST, f);
    if (ferror(f) || n == MOST) stop(path, "cannot be read, or is too long");
    fclose(f);
    text[n] = '\0';
    return text;
}

/* The text after `marker`, which is overwritten so that the part before it ends there. */
static char *part(const char *path, char *text, const char *marker)
{
    char *at = strstr(text, marker);
    if (at == NULL) stop(path, "a marker is missing: expected @prefix, @keys, @suffix");
    *at = '\0';
    return at + strlen(marker);
}

void script_read(script *s, const char *path)
{
    memset(s, 0, sizeof *s);
    s->file = read_file(path);
    char *prefix = part(path, s->file, "@prefix\n");
    char *keys = part(path, prefix, "@keys\n");
    char *suffix = part(path, keys, "\n@suffix\n");
    s->prefix = prefix;
    s->prefix_len = strlen(prefix);
    s->keys = keys;
    s->suffix = suffix;
    s->suffix_len = strlen(suffix);
    while (script_press(s)) s->n_keys++;
    script_rewind(s);
}

void script_free(script *s)
{
    free(s->file);
    s->file = NULL;
}

void script_rewind(script *s)
{
    s->at = 0;
    s->typed_len = 0;
}

static char before(const script *s, size_t back)
{
    if (back <= s->typed_len) return s->typed[s->typed_len - back];
    back -= s->typed_len;
    return back <= s->prefix_len ? s->prefix[s->prefix_len - back] : '\n';
}

static void put(script *s, char c)
{
    if (s->typed_len < sizeof s->typed) s->typed[s->typed_len++] = c;
}

static void enter(script *s)
{
    size_t back = 1, spaces = 0;
    while (before(s, back) != '\n') spaces = before(s, back++) == ' ' ? spaces + 1 : 0;
    put(s, '\n');
    while (spaces-- > 0) put(s, ' ');
}

int script_press(script *s)
{
    char c = s->keys[s->at];
    if (c == '\0') return 0;
    s->at++;
    if (c != '\\') {
        put(s, c);
        return 1;
    }
    c = s->keys[s->at++];
    if (c == 'b' && s->typed_len > 0) s->typed_len--;
    if (c == 'n') enter(s);
    return 1;
}
