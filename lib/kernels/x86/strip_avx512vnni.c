/* SPDX-License-Identifier: MIT
 * Panels of coded weights as int8 with one scale per 64 k. */
#include "kernels/x86/strip_avx512vnni.h"

#include "kernels/x86/avx512.h"
#include "kernels/x86/int8_avx512.h"
#include "kernels/x86/unpack_avx512.h"

enum { ENTRY = 8 }; /* most groups of 32 k in an entry of the scale area */

size_t nib__strip_bytes_avx512vnni(uint32_t k)
{
    const size_t groups = k / NIB__GROUP;
    return groups * sizeof(vnni_group) + (groups + 1) / STRIP_BLOCK * sizeof(float[2][NIB__PANEL]);
}

vnni_strip nib__strip_at_avx512vnni(uint8_t *at, uint32_t k)
{
    void *scales = at + k / NIB__GROUP * sizeof(vnni_group);
    return (vnni_strip){(vnni_group *)(void *)at, scales};
}

/* What of a format decides how its codes become int8. */
typedef struct shape {
    int bits;   /* codes less the middle one are in [-2^(bits - 1), 2^(bits - 1)]; 4 or more */
    int up;     /* codes of fewer bits are moved up by so many */
    int middle; /* of the codes, once moved */
    int parts;  /* scales per 32 k */
    float low, high, zero; /* smallest, largest and middle code less the zero point */
} shape;

/* w = scale * (code - zero) + min for 32 k, or 16 each. */
typedef struct factors {
    __m512 scale[2], min[2];
} factors;

/* Of a code book, whose codes have 128 added. */
static shape shape_of_book(const int8_t *book, int parts)
{
    shape s = {.bits = 4, .middle = 128, .parts = parts};
    for (int i = 0; i < 16; i++) {
        if (book[i] < s.low) s.low = book[i];
        if (book[i] > s.high) s.high = book[i];
    }
    while (s.high > (float)(1 << (s.bits - 1)) || -s.low > (float)(1 << (s.bits - 1))) s.bits++;
    return s;
}

NIB_INLINE shape shape_of(nib__format f, const nib__layout *layout)
{
    const int bits = code_bits(f), up = bits < 4 ? 4 - bits : 0;
    if (has_book(f)) return shape_of_book(layout->table, group_scales(f));
    shape s = {.bits = bits + up, .up = up, .middle = 1 << (bits + up - 1)};
    s.parts = group_scales(f);
    s.low = (float)-code_zero(f);
    s.high = s.low + (float)((1 << bits) - 1);
    s.zero = s.low + (float)(1 << (bits - 1));
    return s;
}

