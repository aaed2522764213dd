/* SPDX-License-Identifier: MIT
 * The matrix products of other libraries, as the yardstick of `make bench-gemm`: weights are
 * reordered once, activations are already in the number format of the product. */
#ifndef NIB_TEST_GEMM_PEERS_H
#define NIB_TEST_GEMM_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum gemm_type { GEMM_INT8, GEMM_BF16, GEMM_F32, GEMM_TYPES } gemm_type;

/* y[m][n] = x[m][k] * w[n][k]^T; x and w in the type: int8_t, bf16 as uint16_t, float. */
typedef struct gemm_peer gemm_peer;

/* NULL if this program was built without the library, or it cannot do that. `isa` caps what the
 * library may use: a level name of ours. */
gemm_peer *onednn_new(gemm_type type, uint32_t m, uint32_t k, uint32_t n, const void *x,
                      const void *w, float *y, uint32_t threads, const char *isa);
gemm_peer *openblas_new(gemm_type type, uint32_t m, uint32_t k, uint32_t n, const void *x,
                        const void *w, float *y, uint32_t threads);
/* Until the next product of a peer: whoever calls OpenBLAS from threads of his own. */
void openblas_one_thread(void);
void gemm_peer_run(gemm_peer *peer);
void gemm_peer_free(gemm_peer *peer);

#endif
