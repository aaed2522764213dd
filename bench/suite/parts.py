# SPDX-License-Identifier: MIT
"""The measurements. Every part is one function of a Plan: it lets the engines take turns, so that
all of them see the same moods of a shared machine, and keeps what they say."""

import os
import statistics
import time
from dataclasses import dataclass, field

from . import machine, turns
from .engines import Nibble
from .programs import BUILD, Failed, first_json, lines, model_path, output, say, stream


@dataclass
class Plan:
    results: object
    engines: list
    models: list
    checkpoints: list = field(default_factory=lambda: list(turns.TIMED))
    levels: list = field(default_factory=machine.levels)
    threads: int = field(default_factory=machine.threads)
    runs: int = 5
    short: bool = False
    peaks: dict = field(default_factory=dict)  # the best of this run

    @property
    def peers(self):
        return [e for e in self.engines if not isinstance(e, Nibble)]

    def able(self, method, isa=None):
        return [e for e in self.engines
                if hasattr(e, method) and (isa is None or isa in e.levels)]

    def put(self, part, engine, isa, model, measure, x, unit, values, threads=None):
        return self.results.put(part, engine.name, isa, threads or self.threads, model, measure, x,
                                unit, values, engine.version)


class Prepacked:
    """Stands where an engine stands: nibble with the file it prepared."""
    name = "nibble, prepacked"

    def __init__(self, nibble, path):
        self.version, self.nibble = nibble.version, nibble
        self.path = nibble.prepacked(path)

    def start(self, _model, isa, threads, prompt):
        return self.nibble.start(self.path, isa, threads, prompt)


class Cached:
    """Stands where an engine stands: nibble with --cache, not for the first time."""
    name = "nibble, cache"

    def __init__(self, nibble, path, isa, threads):
        self.version, self.nibble = nibble.version, nibble
        nibble.cached(path, isa, threads, 0)

    def start(self, model, isa, threads, prompt):
        return self.nibble.cached(model, isa, threads, prompt)


class Machine:
    """Stands where an engine stands, for what the machine itself can do."""
    name, version = "machine", ""


def attempt(what, action, *arguments):
    """The result, or None after a line that says what failed."""
    try:
        return action(*arguments)
    except Failed as error:
        say(f"  {what}: {error}")
        return None


def measure_peaks(plan, part, threads, isa="", model=""):
    """Peaks of instructions and of memory, right before and after what is compared with them. Memory
    of a shared machine has moods: the best of all calls for one row counts."""
    for _, name, _, value, unit in lines([BUILD / "bench" / "programs" / "kernels", "--peaks",
                                          "--threads", threads]):
        keep_peak(plan, part, name, threads, unit, value)
        if name == "read_memory" and model:
            keep_peak(plan, part, name, threads, unit, value, isa, model)


def keep_peak(plan, part, name, threads, unit, value, isa="", model=""):
    best = max(plan.peaks.get((part, name, isa, model), 0), float(value))
    plan.peaks[part, name, isa, model] = best
    plan.put(part, Machine, isa, model, name, threads, unit, [best], threads)


def model_facts(plan, part, name, path):
    info = first_json(output([BUILD / "nibble", "info", "-m", path, "--json"]))
    embedding, heads = info["embedding"], info["heads"] + info["heads_kv"]
    per_layer = 2 * embedding * heads * info["head_dim"] + 3 * embedding * info["feed_forward"]
    facts = {"file": (os.path.getsize(path), "bytes"),
             "weights": (info["weight_bytes"], "bytes"),
             # two per weight of the layers; the head is one row of work in a whole prompt
             "prompt operations": (2 * info["layers"] * per_layer, "per token")}
    for measure, (value, unit) in facts.items():
        plan.put(part, Machine, "", name, measure, 0, unit, [value])


# ---- kernels --------------------------------------------------------------------------------------

def kernels(plan):
    """Matrix products of every instruction set, beside the peaks."""
    command = [BUILD / "bench" / "programs" / "kernels", "--threads", plan.threads]
    if plan.short:
        command += ["--ms", 20, "--format", "Q4_K", "--shape", "8960x1536"]
    for kind, *fields in stream(command):
        if kind == "peak":
            name, threads, value, unit = fields
            keep_peak(plan, "kernels", name, threads, unit, value)
            continue
        isa, strategy, form, n, k, rows, threads, seconds, size, operations, peak = fields
        if isa not in plan.levels:
            continue
        engine = type("Kernel", (), {"name": "nibble", "version": strategy})
        seconds = float(seconds)
        for measure, value, unit in (("read", float(size) / seconds, "bytes/s"),
                                     ("operations", float(operations) / seconds, "operations/s"),
                                     ("peak " + peak, plan.results.value(
                                         "kernels", measure=peak, threads=threads) or 0,
                                      "operations/s")):
            plan.put("kernels", engine, isa, f"{form} {n}x{k}", measure, rows, unit, [value],
                     threads)
        say(f"  {isa:11} {strategy:16} {form:5} {n:>5}x{k:<5} {rows:>4} rows "
            f"{float(size) / seconds / 1e9:8.1f} GB/s {float(operations) / seconds / 1e9:9.1f} GOP/s")