NIB_INLINE __m512i magnitude_bits(__m512 v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

/* The scale of a block: `to` becomes 1 / scale. Magnitudes are compared as bits, so that infinities
 * and NaN win; their scale is infinite or NaN, and so are results. Weights below 2^-100 count as
 * zero.
 */
static __m512 block_scale_of(const shape *s, const factors *f, int n, __m512 *to)
{
    __m512i top = _mm512_setzero_si512();
    for (int i = 0; i < n; i++) {
        for (int part = 0; part < s->parts; part++) {
            const __m512 scale = f[i].scale[part], min = f[i].min[part];
            const __m512 low = _mm512_fmadd_ps(scale, _mm512_set1_ps(s->low), min);
            const __m512 high = _mm512_fmadd_ps(scale, _mm512_set1_ps(s->high), min);
            top = _mm512_max_epu32(top, magnitude_bits(low));
            top = _mm512_max_epu32(top, magnitude_bits(high));
        }
    }
    const __m512 max = _mm512_castsi512_ps(top);
    const __mmask16 some = _mm512_cmp_ps_mask(max, _mm512_set1_ps(0x1p-100f), _CMP_GE_OQ);
    *to = _mm512_maskz_div_ps(some, _mm512_set1_ps(127.0f), max);
    return _mm512_mul_ps(max, _mm512_set1_ps(1.0f / 127.0f));
}

/* The lower 16 bits of 32, twice. */
NIB_INLINE __m512i both_halves(__m512i v)
{
    return _mm512_mask_mov_epi16(_mm512_slli_epi32(v, 16), 0x55555555, v);
}

/* The lines of a group from unsigned codes to int8, in 16 bits: c * 2^(16 - bits), c being the code
 * less the middle one, times a factor, rounded and divided by 2^15, is the product in parts of
 * 1/128.
 */
static void requantize(const shape *s, const factors *f, __m512 to, int half, vnni_group *group)
{
    const __m512i middle = _mm512_set1_epi8((char)s->middle);
    const __m512i odd = _mm512_set1_epi16((short)0xff00);
    const int lines = 8 / s->parts;
    const __m512 parts = _mm512_set1_ps(128.0f);
    const __m512 fraction = _mm512_set1_ps(128.0f * (float)(1 << (s->bits - 1 - s->up)));
    const __m128i up = _mm_cvtsi32_si128(16 - s->bits), odd_up = _mm_cvtsi32_si128(8 - s->bits);
    const __m128i shift = _mm_cvtsi32_si128(s->up);
    __m512i sum = _mm512_setzero_si512();
    for (int part = 0; part < s->parts; part++) {
        const __m512 scale = _mm512_mul_ps(f->scale[part], to);
        const __m512 min =
            _mm512_fmadd_ps(scale, _mm512_set1_ps(s->zero), _mm512_mul_ps(f->min[part], to));
        const __m512i factor = both_halves(_mm512_cvtps_epi32(_mm512_mul_ps(scale, fraction)));
        const __m512 base = _mm512_fmadd_ps(min, parts, _mm512_mul_ps(parts, _mm512_set1_ps(0.5f)));
        const __m512i offset = both_halves(_mm512_cvtps_epi32(base));
        for (int j = part * lines; j < (part + 1) * lines; j++) {
            __m512i c = _mm512_load_si512(group->codes[j][half]);
            c = _mm512_sub_epi8(_mm512_sll_epi16(c, shift), middle);
            __m512i a = _mm512_mulhrs_epi16(_mm512_sll_epi16(c, up), factor);
            __m512i b =
                _mm512_mulhrs_epi16(_mm512_sll_epi16(_mm512_and_si512(c, odd), odd_up), factor);
            a = _mm512_srli_epi16(_mm512_add_epi16(a, offset), 7);
            b = _mm512_slli_epi16(_mm512_add_epi16(b, offset), 1);
            c = _mm512_ternarylogic_epi32(odd, b, a, 0xca);            /* odd ? b : a */
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), c); /* 128, unsigned */
            _mm512_store_si512(group->codes[j][half], c);
        }
    }
    _mm512_store_si512(group->start[half], _mm512_sub_epi32(_mm512_setzero_si512(), sum));
}

/* Groups that share an entry of the scale area, or two that have one each, with their codes in
 * place. */
static void finish_entry(const shape *s, const factors *f, uint32_t first, uint32_t count, int half,
                         const vnni_strip *strip)
{
    for (uint32_t i = 0; i < count; i += STRIP_BLOCK) {
        const uint32_t n = count - i < STRIP_BLOCK ? count - i : STRIP_BLOCK;
        __m512 to, scale = block_scale_of(s, f + i, (int)n, &to);
        _mm512_store_ps(strip->scales[(first + i) / STRIP_BLOCK][half], scale);
        for (uint32_t j = i; j < i + n; j++) {
            requantize(s, f + j, to, half, &strip->groups[first + j]);
        }
    }
}

