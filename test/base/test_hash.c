/* SPDX-License-Identifier: MIT
 * XXH64 against values of the reference implementation (Python package xxhash 3.x, xxh64). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

/* Bytes 0, 7, 14 ... modulo 251, of increasing length, seed 0 and 12345. */
static const struct {
    size_t size;
    uint64_t plain, seeded;
} vectors[] = {
    {0, 0xef46db3751d8e999u, 0x95584af7701f808du},
    {1, 0xe934a84adb052768u, 0x18b81924b59e1047u},
    {3, 0x9ff70a635a6209abu, 0x3df1cac951961c9bu},
    {4, 0xae5acdc00a55ac41u, 0xd8650ba0e07c8dbeu},
    {7, 0xd734a6b26f3da63eu, 0x8d60ffd61dfbdcf6u},
    {8, 0x87116b3365b924ebu, 0x07be9dcc0c0f8926u},
    {13, 0x92e7ac00fd9ce667u, 0xe10cf87845f75723u},
    {31, 0x0f187c62b1e722b7u, 0xcd8e81d282319634u},
    {32, 0x91b0cb0931a8c629u, 0x1c0b4b43c9e3dd6du},
    {33, 0x931b043cf8d65b94u, 0xe73d613b6256de65u},
    {63, 0x575186c12dcebcfdu, 0xbb109a76b9bd3104u},
    {64, 0xab64977b5af9d022u, 0xaf42c4fac8c4a854u},
    {100, 0xb7fe1d84b2f23a05u, 0x5fe18e4476d58389u},
    {255, 0x23ed94aca21b9530u, 0xb3474e09075a9851u},
    {1000, 0x023fd2ed1ff957d5u, 0xf91698f761c39c92u},
};

static void test_vectors(void **state)
{
    (void)state;
    uint8_t data[1000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 % 251);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_true(nib__hash64(data, vectors[i].size) == vectors[i].plain);
        for (size_t piece = 1; piece < 70; piece++) {
            nib__hash hash;
            nib__hash_init(&hash, 12345);
            for (size_t at = 0; at < vectors[i].size; at += piece) {
                size_t left = vectors[i].size - at;
                nib__hash_add(&hash, data + at, left < piece ? left : piece);
            }
            assert_true(nib__hash_value(&hash) == vectors[i].seeded);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
