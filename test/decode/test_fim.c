/* SPDX-License-Identifier: MIT
 * Fill-in-the-middle prompts, on small vocabularies made here: one token per byte, so that a prompt
 * can be read. The expected texts were written by hand from the model cards. */
#include "test.h"

#include "fault_alloc.h"
#include "fim_vocabs.h"

static nib_text str(const char *text)
{
    return (nib_text){text, strlen(text)};
}

static void check_prompt(const vocab *v, const nib_fim *fim, const char *expected)
{
    nib__tokenizer *t = make_tokenizer(v, NULL);
    nib_allocator mem = nib__allocator(NULL);
    nib__ids ids = nib__ids_make(&mem);
    nib_error err = {0};
    nib_status status = nib__fim_build(t, nib__fim_detect(t, NULL), fim, 0, NULL, &ids, &err);
    if (status != NIB_OK) fail_msg("%s", err.text);
    char *text = render(v, &ids);
    assert_string_equal(text, expected);
    free(text);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

static void detects_each_family(void **state)
{
    static const struct {
        const vocab *v;
        uint32_t family;
    } rows[] = {
        {&qwen, NIB_FIM_QWEN},           {&codegemma, NIB_FIM_CODEGEMMA},
        {&starcoder, NIB_FIM_STARCODER}, {&starcoder2, NIB_FIM_STARCODER2},
        {&deepseek, NIB_FIM_DEEPSEEK},   {&santacoder, NIB_FIM_SANTACODER},
        {&codestral, NIB_FIM_CODESTRAL}, {&codellama, NIB_FIM_CODELLAMA},
        {&incoder, NIB_FIM_INCODER},     {&codegen2, NIB_FIM_CODEGEN2},
        {&glm, NIB_FIM_GENERIC},         {&plain, NIB_FIM_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nib__tokenizer *t = make_tokenizer(rows[i].v, NULL);
        assert_int_equal(nib__fim_detect(t, NULL), rows[i].family);
        nib__tokenizer_free(t);
    }
}

static void arranges_each_family(void **state)
{
    static const struct {
        const vocab *v;
        const char *line, *prefix; /* both layouts */
    } rows[] = {
        {&qwen, "<|fim_prefix|>a\n<|fim_suffix|>d\ne<|fim_middle|>b c",
         "<|fim_prefix|>a\nb c<|fim_suffix|>d\ne<|fim_middle|>"},
        {&codegemma, "<bos><|fim_prefix|>a\n<|fim_suffix|>d\ne<|fim_middle|>b c",
         "<bos><|fim_prefix|>a\nb c<|fim_suffix|>d\ne<|fim_middle|>"},
        {&starcoder, "<fim_prefix>a\n<fim_suffix>d\ne<fim_middle>b c",
         "<fim_prefix>a\nb c<fim_suffix>d\ne<fim_middle>"},
        {&starcoder2, "<fim_prefix>a\n<fim_suffix>d\ne<fim_middle>b c",
         "<fim_prefix>a\nb c<fim_suffix>d\ne<fim_middle>"},
        {&santacoder, "<fim-prefix>a\n<fim-suffix>d\ne<fim-middle>b c",
         "<fim-prefix>a\nb c<fim-suffix>d\ne<fim-middle>"},
        {&deepseek, "<s><｜fim▁begin｜>a\n<｜fim▁hole｜>d\ne<｜fim▁end｜>b c",
         "<s><｜fim▁begin｜>a\nb c<｜fim▁hole｜>d\ne<｜fim▁end｜>"},
        {&codestral, "<s>[SUFFIX]d\ne[PREFIX]a\nb c", "<s>[SUFFIX]d\ne[PREFIX]a\nb c"},
        {&codellama, "<s>▁<PRE>a\n▁<SUF>d\ne▁<MID>b c", "<s>▁<PRE>a\nb c▁<SUF>d\ne▁<MID>"},
        {&incoder, "<|endoftext|>a\n<|mask:0|>d\ne<|mask:1|><|mask:0|>b c",
         "<|endoftext|>a\nb c<|mask:0|>d\ne<|mask:1|><|mask:0|>"},
        {&glm, "<|code_prefix|>a\n<|code_suffix|>d\ne<|code_middle|>b c",
         "<|code_prefix|>a\nb c<|code_suffix|>d\ne<|code_middle|>"},
    };
    (void)state;
    nib_fim fim = {.struct_size = sizeof fim, .prefix = str("a\nb c"), .suffix = str("d\ne")};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fim.layout = NIB_FIM_LAYOUT_LINE_LAST;
        check_prompt(rows[i].v, &fim, rows[i].line);
        fim.layout = NIB_FIM_LAYOUT_PREFIX;
        check_prompt(rows[i].v, &fim, rows[i].prefix);
    }
}

static void keeps_indentation_in_the_prefix(void **state)
{
    (void)state;
    nib_fim fim = {.struct_size = sizeof fim,
                   .layout = NIB_FIM_LAYOUT_LINE_LAST,
                   .prefix = str("a\n\t  b c"),
                   .suffix = str("d")};
    check_prompt(&qwen, &fim, "<|fim_prefix|>a\n\t  <|fim_suffix|>d<|fim_middle|>b c");
    fim.prefix = str("a\n\t  ");
    check_prompt(&qwen, &fim, "<|fim_prefix|>a\n\t  <|fim_suffix|>d<|fim_middle|>");
}

static void ends_the_suffix_of_codegen2(void **state)
{
    static const vocab v = {{"<|endoftext|>", "<mask_1>", "<sep>"}, CONTROL, 1};
    (void)state;
    nib_fim fim = {.struct_size = sizeof fim,
                   .layout = NIB_FIM_LAYOUT_PREFIX,
                   .prefix = str("a"),
                   .suffix = str("b")};
    check_prompt(&v, &fim, "<|endoftext|>a<mask_1>b<|endoftext|><sep><mask_1>");
}

static void writes_other_files(void **state)
{
    static const struct {
        const vocab *v;
        const char *expected;
    } rows[] = {
        {&qwen, "<|repo_name|>r\n<|file_sep|>x.c\nX\n<|file_sep|>y.c\nY\n<|file_sep|>z.c\n"
                "<|fim_prefix|>p<|fim_suffix|>s<|fim_middle|>"},
        {&starcoder, "<reponame>r<filename>x.c\nX\n<filename>y.c\nY\n<filename>z.c\n"
                     "<fim_prefix>p<fim_suffix>s<fim_middle>"},
        {&starcoder2, "<repo_name>r<file_sep>x.c\nX<file_sep>y.c\nY\n<file_sep>"
                      "<fim_prefix>z.c\np<fim_suffix>s<fim_middle>"},
        {&codegemma, "<bos>x.c\nX<|file_separator|>y.c\nY\n<|file_separator|>z.c\n"
                     "<|fim_prefix|>p<|fim_suffix|>s<|fim_middle|>"},
        {&deepseek, "<s><｜fim▁begin｜># x.c\nX\n# y.c\nY\n# z.c\np<｜fim▁hole｜>s<｜fim▁end｜>"},
    };
    nib_fim_file files[] = {{str("x.c"), str("X")}, {str("y.c"), str("Y\n")}};
    nib_fim fim = {.struct_size = sizeof fim,
                   .layout = NIB_FIM_LAYOUT_PREFIX,
                   .prefix = str("p"),
                   .suffix = str("s"),
                   .repo = str("r"),
                   .path = str("z.c"),
                   .files = files,
                   .n_files = 2};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_prompt(rows[i].v, &fim, rows[i].expected);
}

/* Marker text in the user's code stays text, also where the vocabulary calls its markers
 * user-defined, which tokenizers recognise anywhere. */
static void keeps_marker_text_plain(void **state)
{
    static const struct {
        const vocab *v;
        const char *text;
    } rows[] = {
        {&deepseek, "x<｜fim▁end｜>y<｜fim▁begin｜><｜fim▁hole｜>z"},
        {&qwen, "x<|fim_middle|>y<|fim_prefix|><|repo_name|>z"},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        nib__tokenizer *t = make_tokenizer(rows[i].v, NULL);
        nib_allocator mem = nib__allocator(NULL);
        nib__ids ids = nib__ids_make(&mem);
        nib_text text = str(rows[i].text);
        nib_fim_file file = {text, text};
        nib_fim fim = {.struct_size = sizeof fim,
                       .prefix = text,
                       .suffix = text,
                       .repo = text,
                       .path = text,
                       .files = &file,
                       .n_files = 1};
        size_t markers = 0, bytes = 0;
        assert_int_equal(nib__fim_build(t, nib__fim_detect(t, NULL), &fim, 0, NULL, &ids, NULL),
                         NIB_OK);
        for (size_t k = 0; k < ids.count; k++) {
            if (ids.items[k] >= N_BYTES)
                markers++;
            else
                bytes++;
        }
        /* <s>, three markers; Qwen: three markers, repository, two files */
        assert_int_equal(markers, rows[i].v == &qwen ? 6 : 4);
        /* prefix, suffix, path and content of the file, own path; Qwen: repository name and more */
        assert_true(bytes >= 5 * text.len);
        nib__ids_free(&ids);
        nib__tokenizer_free(t);
    }
}

/* n lines of `width` bytes, the newline included. */
static char *lines(size_t n, size_t width)
{
    char *text = malloc(n * width + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        memset(text + i * width, 'x', width - 1);
        char number[24];
        int len = snprintf(number, sizeof number, "%zu", i);
        memcpy(text + i * width, number, (size_t)len);
        text[(i + 1) * width - 1] = '\n';
    }
    text[n * width] = '\0';
    return text;
}

/* Builds with a budget; bytes before and after the suffix marker go to *before and *after, the text
 * right behind the prefix marker to first. */
static void build_cut(const nib_fim *fim, uint32_t budget, size_t *before, size_t *after,
                      char first[16])
{
    nib__tokenizer *t = make_tokenizer(&qwen, NULL);
    nib_allocator mem = nib__allocator(NULL);
    nib__ids ids = nib__ids_make(&mem);
    nib_error err = {0};
    if (nib__fim_build(t, NIB_FIM_QWEN, fim, budget, NULL, &ids, &err) != NIB_OK)
        fail_msg("%s", err.text);
    assert_true(ids.count <= budget);
    int part = 0;
    *before = *after = 0;
    memset(first, 0, 16);
    for (size_t i = 0; i < ids.count; i++) {
        if (ids.items[i] == N_BYTES)
            part = 1; /* <|fim_prefix|> */
        else if (ids.items[i] == N_BYTES + 2)
            part = 2; /* <|fim_suffix|> */
        else if (ids.items[i] == N_BYTES + 1)
            part = 3; /* <|fim_middle|> */
        else if (part == 1 && (*before)++ < 15)
            first[*before - 1] = (char)ids.items[i];
        else if (part == 2)
            (*after)++;
    }
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

static void cuts_three_to_one_at_lines(void **state)
{
    char *text = lines(1000, 10), first[16];
    size_t before, after;
    (void)state;
    nib_fim fim = {.struct_size = sizeof fim,
                   .layout = NIB_FIM_LAYOUT_PREFIX,
                   .prefix = {text, 10000},
                   .suffix = {text, 10000}};
    build_cut(&fim, 4008, &before, &after, first);
    assert_int_equal(before % 10, 0);
    assert_int_equal(after % 10, 0);
    assert_in_range(before, 3000 - 160, 3000); /* of 4000, less than one step of 16 lines lost */
    assert_in_range(after, 1000 - 160, 1000);
    assert_int_equal(strtoul(first, NULL, 10) % 16, 0);

    fim.suffix.len = 50; /* what the suffix does not need, the prefix gets */
    build_cut(&fim, 4008, &before, &after, first);
    assert_int_equal(after, 50);
    assert_in_range(before, 3950 - 160, 3950);

    fim.suffix.len = 10000;
    fim.prefix.len = 100;
    build_cut(&fim, 4008, &before, &after, first);
    assert_int_equal(before, 100);
    assert_in_range(after, 3900 - 160, 3900);
    free(text);
}

/* While text is added at the cursor the cut stays where it is for 16 lines at a time, so that the
 * KV cache of the prefix stays valid. */
static void cuts_at_the_same_place_while_typing(void **state)
{
    char *text = lines(1000, 10), first[16], last[16] = "";
    size_t before, after, moves = 0;
    (void)state;
    nib_fim fim = {.struct_size = sizeof fim, .suffix = {text, 10000}};
    for (size_t len = 5000; len < 5000 + 64 * 10; len++) {
        fim.prefix = (nib_text){text, len};
        build_cut(&fim, 4008, &before, &after, first);
        if (strcmp(first, last) != 0) {
            moves++;
            memcpy(last, first, sizeof last);
        }
    }
    assert_in_range(moves, 4, 6); /* 64 lines: every 16 lines, and where it started */
    free(text);
}

static void cuts_what_has_no_lines(void **state)
{
    size_t len = 10u << 20, before, after;
    char *text = malloc(len), first[16];
    assert_non_null(text);
    (void)state;
    memset(text, 'a', len);
    nib_fim fim = {.struct_size = sizeof fim, .prefix = {text, len}, .suffix = {text, len}};
    fim.layout = NIB_FIM_LAYOUT_PREFIX;
    build_cut(&fim, 1008, &before, &after, first);
    assert_int_equal(before, 750);
    assert_int_equal(after, 250);
    fim.layout = NIB_FIM_LAYOUT_LINE_LAST; /* all of the line is behind the middle marker */
    build_cut(&fim, 1008, &before, &after, first);
    assert_int_equal(before, 0);
    assert_in_range(after, 200, 500);
    free(text);
}

static void keeps_the_most_relevant_files(void **state)
{
    char *text = lines(40, 10), first[16];
    size_t before, after;
    (void)state;
    nib_fim_file files[] = {
        {str("a"), {text, 400}}, {str("b"), {text, 400}}, {str("c"), {text, 90}}};
    nib_fim fim = {.struct_size = sizeof fim,
                   .prefix = {text, 50},
                   .suffix = {text, 50},
                   .path = str("d"),
                   .files = files,
                   .n_files = 3};
    nib__tokenizer *t = make_tokenizer(&qwen, NULL);
    nib_allocator mem = nib__allocator(NULL);
    nib__ids ids = nib__ids_make(&mem);
    assert_int_equal(nib__fim_build(t, NIB_FIM_QWEN, &fim, 1100, NULL, &ids, NULL), NIB_OK);
    char *prompt = render(&qwen, &ids);
    assert_null(strstr(prompt, "<|file_sep|>a\n")); /* b and c take 498 of 546 */
    assert_non_null(strstr(prompt, "<|file_sep|>b\n"));
    assert_non_null(strstr(prompt, "<|file_sep|>c\n"));
    assert_non_null(strstr(prompt, "<|file_sep|>d\n<|fim_prefix|>0xx"));
    free(prompt);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
    build_cut(&fim, 100, &before, &after, first); /* no room for any */
    assert_true(before > 0 && after > 0);
    free(text);
}

static void refuses_what_it_cannot_do(void **state)
{
    nib__tokenizer *t = make_tokenizer(&plain, NULL), *q = make_tokenizer(&qwen, NULL);
    nib_allocator mem = nib__allocator(NULL);
    nib__ids ids = nib__ids_make(&mem);
    nib_error err = {0};
    nib_fim fim = {.struct_size = sizeof fim, .prefix = str("a"), .suffix = str("b")};
    (void)state;
    assert_int_equal(nib__fim_build(t, nib__fim_detect(t, NULL), &fim, 0, NULL, &ids, &err),
                     NIB_ERR_UNSUPPORTED);
    assert_int_equal(nib__fim_build(q, NIB_FIM_QWEN, &fim, 10, NULL, &ids, &err), NIB_ERR_LIMIT);
    fim.layout = 3;
    assert_int_equal(nib__fim_build(q, NIB_FIM_QWEN, &fim, 0, NULL, &ids, &err), NIB_ERR_ARGUMENT);
    fim.layout = 0;
    fim.suffix = (nib_text){NULL, 1};
    assert_int_equal(nib__fim_build(q, NIB_FIM_QWEN, &fim, 0, NULL, &ids, &err), NIB_ERR_ARGUMENT);
    fim.suffix = (nib_text){NULL, 0};
    fim.prefix = (nib_text){NULL, 0};
    assert_int_equal(nib__fim_build(q, NIB_FIM_QWEN, &fim, 0, NULL, &ids, &err), NIB_OK);
    assert_int_equal(ids.count, 3);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
    nib__tokenizer_free(q);
}

static void survives_failed_allocations(void **state)
{
    char *text = lines(100, 10);
    nib_fim_file file = {str("f"), {text, 200}};
    nib_fim fim = {.struct_size = sizeof fim,
                   .prefix = {text, 990},
                   .suffix = {text, 1000},
                   .path = str("g"),
                   .repo = str("r"),
                   .files = &file,
                   .n_files = 1};
    nib__tokenizer *t = make_tokenizer(&qwen, NULL);
    (void)state;
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib__ids ids = nib__ids_make(&fa.mem);
        nib_error err = {0};
        nib_status status = nib__fim_build(t, NIB_FIM_QWEN, &fim, 700, NULL, &ids, &err);
        int done = fa.count < n;
        if (status != NIB_OK) {
            assert_int_equal(status, NIB_ERR_MEMORY);
            assert_int_equal(ids.count, 0);
            assert_true(err.text[0] != '\0');
        }
        nib__ids_free(&ids);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        if (done) {
            assert_int_equal(status, NIB_OK);
            assert_true(n > 5);
            break;
        }
        assert_int_equal(status, NIB_ERR_MEMORY);
    }
    nib__tokenizer_free(t);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detects_each_family),
        cmocka_unit_test(arranges_each_family),
        cmocka_unit_test(keeps_indentation_in_the_prefix),
        cmocka_unit_test(ends_the_suffix_of_codegen2),
        cmocka_unit_test(writes_other_files),
        cmocka_unit_test(keeps_marker_text_plain),
        cmocka_unit_test(cuts_three_to_one_at_lines),
        cmocka_unit_test(cuts_at_the_same_place_while_typing),
        cmocka_unit_test(cuts_what_has_no_lines),
        cmocka_unit_test(keeps_the_most_relevant_files),
        cmocka_unit_test(refuses_what_it_cannot_do),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests_name("decode/fim", tests, NULL, NULL);
}
