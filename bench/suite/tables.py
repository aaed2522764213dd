# SPDX-License-Identifier: MIT
"""Tables of docs/results.md, between markers `<!-- bench:NAME -->` and `<!-- end -->`."""

import re

from . import machine
from .plots import TITLES, engines_of
from .programs import say


def update(results, path):
    """Replaces what stands between each pair of markers whose table can be made."""
    text = path.read_text(encoding="utf-8")

    def fill(match):
        made = TABLES[match.group(2)](results)
        return match.group(1) + "\n" + (made or match.group(3).strip("\n")) + "\n" + match.group(4)

    new = re.sub(r"(<!-- bench:(\w+) -->)\n(.*?)(<!-- end -->)", fill, text, flags=re.S)
    path.write_text(new, encoding="utf-8")
    say(f"tables of {path.relative_to(machine.ROOT)} are up to date")


def show(results):
    """The same tables on the terminal."""
    for name in ("speed", "typing", "start", "rows", "checkpoints", "reach"):
        made = TABLES[name](results)
        if made:
            say(f"\n{made}")


def measured(rows, what):
    """Which machine, commit and command a table comes from."""
    rows = [r for r in rows if r["engine"] == "nibble"] or rows
    row = max(rows, key=lambda r: r["date"])
    return (f"{row['cpu']}, {row['cpus']} CPUs, {row['threads']} threads; commit {row['commit']}, "
            f"{row['date']}; `python3 bench/run.py {what}`\n\n")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def plain(model):
    return TITLES.get(model, model).replace("\\\\", "")


def short(value):
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def models_of(rows):
    known = list(TITLES)
    return sorted({r["model"] for r in rows if r["model"]},
                  key=lambda m: (known.index(m) if m in known else 99, m))


def speed(results):
    rows = [r for r in results.find("speed") if r["measure"] in ("prompt", "generate")]
    if not rows:
        return ""
    engines = engines_of(rows)
    body = []
    for model in models_of(rows):
        for level in machine.LEVELS:
            for measure in ("prompt", "generate"):
                value = {r["engine"]: float(r["median"]) for r in rows if r["model"] == model
                         and r["isa"] == level and r["measure"] == measure}
                if "nibble" not in value:
                    continue
                best = max((v for e, v in value.items() if e != "nibble"), default=None)
                body.append([plain(model), level, measure] + [short(value.get(e)) for e in engines] +
                            [f"{value['nibble'] / best:.2f}" if best else ""])
    return measured(rows, "peers --only speed") + table(
        ["model", "instruction set", "tokens/s"] + engines + ["nibble / best other"], body)


def quantiles(rows):
    values = sorted(float(r["median"]) for r in rows)
    if not values:
        return None

    def at(share):
        place = share * (len(values) - 1)
        low = int(place)
        return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])
    return at(0.5), at(0.95)


def typing(results):
    rows = results.find("typing")
    if not rows:
        return ""
    body = []
    for engine in engines_of(rows):
        for layout, text in (("line", "after the middle marker"), ("prefix", "in the prefix")):
            def of(measure):
                return results.find("typing", engine=engine, measure=f"{layout} {measure}")
            keys = quantiles(of("key"))
            if keys is None:
                continue
            tokens = [float(r["median"]) for r in of("evaluated") if int(r["x"]) > 0]
            cancels = [float(v) for r in of("cancel") + of("cancel_generate")
                       for v in r["values"].split()]
            body.append([engine, text, f"{float(of('cold')[0]['median']):.2f} s",
                         f"{1e3 * keys[0]:.0f} ms", f"{1e3 * keys[1]:.0f} ms",
                         f"{sum(tokens) / len(tokens):.1f}",
                         f"{1e3 * max(cancels):.1f} ms" if cancels else ""])
    return measured(rows, "peers --only typing") + table(
        ["engine", "typed text", "first suggestion", "key p50", "key p95", "tokens per key",
         "slowest cancel"], body)


def start(results):
    rows = results.find("start")
    if not rows:
        return ""
    body = []
    for model in models_of(rows):
        size = results.value("start", engine="machine", model=model, measure="file")
        for engine in engines_of([r for r in rows if r["engine"] != "machine"]):
            def of(measure):
                return results.value("start", engine=engine, model=model, measure=measure)
            if of("open") is None:
                continue
            peak, kv = of("peak_memory"), of("kv_memory")
            times = [of(m) for m in ("open", "first_token", "first_token after idle")]
            shown = [f"{1e3 * t:.0f} ms" if t else "" for t in times]
            body.append([plain(model), engine, *shown, f"{peak / 1e6:,.0f} MB", f"{peak / size:.2f}",
                         f"{(peak - size - kv) / 1e6:,.0f} MB" if kv else ""])
    return measured(rows, "peers --only start") + table(
        ["model", "engine", "open", "open to first token", "after idle", "peak memory", "/ file",
         "peak - file - KV"], body)


