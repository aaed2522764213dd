/* SPDX-License-Identifier: MIT
 * Linear maps as parallel regions. A piece is a run of panels times a run of rows. How long a piece
 * takes is learned from the regions before, so that pieces are short enough to stop within a
 * millisecond or two, and long enough that handing them out costs nothing. */
#include <string.h>

#include "base/clock.h"
#include "nn/nn.h"

enum {
    DECODE_NS = 100000,   /* a piece of few rows: several of them keep all threads busy */
    ROW_NS = 25000,       /* of one row: so little is lost where threads do not end together */
    PREFILL_NS = 2000000, /* a piece of many rows: a kernel expands weights once per piece */
    PIECES_PER_THREAD = 4,
    AHEAD_BYTES = 320 << 10, /* what a waiting thread fetches; second caches have 0.5 to 2 MB */
    BLOCKS_PER_THREAD = 2,   /* pieces, if they should be large for the caches' sake */
    SPLIT_ROWS = 32,         /* rows of a piece are a multiple of this, once they are split */
    STRIP = 2,               /* panels that prefill kernels like to take together, and ... */
    CHUNK = 16               /* ... the number after which their rows must be loaded again */
};

/* One map, cut into pieces: row blocks outside, panel runs inside, so that the rounded rows of a
 * block stay in the cache while the panels pass by. */
typedef struct part {
    const nib__matmul *matmul;
    const nib__output *output;
    const uint8_t *rows; /* rounded input */
    size_t row_bytes;
    uint32_t panels, block; /* panels and rows per piece */
    uint32_t runs, pieces;  /* pieces per row block, and of the whole map */
    uint32_t lanes;         /* that many places of the map are gone through at a time */
} part;

typedef struct region {
    const nib__kernels *kernels;
    const nib__gated *gated; /* not NULL: two maps become rounded rows */
    uint8_t *to;             /* these */
    size_t to_bytes;         /* of one */
    const nib__input *input;
    part parts[NIB__MAX_OUTPUTS];
    uint32_t n_parts, n_pieces;
} region;

/* Decode serves up to 16 rows with the same bits as one; prefill from where it is faster. */
static const nib__matmul *choose(const nib__kernels *kernels, const nib__linear *map,
                                 const nib__input *input, uint32_t *kind)
{
    uint32_t m = input->m;
    nib__weight_kind weights = nib__weight_kind_in(kernels, map->w.layout);
    const nib__matmul *decode = nib__decode_of(kernels, weights);
    const nib__matmul *prefill = nib__prefill_of(kernels, weights);
    bool few = input->exact || m <= NIB__DECODE_ROWS || m < prefill->min_rows;
    *kind = 3u * weights + (m == 1 ? 0u : few ? 1u : 2u);
    return few ? decode : prefill;
}

void nib__input_round(const nib__exec *exec, const nib__input *input, const nib__output *outputs,
                      uint32_t n_outputs, const float *x, uint32_t row)
{
    bool done[NIB__WEIGHT_KINDS] = {false};
    for (uint32_t i = 0; i < n_outputs; i++) {
        uint32_t kind = 0;
        nib__weight_kind weights = nib__weight_kind_in(exec->kernels, outputs[i].map->w.layout);
        if (done[weights]) continue;
        done[weights] = true;
        const nib__matmul *matmul = choose(exec->kernels, outputs[i].map, input, &kind);
        uint8_t *to = input->rows[weights] + row * matmul->row_bytes(input->k);
        matmul->round_row(x, input->k, to);
    }
}

static uint32_t clamp_count(double value, uint32_t lo, uint32_t hi)
{
    if (!(value > lo)) return lo;
    return value < hi ? (uint32_t)value : hi;
}

/* Before anything is measured: about what the slowest CPU of each sort needs. */
static double first_guess(const nib__exec *exec)
{
    return exec->kernels->isa == NIB__ISA_SCALAR ? 5.0 : 0.2;
}

static uint32_t round_down(uint32_t n, uint32_t step)
{
    return n < step ? n : n - n % step;
}

