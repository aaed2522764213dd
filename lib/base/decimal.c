/* SPDX-License-Identifier: MIT
 * Decimal text to double. Up to 19 digits and powers of ten up to 27 (every number that Python
 * writes for a configuration, and nearly every score of a vocabulary) fit 128-bit integers:
 * D * 10^e is D * 5^e * 2^e, and the division by 5^-e leaves a remainder that rounds correctly. All
 * else goes through long integers and a division bit by bit: slow, and rare. */
#include "base/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum {
    MAX_DIGITS = 800, /* a double's exact decimal expansion, and so a tie, has at most 767 */
    MAX_POWER = 27,   /* 5^27 < 2^63 */
    N_LIMBS = 160     /* 32-bit; 10^(MAX_DIGITS + 400) < 2^4000, and 65 bits to shift by */
};

typedef struct decimal {
    uint8_t digits[MAX_DIGITS + 1]; /* values 0 .. 9, without leading zeros */
    int n;
    int64_t exponent; /* of the last digit */
    bool negative;
} decimal;

static void add_digit(decimal *d, uint8_t digit, bool fraction)
{
    if (d->n == 0 && digit == 0) {
        d->exponent -= fraction;
    } else if (d->n < MAX_DIGITS) {
        d->digits[d->n++] = digit;
        d->exponent -= fraction;
    } else {
        /* Only whether anything is behind the digits kept can still matter, in a tie. */
        if (digit != 0) d->digits[MAX_DIGITS] = 1;
        d->exponent += !fraction;
    }
}

static void read_text(decimal *d, const char *text, size_t len)
{
    const char *end = text + len;
    if (text < end && *text == '-') {
        d->negative = true;
        text++;
    }
    bool fraction = false;
    for (; text < end && (*text == '.' || (*text >= '0' && *text <= '9')); text++) {
        if (*text == '.')
            fraction = true;
        else
            add_digit(d, (uint8_t)(*text - '0'), fraction);
    }
    if (text == end) return;
    text++; /* e */
    bool down = text < end && *text == '-';
    if (text < end && (*text == '-' || *text == '+')) text++;
    int64_t exponent = 0;
    for (; text < end; text++) {
        if (exponent < 100000000000000000) exponent = exponent * 10 + (*text - '0');
    }
    d->exponent += down ? -exponent : exponent;
}

/* mantissa * 2^exponent with the top bit of the mantissa set; `sticky`: a little more than that. */
static double round_bits(uint64_t mantissa, int exponent, bool sticky)
{
    /* Doubles have 53 bits, and fewer below 2^-1022: the last bit is worth at least 2^-1074. */
    int drop = 11;
    if (exponent + drop < -1074) drop = -1074 - exponent;
    if (drop > 64) return 0.0;
    uint64_t kept = drop == 64 ? 0 : mantissa >> drop;
    uint64_t half = (uint64_t)1 << (drop - 1), below = mantissa & (half - 1);
    if ((mantissa & half) != 0 && (below != 0 || sticky || (kept & 1) != 0)) kept++;
    return ldexp((double)kept, exponent + drop);
}

static double round_128(u128 value, int exponent, bool sticky)
{
    uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
    if (high == 0) {
        int up = __builtin_clzll(low);
        return round_bits(low << up, exponent - up, sticky);
    }
    int up = __builtin_clzll(high);
    value <<= up;
    return round_bits((uint64_t)(value >> 64), exponent - up + 64, sticky || (uint64_t)value != 0);
}

static uint64_t power_of_five(int64_t n)
{
    uint64_t power = 1;
    for (; n > 0; n--) power *= 5;
    return power;
}

/* value * 10^exponent, 0 < value < 2^64, |exponent| <= MAX_POWER */
static double scale_small(uint64_t value, int64_t exponent)
{
    if (exponent >= 0) {
        u128 product = (u128)value * power_of_five(exponent);
        return round_128(product, (int)exponent, false);
    }
    /* The numerator is at least 2^127 and the quotient so at least 2^64: enough bits, and the
     * remainder says whether anything is left. */
    int up = __builtin_clzll(value);
    u128 numerator = (u128)(value << up) << 64, divisor = power_of_five(-exponent);
    return round_128(numerator / divisor, (int)exponent - up - 64, numerator % divisor != 0);
}