# ---- whole models ---------------------------------------------------------------------------------

PROMPT, GENERATE, GENERATE_SLOWLY = 512, 128, 64
TRIAL_PROMPT, TRIAL_GENERATE = 64, 8
SECOND_LEVELS = ("avx512", "avxvnni")  # between others: fewer runs, short generation


def speed(plan):
    """Prompt of 512 and generation of 128 tokens, per instruction set, engines alternating."""
    for name in plan.models:
        path = model_path(name)
        model_facts(plan, "speed", name, path)
        for isa in plan.levels:
            engines = plan.able("speed", isa)
            if not plan.peers or len(engines) > 1:
                measure_peaks(plan, "speed", plan.threads, isa, name)
                speed_of_level(plan, engines, name, path, isa)
                measure_peaks(plan, "speed", plan.threads, isa, name)
            plan.results.save("speed")


def speed_of_level(plan, engines, name, path, isa):
    second = isa in SECOND_LEVELS and len(plan.levels) > 1
    runs = min(plan.runs, 3) if second else plan.runs
    prompt, generate = (TRIAL_PROMPT, TRIAL_GENERATE) if plan.short else (
        PROMPT, 16 if second else GENERATE)
    got = {e.name: ([], []) for e in engines}
    for run in range(runs):
        for engine in list(engines):
            if run > 0 and engine.once:
                continue
            both = attempt(engine.name, engine.speed, path, isa, plan.threads, prompt, generate)
            if both is None:
                engines.remove(engine)
                continue
            for values, new in zip(got[engine.name], both):
                values += new
    for engine in engines:
        keep_speed(plan, "speed", engine, isa, name, got[engine.name], plan.threads)


def keep_speed(plan, part, engine, isa, model, pair, threads):
    shown = []
    for measure, values in zip(("prompt", "generate"), pair):
        if values:
            median = plan.put(part, engine, isa, model, measure, PROMPT, "tokens/s", values, threads)
            shown.append(f"{measure} {median:8.1f} tok/s")
    say(f"  {model} {isa:11} {threads} threads  {engine.name:12} {', '.join(shown)}")


def threads(plan):
    """The same on fewer threads, on the best instruction set."""
    isa = plan.levels[0]
    prompt, generate = (TRIAL_PROMPT, TRIAL_GENERATE) if plan.short else (PROMPT, 32)
    for name in plan.models:
        path = model_path(name)
        for engine in plan.able("speed", isa):
            if engine.once:
                continue
            for count in [n for n in (1, 2, 4, 8, 16, 32, 64) if n < plan.threads]:
                got = ([], [])
                for _ in range(1 if plan.short else 2):
                    both = attempt(engine.name, engine.speed, path, isa, count, prompt, generate)
                    for values, new in zip(got, both or ()):
                        values += new
                keep_speed(plan, "threads", engine, isa, name, got, count)


def curve(plan):
    """Cost of a prompt and of one more token against the length of what is there."""
    isa, most = plan.levels[0], 512 if plan.short else 8192
    for name in plan.models:
        path = model_path(name)
        for engine in plan.able("curve", isa):
            got = attempt(engine.name, engine.curve, path, isa, plan.threads,
                          min(most, engine.longest))
            for measure, x, value in got or []:
                plan.put("curve", engine, isa, name, measure, x, "s", [value])
            if got:
                say(f"  {name} {engine.name:10} ms/token: " + ", ".join(
                    f"{x}: {1e3 * v / x:.2f}" for m, x, v in got if m == "prompt"))
                say(f"  {name} {engine.name:10} ms for one more: " + ", ".join(
                    f"{x}: {1e3 * v:.1f}" for m, x, v in got if m == "token"))
        plan.results.save("curve")


IDLE = 10  # seconds, in which the host of a virtual machine takes free memory back


def start(plan):
    """From opening the file to the first token, in a fresh process with the file in memory.

    The host of a virtual machine takes free memory back and gives it again when it is touched, which
    takes longer than everything else. So each engine starts after idle seconds, and again right
    behind its own first process, whose memory it then finds in place: the same two states for all."""
    isa = plan.levels[0]
    for name in plan.models:
        path = model_path(name)
        plan.put("start", Machine, "", name, "file", 0, "bytes", [os.path.getsize(path)])
        with open(path, "rb") as file:  # into the page cache
            while file.read(1 << 24):
                pass
        got, engines = {}, plan.able("start", isa)
        packed = attempt("prepacking", Prepacked, engines[0], path)
        cached = attempt("cache", Cached, engines[0], path, isa, plan.threads)
        engines += [engine for engine in (packed, cached) if engine]
        for run in range(plan.runs):
            for engine in engines:
                time.sleep(IDLE)
                for state in (" after idle", ""):
                    # memory after a long prompt; once is enough
                    longest = PROMPT if run == 0 and not state else 0
                    for measure, _, value in attempt(engine.name, engine.start, path, isa,
                                                     plan.threads, longest) or []:
                        if longest or not measure.endswith("memory"):
                            got.setdefault((engine, measure + state), []).append(value)
        for (engine, measure), values in got.items():
            unit = "bytes" if measure.endswith("memory") else "s"
            median = plan.put("start", engine, isa, name, measure, 0, unit, values)
            shown = f"{median / 1e6:8.0f} MB" if unit == "bytes" else f"{1e3 * median:8.0f} ms"
            if not measure.startswith("prompt_tokens"):
                say(f"  {name} {engine.name:17} {measure:22} {shown}")