static void cut(part *p, const nib__exec *exec, const nib__input *input, float rate)
{
    const nib__packed *w = &p->output->map->w;
    double ns_per_mac = rate == 0 ? first_guess(exec) : (double)rate;
    double row_ns = ns_per_mac * NIB__PANEL * input->k; /* one panel times one row */
    uint32_t threads = exec->n_slots < 1 ? 1 : exec->n_slots;
    bool many = input->m > NIB__DECODE_ROWS;
    uint32_t strip = many ? STRIP : 1;
    uint32_t most_rows = p->matmul->block_rows != NULL ? p->matmul->block_rows(input->k) : 0;
    p->block = most_rows != 0 && most_rows < input->m ? most_rows : input->m;
    if (row_ns * p->block * strip > PREFILL_NS) {
        p->block = clamp_count(PREFILL_NS / (row_ns * strip), 1, p->block);
        p->block = round_down(p->block, SPLIT_ROWS);
    }
    if (input->exact && p->block > NIB__DECODE_ROWS) p->block = NIB__DECODE_ROWS;
    uint32_t blocks = (input->m + p->block - 1) / p->block;
    uint32_t each = most_rows != 0 ? BLOCKS_PER_THREAD : PIECES_PER_THREAD;
    uint32_t wanted = threads == 1 ? 1 : each * threads;
    uint32_t most = (w->n_panels * blocks + wanted - 1) / wanted; /* keeps all threads busy */
    double target = many ? PREFILL_NS : input->m == 1 ? ROW_NS : DECODE_NS;
    p->panels = clamp_count(target / (row_ns * p->block), 1, w->n_panels);
    if (p->panels > most) p->panels = most;
    if (many) p->panels = round_down(round_down(p->panels, STRIP), CHUNK);
    p->runs = (w->n_panels + p->panels - 1) / p->panels;
    p->lanes = many || threads > p->runs ? 1 : threads;
    const uint32_t longest = (w->n_panels + p->lanes - 1) / p->lanes;
    p->runs = p->lanes * ((longest + p->panels - 1) / p->panels);
    p->pieces = p->runs * blocks;
}

/* Threads take pieces by turns. With few rows each of them should go on where it was, for what it
 * has fetched ahead is what follows: piece i is the next one of lane i % lanes. Where a lane begins
 * does not depend on how long pieces are. Its last piece may be short, or empty. */
static uint32_t panels_of(const part *p, uint32_t i, uint32_t *count)
{
    const uint32_t n = p->output->map->w.n_panels, lane = i % p->lanes;
    const uint32_t end = (uint32_t)((uint64_t)n * (lane + 1) / p->lanes);
    const uint32_t first = (uint32_t)((uint64_t)n * lane / p->lanes) + i / p->lanes * p->panels;
    const uint32_t left = first < end ? end - first : 0;
    *count = left < p->panels ? left : p->panels;
    return first;
}

static void run_piece(void *arg, uint32_t i, void *scratch)
{
    const region *r = arg;
    const part *p = r->parts;
    while (i >= p->pieces) i -= (p++)->pieces;
    const nib__linear *map = p->output->map;
    uint32_t row = i / p->runs * p->block;
    uint32_t count, first = panels_of(p, i % p->runs, &count);
    uint32_t m = r->input->m - row < p->block ? r->input->m - row : p->block;
    if (count == 0) return;
    if (r->gated != NULL) {
        p->matmul->run_gated(r->gated, first, count, p->rows + row * p->row_bytes, m,
                             r->to + row * r->to_bytes, scratch);
        return;
    }
    float *y = p->output->y + row * p->output->ldy;
    p->matmul->run(&map->w, first, count, p->rows + row * p->row_bytes, m, y, p->output->ldy,
                   scratch);
    if (map->bias == NULL) return;
    uint32_t column = first * NIB__PANEL;
    uint32_t end =
        (first + count) * NIB__PANEL < map->w.n ? (first + count) * NIB__PANEL : map->w.n;
    for (; m > 0; m--, y += p->output->ldy) {
        r->kernels->add(map->bias + column, end - column, y + column);
    }
}

