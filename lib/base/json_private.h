/* SPDX-License-Identifier: MIT
 * What a JSON document is made of: written by json.c, read by json_get.c. */
#ifndef NIB_BASE_JSON_PRIVATE_H
#define NIB_BASE_JSON_PRIVATE_H

#include "base/json.h"

/* A member of an object takes two: its key, and its value right behind. */
typedef struct nib__json_node {
    uint32_t at;       /* string: offset of its first byte; number: of its text */
    uint32_t size;     /* bytes; of a container the number of members or elements */
    uint32_t next : 28; /* the value that follows in the same container, or 0 */
    uint32_t type : 3;
    uint32_t member : 1; /* the node before holds the key */
} nib__json_node;

struct nib__json {
    nib_allocator mem;
    char *text; /* [size + 1], ends in NUL */
    nib__json_node *nodes;
    size_t n, cap;
};

#endif
