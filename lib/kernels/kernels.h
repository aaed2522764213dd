/* SPDX-License-Identifier: MIT
 * Speed: the signatures of all operations and the one table of function pointers through which the
 * layers call them. Knows number formats, not tensors or models.
 *
 * Weights: panels of 16 output rows
 *   A weight matrix W[N][K] is packed once, at load, into ceil(N/16) panels of 16 rows (missing rows
 *   are zero). One layout serves every instruction set: a 64-byte line of codes holds 4 consecutive k
 *   of 16 rows, [16 rows][4 k], so lanes are outputs, an activation is a broadcast of 4 bytes, and no
 *   horizontal sum is ever needed. It loses nothing: a panel holds exactly the numbers of the file.
 *
 *   Coded formats (K a multiple of 32). A panel is a scale area, padded to 64 bytes, then a code
 *   area, both in ascending k. Everything unpacks to unsigned codes c (0..255) with
 *        w = s * (c - zero) + m        zero: a constant of the layout; m: only where it has mins
 *   Code area, per 32 k ("group", 8 lines of [16 rows][4 k] once unpacked, line j = k 4j..4j+3):
 *     8-bit   8 x 64 bytes: line j
 *     4-bit   4 x 64 bytes: line 2t in the low nibbles of t, line 2t+1 in the high nibbles
 *     2-bit   2 x 64 bytes: line 4v+j in bits 2j, 2j+1 of the bytes of v
 *     1-bit   1 x 64 bytes: line j in bit j of each byte
 *   with planes in this order: 4-bit (low), 2-bit, 1-bit (high); 8-bit codes have one plane.
 *   Scale area ([16] means one entry per row of the panel):
 *     per group of 32:      f16 d[16]                            Q4_0 Q5_0 Q8_0 IQ4_NL
 *                           f16 d[16], f16 m[16]                 Q4_1 Q5_1
 *                           u16 d[16], a bf16 2^(e-128)          MXFP4
 *     per super-block 256:  f16 d[16], f16 dmin[16], 8 x (u8 sc[16], u8 m[16])      Q4_K Q5_K
 *                           f16 d[16], f16 dmin[16], 16 x (u8 sc[16], u8 m[16])     Q2_K
 *                           f16 d[16], 16 x i8 sc[16]            Q6_K Q3_K (bias taken off)
 *                           f16 d[16], 8 x i8 sc[16]             IQ4_XS (bias taken off)
 *                                                                IQ1_S IQ2_XXS IQ3_XXS IQ3_S TQ*
 *                           f16 d[16], 16 x i8 sc[16]            IQ1_M IQ2_XS IQ2_S
 *        s = d * unit * sc (f32 product), m = -dmin * m; scales are per 16 k in the entries with 16
 *        factors, else 32. unit: a power of two of the layout, 1 but for some IQ formats.
 *   Float formats (any K): panel = [K][16] of f32, f16 or bf16, padded to 64 bytes.
 *   Int8 per row (I8R, any K <= 65536; made from float rows at load): panel = f32 scale[16], then
 *   i32 sum[16] of the codes of each row, then lines as above of signed codes -127..127, K padded
 *   with zeros to a multiple of 64. w = scale * code.
 *
 * Activations and their rounding
 *   A strategy (nib__matmul) rounds each row of activations on its own and multiplies:
 *     decode   1..16 rows. Coded weights: 16-bit activations q = rint(x * 32512 / max|x|), as two
 *              int8 planes q = 256 * hi + lo; int32 sums per scale group; then float32
 *              y = fma(s, (float)sum, y), ym = fma(m, (float)xsum, ym) in ascending groups and
 *              out = (y + ym) * a. Every instruction set gives the same bits, and so does any
 *              number of rows at once.
 *              Float weights: float32 activations, fma in ascending k, the same bits everywhere.
 *              Int8 per row: the same q; the sum of code * q over all k is an exact integer S, and
 *              out = (float32(S) * scale) * a, with S rounded once.
 *              NIB_PRECISION_FAST, where a level has fast_decode: int8 activations q with a scale sx per
 *              32 k, of which groups with large values have a second plane, what rounding left over.
 *              Per scale group y = fma(s * sx, (float)sum, y), ym = fma(m, sx * xsum, ym) in ascending
 *              order, y + ym; then the same sum of each second plane is added, in ascending order.
 *     prefill  many rows; what is fastest on the CPU within the accuracy gate. Rows do not influence
 *              each other either, but the bits differ from decode's.
 */
#ifndef NIB_KERNELS_KERNELS_H
#define NIB_KERNELS_KERNELS_H

