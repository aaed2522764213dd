/* SPDX-License-Identifier: MIT
 * File mapping: what cannot be mapped is an error that says why; a file that changes is noticed. */
#define _GNU_SOURCE
#include "base/map.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temp_dir.h"
#include "support/test.h"

static const char *path_of(const char *name)
{
    return temp_dir_file(&test_folder, name);
}

static const char *write_file(const char *name, const char *text)
{
    temp_dir_text(&test_folder, name, text);
    return path_of(name);
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void maps_a_file(void **state)
{
    (void)state;
    nib_error err;
    nib__map map;
    int before = open_descriptors();
    assert_ok(nib__map_open(write_file("a", "hello"), &map, &err), err);
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "hello", 5);
    assert_true(fcntl(map.fd, F_GETFD) & FD_CLOEXEC);
    assert_ok(nib__map_check(&map, &err), err);
    nib__map_drop(&map, 0, 5); /* less than a page: nothing to do */
    assert_memory_equal(map.data, "hello", 5);
    nib__map_close(&map);
    assert_null(map.data);
    nib__map_close(&map); /* closing again is harmless */
    assert_int_equal(open_descriptors(), before);
}

static void says_why_it_cannot(void **state)
{
    (void)state;
    nib_error err;
    nib__map map, untouched;
    memset(&map, 0x5a, sizeof map);
    untouched = map;
    int before = open_descriptors();
    assert_fails(nib__map_open(path_of("none"), &map, &err), NIB_ERR_IO, err, "no such file");
    assert_non_null(strstr(err.text, "none"));
    assert_fails(nib__map_open(test_folder.path, &map, &err), NIB_ERR_IO, err, "directory");
    assert_fails(nib__map_open("/dev/null", &map, &err), NIB_ERR_IO, err, "regular file");
    assert_fails(nib__map_open(write_file("empty", ""), &map, &err), NIB_ERR_FORMAT, err, "empty");
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_fails(nib__map_open(path_of("pipe"), &map, &err), NIB_ERR_IO, err, "regular file");
    assert_memory_equal(&map, &untouched, sizeof map);
    assert_int_equal(open_descriptors(), before);
}

static void unreadable_file_is_named(void **state)
{
    (void)state;
    const char *path = write_file("secret", "x");
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(test_folder.path, 0755), 0);
    nib_error err;
    nib__map map;
    bool root = geteuid() == 0; /* root reads everything: be nobody for a moment */
    if (root) assert_int_equal(seteuid(65534), 0);
    nib_status status = nib__map_open(path, &map, &err);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_fails(status, NIB_ERR_IO, err, "permission denied");
}

static void notices_a_changed_file(void **state)
{
    (void)state;
    nib_error err;
    nib__map map;
    const char *path = write_file("growing", "0123456789");
    assert_ok(nib__map_open(path, &map, &err), err);
    assert_int_equal(truncate(path, 4), 0);
    assert_fails(nib__map_check(&map, &err), NIB_ERR_IO, err, "changed");
    nib__map_close(&map);

    path = write_file("touched", "0123456789");
    assert_ok(nib__map_open(path, &map, &err), err);
    const struct timespec times[2] = {{1, 0}, {1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_fails(nib__map_check(&map, &err), NIB_ERR_IO, err, "changed");
    nib__map_close(&map);

    /* A file that is replaced by another one under the same name stays what was mapped. */
    path = write_file("replaced", "old");
    assert_ok(nib__map_open(path, &map, &err), err);
    assert_int_equal(unlink(path), 0);
    write_file("replaced", "new file");
    assert_ok(nib__map_check(&map, &err), err);
    assert_memory_equal(map.data, "old", 3);
    nib__map_close(&map);
}

static void dropped_pages_come_back(void **state)
{
    (void)state;
    nib_error err;
    nib__map map;
    enum { SIZE = 5 * 4096 + 100 };
    static char text[SIZE + 1];
    for (int i = 0; i < SIZE; i++) text[i] = (char)('a' + i % 23);
    assert_ok(nib__map_open(write_file("pages", text), &map, &err), err);
    const struct {
        size_t offset, size;
    } ranges[] = {
        {0, SIZE}, {1, 4095}, {4096, 4096}, {4095, 2}, {100, 9000}, {SIZE - 1, 1}, {SIZE, 0},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        nib__map_drop(&map, ranges[i].offset, ranges[i].size);
        assert_memory_equal(map.data, text, SIZE);
        nib__map_need(&map, ranges[i].offset, ranges[i].size);
        assert_memory_equal(map.data, text, SIZE);
    }
    nib__map_rest(&map);
    assert_memory_equal(map.data, text, SIZE);
    nib__map_close(&map);
}

static void memory_of_the_caller_is_never_released(void **state)
{
    (void)state;
    nib_error err;
    char text[] = "mine";
    nib__map map = nib__map_memory(text, sizeof text);
    assert_ptr_equal(map.data, text);
    assert_ok(nib__map_check(&map, &err), err);
    nib__map_need(&map, 0, sizeof text);
    nib__map_drop(&map, 0, sizeof text);
    nib__map_rest(&map);
    nib__map_stream(&map);
    nib__map_close(&map);
    assert_string_equal(text, "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_a_file),
        cmocka_unit_test(says_why_it_cannot),
        cmocka_unit_test(unreadable_file_is_named),
        cmocka_unit_test(notices_a_changed_file),
        cmocka_unit_test(dropped_pages_come_back),
        cmocka_unit_test(memory_of_the_caller_is_never_released),
    };
    return cmocka_run_group_tests_name("base/map", tests, make_test_folder, remove_test_folder);
}
