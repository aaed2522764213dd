/* SPDX-License-Identifier: MIT
 * The peaks of this machine, measured on all threads of a pool. */
#include "peaks.h"

#include <string.h>

#include "measure.h"

static const peak_kind kinds[] = {
#if defined(__x86_64__)
    {"fma256", "vfmadd231ps ymm", NIB__ISA_AVX2, peak_fma_avx2},
    {"fma512", "vfmadd231ps zmm", NIB__ISA_AVX512, peak_fma_avx512},
    {"maddubs256", "vpmaddubsw ymm", NIB__ISA_AVX2, peak_int8_avx2},
    {"vnni256", "vpdpbusd ymm", NIB__ISA_AVXVNNI, peak_int8_avxvnni},
    {"maddubs512", "vpmaddubsw zmm", NIB__ISA_AVX512, peak_int8_avx512},
    {"vnni512", "vpdpbusd zmm", NIB__ISA_AVX512VNNI, peak_int8_avx512vnni},
    {"bf16_512", "vdpbf16ps zmm", NIB__ISA_AVX512BF16, peak_bf16_avx512bf16},
    {"amx_bf16", "tdpbf16ps", NIB__ISA_AMX, peak_bf16_amx},
    {"amx_int8", "tdpbssd", NIB__ISA_AMX, peak_int8_amx},
#elif defined(__aarch64__)
    {"fma128", "fmla 4s", NIB__ISA_NEON, peak_fma_neon},
    {"sdot", "sdot 4s", NIB__ISA_DOTPROD, peak_int8_dotprod},
    {"smmla", "smmla 4s", NIB__ISA_I8MM, peak_int8_i8mm},
#else
    {"none", "", NIB__ISA_COUNT, NULL},
#endif
};

enum { N_KINDS = (int)(sizeof kinds / sizeof *kinds) };

const peak_kind *peak_find(const char *name)
{
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

const peak_kind *peak_at(int i)
{
    return i < N_KINDS ? &kinds[i] : NULL;
}

/* The multiply that a strategy is made of; see nib__matmul.name. Two int8 planes are int8 work, and
 * so is a product of 16-bit pairs: the share says what the best int8 code could do. */
const peak_kind *peak_of_strategy(const char *name)
{
    static const struct {
        const char *level, *f32, *bf16, *int8;
    } table[] = {
        {"_avx2", "fma256", "fma256", "maddubs256"},
        {"_avxvnni", "fma256", "fma256", "vnni256"},
        {"_avx512", "fma512", "fma512", "maddubs512"},
        {"_avx512vnni", "fma512", "fma512", "vnni512"},
        {"_avx512bf16", "fma512", "bf16_512", "vnni512"},
        {"_amx", "fma512", "amx_bf16", "amx_int8"},
        {"_neon", "fma128", "fma128", "fma128"},
        {"_dotprod", "fma128", "fma128", "sdot"},
        {"_i8mm", "fma128", "fma128", "smmla"},
    };
    const char *level = strrchr(name, '_');
    for (size_t i = 0; level != NULL && i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].level, level) != 0) continue;
        if (strncmp(name, "f32", 3) == 0) return peak_find(table[i].f32);
        return peak_find(strncmp(name, "bf16", 4) == 0 ? table[i].bf16 : table[i].int8);
    }
    return NULL;
}

/* ---- operations ------------------------------------------------------------------------------ */

enum { MAX_THREADS = 256, LINE = 64 };

typedef struct job {
    peak_loop loop;
    uint64_t steps;
    const uint8_t *data;
    size_t bytes; /* per thread */
    int reader;   /* 0 .. N_READERS - 1 */
    struct {
        _Alignas(LINE) double done;
    } threads[MAX_THREADS];
} job;

static void compute(void *arg, uint32_t i)
{
    job *j = arg;
    j->threads[i].done = j->loop(j->steps);
}

static double run(job *j, nib__pool *pool, void (*task)(void *, uint32_t), double *seconds)
{
    uint32_t n = nib__pool_threads(pool);
    double total = 0;
    if (n > MAX_THREADS) n = MAX_THREADS;
    nib__pool_begin(pool);
    double start = measure_now();
    nib__pool_run(pool, n, task, j);
    *seconds = measure_now() - start;
    nib__pool_end(pool);
    for (uint32_t i = 0; i < n; i++) total += j->threads[i].done;
    return total;
}

double peak_ops(const peak_kind *kind, nib__pool *pool)
{
    static job j;
    double best = 0, seconds = 0;
    j.loop = kind->loop;
    for (j.steps = 1000; seconds < 5e-3; j.steps *= 2) run(&j, pool, compute, &seconds);
    for (int i = 0; i < 9; i++) {
        double ops = run(&j, pool, compute, &seconds);
        if (ops / seconds > best) best = ops / seconds;
    }
    return best;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Ways of going through memory. Which of them is the fastest depends on the machine and, where it
 * is shared, on the moment: all of them are tried and the best counts. FAR and NEAR are distances
 * of fetching into the L2 cache and into L1 that helped on Intel; Zen 4 reads faster without. */
enum { FAR = 4096, NEAR = 1536 };

/* One word of every cache line, for memory moves by lines; `streams` places of the range at once,
 * so that each of them has its own run of pages. Both are constants where this is called. */
static inline double read_streams(const job *j, uint32_t i, int streams, int fetch)
{
    const uint8_t *data = j->data + i * j->bytes;
    size_t part = j->bytes / (size_t)streams / (4 * LINE) * (4 * LINE);
    uint64_t sum[4] = {0};
    for (size_t at = 0; at < part; at += 4 * LINE) {
        for (int s = 0; s < streams; s++) {
            const uint8_t *from = data + (size_t)s * part + at;
            for (size_t l = 0; l < 4; l++) {
                uint64_t word;
                if (fetch) {
                    __builtin_prefetch(from + FAR + l * LINE, 0, 2);
                    __builtin_prefetch(from + NEAR + l * LINE, 0, 3);
                }
                memcpy(&word, from + l * LINE, sizeof word);
                sum[l] += word;
            }
        }
    }
    /* The sum is 0 in a zeroed buffer; using it keeps the loads. */
    return (double)part * streams + (sum[0] + sum[1] + sum[2] + sum[3] == 1 ? 1 : 0);
}

enum { N_READERS = 6 };

static void read_all(void *arg, uint32_t i)
{
    job *j = arg;
    double done = 0;
    switch (j->reader) {
    case 0: done = read_streams(j, i, 1, 0); break;
    case 1: done = read_streams(j, i, 1, 1); break;
    case 2: done = read_streams(j, i, 2, 1); break;
    case 3: done = read_streams(j, i, 4, 1); break;
    case 4: done = read_streams(j, i, 4, 0); break;
    default: done = read_streams(j, i, 8, 0); break;
    }
    j->threads[i].done = done;
}

double peak_read(const uint8_t *data, size_t bytes, nib__pool *pool)
{
    static job j;
    double best = 0, seconds, spent = 0;
    j.data = data;
    j.bytes = bytes / nib__pool_threads(pool) / LINE * LINE;
    for (int i = 0; i < 200 * N_READERS && (i < 5 * N_READERS || spent < 0.2); i++) {
        j.reader = i % N_READERS;
        double total = run(&j, pool, read_all, &seconds);
        if (total / seconds > best) best = total / seconds;
        spent += seconds;
    }
    return best;
}
