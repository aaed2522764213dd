/* SPDX-License-Identifier: MIT
 * Unpacks panels for the prefill of the AVX2, AVX-VNNI and AVX-512 levels. */
#include "kernels/x86/prefill/prefill_strip_avx2.h"

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"

size_t nib__strip_bytes_avx2(uint32_t k)
{
    return (size_t)k * NIB__PANEL + 3 * ((size_t)k / 16 * NIB__PANEL * sizeof(float));
}

strip nib__strip_at_avx2(uint8_t *at, uint32_t k)
{
    const size_t part = (size_t)k / 16 * NIB__PANEL;
    strip t = {.codes = at, .scale = (float *)(void *)(at + (size_t)k * NIB__PANEL)};
    t.mins = t.scale + part;
    t.start = (int32_t *)(void *)(t.mins + part);
    t.zeros = (int32_t *)(void *)t.mins;
    return t;
}

NIB_INLINE void store_256(void *to, __m256i v)
{
    _mm256_store_si256((__m256i *)to, v);
}

NIB_INLINE void expand_codes(code_class c, uint8_t zero, const nib__packed *w, const uint8_t *codes,
                             uint8_t *to)
{
    const __m256i book = load_book(w->layout), less = _mm256_set1_epi8((char)zero);
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += w->layout->group_bytes, to += 512) {
        NIB_UNROLL
        for (int j = 0; j < 8; j++) {
            NIB_UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i line = _mm256_sub_epi8(code_line(c, codes, j, h, book), less);
                store_256(to + 64 * j + 32 * h, line);
            }
        }
    }
}

static void expand_class(uint8_t zero, const nib__packed *w, const uint8_t *codes, uint8_t *to)
{
    switch (code_class_of(w->layout)) {
    case CODES_TERNARY:
    case CODES_2: expand_codes(CODES_2, zero, w, codes, to); break;
    case CODES_3: expand_codes(CODES_3, zero, w, codes, to); break;
    case CODES_4: expand_codes(CODES_4, zero, w, codes, to); break;
    case CODES_5: expand_codes(CODES_5, zero, w, codes, to); break;
    case CODES_6: expand_codes(CODES_6, zero, w, codes, to); break;
    case CODES_8: expand_codes(CODES_8, zero, w, codes, to); break;
    case CODES_BOOK_16:
    case CODES_BOOK: expand_codes(CODES_BOOK, zero, w, codes, to); break;
    }
}

/* Formats with per 256 k f16 d[16], then 16 x i8 sc[16]. zero: what codes still hold. */
static void expand_pairs(const nib__packed *w, const uint8_t *entry, uint8_t zero, const strip *t)
{
    const __m256i low = _mm256_set1_epi32(0xffff), from = _mm256_set1_epi32(zero);
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        const uint8_t *block = entry + g / 8 * w->layout->scale_bytes;
        const uint8_t *sc = block + 32 + 2 * NIB__PANEL * (g % 8);
        for (uint32_t h = 0; h < NIB__PANEL; h += 8) {
            const __m256 unit = _mm256_set1_ps(w->layout->unit);
            const __m256 d = _mm256_mul_ps(load_f16(block + 2 * h), unit);
            __m256i s[2], z[2];
            for (uint32_t i = 0; i < 2; i++) {
                const __m128i bytes =
                    _mm_loadl_epi64((const __m128i *)(const void *)(sc + NIB__PANEL * i + h));
                s[i] = _mm256_cvtepi8_epi32(bytes);
                z[i] = _mm256_madd_epi16(s[i], from);
                s[i] = _mm256_or_si256(_mm256_and_si256(s[i], low), _mm256_slli_epi32(s[i], 16));
                store_256(t->pair + (2 * g + i) * NIB__PANEL + h, s[i]);
            }
            z[0] = _mm256_or_si256(_mm256_and_si256(z[0], low), _mm256_slli_epi32(z[1], 16));
            store_256(t->zeros + g * NIB__PANEL + h, z[0]);
            _mm256_store_ps(t->scale + g * NIB__PANEL + h, d);
        }
    }
}

/* mins of codes that still hold their zero */
static void expand_zeros(const nib__packed *w, const strip *t)
{
    const __m256 minus = _mm256_set1_ps(-(float)w->layout->zero);
    for (size_t i = 0; i < (size_t)w->k / w->layout->scale_group * NIB__PANEL; i += 8) {
        _mm256_store_ps(t->mins + i, _mm256_mul_ps(_mm256_load_ps(t->scale + i), minus));
    }
}

/* t->start from t->codes. */
static void expand_starts(const nib__packed *w, const strip *t)
{
    const __m256i byte = _mm256_set1_epi8(1), factor = _mm256_set1_epi16(-128);
    const uint32_t lines = w->layout->scale_group / 4u;
    for (uint32_t g = 0; g < w->k / w->layout->scale_group; g++) {
        for (uint32_t h = 0; h < 2; h++) {
            const uint8_t *codes = t->codes + 64 * (size_t)(g * lines) + 32 * h;
            __m256i sum = _mm256_set1_epi32(STRIP_BIAS_BITS);
            for (uint32_t j = 0; j < lines; j++) {
                __m256i two = _mm256_maddubs_epi16(byte, load_256(codes + 64 * (size_t)j));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(two, factor));
            }
            store_256(t->start + (size_t)g * NIB__PANEL + 8 * h, sum);
        }
    }
}

void nib__strip_expand_avx2(strip_kind kind, const nib__packed *w, uint32_t panel, const strip *t)
{
    const nib__layout *layout = w->layout;
    const uint8_t *scales = nib__panel_at(w, panel), *codes = scales + w->code_offset;
    const bool is_signed = kind == STRIP_DPBUSD || layout->code_bits == 8 || layout->table != NULL;
    const uint8_t kept = is_signed ? 0 : layout->zero; /* of the zero point, by codes */
    expand_class(layout->zero - kept, w, codes, t->codes);
    if (kind == STRIP_MADDUBS && layout->scale_group == 16 && !layout->has_min) {
        expand_pairs(w, scales, kept, t);
        return;
    }
    nib__expand_scales_avx2(layout, scales, w->k, t->scale, t->mins);
    if (kept != 0) expand_zeros(w, t);
    if (kind == STRIP_DPBUSD) expand_starts(w, t);
}
