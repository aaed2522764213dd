/* SPDX-License-Identifier: MIT
 * PyTorch checkpoints that break each rule of a pickle (test_torch_zip_bad.c: of the archive around
 * it), and files that PyTorch itself wrote but that are not read. The right status, a message that
 * names the file and the place, no leak. Then every truncation and random changes of a good file.
 */
#include "test.h"

#include "fault_alloc.h"
#include "file/source.h"
#include "fixture.h"
#include "gguf_walk.h"
#include "hf_memory.h"
#include "rng.h"
#include "temp_dir.h"
#include "zip_writer.h"

/* ---- pickles: text without its NUL, in an archive with data/0 (64 bytes) and data/1 (4) ---- */

static void refused_pickle(const char *pickle, size_t n, nib_status code, const char *part)
{
    size_t size;
    uint8_t *file = zip_checkpoint(pickle, n, &size);
    assert_hf_refused(HF_TORCH, file, size, code, part);
    free(file);
}

#define REFUSED(pickle, code, part) refused_pickle(pickle, sizeof(pickle) - 1, code, part)
#define BAD(pickle, part) REFUSED(pickle, NIB_ERR_FORMAT, part)
#define NO(pickle, part) REFUSED(pickle, NIB_ERR_UNSUPPORTED, part)
#define LIMIT(pickle, part) REFUSED(pickle, NIB_ERR_LIMIT, part)

static nib__source *open_pickle(const char *pickle, size_t n, uint8_t **file)
{
    size_t size;
    *file = zip_checkpoint(pickle, n, &size);
    nib__source *s = NULL;
    nib_error err = {0};
    assert_ok(hf_from_memory(NULL, HF_TORCH, *file, size, NULL, 0, &s, &err), err);
    gguf_walk(s);
    return s;
}

/* Pieces of a pickle: a dictionary {"a": tensor} of 4 x 4 floats in data/0. */
#define BEGIN "\x80\x02}U\1a"
#define END "s."
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define STORAGE(type, key, n) "(U\7storagectorch\n" type "\nU\1" key "U\3cpuK" n "tQ"
#define HOOKS                                                                                      \
    "\x89"                                                                                         \
    "ccollections\nOrderedDict\n)R"
#define FLOATS STORAGE("FloatStorage", "0", "\x10")
#define TENSOR(storage, offset, shape, strides)                                                    \
    REBUILD "(" storage "K" offset shape strides HOOKS "tR"
#define SHAPE2(a, b) "K" a "K" b "\x86"

static void good_pickles(void **state)
{
    (void)state;
    uint8_t *file;
    static const char plain[] =
        BEGIN TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"), SHAPE2("\4", "\1")) END;
    nib__source *s = open_pickle(plain, sizeof plain - 1, &file);
    const nib__tensor *t = nib__source_tensor(s, "a");
    assert_true(t->size == 64 && t->ne[0] == 4 && t->ne[1] == 4 && t->data[63] == 63);
    nib__source_close(s);
    free(file);
    /* A column of one row, strides that do not matter, an offset, torch.Size, a parameter. */
    static const char odd[] = BEGIN "ctorch._utils\n_rebuild_parameter\n" TENSOR(
        FLOATS, "\x0e", "ctorch\nSize\n" SHAPE2("\1", "\2") "\x85R", SHAPE2("\x63", "\1")) HOOKS
        "\x87R" END;
    s = open_pickle(odd, sizeof odd - 1, &file);
    t = nib__source_tensor(s, "a");
    assert_true(t->size == 8 && t->ne[0] == 2 && t->data[0] == 56);
    nib__source_close(s);
    free(file);
    /* Two names of one tensor through the memo, beside members that are no tensors. */
    static const char tied[] =
        "\x80\x02}(U\1a" TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"),
                                SHAPE2("\4", "\1")) "q\1U\1bh\1U\1cK\3U\1d](K\1NeU\1eG12345678u.";
    s = open_pickle(tied, sizeof tied - 1, &file);
    assert_int_equal(nib__source_tensor_count(s), 2);
    assert_ptr_equal(nib__source_tensor(s, "a")->data, nib__source_tensor(s, "b")->data);
    nib__source_close(s);
    free(file);
}

