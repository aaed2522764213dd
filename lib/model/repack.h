/* SPDX-License-Identifier: MIT
 * Writes a model file whose matrices already lie as the kernels want them. */
#ifndef NIB_MODEL_REPACK_H
#define NIB_MODEL_REPACK_H

#include "model/model.h"

/* Writes `model`, which may have been opened for inspection, to `path`; the matrices are packed again
 * from its source. `options` is complete. state: 0, or for a cache, whose files nobody else may read,
 * that of the source's files (file/stamp.h). */
nib_status nib__model_repack(const nib_model *model, const char *path, uint64_t state,
                             const nib_quantize_options *options, nib_error *err);

#endif
