/* SPDX-License-Identifier: MIT
 * Starting a completion: of a prompt, of what the session holds, in the middle of a text. Nothing is
 * evaluated yet. The options are complete. */
#ifndef NIB_DECODE_BEGIN_H
#define NIB_DECODE_BEGIN_H

#include "decode/session.h"

nib_status nib__begin_prompt(nib_session *s, const char *prompt, size_t len,
                             const nib_complete_options *options, nib_error *err);
nib_status nib__begin_tokens(nib_session *s, const nib_complete_options *options, nib_error *err);
nib_status nib__begin_fim(nib_session *s, const nib_fim *fim, const nib_complete_options *options,
                          nib_error *err);

#endif
