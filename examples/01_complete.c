/* SPDX-License-Identifier: MIT
 * The shortest useful program: continue a text.
 *
 *     01_complete models/smollm2-135m.gguf "int add(int a, int b) {"
 */
#include <stdio.h>
#include <string.h>

#include "nibble.h"

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: %s MODEL TEXT\n", argv[0]), 2;
    nib_model *model = NULL;
    nib_session *session = NULL;
    nib_error err;
    char text[4096];
    size_t len = 0;
    nib_status status = nib_model_open(argv[1], NULL, &model, &err);
    if (status == NIB_OK) status = nib_session_new(model, NULL, &session, &err);
    if (status == NIB_OK)
        status =
            nib_complete(session, argv[2], strlen(argv[2]), NULL, text, sizeof text, &len, &err);
    if (status == NIB_OK)
        fwrite(text, 1, len, stdout), putchar('\n');
    else
        fprintf(stderr, "%s\n", err.text);
    nib_session_free(session);
    nib_model_free(model);
    return status == NIB_OK ? 0 : 1;
}
