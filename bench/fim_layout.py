#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where should the typed part of the cursor's line stand in a fill-in-the-middle prompt?

LINE_LAST puts it behind the middle marker, so that a keystroke re-evaluates a few tokens; PREFIX
leaves it in the prefix, as the models saw it in training, and re-evaluates the whole suffix. This
script completes lines of real code both ways, greedy, up to the end of the line, and compares with
what stands there: share of exact matches and edit similarity (1 - Levenshtein distance / longer
length), each with a 95 % bootstrap interval, and the paired difference.

    python3 bench/fim_layout.py --model models/qwen2.5-coder-1.5b.gguf --items 300 --out layout.csv

The code is Python's standard library and the C headers in /usr/include of the machine. Files, lines
and columns are drawn with a fixed seed from the sorted list of files, so a machine with the same
packages gives the same items. Results so far are kept in the CSV; a second start goes on from there.
"""

import argparse
import csv
import random
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples" / "python"))

import nibble  # noqa: E402

LINES_BEFORE, LINES_AFTER, MAX_TOKENS = 16, 6, 24
LAYOUTS = ("line", "prefix")
FIELDS = ["item", "language", "file", "line", "column", "inside_word", "layout", "exact",
          "similarity", "n_prefill", "truth", "prediction"]


def source_files(language):
    if language == "python":
        top = Path(sysconfig.get_path("stdlib"))
        return sorted(p for p in top.glob("*.py")) + sorted(top.glob("*/*.py"))
    return sorted(Path("/usr/include").glob("*.h")) + sorted(Path("/usr/include").glob("linux/*.h"))


def is_code(line, language):
    text = line.strip()
    if not 12 <= len(text) <= 90 or not text.isascii():
        return False
    if language == "python":
        return not text.startswith(("#", '"', "'")) and any(c in text for c in "=(:[.")
    return not text.startswith(("/*", "*", "//")) and any(c in text for c in "=(;#,{")


def draw_items(count, seed):
    """Two thirds Python, one third C; one line per file while files last."""
    rng = random.Random(seed)
    items = []
    for language, share in (("python", count - count // 3), ("c", count // 3)):
        files = source_files(language)
        rng.shuffle(files)
        for path in files:
            if share == 0:
                break
            try:
                lines = path.read_text(encoding="utf-8").split("\n")
            except (UnicodeDecodeError, OSError):
                continue
            if language == "python" and "site-packages" in str(path):
                continue
            usable = [i for i in range(8, len(lines) - 4) if is_code(lines[i], language)]
            if len(lines) < 40 or not usable:
                continue
            i = rng.choice(usable)
            line = lines[i].rstrip()
            indent = len(line) - len(line.lstrip())
            column = rng.randrange(indent + 1, len(line) - 2)
            inside = (line[column - 1].isalnum() or line[column - 1] == "_") and (
                line[column].isalnum() or line[column] == "_")
            before = "\n".join(lines[max(0, i - LINES_BEFORE):i] + [line[:column]])
            after = "\n" + "\n".join(lines[i + 1:i + 1 + LINES_AFTER]) + "\n"
            items.append({"language": language, "file": path.name, "line": i + 1, "column": column,
                          "inside_word": int(inside), "before": before, "after": after,
                          "truth": line[column:]})
            share -= 1
    return items


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def similarity(a, b):
    longest = max(len(a), len(b))
    return 1.0 if longest == 0 else 1 - levenshtein(a, b) / longest


def predict(session, item, layout):
    earlier = session.stats.n_prefill
    with session.fill(item["before"], item["after"], layout=layout, single_line=1,
                      max_tokens=MAX_TOKENS) as pieces:
        text = "".join(pieces)
    return text.split("\n")[0].rstrip(), session.stats.n_prefill - earlier


def bootstrap(values, rng, rounds=10000):
    """Mean and 95 % interval."""
    n = len(values)
    means = sorted(sum(rng.choices(values, k=n)) / n for _ in range(rounds))
    return sum(values) / n, means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def report(rows):
    rng = random.Random(0)
    by_item = {}
    for row in rows:
        by_item.setdefault(int(row["item"]), {})[row["layout"]] = row
    pairs = [p for p in by_item.values() if len(p) == 2]
    groups = [("all", lambda r: True), ("python", lambda r: r["language"] == "python"),
              ("c", lambda r: r["language"] == "c"),
              ("cursor inside a word", lambda r: int(r["inside_word"]) == 1),
              ("cursor between words", lambda r: int(r["inside_word"]) == 0)]
    print("| lines | n | measure | line last | prefix | line last - prefix |")
    print("|---|---|---|---|---|---|")
    for name, chosen in groups:
        part = [p for p in pairs if chosen(p["line"])]
        if not part:
            continue
        for field in ("exact", "similarity"):
            cells = []
            for layout in LAYOUTS:
                cells.append([100 * float(p[layout][field]) for p in part])
            cells.append([a - b for a, b in zip(*cells)])
            shown = ["%.1f [%.1f, %.1f]" % bootstrap(values, rng) for values in cells]
            print(f"| {name} | {len(part)} | {field}, % | " + " | ".join(shown) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", default="fim_layout.csv")
    parser.add_argument("--report", action="store_true", help="only report what the CSV holds")
    arguments = parser.parse_args()

    out = Path(arguments.out)
    rows = list(csv.DictReader(out.open())) if out.exists() else []
    if not arguments.report:
        items = draw_items(arguments.items, arguments.seed)
        done = {(int(r["item"]), r["layout"]) for r in rows}
        # Interleave the languages, so that an early stop leaves a fair sample.
        order = sorted(range(len(items)), key=lambda i: random.Random(i).random())
        started = time.monotonic()
        with nibble.Model(arguments.model, threads=arguments.threads) as model, \
                model.session(ctx=2048, threads=arguments.threads) as session, \
                out.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
            if not rows:
                writer.writeheader()
            for count, i in enumerate(order):
                for layout in LAYOUTS:
                    if (i, layout) in done:
                        continue
                    item = items[i]
                    text, n_prefill = predict(session, item, layout)
                    truth = item["truth"].rstrip()
                    row = dict(item, item=i, layout=layout, prediction=text, n_prefill=n_prefill,
                               exact=int(text == truth), similarity=round(similarity(text, truth), 4))
                    writer.writerow(row)
                    rows.append(row)
                file.flush()
                if sys.stderr.isatty():
                    print(f"\r{count + 1}/{len(order)} {time.monotonic() - started:.0f} s", end="",
                          file=sys.stderr)
    report(rows)


if __name__ == "__main__":
    main()