/* ---- long integers: little-endian limbs ---- */

typedef struct bignum {
    uint32_t limb[N_LIMBS];
    int n; /* limbs in use; the last is not 0 */
} bignum;

static void multiply_add(bignum *b, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;
    for (int i = 0; i < b->n; i++) {
        carry += (uint64_t)b->limb[i] * factor;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0) b->limb[b->n++] = (uint32_t)carry;
}

static void multiply_by_ten_to(bignum *b, int64_t power)
{
    for (; power >= 9; power -= 9) multiply_add(b, 1000000000, 0);
    for (; power > 0; power--) multiply_add(b, 10, 0);
}

static int bits_of(const bignum *b)
{
    return b->n == 0 ? 0 : 32 * b->n - __builtin_clz(b->limb[b->n - 1]);
}

static void shift_left(bignum *b, int by)
{
    int limbs = by / 32, bits = by % 32;
    memmove(b->limb + limbs, b->limb, (size_t)b->n * sizeof b->limb[0]);
    memset(b->limb, 0, (size_t)limbs * sizeof b->limb[0]);
    b->n += limbs;
    if (bits != 0) multiply_add(b, (uint32_t)1 << bits, 0);
}

/* a -= b if a >= b; whether it was. */
static bool subtract_if(bignum *a, const bignum *b)
{
    if (a->n < b->n) return false;
    if (a->n == b->n) {
        int i = a->n - 1;
        while (i > 0 && a->limb[i] == b->limb[i]) i--;
        if (a->limb[i] < b->limb[i]) return false;
    }
    int64_t borrow = 0;
    for (int i = 0; i < a->n; i++) {
        borrow += (int64_t)a->limb[i] - (i < b->n ? b->limb[i] : 0);
        a->limb[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    while (a->n > 0 && a->limb[a->n - 1] == 0) a->n--;
    return true;
}

static double scale_long(const decimal *d)
{
    bignum top = {.n = 0}, bottom = {.limb = {1}, .n = 1};
    int n = d->n + d->digits[MAX_DIGITS]; /* the digit for all that was not kept */
    for (int i = 0; i < n; i++) multiply_add(&top, 10, d->digits[i]);
    int64_t exponent = d->exponent - (n - d->n);
    multiply_by_ten_to(exponent > 0 ? &top : &bottom, exponent > 0 ? exponent : -exponent);
    /* Shift one of them so that bottom <= top < 2 bottom; then 64 bits of top / bottom. */
    int up = bits_of(&bottom) - bits_of(&top);
    if (up > 0) shift_left(&top, up);
    if (up < 0) shift_left(&bottom, -up);
    uint64_t mantissa = subtract_if(&top, &bottom);
    int shift = up;
    for (int bit = 63; bit > 0 || (mantissa >> 63) == 0; bit--) {
        shift_left(&top, 1);
        mantissa = mantissa << 1 | subtract_if(&top, &bottom);
        shift++;
    }
    return round_bits(mantissa, -shift, top.n != 0);
}

double nib__decimal(const char *text, size_t len)
{
    decimal d = {.n = 0};
    read_text(&d, text, len);
    double value;
    if (d.n == 0 || d.exponent + d.n < -330) {
        value = 0.0;
    } else if (d.exponent + d.n > 310) {
        value = HUGE_VAL;
    } else if (d.n <= 19 && d.exponent >= -MAX_POWER && d.exponent <= MAX_POWER) {
        uint64_t small = 0;
        for (int i = 0; i < d.n; i++) small = small * 10 + d.digits[i];
        value = scale_small(small, d.exponent);
    } else {
        value = scale_long(&d);
    }
    return d.negative ? -value : value;
}