#include "base/cpu.h"
#include "base/mem.h"
#include "quant/format.h"

enum {
    NIB__PANEL = 16,      /* output rows per panel */
    NIB__GROUP = 32,      /* k per group of codes */
    NIB__MAXIMA_RUN = 64, /* numbers per maximum of run_maxima */
    NIB__DECODE_ROWS = 16,/* most rows of the decode strategy in one call */
    /* Files made by nib_quantize hold panels. Whoever changes the bytes of one counts this up, and
     * the checksums in test/model/test_repack.c with it: older files are then refused. */
    NIB__LAYOUT_VERSION = 1
};

/* How one format lies in a panel. */
typedef struct nib__layout {
    nib__format format;
    uint8_t coded;        /* 0: f32, f16, bf16 */
    uint8_t code_bits;    /* 2 3 4 5 6 8; float formats: 16 or 32 */
    uint8_t zero;         /* constant subtracted from unsigned codes */
    uint8_t scale_group;  /* 16 or 32 k per scale */
    uint8_t has_min;
    uint16_t block;       /* k per entry of the scale area: 32 or 256 */
    uint16_t scale_bytes; /* bytes of one such entry for 16 rows */
    uint16_t group_bytes; /* bytes of codes per group of 32 k for 16 rows */
    float unit;           /* constant factor of all scales: 1, 1/4 or 1/8 */
    const int8_t *table;  /* 16-entry code book; the unsigned code is table[nibble] + zero */
} nib__layout;

const nib__layout *nib__layout_of(nib__format format);

/* What decides which strategies and which rounded rows a matrix needs. */
typedef enum nib__weight_kind {
    NIB__WEIGHTS_F32,
    NIB__WEIGHTS_HALF, /* f16, bf16 */
    NIB__WEIGHTS_CODED,
    NIB__WEIGHTS_USUAL, /* coded as Q4_1, Q4_K or Q6_K, which fast_decode knows */
    NIB__WEIGHTS_INT8
} nib__weight_kind;
enum { NIB__WEIGHT_KINDS = 5 };

static inline nib__weight_kind nib__weight_kind_of(const nib__layout *layout)
{
    if (layout->format == NIB__Q4_1 || layout->format == NIB__Q4_K || layout->format == NIB__Q6_K)
        return NIB__WEIGHTS_USUAL;
    if (layout->coded) return NIB__WEIGHTS_CODED;
    if (layout->format == NIB__I8R) return NIB__WEIGHTS_INT8;
    return layout->format == NIB__F32 ? NIB__WEIGHTS_F32 : NIB__WEIGHTS_HALF;
}

/* A packed matrix. `data` is [n_panels][panel_bytes]. */
typedef struct nib__packed {
    const nib__layout *layout;
    uint32_t n, k;         /* rows (outputs), columns (inputs) */
    uint32_t n_panels;
    size_t code_offset;    /* start of the code area in a panel */
    size_t panel_bytes;    /* a multiple of 64 */
    const uint8_t *data;   /* 64-byte aligned */
} nib__packed;

/* Shape and sizes for n x k; data stays NULL. NIB_ERR_UNSUPPORTED if k does not suit the format. */
nib_status nib__packed_init(nib__packed *w, nib__format format, size_t n, size_t k, nib_error *err);

/* Packs panels [first, first + count) from file rows src[n][row bytes] into `data`. Pure C, thread
 * safe for disjoint panels. */
void nib__pack_panels(const nib__packed *w, const uint8_t *src, uint32_t first, uint32_t count,
                      uint8_t *data);

/* What a panel of NIB__I8R begins with. */
typedef struct nib__int8_head {
    float scale[16];
    int32_t sum[16]; /* of the codes of a row */
} nib__int8_head;
enum { NIB__INT8_MAX_K = 65536 }; /* sums of k products of a byte and a code fit 32 bits */

/* Packs panels [first, first + count) of an NIB__I8R matrix from rows src[n][row bytes] in format
 * `from`, whose block divides k: scale = max|w| / 127, codes are rounded to nearest even. A row with
 * infinities or NaN gets the scale NaN. Pure C, thread safe for disjoint panels. */
void nib__pack_int8(const nib__packed *w, const nib__format_info *from, const uint8_t *src,
                    uint32_t first, uint32_t count, uint8_t *data);

/* Activations of an MLP. GELU with the error function, or with the tanh that approximates it. */
typedef enum nib__act {
    NIB__ACT_SILU,
    NIB__ACT_GELU,
    NIB__ACT_GELU_TANH,
    NIB__ACT_RELU,
    NIB__ACTS
} nib__act;

