/* SPDX-License-Identifier: MIT
 * Names out of files in messages. */
#ifndef NIB_FILE_SHOWN_H
#define NIB_FILE_SHOWN_H

#include <stddef.h>

/* A name out of a file made fit for a one-line message: bytes outside printable ASCII become '?',
 * long names are cut. */
typedef struct nib__shown {
    char text[72];
} nib__shown;
nib__shown nib__show(const char *name, size_t len);

#endif
