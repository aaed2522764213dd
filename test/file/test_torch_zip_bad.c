/* SPDX-License-Identifier: MIT
 * PyTorch checkpoints whose zip archive breaks each rule (test_torch_bad.c: the pickle inside). */
#include "test.h"

#include "file/source.h"
#include "hf_memory.h"
#include "zip_writer.h"

/* Takes over `file`. */
static void refused_file(uint8_t *file, size_t size, nib_status code, const char *part)
{
    assert_hf_refused(HF_TORCH, file, size, code, part);
    free(file);
}

/* The pickle of {"a": tensor}, of 4 x 4 floats in data/0. */
static const char pickle[] = "\x80\x02}U\1actorch._utils\n_rebuild_tensor_v2\n("
                             "(U\7storagectorch\nFloatStorage\nU\1"
                             "0U\3cpuK\x10tQK\0K\4K\4\x86K\4K\1\x86\x89"
                             "ccollections\nOrderedDict\n)RtRs.";

static uint8_t *good_archive(int zip64, size_t *size)
{
    zip_writer w;
    zip_begin(&w);
    zip_add(&w, "x/data.pkl", pickle, sizeof pickle - 1);
    uint8_t floats[64] = {1};
    zip_add(&w, "x/data/0", floats, sizeof floats);
    zip_add(&w, "x/byteorder", "little", 6);
    return zip_end(&w, zip64, size);
}

/* Where the nth record with this signature is. */
static uint8_t *find(uint8_t *file, size_t size, const char *signature, int nth)
{
    for (size_t at = 0; at + 4 <= size; at++) {
        if (memcmp(file + at, signature, 4) == 0 && nth-- == 0) return file + at;
    }
    fail_msg("no record");
    return NULL;
}

/* A good archive with `value` written into two bytes of a record. */
static void patched(int zip64, const char *signature, int nth, int at, unsigned value,
                    nib_status code, const char *part)
{
    size_t size;
    uint8_t *file = good_archive(zip64, &size), *p = find(file, size, signature, nth) + at;
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    refused_file(file, size, code, part);
}

#define LOCAL "PK\3\4"
#define CENTRAL "PK\1\2"
#define END_RECORD "PK\5\6"
#define END64 "PK\6\6"
#define LOCATOR "PK\6\7"

static void archives(void **state)
{
    (void)state;
    for (int zip64 = 0; zip64 < 2; zip64++) {
        size_t size;
        uint8_t *file = good_archive(zip64, &size);
        nib__source *s = NULL;
        nib_error err = {0};
        assert_ok(hf_from_memory(NULL, HF_TORCH, file, size, NULL, 0, &s, &err), err);
        nib__source_close(s);
        free(file);
    }
    const nib_status format = NIB_ERR_FORMAT, no = NIB_ERR_UNSUPPORTED;
    patched(0, END_RECORD, 0, 0, 0, format, "without an end of directory");
    patched(0, END_RECORD, 0, 20, 1, format, "without an end of directory"); /* comment length */
    patched(0, END_RECORD, 0, 4, 1, format, "expected an archive in one file");
    patched(0, END_RECORD, 0, 8, 2, format, "expected an archive in one file");
    patched(0, END_RECORD, 0, 12, 5, format, "the directory does not end where");
    patched(0, END_RECORD, 0, 18, 0xffff, format, "the directory does not end where");
    patched(1, END64, 0, 32, 2, format, "expected an archive in one file");
    patched(1, END64, 0, 44, 1, format, "the directory does not end where");
    patched(1, END64, 0, 52, 0xffff, format, "the directory does not end where");
    patched(1, LOCATOR, 0, 14, 0xffff, format, "the locator does not point to");
    patched(1, LOCATOR, 0, 8, 0, format, "the locator does not point to");
    patched(1, LOCATOR, 0, 0, 0, format, "the directory does not end where");

    patched(0, CENTRAL, 1, 0, 0, format, "expected an entry of the directory");
    patched(0, CENTRAL, 2, 28, 0xffff, format, "the directory ends inside an entry");
    patched(0, CENTRAL, 2, 30, 1, format, "the directory ends inside an entry");
    patched(0, CENTRAL, 1, 8, 1, no, "entry x/data/0: it is encrypted");
    patched(0, CENTRAL, 1, 10, 8, no, "entry x/data/0: it is compressed");
    patched(0, CENTRAL, 1, 20, 63, format, "entry x/data/0: two sizes");
    patched(0, CENTRAL, 1, 42, 7, format, "there is no local header at its offset");
    patched(0, CENTRAL, 1, 44, 0x7fff, format, "there is no local header at its offset");
    patched(0, CENTRAL, 1, 46, 'y', format, "the local header has another name");
    patched(0, LOCAL, 1, 18, 63, format, "entry x/data/0: the local header has another size");
    patched(0, LOCAL, 1, 22, 65, format, "the local header has another size");
    patched(0, LOCAL, 1, 8, 8, format, "the local header has another size or compression");
    patched(0, LOCAL, 1, 26, 9, format, "the local header has another name");
    patched(0, LOCAL, 2, 28, 3, format, "its data reaches into the directory");
    patched(0, LOCAL, 1, 28, 0xffff, format, "the local header has another name");
    patched(0, LOCAL, 1, 28, 3, format, "x/byteorder: it shares bytes with another entry");
}

