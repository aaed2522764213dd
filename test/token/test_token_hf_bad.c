/* SPDX-License-Identifier: MIT
 * Tokenizer files that must not open, and what their error names; every allocation failing once; a
 * model without tokenizer files. */
#include "fault_turn.h"
#include "fixture.h"
#include "test.h"
#include "token_check.h"
#include "token_folder.h"
#include "token_use.h"

static nib_status open_text(const char *name, const char *text, nib__tokenizer **t, nib_error *err)
{
    token_file file = {name, text, strlen(text)};
    return tokenizer_from_memory(NULL, &file, 1, t, err);
}

#define BPE(vocab, merges, more)                                                                   \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]" more "}"
#define AB "\"a\":0,\"b\":1,\"ab\":2"
#define WITH(part) BPE(AB, "\"a b\"", "") "," part "}"
#define DECODERS(list) WITH("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[" list "]}")
#define SUFFIX "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}"
#define SPACES                                                                                     \
    "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"always\"}"

typedef struct bad_case {
    const char *text;
    nib_status status;
    const char *part; /* of the message */
} bad_case;

static const bad_case CASES[] = {
    {"", NIB_ERR_FORMAT, "tokenizer.json"},
    {"[1]", NIB_ERR_FORMAT, "object"},
    {"{}", NIB_ERR_FORMAT, "model"},
    {"{\"model\":{\"type\":\"Magic\",\"vocab\":{}}}", NIB_ERR_UNSUPPORTED, "Magic"},
    {BPE("", "", "") "}", NIB_ERR_FORMAT, "empty"},
    {BPE("\"a\":-1", "", "") "}", NIB_ERR_FORMAT, "'a' has no id"},
    {BPE("\"a\":1.5", "", "") "}", NIB_ERR_FORMAT, "'a' has no id"},
    {BPE("\"a\":2000000000", "", "") "}", NIB_ERR_LIMIT, "2000000000"},
    {BPE("\"a\":9223372036854775807", "", "") "}", NIB_ERR_LIMIT, "id"},
    {BPE("\"a\":0,\"b\":0", "", "") "}", NIB_ERR_FORMAT, "both 'a' and 'b'"},
    {BPE("\"a\":0,\"a\":1", "", "") "}", NIB_ERR_FORMAT, "tokenizer.json"},
    {BPE(AB, "\"a c\"", "") "}", NIB_ERR_FORMAT, "merge 0: 'a' and 'c'"},
    {BPE(AB, "\"b a\"", "") "}", NIB_ERR_FORMAT, "merge 0"},
    {BPE(AB, "\"ab\"", "") "}", NIB_ERR_FORMAT, "merge 0"},
    {BPE(AB, "\" ab\"", "") "}", NIB_ERR_FORMAT, "merge 0"}, /* would join ab to itself */
    {BPE(AB, "[\"\",\"ab\"]", "") "}", NIB_ERR_FORMAT, "merge 0"},
    {BPE(AB, "[\"a\",\"b\",\"c\"]", "") "}", NIB_ERR_FORMAT, "merge 0"},
    {BPE(AB, "\"a b\",7", "") "}", NIB_ERR_FORMAT, "merge 1"},
    {BPE(AB, "", ",\"dropout\":0.1") "}", NIB_ERR_UNSUPPORTED, "dropout"},
    {BPE(AB, "", ",\"unk_token\":\"?\"") "}", NIB_ERR_FORMAT, "unk_token '?'"},
    {BPE(AB, "", ",\"end_of_word_suffix\":\"0123456789012345678901234567890123456789\"") "}",
     NIB_ERR_LIMIT, "end_of_word_suffix"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", NIB_ERR_FORMAT, "vocab[0]"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", NIB_ERR_FORMAT, "vocab[0]"},
    {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",-1]]}}", NIB_ERR_FORMAT,
     "unk_id 1"},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", NIB_ERR_FORMAT, "unk_token"},
    {WITH("\"added_tokens\":[{\"id\":3}]"), NIB_ERR_FORMAT, "added token"},
    {WITH("\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]"), NIB_ERR_FORMAT, "both 'b' and 'x'"},
    {WITH("\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]"), NIB_ERR_FORMAT, "'a' has the ids"},
    {WITH("\"normalizer\":{\"type\":\"Poetry\"}"), NIB_ERR_UNSUPPORTED, "Poetry"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a+)++\"},\"content\":"
          "\"\"}"),
     NIB_ERR_UNSUPPORTED, "Replace regex: '(a+)++': a possessive"},
    {WITH("\"normalizer\":{\"type\":\"Sequence\"}"), NIB_ERR_FORMAT, "normalizers"},
    {WITH("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"A===\"}"),
     NIB_ERR_FORMAT, "base64"},
    {WITH("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}"),
     NIB_ERR_FORMAT, "charsmap"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(x|y)\\\\1\"},"
          "\"behavior\":\"Isolated\",\"invert\":false}"),
     NIB_ERR_UNSUPPORTED, "Split regex: '(x|y)\\1': such an escape"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},"
          "\"behavior\":\"Sideways\",\"invert\":false}"),
     NIB_ERR_UNSUPPORTED, "Sideways"},
    {WITH("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}"), NIB_ERR_UNSUPPORTED,
     "UnicodeScripts"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},"
          "{\"type\":\"Punctuation\"}]}"),
     NIB_ERR_UNSUPPORTED, "Punctuation"},
    {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\"}"), NIB_ERR_UNSUPPORTED,
     "'_'"},
    {WITH("\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",0],\"sep\":[\"z\",99]}"),
     NIB_ERR_FORMAT, "post_processor"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), NIB_ERR_FORMAT,
     "single"},
    {WITH("\"decoder\":{\"type\":\"CTC\"}"), NIB_ERR_UNSUPPORTED, "CTC"},
    {WITH("\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\1\"},\"content\":"
          "\"\"}"),
     NIB_ERR_UNSUPPORTED, "decoder: Replace regex"},
    {WITH("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
          "\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}]}"),
     NIB_ERR_UNSUPPORTED, "behind Fuse"},
    {DECODERS("{\"type\":\"ByteFallback\"},{\"type\":\"WordPiece\",\"prefix\":\"##\"}"),
     NIB_ERR_UNSUPPORTED, "WordPiece behind ByteFallback"},
    {DECODERS(SUFFIX "," SPACES), NIB_ERR_UNSUPPORTED, "Metaspace with BPEDecoder"},
    {DECODERS(SPACES "," SUFFIX), NIB_ERR_UNSUPPORTED, "Metaspace with BPEDecoder"},
};

