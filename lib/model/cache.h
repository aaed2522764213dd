/* SPDX-License-Identifier: MIT
 * Repacked files that are kept from one opening of a model to the next. */
#ifndef NIB_MODEL_CACHE_H
#define NIB_MODEL_CACHE_H

#include "model/model.h"

/* nib__model_open with the folder of options->cache_dir, if there is one. `options` is complete. */
nib_status nib__model_open_cached(nib__source *source /* taken over, also on failure */,
                                  const nib_model_options *options, nib_model **model,
                                  nib_error *err);

#endif
