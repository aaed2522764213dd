/* SPDX-License-Identifier: MIT
 * Rounds activations to 16 bits for int8 weights with AVX2. */
#include "kernels/x86/dense/rows_int8_avx2.h"

#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"

size_t nib__row_i8q16_bytes_avx2(uint32_t k)
{
    return NIB_ALIGN + 2 * nib__align_up(k, NIB_ALIGN);
}

void nib__row_i8q16_round_avx2(const float *x, uint32_t k, void *row)
{
    int16_t *q = (int16_t *)(void *)((uint8_t *)row + NIB_ALIGN);
    float to, scale = nib__row16_scale(nib__max_bits_avx2(x, k), &to);
    memset(row, 0, NIB_ALIGN);
    memcpy(row, &scale, sizeof scale);
    /* Within 4 values: k0 k1 k2 k3 becomes k0 k2 k1 k3. */
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0,
                                           1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    const __m256 factor = _mm256_set1_ps(to);
    for (uint32_t i = 0; i < nib__align_up(k, NIB_ALIGN); i += 16) {
        float part[16] = {0};
        const float *from = x + i;
        if (i + 16 > k || to == 0.0f) { /* 0 * infinity is no number */
            if (i < k && to != 0.0f) memcpy(part, x + i, (k - i) * sizeof *x);
            from = part;
        }
        __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from), factor));
        __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from + 8), factor));
        __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        packed = _mm256_shuffle_epi8(packed, order);
        _mm256_storeu_si256((__m256i *)(void *)(q + i), packed);
    }
}
