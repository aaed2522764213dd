/* SPDX-License-Identifier: MIT
 * A typing script: text before the cursor, keys, text after it (bench/data/typing.txt). */
#ifndef NIB_BENCH_SCRIPT_H
#define NIB_BENCH_SCRIPT_H

#include <stddef.h>

typedef struct script {
    char *file; /* the whole file; the rest points into it */
    const char *prefix, *keys, *suffix;
    size_t prefix_len, suffix_len, n_keys;
    size_t at;        /* keys pressed so far: bytes of `keys` */
    char typed[1024]; /* what they left behind the prefix */
    size_t typed_len;
} script;

/* Ends the program with a message if the file is not a script. */
void script_read(script *s, const char *path);
void script_free(script *s);
/* Presses the next key; 0 when none is left. Enter repeats the indentation of the line. */
int script_press(script *s);
void script_rewind(script *s);

#endif
