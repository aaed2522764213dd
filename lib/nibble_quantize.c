/* SPDX-License-Identifier: MIT
 * Public functions that write models: check arguments, open the input, call one stage. */
#include "base/options.h"
#include "model/repack.h"

static const nib_quantize_options default_options = {.struct_size = sizeof(nib_quantize_options)};

void nib_quantize_options_init(nib_quantize_options *options, size_t size)
{
    nib__options_init(options, size, &default_options, sizeof default_options);
}

static nib_status check_options(const nib_quantize_options *given, nib_quantize_options *o,
                                nib_error *err)
{
    *o = default_options;
    nib_status status = nib__options_read(o, sizeof *o, given, "nib_quantize_options", err);
    if (status != NIB_OK) return status;
    if (o->scheme != NIB_SCHEME_REPACK) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "scheme: expected %d (repack), got %u",
                         (int)NIB_SCHEME_REPACK, o->scheme);
    }
    if (o->reserved != 0)
        return nib__fail(err, NIB_ERR_ARGUMENT, "reserved: expected 0, got %u", o->reserved);
    if (o->allocator != NULL && (o->allocator->alloc == NULL || o->allocator->free == NULL))
        return nib__fail(err, NIB_ERR_ARGUMENT, "allocator: expected two functions, got NULL");
    return NIB_OK;
}

nib_status nib_quantize(const char *in, const char *out, const nib_quantize_options *options,
                        nib_error *err)
{
    nib_quantize_options o;
    if (in == NULL || out == NULL || options == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "nib_quantize: an argument is NULL");
    nib_status status = check_options(options, &o, err);
    if (status != NIB_OK) return status;
    nib_model_options open;
    nib_model *model;
    nib_model_options_init(&open, sizeof open);
    open.flags = NIB_OPEN_INSPECT;
    open.allocator = o.allocator;
    status = nib_model_open(in, &open, &model, err);
    if (status != NIB_OK) return status;
    status = nib__model_repack(model, out, 0, &o, err);
    nib_model_free(model);
    return status;
}