static nib_status run_region(nib__exec *exec, region *r, uint32_t kind, double macs)
{
    bool whole = exec->first == 0;
    uint64_t start = nib__now_ns();
    nib_status status = nib__exec_run(exec, r->n_pieces, run_piece, r);
    if (status == NIB_OK && whole) nib__exec_learn(exec, kind, r->n_pieces, start, macs);
    return status;
}

static bool one_kind(const nib__kernels *kernels, const nib__packed *a, const nib__packed *b)
{
    return nib__weight_kind_in(kernels, a->layout) == nib__weight_kind_in(kernels, b->layout);
}

bool nib__gated_fits(const nib__exec *exec, const nib__input *input, const nib__linear *gate,
                     const nib__linear *up, const nib__linear *down)
{
    nib__input wide = *input;
    uint32_t kind = 0;
    const nib__packed *a = &gate->w, *b = &up->w;
    if (a->layout == NULL || !one_kind(exec->kernels, a, b) || a->n != b->n || a->k != b->k ||
        a->n % (2 * NIB__PANEL) != 0 || gate->bias != NULL || up->bias != NULL)
        return false;
    const nib__matmul *first = choose(exec->kernels, gate, input, &kind);
    wide.k = a->n;
    const nib__matmul *next = choose(exec->kernels, down, &wide, &kind);
    return first->run_gated != NULL && next->round_row == first->round_row;
}

nib_status nib__gated_run(nib__exec *exec, const nib__input *input, const nib__linear *gate,
                          const nib__linear *up, nib__act act, uint8_t *to)
{
    const nib__gated maps = {&gate->w, &up->w, act};
    const nib__output output = {gate, NULL, 0};
    region r = {.kernels = exec->kernels, .input = input, .gated = &maps, .to = to, .n_parts = 1};
    part *p = &r.parts[0];
    uint32_t kind = 0;
    p->output = &output;
    p->matmul = choose(exec->kernels, gate, input, &kind);
    p->rows = input->rows[nib__weight_kind_in(exec->kernels, gate->w.layout)];
    p->row_bytes = p->matmul->row_bytes(input->k);
    r.to_bytes = p->matmul->row_bytes(gate->w.n);
    cut(p, exec, input, 2 * exec->ns_per_mac[kind]);
    r.n_pieces = p->pieces;
    return run_region(exec, &r, kind, 2.0 * gate->w.n_panels * NIB__PANEL * gate->w.k * input->m);
}

nib_status nib__linear_run(nib__exec *exec, const nib__input *input, const nib__output *outputs,
                           uint32_t n_outputs)
{
    region r = {.kernels = exec->kernels, .input = input, .n_parts = n_outputs};
    uint32_t kind = 0;
    double macs = 0;
    for (uint32_t i = 0; i < n_outputs; i++) {
        part *p = &r.parts[i];
        const nib__packed *w = &outputs[i].map->w;
        p->output = &outputs[i];
        p->matmul = choose(exec->kernels, outputs[i].map, input, &kind);
        p->rows = input->rows[nib__weight_kind_in(exec->kernels, w->layout)];
        p->row_bytes = p->matmul->row_bytes(input->k);
        cut(p, exec, input, exec->ns_per_mac[kind]);
        r.n_pieces += p->pieces;
        macs += (double)w->n_panels * NIB__PANEL * w->k * input->m;
    }
    return run_region(exec, &r, kind, macs);
}

void nib__linear_ahead(const nib__exec *exec, const nib__linear *map)
{
    /* As threads take the first pieces: where their lanes begin. */
    const uint32_t threads = exec->n_slots < 1 ? 1 : exec->n_slots;
    const size_t lane = (size_t)(map->w.n_panels / threads) * map->w.panel_bytes;
    nib__pool_ahead(exec->pool, map->w.data, lane, lane < AHEAD_BYTES ? lane : AHEAD_BYTES);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t nib__input_row_bytes(const nib__kernels *kernels, uint32_t kind, uint32_t k)
{
    return larger(nib__decode_of(kernels, (nib__weight_kind)kind)->row_bytes(k),
                  nib__prefill_of(kernels, (nib__weight_kind)kind)->row_bytes(k));
}