static void machine(void **state)
{
    (void)state;
    BAD("", "data.pkl: byte 0: the pickle ends (at 0 bytes)");
    NO("}.", "data.pkl: byte 0: expected a pickle of protocol 2 to 5");
    NO("\x80\x06}.", "expected a pickle of protocol 2 to 5");
    NO("\x80\x02}\x80\x02.", "byte 3: expected a pickle of protocol");
    BAD("\x80\x02}", "data.pkl: byte 3: the pickle ends (at 3 bytes) before its STOP");
    BAD("\x80\x02X\xff\xff\xff\xff"
        "a.",
        "the pickle ends");
    BAD("\x80\x02J\1\2", "the pickle ends");
    BAD("\x80\x02\x8a\x08\1", "the pickle ends");
    BAD("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "the pickle ends");
    BAD("\x80\x02.", "expected one value at the end, got 0");
    BAD("\x80\x02}}.", "expected one value at the end, got 2");
    BAD("\x80\x02}(.", "expected one value at the end");
    NO("\x80\x02\x8a\x09\1\1\1\1\1\1\1\1\1.", "an integer of 9 bytes");
    static const char never[] =
        "0123FILPSVdgilmop\x82\x83\x84\x8b\x8e\x8f\x90\x91\x92\x96\x97\x98\xff";
    for (size_t i = 0; i < sizeof never - 1; i++) {
        char pickle[] = "\x80\x02}?.", part[64];
        pickle[3] = never[i];
        snprintf(part, sizeof part, "byte 3: the opcode 0x%x is not one", (unsigned char)never[i]);
        refused_pickle(pickle, 5, NIB_ERR_UNSUPPORTED, part);
    }
    /* A stack or a mark that runs out, for every opcode that takes something. */
    static const char takers[] = "atues\x85\x86\x87R\x81"
                                 "bQq\x93";
    for (size_t i = 0; i < sizeof takers - 1; i++) {
        char pickle[] = "\x80\x02?\0\0\0.";
        pickle[2] = takers[i];
        refused_pickle(pickle, sizeof pickle - 1, NIB_ERR_FORMAT, "data.pkl: byte 2: ");
        /* What is below a mark cannot be taken. */
        char marked[] = "\x80\x02}}}}(?\0.";
        marked[7] = takers[i];
        if (strchr("tues", takers[i]) != NULL) continue; /* these take the mark */
        refused_pickle(marked, sizeof marked - 1, NIB_ERR_FORMAT, "byte 7: an opcode takes more");
    }
    BAD("\x80\x02]K\1K\2s.", "items set in something that is no dictionary");
    BAD("\x80\x02}(K\1u.", "items set in something that is no dictionary");
    BAD("\x80\x02}K\1a.", "items appended to something that is no list");
    BAD("\x80\x02K\1Q.", "expected a tuple as persistent id");
    NO("\x80\x02]}b.", "a state of something that is no dictionary");
}

static void bombs(void **state)
{
    (void)state;
    BAD("\x80\x02}r\xff\xff\xff\x7f.", "the memo index 2147483647 is beyond");
    BAD("\x80\x02}q\xff.", "the memo index 255 is beyond");
    BAD("\x80\x02}h\0.", "nothing was put at memo index 0");
    BAD("\x80\x02}q\2h\1.", "nothing was put at memo index 1");
    BAD("\x80\x02}j\0\0\0\1.", "nothing was put at memo index 16777216");
    /* Twenty lists of ten times the one before: 10^20 elements in Python, 200 here. */
    char pickle[4096] = "\x80\x02]q";
    size_t n = 4;
    pickle[n++] = 0;
    for (int level = 1; level <= 20; level++) {
        pickle[n++] = ']';
        pickle[n++] = '(';
        for (int i = 0; i < 10; i++) {
            pickle[n++] = 'h';
            pickle[n++] = (char)(level - 1);
        }
        pickle[n++] = 'e';
        pickle[n++] = 'q';
        pickle[n++] = (char)level;
        pickle[n++] = '\x85';
    }
    pickle[n++] = '.';
    refused_pickle(pickle, n, NIB_ERR_FORMAT, "expected one value at the end, got 21");
    /* A dictionary that holds itself, at every level where a state dict may be. */
    BAD("\x80\x02}q\0(U\5modelh\0U\nstate_dicth\0u.", "expected a state dict");
    /* Deep, which must not take the stack of the thread. */
    size_t deep = 200000;
    char *nested = malloc(deep + 8);
    memcpy(nested, "\x80\x02", 2);
    memset(nested + 2, ')', 1);
    memset(nested + 3, '\x85', deep);
    nested[deep + 3] = '.';
    refused_pickle(nested, deep + 4, NIB_ERR_FORMAT, "expected a state dict");
    memset(nested + 2, '(', deep);
    refused_pickle(nested, deep + 2, NIB_ERR_FORMAT, "the pickle ends");
    free(nested);
    /* More values than anybody needs, by the memo. */
    size_t many = 9u << 20;
    char *wide = malloc(many + 8);
    memcpy(wide, "\x80\x02}q\0", 5);
    for (size_t i = 5; i < many; i += 2) memcpy(wide + i, "h\0", 2);
    refused_pickle(wide, many, NIB_ERR_LIMIT, "more than 4194304 values");
    free(wide);
}

static void forbidden_globals(void **state)
{
    (void)state;
    NO("\x80\x02"
       "cos\nsystem\nU\x02ls\x85R.",
       "byte 2: the global os.system is not one that");
    NO("\x80\x02"
       "cposix\nsystem\n.",
       "the global posix.system");
    NO("\x80\x02"
       "c__builtin__\neval\n.",
       "the global __builtin__.eval");
    NO("\x80\x02"
       "ctorch\nload\n.",
       "the global torch.load");
    NO("\x80\x02"
       "ctorch.FloatStorage\n__class__\n.",
       "the global torch.FloatStorage.__class__");
    NO("\x80\x02"
       "ccollections\nOrderedDict.fromkeys\n.",
       "collections.OrderedDict.fromkeys");
    NO("\x80\x04\x8c\x02os\x8c\x06system\x93.", "the global os.system");
    NO("\x80\x02"
       "c\n\n.",
       "the global . is not one");
    NO("\x80\x02"
       "cos\x1b[31m\nsystem\n.",
       "the global os?[31m.system");
    BAD("\x80\x02"
        "cos\nsystem",
        "expected two lines");
    BAD("\x80\x04K\1\x8c\1x\x93.", "a global whose name is no text");
    char pickle[600];
    memset(pickle, 'a', sizeof pickle);
    memcpy(pickle,
           "\x80\x02"
           "c",
           3);
    pickle[400] = pickle[450] = '\n';
    refused_pickle(pickle, sizeof pickle, NIB_ERR_FORMAT, "expected two lines");
    BAD("\x80\x02K\1)R.", "a call of something that is no global");
    BAD("\x80\x02"
        "ctorch\nSize\nK\1R.",
        "a call of something that is no global");
    NO("\x80\x02"
       "ccollections\nOrderedDict\n]\x85R.",
       "a dictionary made with arguments");
}

static void state_dicts(void **state)
{
    (void)state;
    BAD("\x80\x02}.", "data.pkl: expected a state dict");
    BAD("\x80\x02K\1.", "expected a state dict");
    BAD("\x80\x02](" TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"), SHAPE2("\4", "\1")) "e.", "");
    BAD("\x80\x02}K\1" TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"), SHAPE2("\4", "\1")) "s.",
        "a tensor whose name is not 1 byte or more");
    BAD("\x80\x02}U\0" TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"), SHAPE2("\4", "\1")) "s.",
        "a tensor whose name is not");
    BAD("\x80\x02}U\3a\0b" TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"), SHAPE2("\4", "\1")) "s.",
        "without NUL");
    BAD("\x80\x02}(U\1a" TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"),
                                SHAPE2("\4", "\1")) "q\1U\1ah\1u.",
        "tensor a appears twice");
}

static void tensors(void **state)
{
    (void)state;
    BAD(BEGIN REBUILD ")R" END, "tensor a: expected a storage of five fields");
    BAD(BEGIN REBUILD "(K\1tR" END, "tensor a: expected a storage of five fields");
    BAD(BEGIN REBUILD "(U\7storage\x85QtR" END, "tensor a: expected a storage of five fields");
    BAD(BEGIN TENSOR("(U\7storagXctorch\nFloatStorage\nU\1"
                     "0U\3cpuK\x10tQ",
                     "\0", ")", ")") END,
        "expected a storage: 'storage'");
    BAD(BEGIN TENSOR("(U\7storagectorch\nSize\nU\1"
                     "0U\3cpuK\x10tQ",
                     "\0", ")", ")") END,
        "expected a storage: 'storage'");
    BAD(BEGIN TENSOR("(U\7storageK\1U\1"
                     "0U\3cpuK\x10tQ",
                     "\0", ")", ")") END,
        "expected a storage: 'storage'");
    BAD(BEGIN TENSOR("(U\7storagectorch\nFloatStorage\nK\0U\3cpuK\x10tQ", "\0", ")", ")") END,
        "expected a storage: 'storage'");
    BAD(BEGIN TENSOR("(U\7storagectorch\nFloatStorage\nU\1"
                     "0U\3cpuJ\xff\xff\xff\xfftQ",
                     "\0", ")", ")") END,
        "expected a storage: 'storage'");
    BAD(BEGIN TENSOR(STORAGE("FloatStorage", "7", "\x10"), "\0", ")", ")") END,
        "tensor a: the archive has no entry data/7");
    BAD(BEGIN TENSOR(STORAGE("FloatStorage", "0", "\x11"), "\0", ")", ")") END,
        "tensor a: data/0: expected 17 elements of F32, got 64 bytes");
    BAD(BEGIN TENSOR(STORAGE("HalfStorage", "0", "\x10"), "\0", ")", ")") END,
        "expected 16 elements of F16, got 64 bytes");
    BAD(BEGIN TENSOR("(U\7storagectorch\nFloatStorage\nU\1"
                     "0U\3cpu\x8a\x08\x10\0\0\0\0\0\0\x40tQ",
                     "\0", ")", ")") END,
        "expected 4611686018427387920 elements of F32");
    BAD(BEGIN TENSOR(FLOATS, "\1", SHAPE2("\4", "\4"), SHAPE2("\4", "\1")) END,
        "tensor a: offset and shape reach beyond its storage");
    BAD(BEGIN TENSOR(FLOATS, "\0", SHAPE2("\5", "\4"), SHAPE2("\4", "\1")) END, "reach beyond");
    BAD(BEGIN TENSOR(FLOATS, "\x11", ")", ")") END, "reach beyond");
    BAD(BEGIN REBUILD "(" FLOATS "J\xff\xff\xff\xff))\x89NtR" END,
        "expected an offset, a shape and");
    BAD(BEGIN REBUILD "(" FLOATS "K\0K\1K\1\x89NtR" END, "expected an offset, a shape and");
    BAD(BEGIN REBUILD "(" FLOATS "K\0tR" END, "expected an offset, a shape and");
    BAD(BEGIN TENSOR(FLOATS, "\0", "K\4\x85", SHAPE2("\4", "\1")) END,
        "expected an offset, a shape");
    BAD(BEGIN TENSOR(FLOATS, "\0", "J\xfc\xff\xff\xff\x85", "K\1\x85") END, "expected an offset");
    BAD(BEGIN TENSOR(FLOATS, "\0", "\x8a\5\0\0\0\0\1\x8a\5\0\0\0\0\1\x86", SHAPE2("\4", "\1")) END,
        "tensor a: shape: the product does not fit");
    BAD(BEGIN TENSOR(FLOATS, "\1", SHAPE2("\4", "\4"), SHAPE2("\1", "\4")) END, "reach beyond");
    BAD(BEGIN TENSOR(FLOATS, "\0", SHAPE2("\4", "\4"), SHAPE2("\1", "\5")) END, "reach beyond");
    BAD(BEGIN TENSOR(FLOATS, "\0", SHAPE2("\4", "\3"),
                     "\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x86") END,
        "reach beyond");
    /* 255 x 255 elements that are one */
    LIMIT(BEGIN TENSOR(FLOATS, "\0", SHAPE2("\xff", "\xff"), SHAPE2("\0", "\0")) END,
          "tensor a: views whose rows do not follow each other are larger than the file");
    NO(BEGIN TENSOR(FLOATS, "\0", "(K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1t") END, "more than 4 dim");
}

/* ---- whole files ---- */

static void truncations_and_changes(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = fixture_read("fixtures/checkpoints/torch-module/pytorch_model.bin", &size);
    for (size_t cut = 0; cut < size; cut++) {
        nib__source *s = NULL;
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, file, cut);
        assert_int_not_equal(hf_from_memory(NULL, HF_TORCH, exact, cut, NULL, 0, &s, NULL), NIB_OK);
        free(exact);
    }
    rng r = {4};
    int opened = 0;
    for (int i = 0; i < 6000; i++) {
        size_t at = rng_below(&r, (uint32_t)size);
        uint8_t old = file[at];
        file[at] = (uint8_t)rng_next(&r);
        nib__source *s = NULL;
        if (hf_from_memory(NULL, HF_TORCH, file, size, NULL, 0, &s, NULL) == NIB_OK) {
            gguf_walk(s);
            opened++;
        }
        nib__source_close(s);
        file[at] = old;
    }
    assert_true(opened > 100);
    free(file);
}

