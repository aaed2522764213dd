/* SPDX-License-Identifier: MIT
 * Attention of a pass: rotate and store, then pieces of (rows) x (KV head) x (query heads that
 * share it). All query heads of a group go together where that leaves work for every thread,
 * because keys and values are then read once for all of them. */
#include <math.h>

#include "base/clock.h"
#include "nn/nn.h"

enum {
    RATE_DECODE = 3 * NIB__WEIGHT_KINDS, /* places of attention among the rates of nib__exec */
    RATE_PREFILL,
    ALONE_NS = 12000,     /* less work than this is done by the calling thread */
    LONGEST_NS = 3000000, /* most for one piece: a cancelled call stops within 5 ms */
    /* Queries (rows x heads) of a piece of prefill. Kernels expand keys and values once per piece:
     * fewer would make that expensive, more no cheaper. */
    LEAST_QUERIES = 96,
    MOST_QUERIES = 384,
    WHOLE_ROWS = 16 /* kernels take 24 or 32 queries at a time: rows of a piece fill them better */
};

/* ---- store ---- */

typedef struct store_job {
    const nib__exec *exec;
    const nib__attention_rows *rows;
    uint32_t step;
} store_job;

/* Heads of q or k of one row, as they are compared: normed (Qwen 3, Gemma 3, Phi) and rotated. */
static void prepare(const store_job *job, float *heads, uint32_t n_heads, nib__affine norm,
                    const float *cos_sin)
{
    const nib__config *c = job->rows->config;
    const nib__kernels *kernels = job->exec->kernels;
    for (uint32_t h = 0; h < n_heads; h++) {
        float *head = heads + (size_t)h * c->head_dim;
        if (norm.w != NULL && c->norm == NIB__NORM_LAYER)
            kernels->layernorm(head, norm.w, norm.b, c->head_dim, job->rows->eps, head);
        else if (norm.w != NULL)
            kernels->rmsnorm(head, norm.w, c->head_dim, job->rows->eps, head);
        if (c->rope == NIB__ROPE_NONE) continue;
        kernels->rope(head, cos_sin, c->n_rot, c->rope == NIB__ROPE_INTERLEAVED);
    }
}

/* Where row number `row` lies. */
static nib__row_place place_of(const nib__attention_rows *r, uint32_t row)
{
    return r->places != NULL ? r->places[row] : (nib__row_place){r->kv, r->pos0 + row};
}

static void store_piece(void *arg, uint32_t i, void *scratch)
{
    const store_job *job = arg;
    const nib__attention_rows *r = job->rows;
    const nib__config *c = r->config;
    uint32_t first = i * job->step;
    uint32_t end = r->m - first < job->step ? r->m : first + job->step;
    (void)scratch;
    for (uint32_t row = first; row < end; row++) {
        const float *cos_sin = r->cos_sin + (size_t)row * c->n_rot;
        float *k = r->k + (size_t)row * c->n_head_kv * c->head_dim;
        const float *v = r->v + (size_t)row * c->n_head_kv * c->head_dim;
        nib__row_place place = place_of(r, row);
        if (r->q != NULL) {
            float *q = r->q + (size_t)row * c->n_head * c->head_dim;
            prepare(job, q, c->n_head, r->q_norm, cos_sin);
        }
        prepare(job, k, c->n_head_kv, r->k_norm, cos_sin);
        for (uint32_t h = 0; h < c->n_head_kv; h++) {
            nib__kv_head head = nib__kv_view(place.kv, r->layer, h);
            job->exec->kernels->kv_store(&head, place.pos, k + (size_t)h * c->head_dim,
                                         v + (size_t)h * c->head_dim);
        }
    }
}

nib_status nib__attention_store(nib__exec *exec, const nib__attention_rows *rows)
{
    const nib__config *c = rows->config;
    size_t cost = (size_t)(c->n_head + 4 * c->n_head_kv) * c->head_dim;
    store_job job = {exec, rows, nib__exec_rows(exec, rows->m, cost)};
    return nib__exec_run(exec, (rows->m + job.step - 1) / job.step, store_piece, &job);
}

/* ---- attend ---- */

typedef struct attend_job {
    const nib__exec *exec;
    const nib__attention_rows *rows;
    uint32_t step;          /* rows per unit */
    uint32_t group, splits; /* query heads per KV head, and parts they are cut into */
    uint32_t units;         /* row tiles x KV heads x splits */
    uint32_t per_piece;     /* units per piece */
    double row_macs;        /* multiply-adds of one row of one group */
    bool few;               /* decode's attention */
    void (*kernel)(const nib__attention *a);
} attend_job;

static void attend_unit(const attend_job *job, uint32_t i, void *scratch)
{
    const nib__attention_rows *r = job->rows;
    const nib__config *c = r->config;
    uint32_t heads = c->n_head_kv * job->splits;
    uint32_t tile = job->units / heads - 1 - i / heads; /* late rows see most and come first */
    uint32_t head_kv = i % heads / job->splits;
    uint32_t per_split = job->group / job->splits;
    uint32_t head = head_kv * job->group + i % job->splits * per_split;
    uint32_t first = tile * job->step;
    nib__row_place place = place_of(r, first);
    size_t stride = (size_t)c->n_head * c->head_dim;
    size_t at = first * stride + (size_t)head * c->head_dim;
    nib__attention a = {
        .kv = nib__kv_view(place.kv, r->layer, head_kv),
        .q = r->q + at,
        .out = r->out + at,
        .q_stride = stride,
        .out_stride = stride,
        .n_rows = r->m - first < job->step ? r->m - first : job->step,
        .n_group = per_split,
        .pos0 = place.pos,
        .window = r->window,
        .n_keys = r->n_keys,
        .scale = r->scale,
        .bias = r->bias != NULL ? r->bias + head * (2 * r->bias_reach + 1) : NULL,
        .bias_reach = r->bias_reach,
        .scratch = scratch,
    };
    job->kernel(&a);
}

