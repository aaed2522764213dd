# SPDX-License-Identifier: MIT
"""Nibble and its peers, each with the measurements that it can do. A method returns plain numbers;
a missing method means that the engine does not take part in that measurement."""

from . import machine
from .programs import BUILD, figures, first_json, output

SCRIPT = machine.ROOT / "bench" / "data" / "typing.txt"


class Nibble:
    name = "nibble"

    def __init__(self):
        self.version = machine.commit()
        self.levels = machine.levels()

    def speed(self, model, isa, threads, prompt, generate):
        """(prompt tokens/s, generated tokens/s), either None where its count is 0."""
        got = first_json(output([BUILD / "nibble", "bench", "-m", model, "--isa", isa, "-t", threads,
                                 "-p", prompt, "-n", max(generate, 1), "-r", 1, "--json"]))
        return got["prefill_tok_s"], got["decode_tok_s"] if generate > 1 else None

    def program(self, mode, model, isa, threads, *more):
        return figures([BUILD / "bench" / "programs" / "model", mode, "-m", model, "--isa", isa,
                        "--threads", threads, *more])

    def curve(self, model, isa, threads, most):
        return self.program("curve", model, isa, threads, "--most", most)

    def start(self, model, isa, threads):
        return self.program("start", model, isa, threads, "--prompt", 512)

    def rows(self, model, isa, threads, repeat):
        return self.program("rows", model, isa, threads, "--repeat", repeat)

    def typing(self, model, isa, threads, layout, _keys):
        return figures([BUILD / "bench" / "programs" / "typing", "-m", model, "--isa", isa,
                        "--threads", threads, "--script", SCRIPT, "--layout", layout,
                        "--cancels", 20 if layout == "line" else 0])


class Llama:
    """llama.cpp, one build per instruction set (build_peers.py)."""

    name = "llama.cpp"

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

    def start(self, model, isa, threads):
        return self.program("start", model, isa, threads, "--prompt", 512)

    def typing(self, model, isa, threads, layout, keys):
        return self.program("typing", model, isa, threads, "--script", SCRIPT, "--layout", layout,
                            "--keys", keys)


class OtherLlamaBench:
    """Any program with llama-bench's options and JSON, such as that of a fork."""

    def __init__(self, program, name):
        self.program, self.name, self.version = program, name, ""
        self.levels = machine.levels()[:1]

    def speed(self, model, _isa, threads, prompt, generate):
        return llama_bench(self.program, model, threads, prompt, generate)


class Script:
    """A peer that a script of bench/suite drives inside a virtual environment."""

    def __init__(self, name, version, python, script, levels):
        self.name, self.version, self.levels = name, version, levels
        self.python, self.script = python, machine.ROOT / "bench" / "suite" / script

    def speed(self, model, _isa, threads, prompt, generate):
        got = {name: value for name, _, value in figures(
            [self.python, self.script, "--model", model, "--threads", threads, "--prompt", prompt,
             "--generate", generate])}
        return got.get("prompt"), got.get("generate")


def llama_bench(program, model, threads, prompt, generate):
    rows = first_json(output([program, "-m", model, "-p", prompt, "-n", generate, "-t", threads,
                              "-r", 1, "-o", "json"]))
    by_kind = {bool(row["n_prompt"]): row["avg_ts"] for row in rows}
    return by_kind.get(True), by_kind.get(False)