static void hostile_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        nib__tokenizer *t = NULL;
        nib_error err = {0};
        nib_status status = open_text("tokenizer.json", CASES[i].text, &t, &err);
        if (status != CASES[i].status) print_error("case %zu: %s\n", i, CASES[i].text);
        assert_fails(status, CASES[i].status, err, CASES[i].part);
        assert_fails(status, CASES[i].status, err, "tokenizer.json");
        assert_null(t);
    }
}

/* The valid file that the cases above spoil. */
static void the_good_one(void **state)
{
    (void)state;
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(open_text("tokenizer.json", WITH("\"normalizer\":null"), &t, &err), err);
    assert_ok(nib__tokenize(t, "abba", 4, 0, &ids, &err), err);
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.items[0], 2);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

/* A token on which the decoder's regular expression looks to the end from every character: refused
 * when the file is opened. The same token, short, is none of its business. */
static void endless_decoder(void **state)
{
    (void)state;
    static const char FORM[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"%s\":0},\"merges\":[]},"
                               "\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":"
                               "\"a[ab]*c|a\"},\"content\":\"x\"}}";
    enum { LONG = 20000 };
    char *token = malloc(LONG + 1), *text = malloc(LONG + sizeof FORM);
    for (size_t len = 20; len <= LONG; len *= 1000) {
        nib__tokenizer *t = NULL;
        nib_error err = {0};
        memset(token, 'a', len);
        token[len] = '\0';
        snprintf(text, LONG + sizeof FORM, FORM, token);
        nib_status status = open_text("tokenizer.json", text, &t, &err);
        if (len == LONG)
            assert_fails(status, NIB_ERR_LIMIT, err, "looks too far ahead");
        else
            assert_ok(status, err);
        nib__tokenizer_free(t);
    }
    free(token);
    free(text);
}

/* A merge list in any order, with pairs whose result is their own part's: it always ends. */
static void merges_in_any_order(void **state)
{
    (void)state;
    static const char TEXT[] = BPE("\"a\":0,\"aa\":1,\"aaa\":2,\"aaaa\":3",
                                   "\"aa aa\",\"aaa a\",\"a aaa\",\"aa a\",\"a a\"", "") "}";
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    assert_ok(open_text("tokenizer.json", TEXT, &t, &err), err);
    token_use_letters(t);
    nib__tokenizer_free(t);
}

static void slow_files(void **state)
{
    (void)state;
    static const struct {
        const char *vocab, *merges, *config;
        nib_status status;
        const char *part;
    } BAD[] = {
        {"{\"a\":0}", "#\na\n", "{}", NIB_ERR_FORMAT, "merges.txt: merge 0"},
        {"{\"a\":0}", "#\na b\n", "{}", NIB_ERR_FORMAT, "'a' and 'b'"},
        {"{}", "", "{}", NIB_ERR_FORMAT, "vocab.json"},
        {"{\"a\":[]}", "", "{}", NIB_ERR_FORMAT, "'a' has no id"},
        {"{\"a\":0,\"b\":0}", "", "{}", NIB_ERR_FORMAT, "both"},
        {"{\"a\":0}", "", "{\"tokenizer_class\":\"MarsTokenizer\"}", NIB_ERR_UNSUPPORTED, "Mars"},
        {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}", NIB_ERR_FORMAT,
         "'x' is no id"},
        {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"0\":{\"content\":\"y\"}}}", NIB_ERR_FORMAT,
         "both"},
        {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"99999999\":{\"content\":\"y\"}}}",
         NIB_ERR_LIMIT, "in a vocabulary"},
        {"{\"a\":0}", "", "{\"added_tokens_decoder\":{\"7\":{\"content\":\"a\"}}}",
         NIB_ERR_UNSUPPORTED, "'a' has the id 7, and 0 in the vocabulary"},
        {"{\"a\":0}", "", "{", NIB_ERR_FORMAT, "tokenizer_config.json"},
        {"{\"a\":0}", "", "[]", NIB_ERR_FORMAT, "tokenizer_config.json: expected an object"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        token_file files[] = {{"vocab.json", BAD[i].vocab, strlen(BAD[i].vocab)},
                              {"merges.txt", BAD[i].merges, strlen(BAD[i].merges)},
                              {"tokenizer_config.json", BAD[i].config, strlen(BAD[i].config)}};
        nib__tokenizer *t = NULL;
        nib_error err = {0};
        int named = 0;
        assert_fails(tokenizer_from_memory(NULL, files, 3, &t, &err), BAD[i].status, err,
                     BAD[i].part);
        for (int f = 0; f < 3; f++) named += strstr(err.text, files[f].name) != NULL;
        if (named == 0) fail_msg("case %zu names no file: %s", i, err.text);
    }
}

static void special_ids(void **state)
{
    (void)state;
    static const char *const BAD[] = {"{\"eos_token_id\":\"x\"}", "{\"eos_token_id\":[1,true]}",
                                      "{\"pad_token_id\":1.5}"};
    static const char json[] = WITH("\"normalizer\":null");
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        token_file files[] = {{"tokenizer.json", json, strlen(json)},
                              {"generation_config.json", BAD[i], strlen(BAD[i])}};
        nib__tokenizer *t = NULL;
        nib_error err = {0};
        assert_fails(tokenizer_from_memory(NULL, files, 2, &t, &err), NIB_ERR_FORMAT, err,
                     "token_id: expected an id or a list of ids");
        assert_non_null(strstr(err.text, "generation_config.json"));
    }
}