/* Two matrices of one shape and kind, n a multiple of 32: what a gated MLP makes of its input. */
typedef struct nib__gated {
    const nib__packed *gate, *up;
    nib__act act;
} nib__gated;

/* One strategy for y = x W^T. Rows of activations are first rounded one by one into opaque blocks of
 * row_bytes(k), 64-byte aligned, contiguous; then multiplied with any run of panels. */
typedef struct nib__matmul {
    /* Rounding of activations, then the level: "g32_avx2". q16: as in decode; f32: none; g32: int8
     * with a scale per 32 k, and a second plane where values are large; bf16: weights too. The
     * kernel test derives its error bound from it. */
    const char *name;
    size_t (*row_bytes)(uint32_t k);
    void (*round_row)(const float *x, uint32_t k, void *row);
    /* y[m][ldy], columns of panels [first, first + count), only the real ones (< w->n) written.
     * y points at column 0 of the matrix. scratch has scratch_bytes(k) bytes, 64-byte aligned.
     * Any m >= 1: a decode strategy takes more than NIB__DECODE_ROWS rows in several passes. */
    void (*run)(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch);
    size_t (*scratch_bytes)(uint32_t k);
    uint32_t min_rows;     /* fewer rows than this are better served by decode */
    /* Most rows that the caches hold while panel after panel passes by: a piece of work has no
     * more, and pieces of the same rows follow each other. NULL: any number. */
    uint32_t (*block_rows)(uint32_t k);
    /* Rows of act(x gate^T) * (x up^T) as round_row makes them of its results, of which only the
     * columns of panels [first, first + count) are written, so that what is between the maps of an
     * MLP never goes to memory in float32. `to` is the first row. NULL: one step after the other. */
    void (*run_gated)(const nib__gated *maps, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, void *to, void *scratch);
} nib__matmul;

/* Reference layout of a rounded row for coded decode; all instruction sets use it. */
typedef struct nib__row16 {
    const int8_t *hi;      /* [k] */
    const int8_t *lo;      /* [k] */
    const int32_t *sum;    /* [k / 16] sums of q over 16 k */
    float scale;           /* x = scale * q */
} nib__row16;
size_t nib__row16_bytes(uint32_t k);
nib__row16 nib__row16_view(const void *row, uint32_t k);
/* The same for whoever writes the row; the scale is the float at the start of the row. */
void nib__row16_parts(void *row, uint32_t k, int8_t **hi, int8_t **lo, int32_t **sum);

/* ---- attention ------------------------------------------------------------------------------- */

/* The cache of NIB_PRECISION_F32 and of models whose weights are all float32. Not a choice of the
 * caller; attention_prefill does not know it. */
enum { NIB__KV_F32 = 0x100 };

/* The KV cache of one layer and one KV head. Keys lie in blocks of 16 positions, [pos/16][dim][16],
 * so that lanes are positions; values lie [pos][dim]. Capacity is a multiple of 16. */
typedef struct nib__kv_head {
    void *k, *v;             /* uint16_t (f16), int8_t or float */
    float *k_scale, *v_scale;/* [capacity], q8 only */
    uint32_t dim;            /* head size, of keys and values */
    uint32_t type;           /* NIB_KV_* or NIB__KV_F32 */
} nib__kv_head;

/* Attention of `n_rows` consecutive positions, starting at pos0, for the query heads that share one
 * KV head. A row sees positions (pos - window, pos]; window 0: all up to its own. The result of a row does not
 * depend on which other rows are in the call: keys are visited in blocks of 64 positions aligned to
 * position 0, with an online softmax over blocks. */
