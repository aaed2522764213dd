#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains every tokenizer of hf_tokenizers.py and compares ids and decoded text of nibble with those of
Hugging Face `tokenizers`, on texts made to break tokenizers and on source code.

    pip install tokenizers sentencepiece protobuf
    make lib && python3 test/oracle/compare_hf_tokenizer.py [FAMILY ...]

SIZE=n is the size of the vocabularies (1500), CODE=folder where source code is looked for (Python's own
library), BYTES=n how much of it (1000000), PATHS=folder:... compares folders with a tokenizer.json.
"""
import ctypes
import glob
import os
import random
import subprocess
import sys
import sysconfig
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hf_tokenizers
import make_token_golden

BOS, SPECIAL = 1, 2


def build_shim(folder):
    build = os.path.join(ROOT, os.environ.get("BUILD", "build"))
    shim = os.path.join(folder, "shim.so")
    support = [os.path.join(ROOT, "test", "support", name) for name in ("token_folder.c", "fixture.c")]
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-I" + ROOT + "/include", "-I" + ROOT + "/lib",
                    "-I" + ROOT + "/test/support", "-o", shim,
                    os.path.join(ROOT, "test", "oracle", "token_shim.c"), *support,
                    os.path.join(build, "libnibble.a"), "-lm", "-pthread", "-lcmocka"], check=True)
    return shim


class Ours:
    def __init__(self, shim, path):
        self.lib = ctypes.CDLL(shim)
        self.lib.shim_open.restype = ctypes.c_void_p
        for name in ("shim_encode", "shim_decode", "shim_stream"):
            getattr(self.lib, name).restype = ctypes.c_long
        message = ctypes.create_string_buffer(400)
        handle = self.lib.shim_open(path.encode(), message, 400)
        if not handle:
            raise ValueError(message.value.decode(errors="replace"))
        self.handle = ctypes.c_void_p(handle)

    def encode(self, text, flags=0):
        data = text if isinstance(text, bytes) else text.encode()
        out = (ctypes.c_int * (4 * len(data) + 64))()
        n = self.lib.shim_encode(self.handle, data, ctypes.c_size_t(len(data)), flags, out,
                                 ctypes.c_size_t(len(out)))
        assert 0 <= n <= len(out), n
        return out[:n]

    def decode(self, ids, flags=0, stream=False):
        array = (ctypes.c_int * len(ids))(*ids)
        cap = 64 * len(ids) + 4096
        out = ctypes.create_string_buffer(cap)
        if stream:
            n = self.lib.shim_stream(self.handle, array, ctypes.c_size_t(len(ids)), out, ctypes.c_size_t(cap))
        else:
            n = self.lib.shim_decode(self.handle, array, ctypes.c_size_t(len(ids)), flags, out,
                                     ctypes.c_size_t(cap))
        assert n >= 0, n
        return out.raw[:n]


def source_code(limit):
    folder = os.environ.get("CODE", sysconfig.get_paths()["stdlib"])
    files = sorted(glob.glob(folder + "/**/*.py", recursive=True) + glob.glob(folder + "/**/*.[ch]", recursive=True))
    random.Random(5).shuffle(files)
    out, total = [], 0
    for name in files:
        with open(name, encoding="utf-8", errors="replace") as f:
            text = f.read()
        out.append(text[:40000])
        total += len(out[-1])
        if total > limit:
            break
    return out


def extra_texts():
    pieces = ["<mask>", " <mask> ", "<s>", "</s>", "<sep>", "[X]", " return ", "return", "areturn b", "def ",
              "  <both>  ", "IF", "if", "IN", "self", ".self ", "\u4e2d\u6587", "e\u0301", "<extra_id_1>", "   ",
              "\n\n \n", "<|endoftext|>", "(x", "<0x41>", "\u2581", "\u2581\u2581 ", "<unk>", "[CLS]", "[UNK]",
              "\ufb01", "\u212b\u0327", "a\u0323\u0307", "\uac00\u11a8", "\u1100\u1161\u11a8", "\u0340", "\r\n",
              "\u200d", "\u0915\u094d\u0937", "\U0001f468\u200d\U0001f469", "\u00a0", "\u3000", " .", " n't", "##a"]
    r = random.Random(7)
    return pieces + ["".join(r.choice(pieces + [" ", "x", "\n"]) for _ in range(r.randrange(2, 9)))
                     for _ in range(600)]


def lossy(data):
    return data.decode("utf-8", errors="replace")


def compare(name, ours, theirs, texts, report):
    bad = 0
    for text in texts:
        for flags in (SPECIAL, SPECIAL | BOS):
            want = theirs.encode(text, add_special_tokens=bool(flags & BOS)).ids
            got = ours.encode(text, flags)
            back = theirs.decode(want, skip_special_tokens=True)
            raw = ours.decode(got)
            ok = got == want
            if ok and "\ufffd" not in back:
                ok = lossy(raw) == back and ours.decode(got, stream=True) == raw
            if ok and "\ufffd" not in back:
                ok = lossy(ours.decode(got, SPECIAL)) == theirs.decode(want, skip_special_tokens=False)
            if ok:
                continue
            bad += 1
            if bad <= report:
                at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
                print(f"  {name} flags {flags}: {text[:80]!r}\n    at {at}: got {got[max(0, at - 2):at + 6]} want "
                      f"{want[max(0, at - 2):at + 6]}\n    {[theirs.id_to_token(i) for i in got[at:at + 4]]} "
                      f"{[theirs.id_to_token(i) for i in want[at:at + 4]]}")
                if got == want:
                    print(f"    tokens  {[theirs.id_to_token(i) for i in got][:20]}")
                    print(f"    decoded {lossy(raw)[:100]!r}\n    want    {back[:100]!r}")
                    print(f"    shown   {lossy(ours.decode(got, SPECIAL))[:100]!r}\n    want    "
                          f"{theirs.decode(want, skip_special_tokens=False)[:100]!r}")
    return bad


def main():
    from tokenizers import Tokenizer
    code = source_code(int(os.environ.get("BYTES", "1000000")))
    corpus = make_token_golden.source_code() + make_token_golden.texts()
    hostile = make_token_golden.texts() + extra_texts()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        shim = build_shim(folder)
        jobs = [(name, hf_tokenizers.FAMILIES[name]) for name in sys.argv[1:] or hf_tokenizers.FAMILIES]
        if os.environ.get("PATHS"):
            jobs = [(path, path) for path in os.environ["PATHS"].split(":")]
        for name, make in jobs:
            if callable(make):
                path = os.path.join(folder, name)
                os.mkdir(path)
                theirs = make(corpus, int(os.environ.get("SIZE", "1500")))
                theirs.save(os.path.join(path, "tokenizer.json"))
            else:
                path, theirs = make, Tokenizer.from_file(os.path.join(make, "tokenizer.json"))
            try:
                ours = Ours(shim, path)
            except ValueError as error:
                print(f"{name}: {error}")
                failed.append(name)
                continue
            bad = compare(name, ours, theirs, hostile + code, int(os.environ.get("REPORT", "3")))
            print(f"{name}: {len(hostile)} texts and {sum(map(len, code))} characters of code, {bad} differ",
                  flush=True)
            if bad:
                failed.append(name)
    print("all agree" if not failed else "differ: " + " ".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
