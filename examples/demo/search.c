/* SPDX-License-Identifier: MIT
 * The file that `make demo` completes: the body of find() is missing where <cursor> stands. */
#include <assert.h>
#include <stdio.h>

/* Binary search: index of `key` in values[count], which is sorted; -1 if it is not there. */
static int find(const int *values, int count, int key)
{
    int low = 0, high = count - 1;
    /* <cursor> */
    return -1;
}

int main(void)
{
    static const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19};
    int count = sizeof primes / sizeof *primes;
    for (int i = 0; i < count; i++) assert(find(primes, count, primes[i]) == i);
    assert(find(primes, count, 4) == -1);
    puts("all found");
    return 0;
}
