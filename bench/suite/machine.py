# SPDX-License-Identifier: MIT
"""What a figure was measured on."""

import datetime
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Flags of /proc/cpuinfo that a level needs; the same list as lib/base/cpu.c. Best first.
LEVELS = {
    "amx": "amx_tile amx_int8 amx_bf16 avx512_bf16 avx512_vnni avx512vbmi",
    "avx512bf16": "avx512f avx512bw avx512vl avx512dq avx512_vnni avx512vbmi avx512_bf16",
    "avx512vnni": "avx512f avx512bw avx512vl avx512dq avx512_vnni avx512vbmi",
    "avx512": "avx512f avx512bw avx512vl avx512dq",
    "avxvnni": "avx2 fma f16c bmi2 avx_vnni",
    "avx2": "avx2 fma f16c bmi2",
    "i8mm": "asimd asimddp i8mm",
    "dotprod": "asimd asimddp",
    "neon": "asimd",
}


def _cpuinfo(*names):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in names:
                return value.strip()
    return ""


def levels():
    """Instruction sets of this CPU that nibble knows, best first."""
    flags = set(_cpuinfo("flags", "Features").split())
    return [level for level, needed in LEVELS.items() if flags.issuperset(needed.split())]


def threads():
    return len(os.sched_getaffinity(0))


def free_memory():
    """Bytes that programs can still have."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))


def cpu():
    """The name of the CPU; servers that hide it behind a virtual machine say little, so the family
    is told by its instructions."""
    name = _cpuinfo("model name", "CPU part") or "unknown CPU"
    flags = set(_cpuinfo("flags", "Features").split())
    if name == "Intel(R) Xeon(R) Processor" and "amx_tile" in flags:
        name += " (Sapphire Rapids class)"
    if name == "AMD EPYC" and "avx512_bf16" in flags and "avx_vnni" not in flags:
        name += " (Zen 4 class)"
    return name.replace("(R)", "").replace("(TM)", "")


def commit():
    """Short id of the commit that is checked out; + if the library differs from it."""
    def git(*arguments):
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True,
                              check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "include",
                  "examples/cli", "bench/programs", "Makefile")
    return (git("rev-parse", "--short=7", "HEAD") or "unknown") + ("+" if changed else "")


def facts():
    return {"date": datetime.date.today().isoformat(), "commit": commit(), "cpu": cpu(),
            "cpus": str(threads())}


def describe(row):
    """Machine, as one phrase, of a row of results."""
    return f"{row['cpu']}, {row['cpus']} CPUs"
