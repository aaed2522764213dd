#!/bin/sh
# SPDX-License-Identifier: MIT
# make bench-gemm: our matrix products beside oneDNN's and OpenBLAS's on one and two threads, for the
# level of NIB_ISA (default: the best here). Figures go to the terminal and to a CSV file.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
csv=${CSV:-bench/results/gemm.csv}
threads=${THREADS:-"1 2"}
mkdir -p "$(dirname "$csv")"
echo "isa,type,library,m,k,n,threads,ms,tops,peak_tops" >"$csv"
for t in $threads; do # as many threads of oneDNN and OpenBLAS as of ours
    OMP_NUM_THREADS=$t OPENBLAS_NUM_THREADS=$t \
        "$BUILD/bench/gemm/gemm_bench" --threads "$t" --csv "$csv"
done
echo "wrote $csv"
