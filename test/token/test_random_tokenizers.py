# SPDX-License-Identifier: MIT
"""A seeded part of test/oracle/compare_random_tokenizers.py, compare_hf_tokenizer.py,
compare_regexes.py, compare_random_folders.py and compare_sentencepiece.py: tokenizers put together at random and trained on the spot, beside Hugging
Face `tokenizers` and `sentencepiece`. Skipped where these are not installed."""
import importlib.util
import os
import subprocess
import sys
import unittest

ORACLE = os.path.join("test", "oracle")
MISSING = [name for name in ("tokenizers", "sentencepiece", "google.protobuf")
           if importlib.util.find_spec(name.split(".")[0]) is None]


@unittest.skipIf(MISSING, "not installed: " + " ".join(MISSING))
class RandomTokenizers(unittest.TestCase):
    def run_oracle(self, *arguments, **environment):
        done = subprocess.run([sys.executable, "-B", os.path.join(ORACLE, arguments[0]), *arguments[1:]],
                              capture_output=True, text=True,
                              env={**os.environ, **environment, "RUST_BACKTRACE": "0"})
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr[-2000:])
        return done.stdout.splitlines()[-1]

    def test_parts_put_together_at_random(self):
        last = self.run_oracle("compare_random_tokenizers.py", "--count", "30", "--seed", "200")
        self.assertIn(" 0 differ", last)

    def test_regular_expressions(self):
        last = self.run_oracle("compare_regexes.py", "--count", "150", "--seed", "3")
        self.assertIn(" 0 differ", last)

    def test_sentencepiece_models(self):
        last = self.run_oracle("compare_sentencepiece.py", "random:6:5", SIZE="1300", BYTES="20000")
        self.assertRegex(last, "^all agree|^transformers is not installed")

    @unittest.skipIf(importlib.util.find_spec("transformers") is None, "not installed: transformers")
    def test_folders_without_tokenizer_json(self):
        last = self.run_oracle("compare_random_folders.py", "--count", "40", "--seed", "60")
        self.assertIn(" 0 differ", last)

    def test_families(self):
        last = self.run_oracle("compare_hf_tokenizer.py", "codegen", "starcoder", "llama3", "codellama", "t5",
                               SIZE="1500", BYTES="40000")
        self.assertEqual(last, "all agree")


if __name__ == "__main__":
    unittest.main()