/* ---- files that PyTorch wrote ---- */

static void refused_of_pytorch(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        nib_status code;
        const char *part;
    } cases[] = {
        {"legacy.bin", NIB_ERR_UNSUPPORTED,
         "legacy.bin: PyTorch's format from before version 1.6; load"},
        {"five.bin", NIB_ERR_UNSUPPORTED, "tensor a.weight: more than 4 dimensions"},
        {"module.bin", NIB_ERR_UNSUPPORTED, "the global torch.nn.modules.linear.Linear is not one"},
        {"list.bin", NIB_ERR_FORMAT, "expected a state dict"},
        {"set.bin", NIB_ERR_UNSUPPORTED, "the global __builtin__.set is not one"},
        {"script.bin", NIB_ERR_UNSUPPORTED, "it is compressed"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "fixtures/checkpoints/refused/%s", cases[i].name);
        nib__source *s = NULL;
        nib_error err = {0};
        nib_status status = nib__source_open(NULL, fixture_path(name), &s, &err);
        assert_fails(status, cases[i].code, err, cases[i].part);
        assert_fails(status, cases[i].code, err, cases[i].name);
        assert_null(s);
    }
}

/* A GGUF may be called .bin; anything else of that name is a checkpoint of its directory. */
static void names(void **state)
{
    (void)state;
    temp_dir d;
    temp_dir_make(&d);
    size_t size;
    uint8_t *file = fixture_read("fixtures/tiny/llama-f32.gguf", &size);
    temp_dir_write(&d, "model.bin", file, size);
    free(file);
    nib__source *s = NULL;
    nib_error err = {0};
    assert_ok(nib__source_open(NULL, temp_dir_file(&d, "model.bin"), &s, &err), err);
    assert_int_equal(nib__source_naming(s), NIB__NAMING_GGUF);
    nib__source_close(s);
    temp_dir_text(&d, "other.bin", "?");
    assert_fails(nib__source_open(NULL, temp_dir_file(&d, "other.bin"), &s, &err), NIB_ERR_IO, err,
                 "config.json: no such file");
    assert_fails(nib__source_open(NULL, temp_dir_file(&d, "none.bin"), &s, &err), NIB_ERR_IO, err,
                 "none.bin: cannot open: no such file");
    temp_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_pickles),
        cmocka_unit_test(machine),
        cmocka_unit_test(bombs),
        cmocka_unit_test(forbidden_globals),
        cmocka_unit_test(state_dicts),
        cmocka_unit_test(tensors),
        cmocka_unit_test(truncations_and_changes),
        cmocka_unit_test(refused_of_pytorch),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
