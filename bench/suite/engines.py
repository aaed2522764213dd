# SPDX-License-Identifier: MIT
"""Nibble and its peers, each with the measurements that it can do. A method returns plain numbers;
a missing method means that the engine does not take part in that measurement."""

import os

from . import machine
from .programs import BUILD, Failed, figures, first_json, output

SCRIPT = machine.ROOT / "bench" / "data" / "typing.txt"


class Engine:
    once = False     # opening takes so long that one process does all runs of a speed
    longest = 8192   # prompt of the curve


class Nibble(Engine):
    def __init__(self, precision="default"):
        self.name = "nibble" if precision == "default" else f"nibble, {precision}"
        self.environment = {} if precision == "default" else {"NIB_PRECISION": precision}
        self.version = machine.commit()
        self.levels = machine.levels()

    def speed(self, model, isa, threads, prompt, generate):
        """([prompt tokens/s of each run], [generated tokens/s])."""
        got = first_json(output([BUILD / "nibble", "bench", "-m", model, "--isa", isa, "-t", threads,
                                 "-p", prompt, "-n", generate, "-r", 1, "--json"],
                                environment=self.environment))
        return [got["prefill_tok_s"]], [got["decode_tok_s"]]

    def program(self, mode, model, isa, threads, *more):
        return figures([BUILD / "bench" / "programs" / "model", mode, "-m", model, "--isa", isa,
                        "--threads", threads, *more], environment=self.environment)

    def curve(self, model, isa, threads, most):
        return self.program("curve", model, isa, threads, "--most", most)

    def start(self, model, isa, threads, prompt):
        return self.program("start", model, isa, threads, "--prompt", prompt)

    def prepacked(self, model):
        """The file that `nibble quantize --scheme repack` makes of a model, made if need be."""
        packed = BUILD / "bench" / (os.path.basename(model) + ".packed")
        if not packed.exists() or packed.stat().st_mtime < (BUILD / "nibble").stat().st_mtime:
            output([BUILD / "nibble", "quantize", "-m", model, "-o", packed, "--scheme", "repack"])
        return str(packed)

    def cached(self, model, isa, threads, prompt):
        """As start, with the folder of a cache that the model was opened with before."""
        return self.program("start", model, isa, threads, "--prompt", prompt,
                            "--cache", BUILD / "bench" / "cache")

    def rows(self, model, isa, threads, repeat):
        return self.program("rows", model, isa, threads, "--repeat", repeat)

    def typing(self, model, isa, threads, layout, before, after, _keys):
        return figures([BUILD / "bench" / "programs" / "typing", "-m", model, "--isa", isa,
                        "--threads", threads, "--script", SCRIPT, "--layout", layout,
                        "--before", before, "--after", after,
                        "--cancels", 20 if layout == "line" else 0],
                       environment=self.environment)


class Llama(Engine):
    """llama.cpp, one build per instruction set (build_peers.py)."""

    name = "llama.cpp"
    longest = 4096

    def __init__(self, version, builds):
        self.version = version
        self.builds = builds  # level -> folder with llama-bench and llama_peer
        self.levels = [level for level in machine.LEVELS if level in builds]

    def speed(self, model, isa, threads, prompt, generate):
        return llama_bench(self.builds[isa] / "llama-bench", model, threads, prompt, generate)

    def program(self, mode, model, isa, threads, *more):
        return figures([self.builds[isa] / "llama_peer", mode, "-m", model, "--threads", threads,
                        *more])

    def curve(self, model, isa, threads, most):
        return self.program("curve", model, isa, threads, "--most", most)

    def start(self, model, isa, threads, prompt):
        return self.program("start", model, isa, threads, "--prompt", prompt)

    def typing(self, model, isa, threads, layout, before, after, keys):
        return self.program("typing", model, isa, threads, "--script", SCRIPT, "--layout", layout,
                            "--before", before, "--after", after, "--keys", keys)


class OtherLlamaBench(Engine):
    """Any program with llama-bench's options and JSON, such as that of a fork."""

    def __init__(self, program, name):
        self.program, self.name, self.version = program, name, ""
        self.levels = machine.levels()[:1]

    def speed(self, model, _isa, threads, prompt, generate):
        return llama_bench(self.program, model, threads, prompt, generate)


class Script(Engine):
    """A peer that a script of bench/suite drives inside a virtual environment."""

    once = True

    def __init__(self, name, version, python, script, levels, largest=None):
        self.name, self.version, self.levels, self.largest = name, version, levels, largest
        self.python, self.script = python, machine.ROOT / "bench" / "suite" / script

    def speed(self, model, _isa, threads, prompt, generate):
        if self.largest and os.path.getsize(model) > self.largest:
            raise Failed("not measured: its int8 copy of a model of this size takes too long to make")
        got = figures([self.python, self.script, "--model", model, "--threads", threads, "--prompt",
                       prompt, "--generate", generate])
        return tuple([value for name, _, value in got if name == wanted]
                     for wanted in ("prompt", "generate"))


def llama_bench(program, model, threads, prompt, generate):
    rows = first_json(output([program, "-m", model, "-p", prompt, "-n", generate, "-t", threads,
                              "-r", 1, "-o", "json"]))
    return ([row["avg_ts"] for row in rows if row["n_prompt"]],
            [row["avg_ts"] for row in rows if not row["n_prompt"]])
