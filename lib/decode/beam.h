/* SPDX-License-Identifier: MIT
 * Beam search in a session: its stream is the prompt, and stays as it is. */
#ifndef NIB_DECODE_BEAM_H
#define NIB_DECODE_BEAM_H

#include "decode/session.h"

/* ARGUMENT if an option is out of range. */
nib_status nib__beam_check(const nib_beam_options *options, uint32_t n_vocab, nib_error *err);

/* Makes a search that goes on from the stream of the session, and makes it what the session works
 * on. `options` are complete and checked. MEMORY, LIMIT (no room behind the stream). */
nib_status nib__search_begin(nib_session *s, const nib_beam_options *options, nib_error *err);

/* Bytes of memory of such a search, but for its texts. */
nib_status nib__search_size(const nib_session *s, const nib_beam_options *options, uint64_t *bytes,
                            nib_error *err);

/* Ends the search in progress, or forgets its results, if there is one. */
void nib__search_end(nib_session *s);

/* Works until every beam has a token more, or the deadline (nib__now_ns; 0: none) passed. */
nib_status nib__search_advance(nib_session *s, uint64_t deadline_ns, nib_error *err);
bool nib__search_done(const nib_session *s);
/* Says how far it is; once done, hands out the best text. */
void nib__search_report(nib_session *s, nib_step *step);

/* Result number i, best first. STATE, ARGUMENT. */
nib_status nib__search_result(const nib_session *s, uint32_t i, nib_beam_result *result,
                              nib_error *err);

#endif
