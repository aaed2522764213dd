# SPDX-License-Identifier: MIT
"""A seeded part of test/oracle/compare_models.py: random checkpoints of every family beside
transformers. NIB_ORACLE_PYTHON names a Python that has transformers 4.44.2 and PyTorch; without one
it is skipped."""
import os
import subprocess
import sys
import unittest

PYTHON = os.environ.get("NIB_ORACLE_PYTHON", sys.executable)


def has_oracle():
    asked = "import importlib.util as u, sys; sys.exit(not (u.find_spec('transformers') and u.find_spec('torch')))"
    return subprocess.run([PYTHON, "-c", asked], check=False).returncode == 0


@unittest.skipUnless(has_oracle(), f"{PYTHON} has no transformers with PyTorch (NIB_ORACLE_PYTHON)")
class RandomModels(unittest.TestCase):
    def test_random_configurations(self):
        done = subprocess.run([PYTHON, "-B", "test/oracle/compare_models.py", "--count", "40", "--seed", "500"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr[-2000:])
        self.assertIn(" 0 differences", done.stdout.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
