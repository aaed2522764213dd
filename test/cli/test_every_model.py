# SPDX-License-Identifier: MIT
"""The commands info, logits, tokenize and complete on every tiny checkpoint under test/fixtures, beside what
transformers made of it (the .ref files: test/oracle/make_hf_fixtures.py, make_seq2seq_fixtures.py). These
checkpoints have no tokenizer: they get one whose word number n is "wn"."""
import array
import glob
import json
import os
import struct
import subprocess
import tempfile
import unittest

NIBBLE = os.path.join(os.environ.get("BUILD", "build"), "nibble")
FIXTURES = "test/fixtures"
DIRECTORIES = sorted(p[:-4] for kind in ("hf", "seq2seq")
                     for p in glob.glob(f"{FIXTURES}/{kind}/*.ref") if os.path.isdir(p[:-4]))
GGUF = sorted(glob.glob(f"{FIXTURES}/archs/*.gguf"))


def run(*arguments, text=None):
    done = subprocess.run([NIBBLE, *arguments], input=text, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


class Reference:
    """A .ref file: ids, some rows of logits, greedy ids behind them, and ids of the source."""

    def __init__(self, path):
        with open(path, "rb") as f:
            n, self.n_columns, n_rows = struct.unpack("<3I", f.read(12))
            self.ids = self.numbers(f, n)
            self.positions = self.numbers(f, n_rows)
            self.rows = array.array("f", f.read(4 * n_rows * self.n_columns))
            lists = [self.numbers(f, *struct.unpack("<I", head)) for head in iter(lambda: f.read(4), b"")]
        self.greedy, self.source = (lists + [[], []])[:2]

    @staticmethod
    def numbers(f, n):
        return list(struct.unpack(f"<{n}I", f.read(4 * n)))

    def distance(self, got):
        """The largest deviation, in units of the largest logit."""
        off, n = 0.0, self.n_columns
        for i, position in enumerate(self.positions):
            ours = got[position * n:(position + 1) * n]
            off = max(off, *(abs(a - b) for a, b in zip(self.rows[i * n:(i + 1) * n], ours)))
        return off / max(map(abs, self.rows))


def joined(ids, word=""):
    return ("," if word == "" else " ").join(f"{word}{i}" for i in ids)


def with_words(folder, config, to):
    """The checkpoint, and a tokenizer of words."""
    for name in os.listdir(folder):
        os.symlink(os.path.abspath(os.path.join(folder, name)), os.path.join(to, name))
    words = {f"w{i}": i for i in range(config.get("text_config", config)["vocab_size"])}
    with open(os.path.join(to, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump({"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
                   "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": None,
                   "model": {"type": "WordLevel", "unk_token": "w0", "vocab": words}}, f)


class EveryModel(unittest.TestCase):
    def check_logits(self, path, ref):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "logits")
            more = ["--encoder-ids", joined(ref.source)] if ref.source else []
            status, _, errors = run("logits", "-m", path, "--ids", joined(ref.ids), "--precision", "f32", "-o", out,
                                    *more)
            self.assertEqual((status, errors), (0, ""))
            with open(out, "rb") as f:
                got = array.array("f", f.read())
        self.assertEqual(len(got), len(ref.ids) * ref.n_columns)
        self.assertLess(ref.distance(got), 2e-4)

    def check_info(self, path, architecture):
        status, text, errors = run("info", "-m", path, "--json")
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(json.loads(text)["architecture"], architecture)

    def check_text(self, path, config, ref):
        prompt = ref.source or (ref.ids[:4] if config.get("is_decoder") else ref.ids)
        status, text, _ = run("tokenize", "-m", path, text=joined(prompt, "w").encode())
        self.assertEqual((status, text.split()), (0, joined(prompt).encode().split(b",")))
        status, text, errors = run("complete", "-m", path, "-p", joined(prompt, "w"), "-n", "64", "--precision",
                                   "f32")
        if not ref.greedy:  # an encoder
            self.assertIn("hidden states, not text", errors)
            return
        end, want = config.get("eos_token_id"), ref.greedy
        ends = end if isinstance(end, list) else [end]
        n = next((i for i, token in enumerate(want) if token in ends), len(want))
        self.assertEqual((status, errors), (0, ""))
        hidden = config.get("bos_token_id")  # a marker is no text
        self.assertEqual(text.decode().split(), [f"w{i}" for i in want[:n] if i != hidden])

    def test_directories(self):
        self.assertGreater(len(DIRECTORIES), 50)
        for path in DIRECTORIES:
            with self.subTest(path), tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
                    config = json.load(f)
                ref = Reference(path + ".ref")
                with_words(path, config, folder)
                self.check_info(path, config["model_type"])
                self.check_logits(path, ref)
                self.check_text(folder, config, ref)

    def test_gguf(self):
        self.assertGreater(len(GGUF), 10)
        for path in GGUF:
            with self.subTest(path):
                ref = Reference(path[:-5] + ".ref")
                name = os.path.basename(path)[:-5].split("_")[0]
                self.check_info(path, name)
                self.check_logits(path, ref)


if __name__ == "__main__":
    unittest.main()
