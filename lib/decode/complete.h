/* SPDX-License-Identifier: MIT
 * A completion: draw, append, evaluate, until a stop rule or a limit ends it. */
#ifndef NIB_DECODE_COMPLETE_H
#define NIB_DECODE_COMPLETE_H

#include "decode/session.h"

/* The text around a completion; all zero: nothing is known. */
typedef struct nib__around {
    nib_text suffix;       /* for stop_suffix */
    nib_text healed;       /* left out of the prompt: the completion must begin with it (heal.h) */
    nib_text echo;         /* the model goes on with it behind the completion (stop.h) */
    const char *sentinels; /* static: a token whose text begins so is an end token; NULL: none */
    bool inside;           /* the completion stands within a text, whatever the prompt holds */
} nib__around;

/* Checks the options and makes a completion that continues whatever the session will hold when it is
 * first stepped. Texts are copied. Nothing is attached to a session yet. */
nib_status nib__completion_new(const nib_session *s, const nib_complete_options *options,
                               const nib__around *around, nib__completion **completion,
                               nib_error *err);
void nib__completion_free(nib__completion *c); /* NULL is a no-op */

/* Makes it the completion of the session, in place of any other; its prompt is the stream as it is
 * now. */
void nib__complete_attach(nib_session *s, nib__completion *c);

/* How a text begins that continues the stream as it is now. */
nib_detok nib__complete_detok(const nib_session *s);

/* Ends the completion or the beam search in progress, if any. */
void nib__complete_end(nib_session *s);

/* The parts of a step, for batches. A new report begins, unless the last one was not handed out. */
void nib__complete_open(nib_session *s);
int32_t nib__complete_done(const nib_session *s);
/* The stream is evaluated: draws the next token, or ends. */
nib_status nib__complete_draw(nib_session *s, nib_error *err);
/* Hands the report out. */
void nib__complete_report(nib_session *s, nib_step *step);

/* Works until the deadline (nib__now_ns), or, if that is 0, until a token was drawn. What it brought
 * since the last report is in *step afterwards, also in the step after a failure. */
nib_status nib__complete_step(nib_session *s, uint64_t deadline_ns, nib_step *step, nib_error *err);

#endif
