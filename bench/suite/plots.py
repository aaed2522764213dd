# SPDX-License-Identifier: MIT
"""Draws docs/plots/*.svg and *.png from the results, with gnuplot."""

import subprocess

from . import machine
from .programs import Failed, say

FOLDER = machine.ROOT / "docs" / "plots"
COLOURS = {"nibble": "#1f6fb4", "nibble, prepacked": "#92c5de",
           "nibble, cache": "#5aa2d0",
           "llama.cpp": "#e08214", "ik_llama.cpp": "#8073ac",
           "OpenVINO GenAI": "#35978f", "CTranslate2": "#c51b7d", "PyTorch": "#8c6d31",
           "file": "#969696"}
LEVEL_COLOURS = {"amx": "#1f6fb4", "avx512bf16": "#01665e", "avx512vnni": "#35978f",
                 "avx512": "#7fbc41", "avxvnni": "#e08214", "avx2": "#c51b7d"}
TITLES = {"smollm2-135m": "SmolLM2-135M Q4\\\\_1",
          "qwen2.5-coder-1.5b": "Qwen2.5-Coder-1.5B Q4\\\\_K\\\\_M"}


def title_of(model):
    return TITLES.get(model, model.replace("_", "\\\\_"))


def colour(engine):
    return COLOURS.get(engine, "#444444")