static void attend_piece(void *arg, uint32_t i, void *scratch)
{
    const attend_job *job = arg;
    uint32_t first = i * job->per_piece;
    uint32_t left = job->units - first;
    for (uint32_t u = 0; u < job->per_piece && u < left; u++) attend_unit(job, first + u, scratch);
}

/* Query heads of a group are cut apart where KV heads alone would leave threads idle, or take too
 * long. Each part reads all keys and values again, which costs about as much as ten queries. */
static uint32_t choose_splits(const attend_job *job, uint32_t threads, uint32_t tiles,
                              double unit_ns)
{
    const double read = 10;
    uint32_t n = job->rows->config->n_head_kv * tiles, best = job->group;
    double least = INFINITY;
    for (uint32_t splits = 1; splits <= job->group; splits++) {
        if (job->group % splits != 0 || unit_ns / splits > LONGEST_NS) continue;
        uint32_t turns = (n * splits + threads - 1) / threads;
        double cost = turns * (read + (double)job->step * job->group / splits);
        if (cost >= least) continue;
        least = cost;
        best = splits;
    }
    return best;
}

/* Rows of a tile: as many as fit the time, and few enough that there are pieces for all threads. */
static uint32_t choose_rows(const attend_job *job, uint32_t threads, double fit)
{
    uint32_t least = (LEAST_QUERIES + job->group - 1) / job->group;
    uint32_t rows = MOST_QUERIES / job->group, m = job->rows->m;
    uint32_t heads = job->rows->config->n_head_kv;
    if (job->few) least = 1;
    if (rows > fit) rows = (uint32_t)fit;
    if (rows < least) rows = least;
    if (!job->few && rows > WHOLE_ROWS) rows -= rows % WHOLE_ROWS;
    while (rows > least && (m + rows - 1) / rows * heads < 4 * threads) rows = (rows + 1) / 2;
    return rows < least ? least : rows;
}

static void cut(attend_job *job, double ns_per_mac)
{
    uint32_t m = job->rows->m, n_head_kv = job->rows->config->n_head_kv;
    uint32_t threads = job->exec->n_slots < 1 ? 1 : job->exec->n_slots;
    double row_ns = job->row_macs * ns_per_mac;
    job->step = job->rows->places != NULL ? 1 : m; /* rows of different streams share nothing */
    job->splits = 1;
    job->units = m / job->step * n_head_kv;
    job->per_piece = job->units;
    if (row_ns * m * n_head_kv < ALONE_NS) return;
    uint32_t most = choose_rows(job, threads, LONGEST_NS / row_ns);
    if (job->step > most) job->step = most;
    uint32_t tiles = (m + job->step - 1) / job->step;
    job->splits = choose_splits(job, threads, tiles, row_ns * job->step);
    job->units = tiles * n_head_kv * job->splits;
    job->per_piece = 1;
}

/* Before anything is measured: about what the slowest CPU of each sort needs. */
static double first_guess(const nib__exec *exec)
{
    return exec->kernels->isa == NIB__ISA_SCALAR ? 1.0 : 0.05;
}

/* Positions that a row sees, on average. */
static double seen_by(const nib__attention_rows *rows)
{
    double sum = 0;
    for (uint32_t i = 0; rows->places != NULL && i < rows->m; i++) {
        double seen = (double)rows->places[i].pos + 1;
        sum += rows->window != 0 && seen > rows->window ? rows->window : seen;
    }
    if (rows->places != NULL) return sum / rows->m;
    if (rows->n_keys != 0) return rows->n_keys;
    double seen = (double)rows->pos0 + (double)rows->m / 2 + 1;
    return rows->window != 0 && seen > rows->window ? rows->window : seen;
}

nib_status nib__attention_run(nib__exec *exec, const nib__attention_rows *rows)
{
    const nib__config *c = rows->config;
    attend_job job = {.exec = exec, .rows = rows, .group = c->n_head / c->n_head_kv};
    job.few = rows->exact || rows->m <= NIB__DECODE_ROWS || /* few rows with places */
              rows->kv->type == NIB__KV_F32;
    job.kernel = job.few ? exec->kernels->attention : exec->kernels->attention_prefill;
    uint32_t kind = job.few ? RATE_DECODE : RATE_PREFILL;
    double rate = (double)exec->ns_per_mac[kind];
    job.row_macs = 2.0 * seen_by(rows) * c->head_dim * job.group; /* scores and weighted values */
    cut(&job, rate == 0 ? first_guess(exec) : rate);
    uint32_t pieces = (job.units + job.per_piece - 1) / job.per_piece;
    bool whole = exec->first == 0;
    uint64_t start = nib__now_ns();
    nib_status status = nib__exec_run(exec, pieces, attend_piece, &job);
    if (status == NIB_OK && whole) {
        nib__exec_learn(exec, kind, pieces, start, job.row_macs * rows->m * c->n_head_kv);
    }
    return status;
}