def kernels(results):
    """The best level only: every row is in the CSV."""
    rows = results.find("kernels", engine="nibble", measure="operations")
    if not rows:
        return ""
    memory = results.value("kernels", engine="machine", measure="read_memory")
    body = []
    for r in sorted(rows, key=lambda r: (list(machine.LEVELS).index(r["isa"]), r["model"],
                                         int(r["x"]))):
        if r["x"] not in ("1", "512") or "8960x1536" not in r["model"]:
            continue
        read = results.value("kernels", engine="nibble", isa=r["isa"], model=r["model"],
                             measure="read", x=r["x"])
        peak = next((q for q in results.find("kernels", engine="nibble", isa=r["isa"], x=r["x"],
                                             model=r["model"]) if q["measure"].startswith("peak ")),
                    None)
        speed_now = float(r["median"])
        share = f"{speed_now / float(peak['median']):.0%} of {peak['measure'][5:]}" if (
            peak and float(peak["median"])) else ""
        body.append([r["isa"], r["version"], r["model"], r["x"], short(read / 1e9),
                     f"{read / memory:.0%}" if r["x"] == "1" else "", short(speed_now / 1e9), share])
    return measured(rows, "ours --only kernels") + table(
        ["instruction set", "strategy", "weights", "rows", "GB/s", "of memory", "GOP/s",
         "of the peak"], body)


def peaks(results):
    rows = results.find("kernels", engine="machine")
    if not rows:
        return ""
    body = [[r["measure"], short(float(r["median"]) / 1e9),
             "GB/s" if r["unit"] == "bytes/s" else "GOP/s"] for r in rows]
    return measured(rows, "ours --only kernels") + table(["what", "measured", ""], body)


def rows_table(results):
    rows = results.find("rows")
    if not rows:
        return ""
    sizes = sorted({int(r["x"]) for r in rows})
    body = []
    for model in models_of(rows):
        for level, engine in ((l, e) for l in machine.LEVELS for e in engines_of(rows)):
            for kind, text in (("rows", "tokens of one"), ("sessions", "one token each")):
                times = {int(r["x"]): float(r["median"]) for r in rows if r["measure"] == kind
                         and r["model"] == model and r["isa"] == level and r["engine"] == engine}
                if 1 in times:
                    body.append([plain(model), level + engine.removeprefix("nibble"), text, f"{1e3 * times[1]:.1f} ms"] + [
                        f"{times[s] / times[1]:.2f}" for s in sizes if s > 1])
    return measured(rows, "ours --only rows") + table(
        ["model", "instruction set", "sessions", "one row"] + [f"{s} rows" for s in sizes if s > 1], body)


def length(results):
    rows = [r for r in results.find("curve") if r["measure"] == "prompt"]
    if not rows:
        return ""
    lengths = sorted({int(r["x"]) for r in rows})
    body = []
    for model in models_of(rows):
        for engine in engines_of(rows):
            times = {int(r["x"]): float(r["median"]) for r in rows
                     if r["model"] == model and r["engine"] == engine}
            if times:
                body.append([plain(model), engine] + [
                    f"{1e3 * times[n] / n:.2f}" if n in times else "" for n in lengths])
    return measured(rows, "peers --only curve") + table(
        ["model", "ms per prompt token"] + [f"{n:,}" for n in lengths], body)


def checkpoints(results):
    """A row per shape, engine and number format."""
    rows = results.find("checkpoints")
    if not rows:
        return ""
    body = []
    for model in models_of(rows):
        for load in ("f32", "stored", "int8"):
            for engine in engines_of(rows):
                of = {r["measure"]: float(r["median"]) for r in rows
                      if r["model"] == model and r["engine"] == engine}
                if f"generate {load}" not in of:
                    continue
                ours = {r["measure"]: float(r["median"]) for r in rows
                        if r["model"] == model and r["engine"] == "nibble"}
                line = [model, load, engine]
                for measure in ("prompt", "generate"):
                    value = of[f"{measure} {load}"]
                    line += [short(value), "" if engine.startswith("nibble") else
                             f"{ours.get(f'{measure} {load}', 0) / value:.2f}"]
                memory = ("file", "weights", "session", "peak_memory")
                line += [f"{of[f'{m} {load}'] / 1e6:,.0f}" if f"{m} {load}" in of else ""
                         for m in memory]
                body.append(line)
    return measured(rows, "peers --only checkpoints") + table(
        ["shape", "weights", "engine", "prompt or source, tokens/s", "nibble / it",
         "generation, tokens/s", "nibble / it", "file, MB", "weights, MB", "session, MB",
         "peak, MB"], body)


