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

/* Appends what the stream of a decoder over an encoder begins with: the token that the model says, or,
 * as with fairseq's models, the last one that the tokenizer puts behind a text: the end token, or the
 * language of PLBART. */
nib_status nib__prompt_start(const nib_model *model, nib__ids *ids, nib_error *err);

/* UniXcoder's streams begin with <s> MODE </s>: the id of "<decoder-only>" or "<encoder-decoder>". -1:
 * another model, or a vocabulary without it. */
int32_t nib__prompt_mode(const nib_model *model, const char *mode);

#endif