/* Protobuf: a piece is 0A len 0A n text 15 f32 18 type. */
static void sentencepiece_files(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        nib_status status;
        const char *part;
    } BAD[] = {
        {"", 0, NIB_ERR_FORMAT, "no pieces"},
        {"\x0a", 1, NIB_ERR_FORMAT, "cut short"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, NIB_ERR_FORMAT, "cut short"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, NIB_ERR_FORMAT, "cut short"},
        {"\x07\x00", 2, NIB_ERR_FORMAT, "cut short"},
        {"\x0a\x03\x0a\x05x", 5, NIB_ERR_FORMAT, "a piece"},
        {"\x0a\x02\x18\x01", 4, NIB_ERR_FORMAT, "piece 0"},
        {"\x0a\x08\x0a\x01x\x15\x00\x00\xc0\x7f", 10, NIB_ERR_FORMAT, "piece 0"},
        {"\x0a\x05\x0a\x01x\x18\x63", 7, NIB_ERR_FORMAT, "piece 0"},
        {"\x0a\x05\x0a\x01x\x18\x01", 7, NIB_ERR_FORMAT, "unknown piece"},
        {"\x0a\x05\x0a\x01x\x18\x02\x12\x02\x18\x05", 11, NIB_ERR_UNSUPPORTED, "unknown type"},
        {"\x0a\x05\x0a\x01x\x18\x02\x12\x02\x18\x00", 11, NIB_ERR_UNSUPPORTED, "unknown type"},
        {"\x0a\x05\x0a\x01x\x18\x02\x1a\x04\x12\x02zz", 13, NIB_ERR_FORMAT, "charsmap"},
        {"\x0a\x05\x0a\x01x\x18\x02\x2a\x03\x12\x01z", 12, NIB_ERR_UNSUPPORTED, "denormalizer"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        token_file file = {"tokenizer.model", BAD[i].bytes, BAD[i].size};
        nib__tokenizer *t = NULL;
        nib_error err = {0};
        nib_status status = tokenizer_from_memory(NULL, &file, 1, &t, &err);
        if (status != BAD[i].status) print_error("case %zu\n", i);
        assert_fails(status, BAD[i].status, err, BAD[i].part);
        assert_fails(status, BAD[i].status, err, "tokenizer.model");
    }
}

