#!/bin/sh
# SPDX-License-Identifier: MIT
# make bench-gemm: our matrix products beside oneDNN's and OpenBLAS's on one and two threads, bare and
# in place, for the levels of NIB_ISA (default: those of LEVELS that this CPU has). Figures go to the
# terminal and to a CSV file, from which gemm_table.c and the table in docs/kernels.md are written.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
PYTHON=${PYTHON:-python3}
csv=${CSV:-bench/results/gemm.csv}
threads=${THREADS:-"1 2"}
levels=${NIB_ISA:-${LEVELS:-"avx2 avx512vnni avx512bf16 amx"}}
mkdir -p "$(dirname "$csv")"
echo "isa,type,planes,library,m,k,n,threads,ms,tops,peak_tops" >"$csv"
for level in $levels; do
    case $level in # the peers get no better instructions than we do; oneDNN is told by the program
    avx2 | avxvnni) export OPENBLAS_CORETYPE=Haswell ;;
    avx512*) export OPENBLAS_CORETYPE=SkylakeX ;;
    *) unset OPENBLAS_CORETYPE ;;
    esac
    for t in $threads; do # as many threads of oneDNN and OpenBLAS as of ours
        OMP_NUM_THREADS=$t OPENBLAS_NUM_THREADS=$t \
            "$BUILD/bench/gemm/gemm_bench" --isa "$level" --threads "$t" --csv "$csv" ||
            echo "gemm.sh: no figures for $level with $t threads"
    done
done
echo "wrote $csv"
if [ -z "${NIB_ISA:-}" ] && [ "$csv" = bench/results/gemm.csv ]; then
    "$PYTHON" bench/gemm/make_table.py "$csv"
fi