typedef struct nib__attention {
    nib__kv_head kv;
    const float *q;          /* [n_rows][q_stride]: n_group heads of kv.dim each, rotated */
    float *out;              /* [n_rows][out_stride], same arrangement */
    size_t q_stride, out_stride;
    uint32_t n_rows, n_group, pos0, window;
    uint32_t n_keys;         /* not 0: every row sees positions [0, n_keys): encoders, and decoders
                                over them; window is 0 then */
    float scale;             /* 1/sqrt(dim), usually */
    const float *bias;       /* [n_group][2 * bias_reach + 1] what a key's distance from the row,
                                cut to [-bias_reach, bias_reach], adds to its score; NULL: none */
    uint32_t bias_reach;
    void *scratch;           /* attention_scratch(dim) bytes, 64-byte aligned */
} nib__attention;

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct nib__kernels {
    nib__isa isa;
    nib__matmul decode_coded, decode_float, decode_int8;
    nib__matmul prefill_coded, prefill_float, prefill_int8; /* _float: f16 and bf16 weights */
    nib__matmul prefill_f32; /* f32 weights: no rounding but float32's own */
    nib__matmul decode_usual; /* decode_coded, or fast_decode with NIB_PRECISION_FAST */
    nib__matmul fast_decode; /* int8 activations, a scale per 32 k; run is NULL where there is none */
    nib__matmul fast_int8;   /* takes the place of prefill_int8 with NIB_PRECISION_FAST */
    /* out[n] = x[n] / sqrt(mean(x^2) + eps) * w[n]; out may be x */
    void (*rmsnorm)(const float *x, const float *w, uint32_t n, float eps, float *out);
    /* out[n] = (x - mean(x)) / sqrt(var(x) + eps) * w[n] + b[n]; b may be NULL: 0; out may be x */
    void (*layernorm)(const float *x, const float *w, const float *b, uint32_t n, float eps,
                      float *out);
    /* out[n] = f(x) * up[n]; up may be NULL: 1; out may be x. Within 1e-6 |x * up| of the exact value
     * on every level; NaN stays NaN. */
    void (*activate[NIB__ACTS])(const float *x, const float *up, uint32_t n, float *out);
    void (*add)(const float *x, uint32_t n, float *y); /* y += x */
    /* Rotates pairs of one head in place; cos_sin is [n_rot/2][2]. interleaved: pairs (2i, 2i+1),
     * else (i, i + n_rot/2). */
    void (*rope)(float *head, const float *cos_sin, uint32_t n_rot, int32_t interleaved);
    /* Stores one position's key and value (float[dim]) into the cache. */
    void (*kv_store)(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v);
    void (*attention)(const nib__attention *a);
    size_t (*attention_scratch)(uint32_t dim);
    /* The same for passes of many rows, within prefill's accuracy: the bits may differ from those of
     * `attention`, but a row's result does not depend on the other rows here either. Which of the
     * two runs is decided by the length of the pass, as for the matrix products. */
    void (*attention_prefill)(const nib__attention *a);
    size_t (*attention_prefill_scratch)(uint32_t dim);
    /* Index of the largest value, the smallest index on ties; NaN is never chosen over a number. */
    uint32_t (*argmax)(const float *x, uint32_t n);
    /* Passes over a vocabulary's logits, the same bits on every level. */
    /* Sum of e^((x - max) * scale), max finite and not below any x, scale > 0. NaN and what is more
     * than 87 below the maximum count as next to nothing (1e-38). Relative error below 1e-5. */
    double (*sum_exp)(const float *x, uint32_t n, float max, float scale);
    /* ids[] = all i with x[i] > above, ascending; returns their number. NaN is above nothing. */
    uint32_t (*filter_above)(const float *x, uint32_t n, float above, int32_t *ids);
    /* out[i] = largest of x[64 i .. 64 i + 63], NaN skipped; -infinity where there is none. */
    void (*run_maxima)(const float *x, uint32_t n, float *out);
} nib__kernels;

/* The two strategies for one kind of weights. */
const nib__matmul *nib__decode_of(const nib__kernels *table, nib__weight_kind kind);
/* The kind of a matrix's weights as this table tells them apart: where all coded weights take the
 * same rows, maps of one input share them. */
nib__weight_kind nib__weight_kind_in(const nib__kernels *table, const nib__layout *layout);
const nib__matmul *nib__prefill_of(const nib__kernels *table, nib__weight_kind kind);

/* Scalar C first, then every level up to `isa` overrides what it does better. NIB_PRECISION_EXACT
 * makes prefill use the decode strategy; NIB_PRECISION_F32 the float32 reference. */
void nib__kernels_init(nib__kernels *table, nib__isa isa, uint32_t precision);

/* Per-level overrides, compiled with that level's flags only; called by nib__kernels_init. */
void nib__kernels_init_ref(nib__kernels *table);
void nib__kernels_init_f32(nib__kernels *table); /* float32 activations, for NIB_PRECISION_F32 */
void nib__kernels_init_avx2(nib__kernels *table);
void nib__kernels_init_avxvnni(nib__kernels *table);
void nib__kernels_init_avx512(nib__kernels *table);
void nib__kernels_init_avx512vnni(nib__kernels *table);
void nib__kernels_init_avx512bf16(nib__kernels *table);
void nib__kernels_init_amx(nib__kernels *table);
void nib__kernels_init_neon(nib__kernels *table);
void nib__kernels_init_dotprod(nib__kernels *table);
void nib__kernels_init_i8mm(nib__kernels *table);

#endif
