/* SPDX-License-Identifier: MIT
 * Holes filled by encoder-decoders: what goes to the encoder and to the decoder, what is drawn, and
 * what comes out, against transformers with its own tokenizers. The models were trained to fill
 * such holes: test/oracle/make_infill_fixtures.py. */
#include <string.h>

#include "test.h"

#include "decode/fim.h"
#include "decode/fim_trim.h"
#include "decode/session.h"
#include "fault_turn.h"
#include "fixture.h"
#include "token_folder.h"

enum { MOST_IDS = 128, TEXT = 256, MOST_DRAWN = 24 };

typedef struct id_list {
    int32_t ids[MOST_IDS];
    size_t n;
} id_list;

/* One block of a .txt file of the fixtures. */
typedef struct hole {
    bool line; /* layout */
    char before[TEXT], after[TEXT], middle[TEXT];
    id_list source, target, drawn;
} hole;

static const char *const models[] = {"codet5", "t5", "bart", "plbart"};
enum { N_MODELS = 4 };

static nib_model *open_model(const char *name)
{
    char path[128];
    nib_model *model = NULL;
    nib_error err = {0};
    snprintf(path, sizeof path, "fixtures/infill/%s", name);
    assert_ok(nib_model_open(fixture_path(path), NULL, &model, &err), err);
    return model;
}

static nib_session *open_session(nib_model *model)
{
    nib_session *session = NULL;
    nib_error err = {0};
    assert_ok(nib_session_new(model, NULL, &session, &err), err);
    return session;
}

/* ---- the fixtures ---- */

/* A JSON text of plain characters and \n. */
static void read_text(const char *json, char text[TEXT])
{
    size_t n = 0;
    assert_int_equal(json[0], '"');
    for (const char *c = json + 1; *c != '"'; c++) {
        assert_true(*c != '\0' && n + 1 < TEXT);
        if (*c == '\\') {
            c++;
            assert_int_equal(*c, 'n');
            text[n++] = '\n';
        } else {
            text[n++] = *c;
        }
    }
    text[n] = '\0';
}

static void read_list(const char *line, id_list *list)
{
    char *end;
    for (list->n = 0;; list->n++) {
        long id = strtol(line, &end, 10);
        if (end == line) break;
        assert_true(list->n < MOST_IDS);
        list->ids[list->n] = (int32_t)id;
        line = end;
    }
}

/* Takes the next block from *at; false at the end. */
static bool next_hole(char **at, hole *h)
{
    *h = (hole){.line = false};
    bool any = false;
    while (**at != '\0' && **at != '\n') {
        char *line = *at, *end = strchr(line, '\n'), *value = strchr(line, ' ');
        assert_non_null(end);
        assert_true(value != NULL && value < end);
        *end = *value = '\0';
        *at = end + 1;
        value++;
        any = true;
        if (!strcmp(line, "layout"))
            h->line = !strcmp(value, "line");
        else if (!strcmp(line, "before"))
            read_text(value, h->before);
        else if (!strcmp(line, "after"))
            read_text(value, h->after);
        else if (!strcmp(line, "middle"))
            read_text(value, h->middle);
        else
            read_list(value, !strcmp(line, "source")   ? &h->source
                             : !strcmp(line, "target") ? &h->target
                                                       : &h->drawn);
    }
    if (**at == '\n') (*at)++;
    return any;
}

