# SPDX-License-Identifier: MIT
"""Figures in bench/results/<part>.csv: one row per figure, a new measurement replaces the old one of
the same machine, engine, instruction set, threads, model, measure and x."""

import csv
import statistics
from pathlib import Path

from . import machine

COLUMNS = ["date", "commit", "cpu", "cpus", "part", "engine", "version", "isa", "threads", "model",
           "measure", "x", "unit", "median", "low", "high", "runs", "values"]
KEY = ["cpu", "cpus", "part", "engine", "isa", "threads", "model", "measure", "x"]
FOLDER = machine.ROOT / "bench" / "results"


def number(value):
    return f"{value:.6g}"


class Results:
    """All parts; a part is read when it is first asked for."""

    def __init__(self, folder=FOLDER):
        self.folder = Path(folder)
        self.parts = {}
        self.facts = machine.facts()

    def rows(self, part):
        if part not in self.parts:
            path = self.folder / f"{part}.csv"
            rows = {}
            if path.exists():
                with path.open(newline="", encoding="utf-8") as file:
                    for row in csv.DictReader(file):
                        rows[tuple(row[k] for k in KEY)] = row
            self.parts[part] = rows
        return self.parts[part]

    def put(self, part, engine, isa, threads, model, measure, x, unit, values, version=""):
        """Stores the runs of one figure and returns their median."""
        row = dict(self.facts, part=part, engine=engine, version=version, isa=isa,
                   threads=str(threads), model=model, measure=measure, x=str(x), unit=unit,
                   median=number(statistics.median(values)), low=number(min(values)),
                   high=number(max(values)), runs=str(len(values)),
                   values=" ".join(number(v) for v in values))
        self.rows(part)[tuple(row[k] for k in KEY)] = row
        return statistics.median(values)

    def save(self, part):
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = sorted(self.rows(part).values(), key=lambda r: [
            r["cpu"], r["engine"], r["isa"], r["model"], r["measure"], int(r["threads"] or 0),
            float(r["x"] or 0)])
        path = self.folder / f"{part}.csv"
        partial = path.with_suffix(".tmp")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(path)

    def find(self, part, **wanted):
        """Rows of this machine that agree with what is given, by x."""
        found = []
        for row in self.rows(part).values():
            here = row["cpu"] == self.facts["cpu"] and row["cpus"] == self.facts["cpus"]
            if here and all(row[k] == str(v) for k, v in wanted.items()):
                found.append(row)
        return sorted(found, key=lambda r: (float(r["x"] or 0), r["engine"]))

    def value(self, part, **wanted):
        """The median of the one row that agrees; None if there is none."""
        found = self.find(part, **wanted)
        return float(found[0]["median"]) if found else None
