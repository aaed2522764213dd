# SPDX-License-Identifier: MIT
"""Fetches and builds the programs nibble is compared with, in build-peers/ (git-ignored).

llama.cpp comes as the source package llama-cpp-python and is built once per instruction set, with
clang: gcc 12 leaves stores out before AMX instructions, and what it builds dies of SIGILL. The build
for the best instruction set is GGML_NATIVE, llama.cpp's own choice for this CPU. The other peers are
Python packages in a virtual environment. A peer that cannot be had is reported and left out.
"""

import os
import shutil
import subprocess
from pathlib import Path

from . import machine
from .engines import Llama, OtherLlamaBench, Script
from .programs import Failed, say

FOLDER = machine.ROOT / "build-peers"
PROGRAMS = machine.ROOT / "bench" / "programs"
NAMES = ("llama.cpp", "other", "openvino", "ctranslate2", "pytorch")
LLAMA_VERSION = "0.3.36"
PACKAGES = {"openvino": ["openvino-genai==2026.4.1.0"],
            "ctranslate2": ["ctranslate2==4.5.0", "transformers==4.44.2"],
            "pytorch": ["transformers==4.44.2"]}

_AVX2 = ["SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2"]
LLAMA_FLAGS = {"avx2": _AVX2, "avxvnni": _AVX2 + ["AVX_VNNI"], "avx512": _AVX2 + ["AVX512"],
               "avx512vnni": _AVX2 + ["AVX512", "AVX512_VBMI", "AVX512_VNNI"],
               "avx512bf16": _AVX2 + ["AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"]}


def shell(log, *command):
    """Runs a command; its output goes to a log, of which the end is shown on failure."""
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run([str(c) for c in command], stdout=file, stderr=file, check=False)
    if done.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise Failed(f"{command[0]} failed, see {log}:\n  " + "\n  ".join(tail))


def imports(python, packages):
    """Whether the packages are there to be imported, without importing them."""
    names = [package.partition("==")[0].replace("-", "_") for package in packages]
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {names})))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def python_with(packages, name):
    """Python of a virtual environment that has the packages; Debian's own packages are seen too."""
    folder = FOLDER / f"venv-{name}"
    python = folder / "bin" / "python"
    stamp = folder / "packages"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == " ".join(packages):
        if imports(python, packages):
            return python
        say(f"{folder.relative_to(machine.ROOT)} is damaged: it is made again")
        shutil.rmtree(folder)
    FOLDER.mkdir(exist_ok=True)
    say(f"installing {' '.join(packages)}")
    base = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"
    log = FOLDER / f"venv-{name}.log"
    shell(log, base, "-m", "venv", "--system-site-packages", folder)
    shell(log, python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
    stamp.write_text(" ".join(packages), encoding="utf-8")
    return python


# ---- llama.cpp ------------------------------------------------------------------------------------

def llama_source():
    package = f"llama_cpp_python-{LLAMA_VERSION}"
    folder = FOLDER / package / "vendor" / "llama.cpp"
    if folder.exists():
        return folder
    FOLDER.mkdir(exist_ok=True)
    log = FOLDER / "llama.log"
    archive = FOLDER / f"{package}.tar.gz"
    if not archive.exists():
        say(f"fetching llama-cpp-python {LLAMA_VERSION}")
        shell(log, "python3", "-m", "venv", FOLDER / "venv")
        shell(log, FOLDER / "venv" / "bin" / "python", "-m", "pip", "download", "-q",
              "--disable-pip-version-check", "--no-deps", "--no-binary", "llama-cpp-python", "-d",
              FOLDER, f"llama-cpp-python=={LLAMA_VERSION}")
    shell(log, "tar", "-xzf", archive, "-C", FOLDER)
    return folder


def llama_options(level):
    if level not in LLAMA_FLAGS or level == machine.levels()[0]:
        return ["-DGGML_NATIVE=ON"]
    return ["-DGGML_NATIVE=OFF"] + [f"-DGGML_{flag}=ON" for flag in LLAMA_FLAGS[level]]


def build_llama(level):
    """Folder with llama-bench and llama_peer for one instruction set."""
    folder = FOLDER / f"llama-{level}"
    peer, sources = folder / "llama_peer", [PROGRAMS / f"{n}.c" for n in
                                            ("llama_peer", "measure", "script")]
    log = FOLDER / f"llama-{level}.log"
    if not (folder / "llama-bench").exists():
        source = llama_source()
        say(f"building llama.cpp for {level} (some minutes; log: {log.relative_to(machine.ROOT)})")
        tree = folder / "tree"
        shell(log, "cmake", "-S", source, "-B", tree, "-DCMAKE_BUILD_TYPE=Release",
              "-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++", "-DGGML_OPENMP=OFF",
              "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF",
              "-DLLAMA_BUILD_EXAMPLES=OFF", "-DBUILD_SHARED_LIBS=OFF", *llama_options(level))
        shell(log, "cmake", "--build", tree, "-j", machine.threads(), "--target", "llama-bench")
        shutil.copy2(tree / "bin" / "llama-bench", folder / "llama-bench")
    if not peer.exists() or peer.stat().st_mtime < max(s.stat().st_mtime for s in sources):
        include, tree = llama_source(), folder / "tree"
        objects = []
        for source in sources:
            objects.append(folder / f"{source.stem}.o")
            shell(log, "clang", "-O2", "-std=c11", f"-I{include / 'include'}",
                  f"-I{include / 'ggml' / 'include'}", f"-I{PROGRAMS}", "-c", source, "-o",
                  objects[-1])
        libraries = ["src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a",
                     "ggml/src/libggml-base.a"]
        shell(log, "clang++", "-o", peer, *objects, *[tree / lib for lib in libraries], "-lpthread",
              "-lm", "-ldl")
    return folder


def llama(levels):
    builds = {}
    for level in levels:
        try:
            builds[level] = build_llama(level)
        except Failed as error:
            say(f"llama.cpp for {level} is left out: {error}")
    if not builds:
        raise Failed("llama.cpp could not be built")
    return Llama(LLAMA_VERSION, builds)


# ---- all ------------------------------------------------------------------------------------------

def other():
    program = os.environ.get("LLAMA_BENCH")
    if not program:
        raise Failed("LLAMA_BENCH names no program")
    return OtherLlamaBench(program, os.environ.get("LLAMA_BENCH_NAME", "other llama-bench"))


def script_peer(name):
    label = {"openvino": "OpenVINO GenAI", "ctranslate2": "CTranslate2", "pytorch": "PyTorch"}[name]
    python = python_with(PACKAGES[name], name)
    version = PACKAGES[name][0].partition("==")[2] if name != "pytorch" else subprocess.run(
        [python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True,
        check=False).stdout.strip()
    if not version:
        raise Failed("Debian's python3-torch is not installed")
    return Script(label, version, python, f"peer_{name}.py", machine.levels()[:1],
                  None if name == "openvino" else 500 << 20)


def all_peers(levels, chosen=None):
    """Engines that can be had, llama.cpp for the instruction sets given."""
    peers = []
    for name in chosen or NAMES:
        if name == "other" and not os.environ.get("LLAMA_BENCH"):
            say("no LLAMA_BENCH is set: no other llama-bench is measured")
            continue
        try:
            if name == "llama.cpp":
                peers.append(llama(levels))
            else:
                peers.append(other() if name == "other" else script_peer(name))
        except Failed as error:
            say(f"{name} is left out: {error}")
    return peers