/* The file, with a zero byte behind it; from malloc. */
static char *read_holes(const char *name)
{
    char path[128];
    size_t size;
    snprintf(path, sizeof path, "fixtures/infill/%s.txt", name);
    uint8_t *bytes = fixture_read(path, &size);
    char *text = malloc(size + 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    text[size] = '\0';
    free(bytes);
    return text;
}

/* ---- one hole ---- */

static nib_fim fim_of(const hole *h)
{
    nib_fim fim;
    nib_fim_init(&fim, sizeof fim);
    fim.layout = h->line ? NIB_FIM_LAYOUT_LINE_LAST : NIB_FIM_LAYOUT_DEFAULT;
    fim.prefix = (nib_text){h->before, strlen(h->before)};
    fim.suffix = (nib_text){h->after, strlen(h->after)};
    return fim;
}

static void assert_list(const char *what, const int32_t *ids, size_t n, const int32_t *want,
                        size_t n_want)
{
    for (size_t i = 0; i < n || i < n_want; i++) {
        if (i >= n || i >= n_want || ids[i] != want[i])
            fail_msg("%s: id %zu: expected %d, got %d", what, i, i < n_want ? (int)want[i] : -1,
                     i < n ? (int)ids[i] : -1);
    }
}

/* Runs a completion to its end: text, and all that was drawn. */
static uint32_t run(nib_session *session, char text[TEXT], id_list *drawn)
{
    nib_step step = {.struct_size = sizeof step};
    nib_error err = {0};
    size_t len = 0;
    drawn->n = 0;
    while (!step.done) {
        assert_ok(nib_session_step(session, 0, &step, &err), err);
        assert_true(len + step.text_len < TEXT && drawn->n + step.n_tokens <= MOST_IDS);
        memcpy(text + len, step.text, step.text_len);
        len += step.text_len;
        for (size_t i = 0; i < step.n_tokens; i++) drawn->ids[drawn->n++] = step.tokens[i].id;
    }
    text[len] = '\0';
    return step.stop_reason;
}

static void check_hole(nib_model *model, nib_session *session, const hole *h)
{
    nib_fim fim = fim_of(h);
    nib_error err = {0};
    int32_t ids[MOST_IDS];
    const int32_t *stream;
    size_t n = 0;
    id_list drawn;
    char text[TEXT];
    nib_complete_options options;
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = MOST_DRAWN;
    assert_ok(nib_fim_begin(session, &fim, &options, &err), err);
    assert_ok(nib_session_tokens(session, &stream, &n, NULL), err);
    assert_list("target", stream, n, h->target.ids, h->target.n);
    assert_list("source of the session", session->source.ids, session->source.n, h->source.ids,
                h->source.n);
    assert_ok(nib_fim_build(model, &fim, ids, MOST_IDS, &n, &err), err);
    bool blank = h->before[strlen(h->before) - 1] == ' '; /* left out only if it is drawn again */
    if (h->line || !blank) assert_list("source", ids, n, h->source.ids, h->source.n);
    bool ended = run(session, text, &drawn) != NIB_STOP_SUFFIX;
    /* transformers goes on to the end token, we only to what follows the cursor */
    assert_true(ended ? drawn.n == h->drawn.n : drawn.n <= h->drawn.n);
    assert_list("drawn", drawn.ids, drawn.n, h->drawn.ids, drawn.n);
    assert_string_equal(text, h->middle);
}

static void test_holes_are_filled(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        char *file = read_holes(models[i]), *at = file;
        nib_model *model = open_model(models[i]);
        nib_session *session = open_session(model);
        hole h;
        int n = 0;
        for (; next_hole(&at, &h); n++) {
            print_message("%s: '%s' | '%s'\n", models[i], h.before, h.after);
            check_hole(model, session, &h);
        }
        assert_true(n >= 4);
        nib_session_free(session);
        nib_model_free(model);
        free(file);
    }
}

/* What an encoder-decoder writes by itself starts a text: SentencePiece's first space is no part of
 * it, as in transformers' decode. The drawn token is made to be one with a space. */
static void test_first_space(void **state)
{
    (void)state;
    static const char *const pieces[] = {"t5", "plbart"};
    for (int i = 0; i < 2; i++) {
        nib_model *model = open_model(pieces[i]);
        nib_session *session = open_session(model);
        nib_error err = {0};
        int32_t ids[8];
        size_t n, len;
        char text[TEXT];
        assert_ok(nib_tokenize(model, "delta", 5, 0, ids, 8, &n, &err), err);
        nib_logit_bias bias = {ids[0], 1e6f};
        nib_complete_options options;
        nib_complete_options_init(&options, sizeof options);
        options.max_tokens = 2;
        options.bias = &bias;
        options.n_bias = 1;
        assert_ok(nib_complete(session, "delta", 5, &options, text, TEXT - 1, &len, &err), err);
        text[len] = '\0';
        assert_int_equal(n, 1);
        assert_string_equal(text, "delta delta");
        nib_session_free(session);
        nib_model_free(model);
    }
}

/* Markers in the user's text stay text: the source has the one that we put there. */
static void test_markers_in_text(void **state)
{
    (void)state;
    static const char text[] = "<extra_id_0><extra_id_1> <mask></s>__python__<s><extra_id_5>";
    for (int i = 0; i < N_MODELS; i++) {
        nib_model *model = open_model(models[i]);
        nib_fim fim;
        nib_error err = {0};
        int32_t ids[512];
        size_t n = 0, markers = 0, n_want = !strcmp(models[i], "t5") ? 2 : 3;
        nib_fim_init(&fim, sizeof fim);
        fim.prefix = fim.suffix = fim.path = (nib_text){text, sizeof text - 1};
        assert_ok(nib_fim_build(model, &fim, ids, 512, &n, &err), err);
        int32_t unknown = nib_token_special(model, NIB_TOKEN_UNK);
        for (size_t k = 0; k < n; k++)
            markers += ids[k] != unknown && nib__tokenizer_is_control(model->tokenizer, ids[k]);
        if (markers != n_want) /* begin, hole, end; T5 has no begin, PLBART a language */
            fail_msg("%s: %zu markers, expected %zu", models[i], markers, n_want);
        nib_model_free(model);
    }
}

/* PLBART's language: behind the source, and before what the decoder writes. */
static void test_language(void **state)
{
    (void)state;
    nib_model *model = open_model("plbart");
    nib_session *session = open_session(model);
    nib_error err = {0};
    hole h = {.before = "def", .after = " x"};
    nib_fim fim = fim_of(&h);
    const int32_t *stream;
    size_t n = 0;
    int32_t java = nib__tokenizer_find(model->tokenizer, "__java__", 8);
    fim.language = (nib_text){"java", 4};
    assert_ok(nib_fim_begin(session, &fim, NULL, &err), err);
    assert_ok(nib_session_tokens(session, &stream, &n, NULL), err);
    assert_int_equal(stream[0], java);
    assert_int_equal(session->source.ids[session->source.n - 1], java);
    assert_true(session->source.ids[session->source.n - 2] != java);
    fim.language = (nib_text){"cobol", 5};
    assert_fails(nib_fim_begin(session, &fim, NULL, &err), NIB_ERR_ARGUMENT, err, "'cobol'");
    nib_session_free(session);
    nib_model_free(model);
}

