/* SPDX-License-Identifier: MIT
 * Text -> what a session starts from. */
#ifndef NIB_DECODE_PROMPT_H
#define NIB_DECODE_PROMPT_H

#include "decode/session.h"

/* What a session is to hold before anything is generated. */
typedef struct nib__prompt {
    nib__ids source; /* of an encoder-decoder */
    nib__ids stream;
} nib__prompt;

/* The ids of a text, or, of an encoder-decoder, what every stream begins with, while the text becomes
 * the source. To be freed whatever comes of it. LIMIT, MEMORY, UNSUPPORTED (no tokenizer). */
nib_status nib__prompt_make(const nib_session *s, const char *text, size_t len, nib__prompt *prompt,
                            nib_error *err);
void nib__prompt_free(nib__prompt *prompt);

/* Makes it the session's source and stream. */
nib_status nib__prompt_set(nib_session *s, const nib__prompt *prompt, nib_error *err);

/* Appends what the stream of a decoder over an encoder begins with: the token that the model says, or,
 * as with fairseq's models, the last one that the tokenizer puts behind a text: the end token, or the
 * language of PLBART. */
nib_status nib__prompt_start(const nib_model *model, nib__ids *ids, nib_error *err);

/* UniXcoder's streams begin with <s> MODE </s>: the id of "<decoder-only>" or "<encoder-decoder>". -1:
 * another model, or a vocabulary without it. */
int32_t nib__prompt_mode(const nib_model *model, const char *mode);

#endif
