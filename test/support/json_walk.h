/* SPDX-License-Identifier: MIT
 * A JSON document back to text, for tests: keeps the order, escapes only what must be. */
#ifndef TEST_SUPPORT_JSON_WALK_H
#define TEST_SUPPORT_JSON_WALK_H

#include "base/json.h"

/* NUL-terminated text from malloc. Numbers are written as %.17g, so that the text of a text is the
 * same; ends the program where the getters contradict each other. */
char *json_text(const nib__json *j, size_t *len);

#endif