/* A model without tokenizer files opens; its ids are those of vocab_size, without text. */
static void no_tokenizer(void **state)
{
    (void)state;
    static const char CONFIG[] = "{\"vocab_size\":50}";
    token_file file = {"config.json", CONFIG, sizeof CONFIG - 1};
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    char text[8];
    size_t len = 9;
    assert_ok(tokenizer_from_memory(NULL, &file, 1, &t, &err), err);
    assert_string_equal(nib__tokenizer_name(t), "none");
    assert_int_equal(nib__tokenizer_size(t), 50);
    assert_fails(nib__tokenize(t, "a", 1, 0, &ids, &err), NIB_ERR_UNSUPPORTED, err,
                 "tokenizer.json");
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_EOS), -1);
    assert_false(nib__tokenizer_is_end(t, 3));
    assert_ok(nib__detokenize(t, (int32_t[]){1, 49}, 2, 0, text, sizeof text, &len, &err), err);
    assert_int_equal(len, 0);
    nib__tokenizer_free(t);
    assert_ok(tokenizer_from_memory(NULL, NULL, 0, &t, &err), err);
    assert_int_equal(nib__tokenizer_size(t), 0);
    nib__tokenizer_free(t);
}

/* Roles by text and by id, lists of ends, and rows above the last token. */
static void roles(void **state)
{
    (void)state;
    static const char JSON[] =
        WITH("\"added_tokens\":[{\"id\":3,\"content\":\"<e>\",\"special\":true},"
             "{\"id\":4,\"content\":\"<f>\",\"special\":true}]");
    static const char CONFIG[] = "{\"vocab_size\":9,\"bos_token_id\":3,\"eos_token_id\":99}";
    static const char GENERATION[] = "{\"eos_token_id\":[4,2]}";
    static const char TOKENS[] = "{\"eos_token\":{\"content\":\"<e>\"},\"pad_token\":\"<f>\"}";
    token_file files[] = {{"tokenizer.json", JSON, sizeof JSON - 1},
                          {"config.json", CONFIG, sizeof CONFIG - 1},
                          {"generation_config.json", GENERATION, sizeof GENERATION - 1},
                          {"tokenizer_config.json", TOKENS, sizeof TOKENS - 1}};
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    assert_ok(tokenizer_from_memory(NULL, files, 4, &t, &err), err);
    assert_int_equal(nib__tokenizer_size(t), 9);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_BOS), 3);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_EOS), 3);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_PAD), 4);
    static const int END[] = {0, 0, 1, 1, 1, 0, 0, 0, 0};
    for (int i = 0; i < 9; i++) assert_int_equal(nib__tokenizer_is_end(t, i), END[i]);
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(nib__tokenize(t, "<e>ab", 5, 0, &ids, &err), err);
    for (size_t i = 0; i < ids.count; i++) assert_true(ids.items[i] < 3);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

