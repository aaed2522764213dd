/* SPDX-License-Identifier: MIT
 * Text -> what a session starts from. */
#ifndef NIB_DECODE_PROMPT_H
#define NIB_DECODE_PROMPT_H

#include "decode/session.h"

/* Appends to `stream` the ids that the session's stream is to hold before anything is generated: those
 * of the text, or, of an encoder-decoder, what every stream begins with, while the text becomes the
 * session's source. LIMIT, MEMORY, UNSUPPORTED (no tokenizer). */
nib_status nib__prompt(nib_session *s, const char *text, size_t len, nib__ids *stream,
                       nib_error *err);

#endif