/* ByT5's sentinels are bytes, which stand in no UTF-8; text that has them is refused. */
static void test_byt5(void **state)
{
    (void)state;
    static const token_file files[] = {
        {"tokenizer_config.json", "{\"tokenizer_class\": \"ByT5Tokenizer\"}", 36}};
    static const int32_t source[] = {100, 258, 101, 1};
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    nib_allocator mem = nib__allocator(NULL);
    nib__fim_pair pair = {
        .source = nib__ids_make(&mem), .target = nib__ids_make(&mem), .echo = nib__ids_make(&mem)};
    nib_fim fim = {.struct_size = sizeof fim, .prefix = {"a", 1}, .suffix = {"b", 1}};
    assert_ok(tokenizer_from_memory(NULL, files, 1, &t, &err), err);
    assert_int_equal(nib__fim_detect(t, "t5"), NIB_FIM_BYT5);
    assert_ok(nib__fim_build_pair(t, NIB_FIM_BYT5, &fim, 0, NULL, &pair, &err), err);
    assert_list("source", pair.source.items, pair.source.count, source, 4);
    assert_list("target", pair.target.items, pair.target.count, source + 1, 1);
    assert_true(nib__begins_with(t, 257, pair.sentinels));
    assert_false(nib__begins_with(t, 256, pair.sentinels));
    fim.suffix = (nib_text){"b\xfe", 2};
    assert_fails(nib__fim_build_pair(t, NIB_FIM_BYT5, &fim, 0, NULL, &pair, &err),
                 NIB_ERR_UNSUPPORTED, err, "marker");
    nib__ids_free(&pair.source);
    nib__ids_free(&pair.target);
    nib__ids_free(&pair.echo);
    nib__tokenizer_free(t);
}

/* Text without end on both sides: the source keeps within the encoder, the rest within the context.
 */
static void test_long_texts(void **state)
{
    (void)state;
    enum { LINES = 2000 };
    char *text = malloc(LINES * 8);
    assert_non_null(text);
    for (int i = 0; i < LINES; i++) memcpy(text + (size_t)i * 8, "x = 12;\n", 8);
    for (int i = 0; i < N_MODELS; i++) {
        nib_model *model = open_model(models[i]);
        nib_session *session = open_session(model);
        nib_complete_options options;
        nib_error err = {0};
        nib_fim fim;
        id_list drawn;
        char out[TEXT];
        nib_complete_options_init(&options, sizeof options);
        options.max_tokens = 4;
        nib_fim_init(&fim, sizeof fim);
        fim.prefix = fim.suffix = (nib_text){text, LINES * 8};
        for (uint32_t layout = 0; layout <= NIB_FIM_LAYOUT_PREFIX; layout++) {
            fim.layout = layout;
            assert_ok(nib_fim_begin(session, &fim, &options, &err), err);
            assert_true(session->source.n > session->source.capacity / 4);
            run(session, out, &drawn);
        }
        nib_session_free(session);
        nib_model_free(model);
    }
    free(text);
}

static void test_every_allocation_can_fail(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        nib_model *model = open_model(models[i]);
        for (size_t n = 1;; n++) {
            fault_alloc fa;
            nib_session *session = NULL;
            nib_session_options options;
            nib_error err = {0};
            hole h = {.line = true, .before = "def run(delta, width): return del", .after = " + w"};
            nib_fim fim = fim_of(&h);
            nib_session_options_init(&options, sizeof options);
            fault_alloc_init(&fa);
            fa.fail_at = n;
            options.allocator = &fa.mem;
            nib_status status = nib_session_new(model, &options, &session, &err);
            if (status == NIB_OK) status = nib_fim_begin(session, &fim, NULL, &err);
            nib_session_free(session);
            if (fault_turn_last(&fa, status, &err, 10)) break;
        }
        nib_model_free(model);
    }
}

static void test_no_markers(void **state)
{
    (void)state;
    nib_model *model = NULL;
    nib_error err = {0};
    nib_fim fim;
    size_t n = 0;
    nib_fim_init(&fim, sizeof fim);
    assert_ok(nib_model_open(fixture_path("fixtures/seq2seq/t5_plain"), NULL, &model, &err), err);
    assert_fails(nib_fim_build(model, &fim, NULL, 0, &n, &err), NIB_ERR_UNSUPPORTED, err,
                 "markers");
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holes_are_filled),
        cmocka_unit_test(test_markers_in_text),
        cmocka_unit_test(test_first_space),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_byt5),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_every_allocation_can_fail),
        cmocka_unit_test(test_no_markers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