NIB_INLINE void unpack_panel(nib__format f, const nib__packed *w, uint32_t panel, int half,
                             const vnni_strip *to)
{
    const uint8_t *entry = nib__panel_at(w, panel), *codes = entry + w->code_offset;
    const __m512i book = load_book(f, w->layout);
    const shape s = shape_of(f, w->layout);
    const uint32_t groups = w->k / NIB__GROUP;
    factors all[ENTRY];
    for (uint32_t g = 0, n; g < groups; g += n) {
        for (n = 0; n < ENTRY && g + n < groups; entry += scale_bytes(f)) {
            block_scale scales = load_block_scale(f, w->layout->unit, entry);
            for (uint32_t i = 0; i < block_groups(f); i++, n++, codes += group_bytes(f)) {
                __m512i line[8];
                unpack_group(f, codes, book, line);
                NIB_UNROLL
                for (int j = 0; j < 8; j++)
                    _mm512_store_si512(to->groups[g + n].codes[j][half], line[j]);
                NIB_UNROLL
                for (int part = 0; part < group_scales(f); part++) {
                    all[n].min[part] = _mm512_setzero_ps();
                    group_scale(f, &scales, i * (uint32_t)group_scales(f) + (uint32_t)part,
                                &all[n].scale[part], &all[n].min[part]);
                }
            }
        }
        finish_entry(&s, all, g, n, half, to);
    }
}

/* int8 weights have one scale per row. */
static void unpack_int8(const nib__packed *w, uint32_t panel, int half, const vnni_strip *to)
{
    const uint8_t *codes = nib__panel_at(w, panel) + w->code_offset;
    const __m512 scale = _mm512_load_ps(int8_head(w, panel)->scale);
    const __m512i minus = _mm512_set1_epi8(-128); /* 128 as an unsigned byte */
    for (uint32_t g = 0; g < nib__strip_k_avx512vnni(w->k) / NIB__GROUP; g++) {
        vnni_group *group = &to->groups[g];
        __m512i sum = _mm512_setzero_si512();
        NIB_UNROLL
        for (int j = 0; j < 8; j++, codes += 64) {
            const __m512i code = _mm512_load_si512(codes);
            sum = _mm512_dpbusd_epi32(sum, minus, code);
            _mm512_store_si512(group->codes[j][half], code);
        }
        _mm512_store_si512(group->start[half], _mm512_sub_epi32(_mm512_setzero_si512(), sum));
        _mm512_store_ps(to->scales[g / STRIP_BLOCK][half], scale);
    }
}

void nib__strip_unpack_avx512vnni(const nib__packed *w, uint32_t panel, int half,
                                  const vnni_strip *to)
{
    switch (panel_twin(w->layout->format)) {
    case NIB__Q4_0: unpack_panel(NIB__Q4_0, w, panel, half, to); break;
    case NIB__Q4_1: unpack_panel(NIB__Q4_1, w, panel, half, to); break;
    case NIB__Q5_0: unpack_panel(NIB__Q5_0, w, panel, half, to); break;
    case NIB__Q5_1: unpack_panel(NIB__Q5_1, w, panel, half, to); break;
    case NIB__Q8_0: unpack_panel(NIB__Q8_0, w, panel, half, to); break;
    case NIB__Q2_K: unpack_panel(NIB__Q2_K, w, panel, half, to); break;
    case NIB__Q3_K: unpack_panel(NIB__Q3_K, w, panel, half, to); break;
    case NIB__Q4_K: unpack_panel(NIB__Q4_K, w, panel, half, to); break;
    case NIB__Q5_K: unpack_panel(NIB__Q5_K, w, panel, half, to); break;
    case NIB__Q6_K: unpack_panel(NIB__Q6_K, w, panel, half, to); break;
    case NIB__IQ4_NL: unpack_panel(NIB__IQ4_NL, w, panel, half, to); break;
    case NIB__IQ2_XS: unpack_panel(NIB__IQ2_XS, w, panel, half, to); break;
    case NIB__TQ2_0: unpack_panel(NIB__TQ2_0, w, panel, half, to); break;
    case NIB__IQ4_XS: unpack_panel(NIB__IQ4_XS, w, panel, half, to); break;
    case NIB__MXFP4: unpack_panel(NIB__MXFP4, w, panel, half, to); break;
    case NIB__I8R: unpack_int8(w, panel, half, to); break;
    default: break; /* float formats go to prefill_float */
    }
}
