# SPDX-License-Identifier: MIT
"""What the scripts that drive Python peers share. They run inside the peer's virtual environment."""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--generate", type=int, required=True)
    return parser.parse_args()


def prompt_ids(count, run, limit=40000):
    """Any ids do: the work does not depend on them. Others every run, for some peers keep a cache."""
    return [(i + 1) * (7919 + 2 * run) % limit + 1000 for i in range(count)]


def report(a, first, whole):
    """first: seconds for the prompt and one token; whole: for all of them."""
    print(f"prompt\t{a.prompt}\t{a.prompt / first:.3f}\ttokens/s")
    print(f"generate\t{a.generate}\t{(a.generate - 1) / (whole - first):.3f}\ttokens/s", flush=True)


def seconds(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def same_shape(model):
    """Folder with a model of the same shape in Hugging Face's layout: random weights, which cost the
    same time, and a vocabulary of made-up words."""
    folder = ROOT / "build-peers" / (Path(model).stem + "-random")
    if not (folder / "config.json").exists():
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
        nibble = ROOT / os.environ.get("BUILD", "build") / "nibble"
        info = json.loads(subprocess.run([nibble, "info", "-m", model, "--json"], check=True,
                                         capture_output=True, text=True).stdout)
        config = LlamaConfig(
            vocab_size=info["vocabulary"], hidden_size=info["embedding"],
            intermediate_size=info["feed_forward"], num_hidden_layers=info["layers"],
            num_attention_heads=info["heads"], num_key_value_heads=info["heads_kv"],
            tie_word_embeddings=True, bos_token_id=0, eos_token_id=1)
        partial = folder.with_suffix(".partial")
        LlamaForCausalLM(config).save_pretrained(partial)
        words = {"<unk>": 0} | {f"w{i}": i for i in range(1, info["vocabulary"])}
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")),
                                unk_token="<unk>", bos_token="<unk>",
                                eos_token="w1").save_pretrained(partial)
        partial.rename(folder)
    return folder
