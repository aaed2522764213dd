# SPDX-License-Identifier: MIT
"""Engines that keep a checkpoint open and measure when they are told to (bench/programs/turns.c,
turns_ctranslate2.py, turns_pytorch.py): those of one shape are open at once and take turns, so that
opening and converting a gigabyte is done once."""

import os
import subprocess
import tempfile

from . import build_peers, checkpoints, machine
from .programs import BUILD, Failed, say

FOLDER = build_peers.FOLDER
TIMED = ("codegen-350m", "codet5-base", "plbart-base")  # by default
HALF = ("codegen-2b", "incoder-1.3b")  # written in f16, as they were published
PEERS = {"ctranslate2": "CTranslate2", "pytorch": "PyTorch"}


class Turns:
    """One process, one number format of the weights."""

    def __init__(self, engine, version, load, command, environment=None):
        self.name, self.version, self.load = engine, version, load
        self.environment = os.environ | (environment or {})
        self.command = [str(c) for c in command]
        self.process = self.errors = None

    def failed(self):
        self.errors.seek(0)
        reason = self.errors.read().strip().splitlines()
        return Failed(f"{self.load}: {reason[-1] if reason else 'it ended'}")

    def figures(self, until):
        """(name, value) of every line before the word; all there are, if the word is None."""
        got = []
        for line in self.process.stdout:
            fields = line.rstrip("\n").split("\t")
            if fields[0] == until:
                return got
            if len(fields) == 4:
                got.append((fields[0], float(fields[2])))
        if until is not None:
            raise self.failed()
        return got

    def open(self):
        self.errors = tempfile.TemporaryFile("w+")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env=self.environment)
        return self.figures("ready")

    def take(self):
        """One run."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError as error:
            raise self.failed() from error
        return self.figures("done")

    def close(self):
        """What it says at the end."""
        try:
            self.process.stdin.close()
        except OSError:
            pass  # it is gone
        got = self.figures(None)
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        return got


def folder_of(name):
    """Folder of the checkpoint, written if need be, by an interpreter that has numpy."""
    folder = FOLDER / f"random-{name}"
    if not folder.exists():
        say(f"  writing a random {name}")
        python = build_peers.python_with(build_peers.PACKAGES["pytorch"], "pytorch")
        build_peers.shell(FOLDER / "random.log", python, checkpoints.__file__, name, folder,
                          "--dtype", "f16" if name in HALF else "f32")
    return folder


def engines_of(plan, name, load, prompt, generate):
    """All that run a shape with weights in that format. nibble computes prompts with 16 bits of every
    activation, its peers with 8, as nibble does with the precision `fast`."""
    folder = folder_of(name)
    options = ["--threads", plan.threads, "--prompt", prompt, "--generate", generate]
    program = [BUILD / "bench" / "programs" / "turns", "-m", folder, *options, "--load", load]
    engines = [Turns("nibble", machine.commit(), load, program)]
    if load == "int8":
        engines.append(Turns("nibble, fast", machine.commit(), load, program,
                             {"NIB_PRECISION": "fast"}))
    known = {peer.name: peer for peer in plan.peers}
    for script, label in PEERS.items():
        if load != "stored" and label in known:
            engines.append(Turns(label, known[label].version, load, [
                known[label].python, machine.ROOT / "bench" / "suite" / f"turns_{script}.py",
                "--model", folder, *options, "--load", load]))
    return engines


def groups_of(plan, name, prompt, generate):
    """Lists of engines that are open at once. Those of the small shapes are one list; of larger ones
    each number format is, without peers where memory does not hold their float32 weights."""
    if name in TIMED:
        return [[engine for load in ("f32", "int8")
                 for engine in engines_of(plan, name, load, prompt, generate)]]
    weights = 4 * checkpoints.count(name)
    groups = [engines_of(plan, name, "stored", prompt, generate)] if name in HALF else []
    for load in ("f32", "int8"):
        group = engines_of(plan, name, load, prompt, generate)
        if load == "f32":
            room = max(1, int(machine.free_memory() / (1.1 * weights)))
            for engine in group[room:]:
                say(f"  {name} {engine.name} f32: left out, memory holds the weights {room} times")
            group = group[:room]
        groups.append(group)
    return groups
