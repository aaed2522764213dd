/* SPDX-License-Identifier: MIT
 * A folder of repacked files. The name of a file is made of the model's path, so that there is one
 * for a model, and a new one takes the place of what has become stale; whether it is stale is told
 * by the stamp inside (file/stamp.h). Nothing that goes wrong here keeps a model from being opened.
 */
#include "model/cache.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "file/stamp.h"
#include "model/repack.h"

enum { OWNER_ONLY = 0700 };

typedef struct cache {
    const nib_model_options *options;
    nib_allocator mem;
    nib__stamp stamp; /* of the original */
    char *path;       /* of the repacked file; NULL: no memory for it */
    nib_error why;    /* the cache, or the original from it, could not be used */
} cache;

/* Weights as they are in the file are the only ones that a repacked file can hold. */
static bool is_wanted(const nib_model_options *o)
{
    return o->cache_dir != NULL && o->cache_dir[0] != '\0' && o->flags == 0 &&
           o->load == NIB_LOAD_AS_STORED;
}

static nib_status name_file(cache *c)
{
    const char *folder = c->options->cache_dir;
    size_t size = strlen(folder) + sizeof "/0123456789abcdef.nib";
    c->path = nib__alloc_raw(&c->mem, size, 1);
    if (c->path == NULL)
        return nib__fail(&c->why, NIB_ERR_MEMORY, "%s: out of memory for a file name", folder);
    nib__text(c->path, size, "%s/%llx.nib", folder, (unsigned long long)c->stamp.place);
    return NIB_OK;
}

/* Whatever is the matter with the file, there is the original. */
static nib_status open_kept(cache *c, nib_model **model)
{
    nib__source *source;
    nib_status status = nib__source_open(&c->mem, c->path, &source, &c->why);
    if (status != NIB_OK) return status;
    status = NIB_ERR_MISMATCH;
    if (nib__stamp_fits(source, c->stamp.state))
        status = nib__model_open(source, c->options, model, &c->why);
    if (status != NIB_OK) nib__source_close(source);
    return status;
}

/* While the file is written a load is as good as done, and can still be cancelled. */
static int32_t report_done(void *user, double fraction)
{
    const nib_model_options *o = user;
    (void)fraction;
    return o->progress(o->progress_user, 1);
}

static nib_status keep(cache *c, const nib_model *model)
{
    nib_model_options o = *c->options;
    nib_quantize_options repack = {.struct_size = sizeof repack,
                                   .scheme = NIB_SCHEME_REPACK,
                                   .n_threads = o.n_threads,
                                   .progress = o.progress != NULL ? report_done : NULL,
                                   .progress_user = &o};
    const int unmade = mkdir(o.cache_dir, OWNER_ONLY) != 0 && errno != EEXIST ? errno : 0;
    nib_status status = nib__model_repack(model, c->path, c->stamp.state, &repack, &c->why);
    if (status == NIB_ERR_IO && unmade != 0) /* which is why */
        return nib__fail(&c->why, status, "%s: cannot make the folder: %s (errno %d)", o.cache_dir,
                         nib__errno_str(unmade), unmade);
    return status;
}

/* Packs the original, and keeps what came out for the next time. */
static nib_status open_and_keep(cache *c, nib__source *source, nib_model **model, nib_error *err)
{
    nib_status status = nib__model_open(source, c->options, model, err);
    if (status != NIB_OK) {
        nib__source_close(source);
        return status;
    }
    nib_status kept = c->path != NULL ? keep(c, *model) : NIB_ERR_MEMORY;
    if (kept == NIB_ERR_CANCELLED) {
        nib__model_release(*model);
        if (err != NULL) *err = c->why;
        return kept;
    }
    (*model)->cache = kept == NIB_OK ? NIB_CACHE_WRITTEN : NIB_CACHE_FAILED;
    if (kept != NIB_OK)
        nib__text((*model)->cache_note, sizeof(*model)->cache_note, "%s", c->why.text);
    return NIB_OK;
}

static nib_status open_either(cache *c, nib__source *source, nib_model **model, nib_error *err)
{
    nib_status status = name_file(c);
    if (status == NIB_OK) status = open_kept(c, model);
    if (status != NIB_OK && status != NIB_ERR_CANCELLED)
        return open_and_keep(c, source, model, err);
    nib__source_close(source);
    if (status == NIB_OK)
        (*model)->cache = NIB_CACHE_USED;
    else if (err != NULL)
        *err = c->why;
    return status;
}

nib_status nib__model_open_cached(nib__source *source, const nib_model_options *options,
                                  nib_model **model, nib_error *err)
{
    cache c = {.options = options, .mem = nib__allocator(options->allocator)};
    nib_model *opened = NULL;
    nib_status status;
    if (is_wanted(options) && nib__stamp_read(source, &c.stamp)) {
        status = open_either(&c, source, &opened, err);
        nib__free(&c.mem, c.path);
    } else {
        status = nib__model_open(source, options, &opened, err);
        if (status != NIB_OK) nib__source_close(source);
    }
    if (status == NIB_OK) *model = opened;
    return status;
}