def draw(folder, name, width, height, body):
    """Runs gnuplot twice: SVG and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, terminal in (("svg", f"svg size {width},{height} font 'Helvetica,15' background "
                                   "'white'"),
                           ("png", f"pngcairo size {width},{height} font 'Helvetica,12'")):
        script = "\n".join([
            f"set terminal {terminal}", f"set output '{folder / name}.{kind}'",
            "set border 3 lc '#555555'", "set tics nomirror out", "set key noenhanced",
            "set grid ytics lc '#dddddd' lw 1 lt 1", body, "unset output"])
        done = subprocess.run(["gnuplot"], input=script, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise Failed(f"gnuplot, {name}: {done.stderr.strip()}")


def block(label, rows):
    return f"${label} << EOD\n" + "\n".join(" ".join(str(c) for c in r) for r in rows) + "\nEOD"


def where(rows):
    """Machine and commit, for the title."""
    row = max(rows, key=lambda r: (r["date"], r["engine"] == "nibble"))
    return f"{row['cpu']}, {row['cpus']} CPUs, {row['date']}".replace("_", "\\\\_")


def grid(count, lines, title, rows):
    """Panels: two beside each other for every model, one key below all of them."""
    bottom = 0.34 / lines if lines > 1 else 0.33
    top = 1 - 0.25 / lines
    return [f"set multiplot layout {lines},{count} margins 0.095,0.985,{bottom:.3f},{top:.3f} "
            f"spacing 0.11,{0.32 / lines:.3f} title \"{title}\\n{{/*0.8 {where(rows)}}}\"",
            "set key at screen 0.5,0.015 center bottom horizontal maxcols 8 maxrows 1 "
            "samplen 1.5 font ',12'", "set xtics font ',10'"]


def engines_of(rows):
    order = list(COLOURS)
    return sorted({r["engine"] for r in rows},
                  key=lambda e: (order.index(e) if e in order else len(order), e))


# ---- speed beside peers ---------------------------------------------------------------------------

def speed(results, folder):
    """Bars: engines beside each other, one group per instruction set."""
    rows = [r for r in results.find("speed") if r["measure"] in ("prompt", "generate")]
    models = [m for m in TITLES if any(r["model"] == m for r in rows)]
    if not models:
        return
    body = grid(2, len(models), f"Tokens per second, {rows[0]['threads']} threads, prompt of 512, "
                "128 generated", rows) + [
            "set style fill solid 0.9 noborder", "set yrange [0:*]", "set offsets 0,0,graph 0.12,0"]
    for number, model in enumerate(models):
        for measure in ("prompt", "generate"):
            mine = [r for r in rows if r["model"] == model and r["measure"] == measure]
            body += bars(f"m{number}{measure}", mine,
                         f"{title_of(model)}, {measure}", "tokens/s", number == 0 and
                         measure == "prompt")
    body.append("unset multiplot")
    draw(folder, "speed", 1000, 330 * len(models) + 60, "\n".join(body))


def bars(label, rows, title, unit, key):
    """Groups of bars, one group per instruction set, as wide as there are engines in it."""
    engines, points, ticks, at = engines_of(rows), {}, [], 0
    for level in [level for level in machine.LEVELS if any(r["isa"] == level for r in rows)]:
        there = [e for e in engines if any(r["engine"] == e and r["isa"] == level for r in rows)]
        shown = level.replace("512", "512\\n") if len(level) > 8 else level
        ticks.append(f"\"{shown}\" {at + (len(there) - 1) / 2}")
        for engine in there:
            value = next(r["median"] for r in rows if r["engine"] == engine and r["isa"] == level)
            points.setdefault(engine, []).append((at, value, 0.92))
            at += 1
        at += 0.7
    body = [f"set title \"{title}\"", f"set ylabel '{unit}'", "" if key else "unset key",
            f"set xrange [-0.8:{at - 0.9}]", f"set xtics ({', '.join(ticks)})"]
    plots = []
    for number, engine in enumerate(engines):
        name = f"{label}{number}"
        body.append(block(name, points[engine]))
        plots.append(f"${name} using 1:2:3 with boxes lc '{colour(engine)}' title '{engine}'")
        plots.append(f"${name} using 1:2:(sprintf($2 < 100 ? '%.1f' : '%.0f', $2)) with labels "
                     "offset 0,0.5 font ',9' notitle")
    return body + ["plot " + ", ".join(plots)]


# ---- roofline -------------------------------------------------------------------------------------

PEAK_NAMES = {"amx_int8": "AMX int8", "amx_bf16": "AMX bf16", "vnni512": "AVX-512 VNNI int8",
              "vnni256": "AVX-VNNI int8", "maddubs256": "AVX2 int8", "fma512": "AVX-512 f32 FMA",
              "fma256": "AVX2 f32 FMA"}


def roofline(results, folder):
    """Our kernels under the roofs of memory and of each instruction."""
    rows = results.find("kernels", engine="nibble", measure="operations")
    peaks = {r["measure"]: float(r["median"]) for r in results.find("kernels", engine="machine")}
    if not rows or "read_memory" not in peaks:
        return
    reads = {(r["isa"], r["model"], r["x"]): float(r["median"])
             for r in results.find("kernels", engine="nibble", measure="read")}
    memory = peaks["read_memory"]
    body = ["set logscale xy", "set xrange [2:4000]", "set yrange [15:30000]",
            "set xlabel 'operations per byte of packed weights (2 x rows / bytes per weight)'",
            "set ylabel '10^9 operations per second'", "set key outside right top",
            f"set title \"Matrix products, {rows[0]['threads']} threads, under the roofs measured in "
            f"the same run\\n{{/*0.8 {where(rows)}}}\"", "set grid xtics ytics lc '#eeeeee'"]
    plots = [f"(x * {memory / 1e9:.4g} < 30000 ? x * {memory / 1e9:.4g} : 1/0) with lines lw 2 "
             f"lc '#444444' title 'memory, {memory / 1e9:.1f} GB/s'"]
    for name, shown in PEAK_NAMES.items():
        if name not in peaks:
            continue
        roof = peaks[name] / 1e9
        if name == "vnni256":
            continue  # the same as AVX2's on CPUs that have both
        body.append(f"set label '{shown}' at 2.15,{roof * 1.13:.4g} font ',10' tc '#666666'")
        plots.append(f"{roof:.4g} with lines lc '#999999' dt 2 notitle")
    for level, tint in LEVEL_COLOURS.items():
        points = [(float(r["median"]) / reads[(r["isa"], r["model"], r["x"])],
                   float(r["median"]) / 1e9) for r in rows if r["isa"] == level]
        if points:
            body.append(block(level, points))
            plots.append(f"${level} with points pt 7 ps 0.7 lc '{tint}' title '{level}'")
    draw(folder, "roofline", 1000, 560, "\n".join(body) + "\nplot " + ", ".join(plots))


# ---- cost against length --------------------------------------------------------------------------

def curves(results, folder):
    """Milliseconds per prompt token, and for one more token, against length."""
    rows = results.find("curve")
    models = [m for m in TITLES if any(r["model"] == m for r in rows)]
    if not models:
        return
    body = grid(2, len(models), f"Cost against length, {rows[0]['isa']}, {rows[0]['threads']} threads",
                rows) + ["set yrange [0:*]",
            "set logscale x 2", "set grid xtics ytics lc '#eeeeee'"]
    for number, model in enumerate(models):
        for measure, title, axis in (("prompt", "prompt", "ms per prompt token"),
                                     ("token", "generating", "ms per generated token")):
            plots = []
            mine = [r for r in rows if r["model"] == model and r["measure"] == measure]
            body += [f"set title \"{title_of(model)}, {title}\"", f"set ylabel '{axis}'",
                     f"set xlabel '{'prompt length' if measure == 'prompt' else 'context'}, tokens'"]
            for engine in engines_of(mine):
                points = [(x, 1e3 * float(r["median"]) / (x if measure == "prompt" else 1))
                          for r in mine if r["engine"] == engine
                          for x in [max(int(r["x"]), 0)] if x > 0]
                label = f"c{number}{measure}{len(plots)}"
                body.append(block(label, points))
                plots.append(f"${label} with linespoints pt 7 ps 0.7 lw 2 lc '{colour(engine)}' "
                             f"title '{engine}'")
            body += ["plot " + ", ".join(plots), "unset key"]
    body.append("unset multiplot")
    draw(folder, "length", 1000, 330 * len(models) + 60, "\n".join(body))


# ---- threads --------------------------------------------------------------------------------------

def thread_curves(results, folder):
    """Speed against the number of threads."""
    rows = results.find("threads")
    rows += [r for r in results.find("speed") if r["measure"] in ("prompt", "generate") and any(
        r["engine"] == q["engine"] and r["isa"] == q["isa"] for q in rows)]
    models = [m for m in TITLES if any(r["model"] == m for r in rows)]
    if not models:
        return
    most = max(int(r["threads"]) for r in rows)
    body = grid(2, len(models), f"Speed against threads, {rows[0]['isa']}", rows) + [
            "set yrange [0:*]",
            f"set xrange [0.8:{most + 0.2}]", "set xtics 1" if most <= 8 else "set logscale x 2",
            "set xlabel 'threads'", "set ylabel 'tokens/s'", "set offsets 0,0,graph 0.1,0"]
    for number, model in enumerate(models):
        for measure in ("prompt", "generate"):
            plots = []
            mine = [r for r in rows if r["model"] == model and r["measure"] == measure]
            body.append(f"set title \"{title_of(model)}, {measure}\"")
            for engine in engines_of(mine):
                points = sorted((int(r["threads"]), r["median"]) for r in mine
                                if r["engine"] == engine)
                label = f"t{number}{measure}{len(plots)}"
                body.append(block(label, points))
                plots.append(f"${label} with linespoints pt 7 lw 2 lc '{colour(engine)}' "
                             f"title '{engine}'")
            body += ["plot " + ", ".join(plots), "unset key"]
    body.append("unset multiplot")
    draw(folder, "threads", 1000, 330 * len(models) + 60, "\n".join(body))


# ---- memory, start, typing ------------------------------------------------------------------------

def memory(results, folder):
    """Peak memory beside the file, and the time to the first token."""
    rows = results.find("start")
    models = [m for m in TITLES if any(r["model"] == m for r in rows)]
    if not models:
        return
    body = grid(2, 1, "Opening a model in a fresh process, file in the page cache, "
                f"{rows[-1]['threads']} threads", rows) + [
            "set style fill solid 0.9 noborder", "set yrange [0:*]", "set offsets 0,0,graph 0.12,0"]
    for measures, title, unit, scale in ((("peak_memory", "file"), "peak memory, 2,048 positions",
                                          "MB", 1e-6),
                                         (("first_token",), "from open to the first token", "ms",
                                          1e3)):
        mine = [dict(r, isa=r["model"], median=float(r["median"]) * scale,
                     engine="file" if r["measure"] == "file" else r["engine"])
                for r in rows if r["measure"] in measures]
        engines = engines_of(mine)
        slot = 0.8 / len(engines)
        body += [f"set title '{title}'", f"set ylabel '{unit}'", f"set xrange [-0.5:{len(models) - 0.5}]",
                 "set xtics (" + ", ".join("\"" + title_of(m).replace(" ", "\\n") + f"\" {i}"
                                           for i, m in enumerate(models)) + ")"]
        plots = []
        for number, engine in enumerate(engines):
            label = f"s{len(measures)}{number}"
            body.append(block(label, [
                (models.index(r["model"]) + (number - (len(engines) - 1) / 2) * slot, r["median"],
                 slot * 0.92) for r in mine if r["engine"] == engine and r["model"] in models]))
            plots.append(f"${label} using 1:2:3 with boxes lc '{colour(engine)}' title '{engine}'")
            plots.append(f"${label} using 1:2:(sprintf('%.0f', $2)) with labels offset 0,0.6 "
                         "font ',10' notitle")
        body += ["plot " + ", ".join(plots), "unset key"]
    body.append("unset multiplot")
    draw(folder, "start", 1000, 440, "\n".join(body))


def keystrokes(results, folder):
    """Every keystroke of the replay."""
    rows = results.find("typing", measure="line key") + results.find("typing", measure="prefix key")
    if not rows:
        return
    marks = {"line key": (7, "typed text after the middle marker"),
             "prefix key": (6, "typed text in the prefix")}
    body = [f"set title \"From a keystroke to its suggestion: {title_of(rows[0]['model'])}, "
            f"1,024 tokens before, 256 after the cursor\\n"
            f"{{/*0.8 {rows[0]['isa']}, {rows[0]['threads']} threads, {where(rows)}}}\"",
            "set logscale y", "set ylabel 'ms to the first text'", "set xlabel 'keystroke'",
            "set key at screen 0.5,0.02 center bottom vertical maxrows 2", "set bmargin 6.5",
            "set yrange [10:*]"]
    plots = []
    for engine in engines_of(rows):
        for measure, (point, text) in marks.items():
            points = [(r["x"], 1e3 * float(r["median"])) for r in rows
                      if r["engine"] == engine and r["measure"] == measure]
            if points:
                label = f"k{len(plots)}"
                body.append(block(label, points))
                plots.append(f"${label} with points pt {point} ps 0.8 lc '{colour(engine)}' "
                             f"title '{engine}, {text}'")
    draw(folder, "typing", 1000, 500, "\n".join(body) + "\nplot " + ", ".join(plots))


def draw_all(results, folder=FOLDER):
    for function in (speed, roofline, curves, thread_curves, memory, keystrokes):
        try:
            function(results, folder)
        except Failed as error:
            say(str(error))
    say(f"plots are in {folder}")