static void every_allocation_fails(void **state)
{
    static const char TEXT[] =
        "  def f(x):\n\treturn  e\xcc\x81\xef\xac\x81 <mask> x1 \xff "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    char path[96];
    snprintf(path, sizeof path, "fixtures/hf_tokenizers/%s", (const char *)*state);
    char folder[512];
    snprintf(folder, sizeof folder, "%s", fixture_path(path));
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib_error err = {0};
        nib__tokenizer *t = NULL;
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib_status status = tokenizer_from_folder(&fa.mem, folder, &t, &err);
        if (status == NIB_OK) status = tokenize_and_free(t, &fa.mem, TEXT, sizeof TEXT - 1, &err);
        if (fault_turn_last(&fa, status, &err, 10)) break;
        assert_int_equal(err.code, NIB_ERR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_json),
        cmocka_unit_test(the_good_one),
        cmocka_unit_test(endless_decoder),
        cmocka_unit_test(merges_in_any_order),
        cmocka_unit_test(slow_files),
        cmocka_unit_test(special_ids),
        cmocka_unit_test(sentencepiece_files),
        cmocka_unit_test(no_tokenizer),
        cmocka_unit_test(roles),
        {"allocations codegen", every_allocation_fails, NULL, NULL, "codegen"},
        {"allocations added", every_allocation_fails, NULL, NULL, "added"},
        {"allocations t5", every_allocation_fails, NULL, NULL, "t5"},
        {"allocations bert", every_allocation_fails, NULL, NULL, "bert"},
        {"allocations wordlevel_split", every_allocation_fails, NULL, NULL, "wordlevel_split"},
        {"allocations sp_bpe_gemma", every_allocation_fails, NULL, NULL, "sp_bpe_gemma"},
        {"allocations plbart_java", every_allocation_fails, NULL, NULL, "plbart_java"},
        {"allocations byt5_slow", every_allocation_fails, NULL, NULL, "byt5_slow"},
        {"allocations roberta_space", every_allocation_fails, NULL, NULL, "roberta_space"},
    };
    return cmocka_run_group_tests_name("token_hf_bad", tests, NULL, NULL);
}
