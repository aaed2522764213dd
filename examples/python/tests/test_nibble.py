#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Python package against build/libnibble.so and the small model.

NIBBLE_TEST_MODEL names another model; BUILD another build folder.
"""

import gc
import math
import os
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples" / "python"))
os.environ.setdefault("NIBBLE_LIBRARY",
                      str(ROOT / os.environ.get("BUILD", "build") / "libnibble.so"))

import nibble  # noqa: E402

MODEL = Path(os.environ.get("NIBBLE_TEST_MODEL", ROOT / "models" / "smollm2-135m.gguf"))
PROMPT = "def add(a, b):\n    return"
LONG = "x = 1  # a comment that makes this line a little longer\n" * 200


class ErrorTest(unittest.TestCase):
    def test_missing_file(self):
        with self.assertRaises(nibble.InputOutputError) as caught:
            nibble.Model("no/such/file.gguf")
        self.assertIn("no/such/file.gguf", str(caught.exception))
        self.assertIsInstance(caught.exception, nibble.NibbleError)

    def test_not_a_model(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"this is not a model, and long enough to have a header" * 4)
            file.flush()
            with self.assertRaises(nibble.FormatError):
                nibble.Model(file.name)

    def test_wrong_options(self):
        with self.assertRaises(ValueError):
            nibble.Model(MODEL, precision="double")
        with self.assertRaises(nibble.ArgumentError):
            nibble.Model(MODEL, isa="z80")

    def test_exception_in_progress_cancels_the_load(self):
        def stop(fraction):
            raise KeyError("enough")
        with self.assertRaises(KeyError):
            nibble.Model(MODEL, progress=stop)


class InspectTest(unittest.TestCase):
    def test_inspect(self):
        info = nibble.inspect(MODEL)
        self.assertTrue(info.architecture)
        self.assertGreater(info.n_vocab, 0)
        self.assertGreater(info.weight_bytes, 0)
        self.assertIn(info.fim, ("none", "qwen"))

    def test_version(self):
        self.assertRegex(nibble.version(), r"^\d+\.\d+\.\d+$")


class ModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fractions = []
        cls.model = nibble.Model(MODEL, progress=cls.fractions.append)

    @classmethod
    def tearDownClass(cls):
        cls.model.close()

    def test_progress_was_reported(self):
        self.assertTrue(self.fractions)
        self.assertEqual(self.fractions, sorted(self.fractions))

    def test_tokens_round_trip(self):
        # The vocabulary of SmolLM2 has no token for 21 of the 256 bytes; these it has.
        for text in (b"", b"int main(void) { return 0; }\n", "naïve £ 日本 🙂".encode(),
                     b"\x80\xe2(\xa1\xed\xa0\x80", b"a\0b", b"<|endoftext|>"):
            ids = self.model.tokenize(text)
            self.assertEqual(self.model.detokenize(ids), text)

    def test_special_text(self):
        plain = self.model.tokenize("<|endoftext|>")
        special = self.model.tokenize("<|endoftext|>", special=True)
        self.assertGreater(len(plain), 1)
        self.assertEqual(len(special), 1)
        self.assertEqual(self.model.detokenize(special, special=True), b"<|endoftext|>")

    def test_ids_outside_the_vocabulary(self):
        for bad in (-1, self.model.info.n_vocab, 2**31 - 1):
            with self.assertRaises(nibble.ArgumentError):
                self.model.detokenize([bad])

    def test_cache(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in (os.path.join(folder, "cache"), Path(folder, "cache")):
                with nibble.Model(MODEL, cache_dir=path) as model:
                    self.assertEqual(model.tokenize("x"), self.model.tokenize("x"))
                self.assertEqual(len(os.listdir(path)), 1)

    def test_closed(self):
        model = nibble.Model(MODEL, weights=False)
        model.close()
        model.close()
        with self.assertRaises(nibble.StateError):
            model.tokenize("x")


class SessionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = nibble.Model(MODEL)

    @classmethod
    def tearDownClass(cls):
        cls.model.close()

    def setUp(self):
        self.session = self.model.session(ctx=4096)
        self.addCleanup(self.session.close)

    def test_greedy_text_is_repeatable(self):
        first = self.session.text(PROMPT, max_tokens=12)
        again = self.session.text(PROMPT, max_tokens=12)
        with self.model.session(threads=1) as other:
            alone = other.text(PROMPT, max_tokens=12)
        self.assertTrue(first)
        self.assertEqual(first, again)
        self.assertEqual(first, alone)

    def test_pieces_tokens_and_logprobs(self):
        with self.session.complete(PROMPT, max_tokens=8, n_logprobs=3, ignore_end=1) as pieces:
            text = "".join(pieces)
            self.assertEqual(pieces.stop_reason, "length")
            self.assertEqual(len(pieces.tokens), 8)
            for token in pieces.tokens:
                self.assertEqual(len(token.top), 3)
                self.assertEqual(token.top[0], (token.id, token.logprob))  # greedy
                self.assertLessEqual(token.logprob, 0.0)
        ids = [token.id for token in pieces.tokens]
        self.assertEqual(self.model.detokenize(ids).decode("utf-8", "replace"), text)

    def test_stop_text(self):
        full = self.session.text(PROMPT, max_tokens=16)
        stop = full[3:6]
        short = self.session.text(PROMPT, max_tokens=16, stop=[stop])
        self.assertEqual(short, full[:full.index(stop)])

    def test_bias_bans_a_token(self):
        with self.session.complete(PROMPT, max_tokens=1, ignore_end=1) as pieces:
            "".join(pieces)
        banned = pieces.tokens[0].id
        with self.session.complete(PROMPT, max_tokens=1, ignore_end=1,
                                   bias={banned: -math.inf}) as pieces:
            "".join(pieces)
        self.assertNotEqual(pieces.tokens[0].id, banned)

    def test_seed(self):
        options = {"max_tokens": 12, "temperature": 1.0, "ignore_end": 1}
        first = self.session.text(PROMPT, seed=5, **options)
        self.assertEqual(first, self.session.text(PROMPT, seed=5, **options))
        others = {self.session.text(PROMPT, seed=seed, **options) for seed in range(6, 10)}
        self.assertGreater(len(others | {first}), 1)

    def test_leaving_the_loop_ends_the_work(self):
        with self.session.complete(LONG, max_tokens=200, ignore_end=1) as pieces:
            for piece in pieces:
                self.assertTrue(piece)
                break
        before = self.session.stats
        time.sleep(0.05)
        self.assertEqual(self.session.stats, before)
        with self.assertRaises(StopIteration):
            next(pieces)
        self.assertTrue(self.session.text(PROMPT, max_tokens=4, ignore_end=1))

    def test_prefix_is_reused(self):
        ids = self.model.tokenize(LONG)[:300]
        self.session.set_tokens(ids)
        self.session.eval()
        self.assertEqual(self.session.set_tokens(ids[:200] + ids[:50]), 200)
        self.assertEqual(self.session.tokens, ids[:200] + ids[:50])
        self.session.truncate(10)
        self.assertEqual(self.session.tokens, ids[:10])

    def test_logits_are_a_view(self):
        self.session.set_tokens(self.model.tokenize(PROMPT))
        with self.assertRaises(nibble.StateError):
            self.session.logits()
        self.session.eval()
        view = self.session.logits()
        self.assertEqual((view.format, view.shape), ("f", (self.model.info.n_vocab,)))
        self.assertTrue(view.readonly)
        best = max(range(len(view)), key=view.__getitem__)
        with self.session.complete(max_tokens=1, ignore_end=1) as pieces:
            "".join(pieces)
        self.assertEqual(pieces.tokens[0].id, best)

    def test_logits_outlive_their_session(self):
        session = self.model.session(ctx=64)
        session.set_tokens(self.model.tokenize(PROMPT))
        session.eval()
        view = session.logits()
        values = list(view[:100])
        session.close()
        del session
        gc.collect()
        self.assertEqual(list(view[:100]), values)

    def test_numpy_does_not_copy(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("numpy is not installed")
        self.session.set_tokens(self.model.tokenize(PROMPT))
        self.session.eval()
        view = self.session.logits()
        array = numpy.asarray(view)
        self.assertEqual(array.dtype, numpy.float32)
        self.assertFalse(array.flags.owndata)
        self.assertEqual(array[7], view[7])

    def test_eval_logits(self):
        ids = self.model.tokenize(PROMPT)
        rows = self.session.eval_logits(ids)
        self.assertEqual(rows.shape, (len(ids), self.model.info.n_vocab))
        self.assertEqual(rows[len(ids) - 1, 11], self.session.logits()[11])

    def test_fork_goes_its_own_way(self):
        self.session.set_tokens(self.model.tokenize(PROMPT))
        self.session.eval()
        with self.session.fork() as fork:
            fork.append([1, 2, 3])
            self.assertEqual(len(fork.tokens), len(self.session.tokens) + 3)

    def test_save_and_load(self):
        expected = self.session.text(PROMPT, max_tokens=8)
        self.session.set_tokens(self.model.tokenize(PROMPT))
        self.session.eval()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "session"
            self.session.save(path)
            with self.model.session(ctx=4096) as other:
                other.load(path)
                self.assertEqual(other.tokens, self.session.tokens)
                with other.complete(max_tokens=8) as pieces:
                    self.assertEqual("".join(pieces), expected)
            path.write_bytes(path.read_bytes()[:-7])
            with self.assertRaises(nibble.FormatError):
                self.session.load(path)

    def test_cancel_from_another_thread(self):
        self.session.set_tokens(self.model.tokenize(LONG)[:3000])
        timer = threading.Timer(0.1, self.session.cancel)
        timer.start()
        started = time.monotonic()
        with self.assertRaises(nibble.CancelledError):
            self.session.eval()
        self.assertLess(time.monotonic() - started, 5)
        timer.join()
        self.assertTrue(self.session.text(PROMPT, max_tokens=2, ignore_end=1))

    def test_other_threads_run_during_evaluation(self):
        self.session.set_tokens(self.model.tokenize(LONG)[:1500])
        done, counted = threading.Event(), [0]

        def count():
            while not done.is_set():
                counted[0] += 1
                time.sleep(0.001)
        thread = threading.Thread(target=count)
        thread.start()
        before = counted[0]
        self.session.eval()
        during = counted[0] - before
        done.set()
        thread.join()
        self.assertGreater(during, 3)

    def test_beam_search(self):
        best = self.session.beam_search(PROMPT, beams=4, max_tokens=12, results=3, length_penalty=0)
        self.assertEqual(len(best), 3)
        self.assertEqual(sorted((b.score for b in best), reverse=True), [b.score for b in best])
        self.assertEqual(self.model.detokenize(best[0].ids).decode(), best[0].text)
        greedy = self.session.text(PROMPT, max_tokens=12)
        [one] = self.session.beam_search(PROMPT, beams=1, max_tokens=12)
        self.assertEqual(one.text, greedy)
        self.session.set_tokens(self.model.tokenize(PROMPT))
        again = self.session.beam_search(beams=4, max_tokens=12, results=3, length_penalty=0)
        self.assertEqual(again, best)
        end = best[0].ids[3]
        [short] = self.session.beam_search(PROMPT, max_tokens=12, length_penalty=0, end_ids=[end],
                                           early_stopping=True)
        self.assertNotIn(end, short.ids)
        [other] = self.session.beam_search(PROMPT, max_tokens=12, no_repeat_ngram=1, min_tokens=12,
                                           model_rules=False)
        self.assertEqual(len(set(other.ids)), 12)
        with self.assertRaises(nibble.ArgumentError):
            self.session.beam_search(PROMPT, max_tokens=12, min_tokens=13)
        with self.assertRaises(nibble.ArgumentError):
            self.session.beam_search(PROMPT, beams=17)
        with self.assertRaises(ValueError):
            self.session.beam_search(PROMPT, early_stopping="soon")

    def test_source_of_an_encoder_decoder(self):
        folder = ROOT / "test" / "fixtures" / "seq2seq" / "t5_plain"
        with nibble.Model(folder) as model, model.session(ctx=64, threads=1) as session:
            session.set_source([5, 6, 7])
            session.set_tokens([0])
            [one] = session.beam_search(max_tokens=8, end_ids=[1])
            session.set_source([8, 9])
            [other] = session.beam_search(max_tokens=8, end_ids=[1])
            self.assertNotEqual(one.score, other.score)
        with self.assertRaises(nibble.StateError):
            self.session.set_source([1])

    def test_two_threads_on_one_session_are_refused(self):
        self.session.set_tokens(self.model.tokenize(LONG)[:3000])
        failures = []

        def evaluate():
            try:
                self.session.eval()
            except nibble.CancelledError:
                failures.append("cancelled")
        thread = threading.Thread(target=evaluate)
        thread.start()
        time.sleep(0.1)
        with self.assertRaises(nibble.StateError):
            self.session.append([1])
        self.session.cancel()
        thread.join()
        self.assertEqual(failures, ["cancelled"])

    def test_prompt_longer_than_the_context(self):
        with self.model.session(ctx=16) as small:
            with self.assertRaises(nibble.LimitError):
                small.complete(LONG)
            self.assertTrue(small.text("x =", max_tokens=2, ignore_end=1))

    def test_unknown_option(self):
        with self.assertRaises(TypeError):
            self.session.complete(PROMPT, temprature=1)

    def test_fill_without_markers(self):
        if self.model.info.fim != "none":
            with self.session.fill("a = ", "\n", max_tokens=4) as pieces:
                self.assertIsInstance("".join(pieces), str)
            return
        with self.assertRaises(nibble.UnsupportedError):
            self.session.fill("a", "b")

    def test_closed_session(self):
        self.session.close()
        self.session.close()
        with self.assertRaises(nibble.StateError):
            self.session.eval()

    def test_session_outlives_its_model(self):
        model = nibble.Model(MODEL)
        session = model.session(ctx=64)
        model.close()
        self.assertTrue(session.text(PROMPT, max_tokens=2, ignore_end=1))
        session.close()


class BatchTest(unittest.TestCase):
    def test_suggestions(self):
        with nibble.Model(MODEL) as model, nibble.Batch(model, threads=2) as batch:
            with model.session(threads=1, ctx=128) as first, model.session(ctx=128) as alone:
                first.set_tokens(model.tokenize(PROMPT))
                first.eval()
                sessions = [first] + [first.fork() for _ in range(3)]
                options = {"temperature": 1.0, "max_tokens": 12, "ignore_end": 1}
                texts = batch.texts([s.complete(seed=i, **options)
                                     for i, s in enumerate(sessions)])
                self.assertEqual(texts, [alone.text(PROMPT, seed=i, **options) for i in range(4)])
                self.assertEqual(len(set(texts)), 4)
                for session in sessions[1:]:
                    session.close()

    def test_one_cancelled(self):
        with nibble.Model(MODEL) as model, nibble.Batch(model) as batch:
            with model.session(ctx=128) as a, model.session(ctx=128) as b:
                options = {"max_tokens": 8, "ignore_end": 1}
                expected = a.text(PROMPT, **options)
                both = [a.complete(PROMPT, **options), b.complete(PROMPT, **options)]
                texts = ["", ""]
                batch.step(both)
                b.cancel()
                with self.assertRaises(nibble.CancelledError):
                    batch.step(both)
                while any(c.session for c in both):
                    texts = [t + p for t, p in zip(texts, batch.step(both))]
                self.assertTrue(expected.endswith(texts[0]) and expected.endswith(texts[1]))
                self.assertEqual([len(c.tokens) for c in both], [8, 8])

    def test_wrong_use(self):
        with nibble.Model(MODEL) as model:
            with self.assertRaises(nibble.ArgumentError):
                nibble.Batch(model, rows=17)
            batch = nibble.Batch(model)
            self.assertEqual(batch.step([]), [])
            batch.close()
            with self.assertRaises(ValueError):
                batch.step([])


if __name__ == "__main__":
    unittest.main()
