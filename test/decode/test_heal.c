/* SPDX-License-Identifier: MIT
 * Prompt healing: what is held back, and that a completion begins with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decode/heal.h"
#include "tiny_model.h"

static void holds_back_the_unfinished_word(void **state)
{
    static const struct {
        const char *line, *held;
    } rows[] = {
        {"", ""},
        {"ret", "ret"},
        {"return va", " va"},
        {"x = self.val", ".val"},
        {"GROUP_SU", "_SU"},
        {"x = ", " "},
        {"x =\t  ", "\t  "},
        {"print(", "("},
        {"x = (", " ("},
        {"a[\"ke", "\"ke"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
        {"0123456789012345678901234567890123456789012345678901234567890123", NULL}, /* 64: all */
        {"01234567890123456789012345678901234567890123456789012345678901234", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nib_text line = {rows[i].line, strlen(rows[i].line)};
        const char *held = rows[i].held != NULL ? rows[i].held : rows[i].line;
        size_t n = nib__heal_length(line);
        assert_int_equal(n, strlen(held));
        assert_memory_equal(line.data + line.len - n, held, n);
    }
}

/* Runs a fill-in-the-middle completion to its end; the bytes of all tokens and the text reported.
 */
static void fill(nib_session *s, const nib_model *model, const char *prefix, uint64_t seed,
                 char *drawn, size_t *n_drawn, char *text, size_t *n_text)
{
    nib_complete_options o;
    nib_error err = {0};
    nib_fim fim;
    nib_step step = {.struct_size = sizeof step};
    nib_complete_options_init(&o, sizeof o);
    nib_fim_init(&fim, sizeof fim);
    o.max_tokens = 8;
    o.ignore_end = 1;
    o.seed = seed;
    o.temperature = seed != 0 ? 1.5f : 0.0f;
    fim.layout = NIB_FIM_LAYOUT_LINE_LAST;
    fim.prefix = (nib_text){prefix, strlen(prefix)};
    fim.suffix = (nib_text){"\nreturn x\n", 10};
    *n_drawn = *n_text = 0;
    if (nib_fim_begin(s, &fim, &o, &err) != NIB_OK) fail_msg("%s", err.text);
    while (!step.done) {
        if (nib_session_step(s, 0, &step, &err) != NIB_OK) fail_msg("%s", err.text);
        for (size_t i = 0; i < step.n_tokens; i++) {
            size_t len;
            assert_int_equal(
                nib_detokenize(model, &step.tokens[i].id, 1, 0, drawn + *n_drawn, 64, &len, &err),
                NIB_OK);
            *n_drawn += len;
        }
        memcpy(text + *n_text, step.text, step.text_len);
        *n_text += step.text_len;
    }
}

static void completions_begin_as_typed(void **state)
{
    static const struct {
        const char *prefix, *held;
    } rows[] = {
        {"def f(self):\n    return se", " se"},
        {"def f(self):\n    ret", "ret"},
        {"x = ", " "},
        {"f(", "("},
        {"s = \"caf\xc3\xa9", "\"caf\xc3\xa9"},
        {"def f():\n    ", ""},
    };
    (void)state;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (uint64_t seed = 0; seed < 6; seed++) {
            char drawn[1024], text[1024];
            size_t n_drawn, n_text, held = strlen(rows[i].held);
            fill(s, model, rows[i].prefix, seed, drawn, &n_drawn, text, &n_text);
            assert_true(n_drawn >= held);
            assert_memory_equal(drawn, rows[i].held, held);
            /* The caller sees the rest; of an unfinished last code point nothing. */
            assert_in_range(n_text, n_drawn - held > 3 ? n_drawn - held - 3 : 0, n_drawn - held);
            assert_memory_equal(text, drawn + held, n_text);
        }
    }
    nib_session_free(s);
    nib_model_free(model);
}

/* The caller's own bias goes on counting while a word is healed, but cannot undo the constraint. */
static void bias_and_healing_go_together(void **state)
{
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o;
    nib_fim fim;
    nib_error err = {0};
    int32_t whole, z;
    size_t n;
    (void)state;
    assert_int_equal(nib_tokenize(model, "self", 4, 0, &whole, 1, &n, &err), NIB_OK);
    assert_int_equal(nib_tokenize(model, "z", 1, 0, &z, 1, &n, &err), NIB_OK);
    nib_logit_bias bias[2] = {{whole, 1000}, {z, 2000}};
    nib_complete_options_init(&o, sizeof o);
    nib_fim_init(&fim, sizeof fim);
    fim.layout = NIB_FIM_LAYOUT_LINE_LAST;
    fim.prefix = (nib_text){"sel", 3};
    fim.suffix = (nib_text){"\n", 1};
    o.bias = bias;
    o.n_bias = 2;
    o.max_tokens = 2;
    assert_int_equal(nib_fim_begin(s, &fim, &o, &err), NIB_OK);
    nib_step step = {.struct_size = sizeof step};
    assert_int_equal(nib_session_step(s, 0, &step, &err), NIB_OK);
    assert_int_equal(step.n_tokens, 1);
    assert_int_equal(step.tokens[0].id, whole);
    assert_int_equal(step.text_len, 1);
    assert_memory_equal(step.text, "f", 1);
    assert_int_equal(nib_session_step(s, 0, &step, &err), NIB_OK);
    assert_int_equal(step.tokens[0].id, z);
    assert_true(step.done);
    nib_session_free(s);
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_back_the_unfinished_word),
        cmocka_unit_test(completions_begin_as_typed),
        cmocka_unit_test(bias_and_healing_go_together),
    };
    return cmocka_run_group_tests_name("decode/heal", tests, NULL, NULL);
}