def rows(plan):
    """2, 4, 8 and 16 rows at once beside one, for every instruction set."""
    for name in plan.models:
        path = model_path(name)
        for isa in plan.levels:
            for engine in plan.able("rows", isa):
                got = attempt(engine.name, engine.rows, path, isa, plan.threads,
                              5 if plan.short else 15) or []
                for measure, x, value in got:
                    plan.put("rows", engine, isa, name, measure, x, "s", [value])
                for kind in ("rows", "sessions"):
                    times = [(x, v) for measure, x, v in got if measure == kind]
                    if times:
                        say(f"  {name} {isa:11} {engine.name}: " + ", ".join(
                            f"{x} {kind} {1e3 * v:.1f} ms ({v / times[0][1]:.2f}x)"
                            for x, v in times))


def typing(plan):
    """A keystroke in an editor: time to the first text of the suggestion."""
    isa = plan.levels[0]
    for name in plan.models:
        if "coder" not in name:
            continue  # the small model knows no fill-in-the-middle
        path = model_path(name)
        for engine in plan.able("typing", isa):
            for layout in ("line", "prefix"):
                size = (128, 32, 4) if plan.short else (1024, 256, 60)
                got = attempt(engine.name, engine.typing, path, isa, plan.threads, layout,
                              *size) or []
                keep_typing(plan, engine, isa, name, layout, got)


def keep_typing(plan, engine, isa, model, layout, got):
    measures = {}
    for measure, x, value in got:
        measures.setdefault(measure, []).append((x, value))
    for measure, points in measures.items():
        unit = "tokens" if measure == "evaluated" else "s"
        if measure.startswith("cancel"):
            plan.put("typing", engine, isa, model, f"{layout} {measure}", 0, unit,
                     [value for _, value in points])
            continue
        for x, value in points:
            plan.put("typing", engine, isa, model, f"{layout} {measure}", x, unit, [value])
    keys = [value for _, value in measures.get("key", [])]
    if keys:
        say(f"  {model} {engine.name:10} typed text {'last' if layout == 'line' else 'in prefix'}: "
            f"first {measures['cold'][0][1]:.2f} s, key p50 {1e3 * statistics.median(keys):.0f} ms, "
            f"p95 {1e3 * quantile(keys, 0.95):.0f} ms")


# ---- checkpoints of full size -------------------------------------------------------------------

def checkpoints(plan):
    """Published shapes with random weights, in f32 and int8, engines alternating."""
    for name in plan.checkpoints:
        prompt, generate = (256, 16) if plan.short else (PROMPT, GENERATE_SLOWLY)
        if name not in turns.TIMED:
            generate = 16
        for engines in turns.groups_of(plan, name, prompt, generate):
            take_turns(plan, engines, name, prompt)
        plan.results.save("checkpoints")


REST = 0.5  # seconds, after which the threads of whoever was at work no longer spin


def take_turns(plan, engines, name, prompt):
    got = {}
    for engine in engines:
        opened = attempt(engine.name, engine.open)
        if opened is not None:
            got[engine] = {measure: [value] for measure, value in opened}
    for run in range(plan.runs + 1):  # the first warms up
        for engine, figures in list(got.items()):
            time.sleep(REST)
            values = attempt(engine.name, engine.take)
            if values is None:
                del got[engine]
            for measure, value in values or [] if run > 0 else []:
                figures.setdefault(measure, []).append(value)
    for engine, figures in got.items():
        figures |= {measure: [value] for measure, value in engine.close()}
        keep_checkpoint(plan, engine, name, prompt, figures)


CHECKPOINT_UNITS = {"prompt": "tokens/s", "generate": "tokens/s", "open": "s"}


def keep_checkpoint(plan, engine, model, prompt, figures):
    shown = {}
    for measure, values in figures.items():
        shown[measure] = plan.put("checkpoints", engine, machine.levels()[0], model,
                                  f"{measure} {engine.load}", prompt,
                                  CHECKPOINT_UNITS.get(measure, "bytes"), values)
    if "generate" in shown:
        memory = f", peak {shown['peak_memory'] / 1e6:.0f} MB" if "peak_memory" in shown else ""
        say(f"  {model:12} {engine.name:13}{engine.load:6} prompt {shown['prompt']:8.1f} tok/s, "
            f"generate {shown['generate']:8.1f} tok/s, opened in {shown['open']:.1f} s{memory}")


def quantile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


ALL = {f.__name__: f for f in (speed, typing, start, rows, curve, kernels, threads, checkpoints)}
WITH_PEERS = ("speed", "typing", "start", "curve", "threads", "checkpoints")
