# SPDX-License-Identifier: MIT
"""Starts measuring programs and reads what they print."""

import json
import os
import subprocess
import sys

from . import machine

BUILD = machine.ROOT / os.environ.get("BUILD", "build")


class Failed(Exception):
    """A program could not be run, or what it printed makes no sense."""


def say(text=""):
    print(text, flush=True)


def output(command, timeout=600, environment=None):
    command = [str(c) for c in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                              env=os.environ | (environment or {}))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"{' '.join(command)}: status {done.returncode}: {reason}")
    return done.stdout


def lines(command, timeout=600, environment=None):
    """Tab separated fields of every line."""
    return [line.split("\t") for line in output(command, timeout, environment).splitlines() if line]


def stream(command):
    """The same, line by line while the program runs."""
    command = [str(c) for c in command]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            for line in program.stdout:
                if line.strip():
                    yield line.rstrip("\n").split("\t")
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from error
    if program.returncode != 0:
        raise Failed(f"{command[0]}: status {program.returncode}")


def figures(command, timeout=600, environment=None):
    """Lines `name x value unit` as a list of (name, x, value)."""
    try:
        return [(name, int(x), float(value))
                for name, x, value, _ in lines(command, timeout, environment)]
    except ValueError as error:
        raise Failed(f"{command[0]}: unexpected output: {error}") from error


def model_path(name):
    """Path of a model by name, fetched if it is not there."""
    if os.path.exists(name):
        return name
    path = machine.ROOT / "models" / f"{name}.gguf"
    if not path.exists():
        say(f"fetching {name}")
        done = subprocess.run(["sh", str(machine.ROOT / "examples" / "fetch-model.sh"), name],
                              stdout=sys.stderr, check=False)
        if done.returncode != 0:
            raise Failed(f"{name} cannot be fetched")
    return str(path)


def first_json(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Failed(f"unexpected output: {error}") from error