# ---- Reach ----------------------------------------------------------------------------------------

SMALL, LARGE = "smollm2-135m", "qwen2.5-coder-1.5b"
PROMPT_PEAK = {"amx": ("amx_bf16", "AMX bf16"), "avx512bf16": ("vnni512", "AVX-512 VNNI"),
               "avx512vnni": ("vnni512", "AVX-512 VNNI"),
               "avx512": ("maddubs512", "vpmaddubsw"), "avxvnni": ("vnni256", "AVX-VNNI"),
               "avx2": ("maddubs256", "vpmaddubsw")}
RUNS = {"amx": list(machine.LEVELS),
        "avx512bf16": ["avx512bf16", "avx512vnni", "avx512", "avx2"],
        "avx512vnni": ["avx512vnni", "avx512", "avx2"],
        "avx512": ["avx512", "avx2"], "avxvnni": ["avxvnni", "avx2"], "avx2": ["avx2"],
        "i8mm": ["i8mm", "dotprod", "neon"], "dotprod": ["dotprod", "neon"], "neon": ["neon"]}
FLOORS = {LARGE: {"amx": 5, "avx512bf16": 2, "avx512vnni": 2, "avx2": 1.4},
          SMALL: {"amx": 6, "avx512bf16": 4, "avx512vnni": 4, "avx2": 2.5}}
GOALS = {LARGE: "10x; 50 % of peak", SMALL: "35 % of peak"}


def verdict(good):
    return "reached" if good else "missed"


def reach(results):
    """What was aimed at, and what was measured."""
    body = []
    reach_prompt(results, body)
    reach_decode(results, body)
    reach_other(results, body)
    if not body:
        return ""
    rows = next(r for r in map(results.find, ("speed", "start", "typing", "checkpoints")) if r)
    return measured(rows, "results") + table(
        ["work", "instruction set", "floor", "goal", "measured", "floor is"], body)


def ratio_to_llama(results, model, isa, measure):
    """Ours, and over the best build of llama.cpp that a CPU of this level can run."""
    ours = results.value("speed", engine="nibble", model=model, isa=isa, measure=measure)
    theirs = max((results.value("speed", engine="llama.cpp", model=model, isa=build,
                                measure=measure) or 0 for build in RUNS[isa]), default=0)
    return (ours, ours / theirs) if ours and theirs else (ours, None)


def reach_prompt(results, body):
    for model in (LARGE, SMALL):
        work = results.value("speed", model=model, measure="prompt operations")
        for isa in machine.LEVELS:
            ours, ratio = ratio_to_llama(results, model, isa, "prompt")
            if ratio is None:
                continue
            peak_name, shown = PROMPT_PEAK.get(isa, ("", ""))
            peak = results.value("speed", engine="machine", isa="", measure=peak_name)
            share = f"; {ours * work / peak:.0%} of the {shown} peak" if peak and work else ""
            floor = FLOORS[model].get(isa)
            body.append([f"prefill 512, {plain(model)}, over llama.cpp", isa,
                         f"{floor}x" if floor else "", GOALS[model], f"{ratio:.2f}x{share}",
                         verdict(ratio >= floor) if floor else ""])
    fork = results.value("speed", engine="ik_llama.cpp", model=SMALL, measure="prompt")
    best = results.value("speed", engine="nibble", model=SMALL, measure="prompt",
                         isa=machine.levels()[0])
    if fork and best:
        body.append([f"prefill 512, {plain(SMALL)}, over ik_llama.cpp", machine.levels()[0], "1x",
                     "", f"{best / fork:.2f}x", verdict(best > fork)])


def reach_decode(results, body):
    for model, floor, share_floor, goal in ((LARGE, 1.25, 0.85, "95 % of read bandwidth"),
                                            (SMALL, 1.4, None, "90 % of bandwidth or L3")):
        weights = results.value("speed", engine="machine", model=model, measure="weights")
        for isa in machine.LEVELS:
            ours, ratio = ratio_to_llama(results, model, isa, "generate")
            if ratio is None:
                continue
            memory = (results.value("speed", engine="machine", isa=isa, model=model,
                                    measure="read_memory")
                      or results.value("speed", engine="machine", isa="", measure="read_memory"))
            share = ours * weights / memory if memory and weights else 0
            body.append([f"decode 128, {plain(model)}, over llama.cpp", isa,
                         f"{floor}x" + (", 85 % of read bandwidth" if share_floor else ""), goal,
                         f"{ratio:.2f}x; {share:.0%} of read bandwidth",
                         verdict(ratio >= floor and share >= (share_floor or 0))])


