# SPDX-License-Identifier: MIT
"""CTranslate2 by turns, on a checkpoint that it converted. It takes tokens as words; those of the
made-up vocabulary are their numbers."""

import json
import time
from pathlib import Path

import ctranslate2
from peer_turns import arguments, serve

COMPUTE = {"f32": "float32", "int8": "int8"}


def tokenizer_of(folder, n_vocab):
    """The converter wants a tokenizer, to name the tokens."""
    words = {"<unk>": 0} | {f"w{i}": i for i in range(1, n_vocab)}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
                 "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
                 "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>",
             "bos_token": "w1", "eos_token": "w2", "pad_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")


def converted(model):
    """Folder with the checkpoint in CTranslate2's format, in its number format: others are made of it
    when it is opened. PLBART is converted as BART, which has the same layers."""
    model = Path(model)
    folder = model.with_name(model.name + "-ct2")
    if not (folder / "model.bin").exists():
        source = model.with_name(model.name + "-source")
        source.mkdir(exist_ok=True)
        for file in model.glob("*.safetensors*"):
            link = source / file.name
            if not link.exists():
                link.symlink_to(file.resolve())
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] == "plbart":
            config |= {"model_type": "bart", "normalize_before": False, "normalize_embedding": True,
                       "architectures": ["BartForConditionalGeneration"]}
        (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
        tokenizer_of(source, config["vocab_size"])
        half = config.get("torch_dtype") == "float16"
        ctranslate2.converters.TransformersConverter(str(source), load_as_float16=half).convert(
            str(folder), force=True)
    return folder


def main():
    a = arguments()
    folder = converted(a.model)
    opened = time.monotonic()
    options = dict(device="cpu", compute_type=COMPUTE[a.load], intra_threads=a.threads,
                   inter_threads=1)
    encodes = (folder / "shared_vocabulary.json").exists()
    if encodes:
        translator = ctranslate2.Translator(str(folder), **options)
    else:
        generator = ctranslate2.Generator(str(folder), **options)
    names = "shared_vocabulary.json" if encodes else "vocabulary.json"
    words = json.loads((folder / names).read_text(encoding="utf-8"))

    def generate(ids, count):
        tokens = [words[i] for i in ids]
        if encodes:
            result = translator.translate_batch(
                [tokens], beam_size=1, max_decoding_length=count, min_decoding_length=count,
                max_input_length=0)[0].hypotheses[0]
        else:
            result = generator.generate_batch(
                [tokens], beam_size=1, max_length=count, min_length=count, sampling_topk=1,
                include_prompt_in_result=False)[0].sequences_ids[0]
        assert len(result) == count, (len(result), count)

    serve(a, opened, generate)


if __name__ == "__main__":
    main()
