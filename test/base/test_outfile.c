/* SPDX-License-Identifier: MIT
 * Files that appear whole or not at all: while they are written, when the process is killed, when
 * there is no room, and when several processes write the same one. */
#define _GNU_SOURCE
#include "base/outfile.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "support/test.h"
#include "temp_dir.h"

enum { CAP = 4096, SIZE = 10000, MODE = 0640 };

/* Whether files can be without a name in the folder. */
static bool unnamed_files(void)
{
#ifdef O_TMPFILE
    int fd = open(test_folder.path, O_RDWR | O_TMPFILE, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
#else
    return false;
#endif
}

static nib_status begin(nib__outfile *file, const char *path, uint8_t fill, nib_error *err)
{
    const nib_allocator mem = nib__allocator(NULL);
    uint8_t data[SIZE];
    memset(data, fill, sizeof data);
    nib_status status = nib__outfile_open(file, &mem, path, MODE, CAP, err);
    return status == NIB_OK ? nib__outfile_put(file, data, sizeof data, err) : status;
}

static nib_status write_whole(const char *path, uint8_t fill, nib_error *err)
{
    nib__outfile file;
    nib_status status = begin(&file, path, fill, err);
    if (status == NIB_OK) status = nib__outfile_patch(&file, 0, "first", 5, err);
    if (status == NIB_OK) status = nib__outfile_commit(&file, err);
    nib__outfile_close(&file);
    return status;
}

/* SIZE bytes, of which all but the first five are the same; which byte that is. */
static uint8_t check_whole(const char *path)
{
    size_t size;
    uint8_t *data = file_read(path, &size);
    assert_non_null(data);
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, "first", 5);
    uint8_t fill = data[5];
    for (size_t i = 5; i < size; i++) assert_int_equal(data[i], fill);
    free(data);
    return fill;
}

static void test_whole_or_not_at_all(void **state)
{
    (void)state;
    nib_error err;
    nib__outfile file;
    struct stat st;
    const char *path = temp_dir_file(&test_folder, "out");
    mode_t mask = umask(027);
    assert_ok(begin(&file, path, 1, &err), err);
    assert_int_equal(access(path, F_OK), -1);
    if (unnamed_files()) assert_int_equal(temp_dir_count(&test_folder), 0);
    nib__outfile_close(&file); /* not committed */
    assert_int_equal(temp_dir_count(&test_folder), 0);
    assert_ok(write_whole(path, 2, &err), err);
    assert_int_equal(check_whole(path), 2);
    assert_ok(write_whole(path, 3, &err), err); /* in the place of the old one */
    assert_int_equal(check_whole(path), 3);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, MODE & ~027);
    assert_int_equal(temp_dir_count(&test_folder), 1);
    temp_dir_delete(&test_folder, "out");
}

static void test_relative_path(void **state)
{
    (void)state;
    nib_error err;
    int here = open(".", O_RDONLY | O_DIRECTORY);
    assert_true(here >= 0);
    assert_int_equal(chdir(test_folder.path), 0);
    nib_status status = write_whole("out", 4, &err);
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_ok(status, err);
    assert_int_equal(check_whole(temp_dir_file(&test_folder, "out")), 4);
    temp_dir_delete(&test_folder, "out");
}

/* Runs `what` in a process of its own; its wait status. */
static int in_process(void (*what)(const char *path), const char *path)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        what(path);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void be_killed(const char *path)
{
    nib__outfile file;
    if (begin(&file, path, 5, NULL) == NIB_OK) kill(getpid(), SIGKILL);
}

static void test_killed(void **state)
{
    (void)state;
    if (!unnamed_files()) {
        print_message("[  NOT RUN ] every file of this file system has a name\n");
        skip();
    }
    int status = in_process(be_killed, temp_dir_file(&test_folder, "out"));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(temp_dir_count(&test_folder), 0);
}

/* Where there is no /proc, a file without a name could not get one. */
static void write_without_proc(const char *path)
{
    (void)path;
    nib_error err;
    if (chroot(test_folder.path) != 0) _exit(7);
    if (chdir("/") != 0 || write_whole("/out", 6, &err) != NIB_OK) _exit(1);
}

static void test_without_proc(void **state)
{
    (void)state;
    int status = in_process(write_without_proc, "");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 7) {
        print_message("[  NOT RUN ] only root may change the root directory\n");
        skip();
    }
    assert_int_equal(status, 0);
    assert_int_equal(check_whole(temp_dir_file(&test_folder, "out")), 6);
    assert_int_equal(temp_dir_count(&test_folder), 1);
    temp_dir_delete(&test_folder, "out");
}

static void test_messages(void **state)
{
    (void)state;
    char path[600];
    nib_error err;
    struct rlimit before, low;
    snprintf(path, sizeof path, "%s/no/out", test_folder.path);
    assert_fails(write_whole(path, 1, &err), NIB_ERR_IO, err, "no such file (errno 2)");
    temp_dir_text(&test_folder, "file", "x");
    snprintf(path, sizeof path, "%s/file/out", test_folder.path);
    assert_fails(write_whole(path, 1, &err), NIB_ERR_IO, err, "not a directory (errno 20)");
    temp_dir_delete(&test_folder, "file");
    assert_fails(write_whole(test_folder.path, 1, &err), NIB_ERR_IO, err,
                 "cannot rename: is a directory");

    snprintf(path, sizeof path, "%s/out", test_folder.path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    low = before;
    low.rlim_cur = SIZE / 2;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    nib_status status = write_whole(path, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_fails(status, NIB_ERR_IO, err, "the file would be too large");
    assert_int_equal(temp_dir_count(&test_folder), 0);
}

static void test_many_at_once(void **state)
{
    (void)state;
    enum { PROCESSES = 8, TIMES = 20 };
    pid_t children[PROCESSES];
    const char *path = temp_dir_file(&test_folder, "out");
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] != 0) continue;
        for (int turn = 0; turn < TIMES; turn++)
            if (write_whole(path, (uint8_t)(1 + i), NULL) != NIB_OK) _exit(1);
        _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_in_range(check_whole(path), 1, PROCESSES);
    assert_int_equal(temp_dir_count(&test_folder), 1);
    temp_dir_delete(&test_folder, "out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_or_not_at_all),
        cmocka_unit_test(test_relative_path),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_without_proc),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_many_at_once),
    };
    return cmocka_run_group_tests_name("base/outfile", tests, make_test_folder,
                                       remove_empty_test_folder);
}