def reach_other(results, body):
    best = machine.levels()[0]
    for isa in machine.LEVELS:
        times = {int(r["x"]): float(r["median"]) for r in results.find(
            "rows", engine="nibble", model=LARGE, isa=isa, measure="rows")}
        if {1, 2, 4, 8} <= set(times):
            ratios = [times[n] / times[1] for n in (2, 4, 8)]
            body.append(["2, 4, 8 rows over one, Qwen", isa, "1.15x, 1.3x, 1.8x", "1.05x, 1.1x, 1.4x",
                         ", ".join(f"{r:.2f}x" for r in ratios),
                         verdict(all(r <= f for r, f in zip(ratios, (1.15, 1.3, 1.8))))])
    for model in (LARGE, SMALL):
        cost = {int(r["x"]): float(r["median"]) / int(r["x"]) for r in results.find(
            "curve", engine="nibble", model=model, isa=best, measure="prompt")}
        if {512, 8192} <= set(cost):
            body.append([f"prefill per token at 8,192 over at 512, {plain(model)}", best, "1.6x",
                         "1.25x", f"{cost[8192] / cost[512]:.2f}x",
                         verdict(cost[8192] <= 1.6 * cost[512])])
    ours = quantiles(results.find("typing", engine="nibble", measure="line key"))
    theirs = quantiles(results.find("typing", engine="llama.cpp", measure="prefix key"))
    if ours and theirs:
        body.append(["keystroke to first token p50, Qwen, over llama.cpp", best, "1/15", "1/40",
                     f"1/{theirs[0] / ours[0]:.1f} ({1e3 * ours[0]:.0f} ms against "
                     f"{1e3 * theirs[0]:.0f} ms)", verdict(ours[0] * 15 <= theirs[0])])
    reach_checkpoints(results, best, body)
    for engine, note in (("nibble", "GGUF"), ("nibble, prepacked", "prepacked"),
                         ("nibble, cache", "GGUF with a cache")):
        for state in ("", " after idle"):
            ours, theirs = [results.value("start", engine=name, model=LARGE,
                                          measure="first_token" + state)
                            for name in (engine, "llama.cpp")]
            if ours and theirs:
                body.append([f"open to first token{state}, Qwen, {note}, over llama.cpp", best, "0.5x",
                             "0.2x", f"{ours / theirs:.2f}x ({1e3 * ours:.0f} ms against "
                             f"{1e3 * theirs:.0f} ms)", verdict(ours <= 0.5 * theirs)])
    size = results.value("start", engine="machine", model=LARGE, measure="file")
    peak, kv = [results.value("start", engine="nibble", model=LARGE, measure=m)
                for m in ("peak_memory", "kv_memory")]
    if size and peak and kv:
        over = peak - size - kv
        body.append(["peak memory over the file, Qwen", best, "KV + 15 %", "KV + 48 MB",
                     f"KV {'+' if over >= 0 else '-'} {abs(over) / 1e6:.0f} MB "
                     f"({over / size:+.1%})", verdict(over <= 0.15 * size)])


def reach_checkpoints(results, isa, body):
    def of(model, engine, measure):
        return results.value("checkpoints", engine=engine, model=model, measure=measure)
    for model in ("codegen-350m", "codet5-base"):
        for ours, engine, load, floors, goals in (
                ("nibble", "CTranslate2", "int8", (2, 1.4), "4x, 1.7x"),
                ("nibble, fast", "CTranslate2", "int8", (2, 1.4), "4x, 1.7x"),
                ("nibble", "PyTorch", "f32", (1, 1), "")):
            pairs = [(of(model, ours, f"{m} {load}"), of(model, engine, f"{m} {load}"))
                     for m in ("prompt", "generate")]
            if not all(a and b for a, b in pairs):
                continue
            ratios = [a / b for a, b in pairs]
            mode = ours.partition(", ")[2]
            body.append([f"prompt 512 and generation, {model}, {load}"
                         f"{', ' * bool(mode)}{mode}, over {engine}", isa,
                         ", ".join(f"{f}x" for f in floors), goals,
                         ", ".join(f"{r:.2f}x" for r in ratios),
                         verdict(all(r >= f for r, f in zip(ratios, floors)))])
        # The file is its weights: a header of a few kilobytes, then float32 numbers.
        peak, weights, session = [of(model, "nibble", f"{m} f32")
                                  for m in ("peak_memory", "file", "session")]
        if peak and weights and session:
            body.append([f"peak memory over the checkpoint's weights, {model}, f32", isa, "1.1x", "",
                         f"{(peak - session) / weights:.2f}x beside the session, "
                         f"{peak / weights:.2f}x with it", verdict(peak <= 1.1 * weights)])


TABLES = {"speed": speed, "typing": typing, "start": start, "kernels": kernels, "peaks": peaks,
          "rows": rows_table, "length": length, "reach": reach,
          "checkpoints": checkpoints}
