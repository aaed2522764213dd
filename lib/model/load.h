/* SPDX-License-Identifier: MIT
 * From the list of what is to be packed (weights.c) to packed weights (load.c). */
#ifndef NIB_MODEL_LOAD_H
#define NIB_MODEL_LOAD_H

#include "model/gather.h"

/* One tensor on its way into the block of weights. */
typedef struct nib__load_job {
    nib__gather from;
    nib__linear *linear;  /* packed, or */
    const float **vector; /* decoded to float32: */
    size_t count;         /* so many numbers, */
    float scale;          /* multiplied by this */
    uint8_t *data;        /* where in the block */
} nib__load_job;

typedef struct nib__load {
    nib_model *model;
    const nib__source *source;
    const nib__arch *arch;
    const nib_model_options *options;
    nib_error *err;
    nib__load_job *jobs; /* [n_jobs] */
    size_t n_jobs, cap;
    uint64_t bytes;         /* of the tensors in jobs, in the file */
    uint64_t in_place;      /* bytes of weights that need no job */
    bool head_is_embedding; /* and packing it loses nothing */
} nib__load;

/* Calls back; CANCELLED if the caller wants no more. done: bytes of l->bytes. */
nib_status nib__load_report(const nib__load *l, uint64_t done);

/* Does all jobs, whose places are known, and gives back the file's pages behind itself. */
nib_status nib__load_run(const nib__load *l);

#endif