static void archive_contents(void **state)
{
    (void)state;
    zip_writer w;
    size_t size;
    zip_begin(&w);
    zip_add(&w, "x/data/0", "x", 1);
    uint8_t *file = zip_end(&w, 0, &size);
    refused_file(file, size, NIB_ERR_FORMAT, "the archive has no data.pkl");
    static const char *const nearly[] = {"data.pkl", "/data.pkl", "a/b/data.pkl", "x/data.pkl/"};
    for (size_t i = 0; i < sizeof nearly / sizeof nearly[0]; i++) {
        zip_begin(&w);
        zip_add(&w, nearly[i], "\x80\x02}.", 4);
        file = zip_end(&w, 0, &size);
        refused_file(file, size, NIB_ERR_FORMAT, "has no data.pkl");
    }
    zip_begin(&w);
    zip_add(&w, "x/data.pkl", "\x80\x02}.", 4);
    zip_add(&w, "y/data.pkl", "\x80\x02}.", 4);
    file = zip_end(&w, 0, &size);
    refused_file(file, size, NIB_ERR_FORMAT, "two entries data.pkl");
    zip_begin(&w);
    zip_add(&w, "x/data.pkl", "\x80\x02}.", 4);
    zip_add(&w, "x/data.pkl", "\x80\x02}.", 4);
    file = zip_end(&w, 0, &size);
    refused_file(file, size, NIB_ERR_FORMAT, "entry x/data.pkl: it appears twice");
    zip_begin(&w);
    zip_add(&w, "x/data.pkl", "\x80\x02}.", 4);
    zip_add(&w, "x/byteorder", "big", 3);
    file = zip_end(&w, 0, &size);
    refused_file(file, size, NIB_ERR_UNSUPPORTED, "byteorder: only little-endian");
    zip_begin(&w);
    file = zip_end(&w, 0, &size);
    refused_file(file, size, NIB_ERR_UNSUPPORTED, "expected a PyTorch checkpoint"); /* no entry */
    static const char *const others[] = {"", "P", "PK\3\4", "\x89HDF\r\n\x1a\n........",
                                         "version https://git-lfs.github.com"};
    static const char *const parts[] = {"expected a PyTorch checkpoint", "(a zip archive)",
                                        "without an end of directory", "HDF5", "Git LFS pointer"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size = strlen(others[i]);
        file = malloc(size + 1);
        memcpy(file, others[i], size);
        refused_file(file, size, i == 2 ? NIB_ERR_FORMAT : NIB_ERR_UNSUPPORTED, parts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives),
        cmocka_unit_test(archive_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
