#!/bin/sh
# SPDX-License-Identifier: MIT
# Status 0 if this CPU can run the emulated levels and lacks one of them.
flags=$(grep -m1 '^flags' /proc/cpuinfo) || exit 1
has() {
    case "$flags " in *" $1 "*) return 0 ;; esac
    return 1
}
has avx512_bf16 && has avx512_vnni && has avx512vbmi || exit 1
! has amx_int8 || ! has avx_vnni
