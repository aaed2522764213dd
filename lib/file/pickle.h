/* SPDX-License-Identifier: MIT
 * Python's pickle format as data: a document of values, never a program. What a pickle would call
 * stays a value (NIB__PICKLE_CALL) that names one of the globals on the caller's list and holds the
 * arguments; any other global is refused when it is named. Nothing refers to memory beyond the
 * pickle in proportion to its size. */
#ifndef NIB_FILE_PICKLE_H
#define NIB_FILE_PICKLE_H

#include "file/hf.h"

enum {
    NIB__PICKLE_MAX_SIZE = 100 * 1000 * 1000, /* bytes */
    NIB__PICKLE_MAX_VALUES = 1 << 22          /* on the stack, in the memo, in all containers */
};

typedef enum nib__pickle_type {
    NIB__PICKLE_NONE,
    NIB__PICKLE_BOOL,   /* integer is 0 or 1 */
    NIB__PICKLE_INT,
    NIB__PICKLE_FLOAT,  /* its value is nobody's business here */
    NIB__PICKLE_TEXT,   /* n bytes at text */
    NIB__PICKLE_GLOBAL, /* global */
    NIB__PICKLE_TUPLE,  /* n items from `at` */
    NIB__PICKLE_CALL,   /* of global, with n arguments from `at` */
    NIB__PICKLE_STORED, /* a persistent id: a tuple of n items from `at` */
    NIB__PICKLE_LIST,   /* object `at` */
    NIB__PICKLE_DICT,   /* object `at`; OrderedDict is one, too */
    NIB__PICKLE_UNSET   /* a place of the memo that nothing was put in */
} nib__pickle_type;

typedef struct nib__pickle_value {
    uint8_t type; /* nib__pickle_type */
    uint8_t global;
    uint32_t n;
    union {
        int64_t integer;
        const char *text; /* in the pickle, not NUL terminated */
        size_t at;
    };
} nib__pickle_value;

/* One element of a list (key is NONE), or member of a dictionary. */
typedef struct nib__pickle_node {
    nib__pickle_value key, value;
    uint32_t next; /* index + 1 of the one after, 0: none */
} nib__pickle_node;

typedef struct nib__pickle_object {
    uint32_t first, last; /* nodes, index + 1 */
} nib__pickle_object;

/* A global that may appear: "torch", "FloatStorage". */
typedef struct nib__pickle_global {
    const char *module, *name;
    bool makes_dict; /* calling it without arguments makes an empty dictionary */
} nib__pickle_global;

typedef struct nib__pickle {
    nib_allocator mem;
    nib__pickle_value *items; /* of tuples, calls and persistent ids */
    nib__pickle_node *nodes;
    nib__pickle_object *objects;
    size_t n_items, cap_items, n_nodes, cap_nodes, n_objects, cap_objects;
    nib__pickle_value root;
} nib__pickle;

/* Reads data[size], protocols 2 to 5. Messages begin with the shard's path and `what`; `at` is where
 * the data lies in the file. Globals are known by their place in globals[n_globals]. On failure, too,
 * nib__pickle_free releases what was allocated. */
nib_status nib__pickle_read(const nib_allocator *mem, const nib__shard *shard, const char *what,
                            const uint8_t *data, size_t size, const nib__pickle_global *globals,
                            size_t n_globals, nib__pickle *pickle, nib_error *err);
void nib__pickle_free(nib__pickle *pickle);

/* Item i of a tuple, call or persistent id, NULL beyond its end. */
const nib__pickle_value *nib__pickle_item(const nib__pickle *p, const nib__pickle_value *v,
                                          size_t i);
/* Members of a dictionary, elements of a list: NULL at the end, and for other values. */
const nib__pickle_node *nib__pickle_first(const nib__pickle *p, const nib__pickle_value *v);
const nib__pickle_node *nib__pickle_next(const nib__pickle *p, const nib__pickle_node *node);

#endif
