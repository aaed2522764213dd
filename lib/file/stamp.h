/* SPDX-License-Identifier: MIT
 * Whether a repacked file was made from these very files, in the state they are in now. */
#ifndef NIB_FILE_STAMP_H
#define NIB_FILE_STAMP_H

#include "file/source.h"

typedef struct nib__stamp {
    uint64_t place; /* of the first file: its path, without symbolic links */
    uint64_t state; /* of all files; never 0 */
} nib__stamp;

/* false: not read from GGUF files, or from one that is repacked already. The state is where a
 * file's bytes are (device and inode), its size, when it was last written or changed, and
 * everything in it before the weights. */
bool nib__stamp_read(const nib__source *source, nib__stamp *stamp);

/* Was this repacked file made for such a state, and by somebody who could change the program's
 * files anyway: the user it runs for, or root? */
bool nib__stamp_fits(const nib__source *repacked, uint64_t state);

#endif
