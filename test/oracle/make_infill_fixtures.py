#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tiny encoder-decoders that were trained to fill holes, with tokenizers of their own, and what
transformers makes of holes.

    python3 test/oracle/make_infill_fixtures.py [--holes] [NAME...]

Needs transformers 4.44.2 on PyTorch 1.13, and sentencepiece. Writes test/fixtures/infill/NAME/ (bf16;
not with --holes) and NAME.txt: for every hole a block of lines, each a word and what belongs to it,
texts as JSON:

    layout prefix | line
    before TEXT     text before the cursor
    after TEXT      text behind it
    source IDS      what the encoder gets
    target IDS      what the decoder begins with
    drawn IDS       what is drawn then, the end token included: by model.generate; with the layout
                    "line" by a loop over its logits, which leaves only tokens that agree with the
                    word at the cursor
    middle TEXT     what that puts into the hole

The programs are of one shape with random names, so that the hole can be filled by copying. The models
of T5's kind write sentinels around the middle, those of BART's write all of the program again.
"""
import json
import os
import random
import sys

import sentencepiece
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (AutoTokenizer, BartConfig, BartForConditionalGeneration, BartTokenizer,
                          PLBartConfig, PLBartForConditionalGeneration, PLBartTokenizer,
                          RobertaTokenizer, T5Config, T5ForConditionalGeneration, T5Tokenizer)

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "infill")
NAMES = ["alpha", "beta", "count", "delta", "index", "value", "total", "width"]
STEPS, BATCH, N_SENTINELS, MOST = 1400, 24, 6, 24  # MOST: tokens behind the cursor


def program(rng, newline):
    name, (a, b) = rng.choice(["run", "get", "put", "scan"]), rng.sample(NAMES, 2)
    return f"def {name}({a}, {b}):{newline}return {a} + {b}"


def programs(newline, n=400):
    rng = random.Random(1)
    return [program(rng, newline) for _ in range(n)]


def byte_level(folder, specials, extra):
    """vocab.json and merges.txt, as the slow tokenizers of RoBERTa and BART read them."""
    os.makedirs(folder, exist_ok=True)
    t = ByteLevelBPETokenizer()
    t.train_from_iterator(programs("\n    "), vocab_size=310, special_tokens=specials,
                          show_progress=False)
    t.save_model(folder)
    return extra


def sentencepieces(folder, file, kind, size):
    os.makedirs(folder, exist_ok=True)
    text = os.path.join(folder, "text")
    with open(text, "w") as f:
        f.write("\n".join(programs(" ")))
    control = {} if kind == "bpe" else dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    sentencepiece.SentencePieceTrainer.train(
        input=text, model_prefix=os.path.join(folder, "m"), vocab_size=size, model_type=kind,
        minloglevel=2, hard_vocab_limit=False, normalization_rule_name="identity", **control)
    os.rename(os.path.join(folder, "m.model"), os.path.join(folder, file))
    os.remove(os.path.join(folder, "m.vocab"))
    os.remove(text)


SHAPE = dict(d_model=32, d_kv=16, num_heads=2, d_ff=64, num_layers=2, num_decoder_layers=2)
BART = dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
            max_position_embeddings=96, dropout=0.0)


def codet5(folder):
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(N_SENTINELS))]
    byte_level(folder, ["<pad>", "<s>", "</s>", "<unk>", "<mask>"], None)
    t = RobertaTokenizer(folder + "/vocab.json", folder + "/merges.txt",
                         additional_special_tokens=sentinels)
    t.save_pretrained(folder)
    return t, T5ForConditionalGeneration(T5Config(
        vocab_size=len(t), pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=0,
        feed_forward_proj="relu", dropout_rate=0.0, **SHAPE))


def t5(folder):
    sentencepieces(folder, "spiece.model", "unigram", 90)
    t = T5Tokenizer(folder + "/spiece.model", extra_ids=N_SENTINELS, legacy=True)
    t.save_pretrained(folder)
    return t, T5ForConditionalGeneration(T5Config(
        vocab_size=len(t), pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        feed_forward_proj="gated-gelu", dropout_rate=0.0, **SHAPE))


def bart(folder):
    byte_level(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], None)
    t = BartTokenizer(folder + "/vocab.json", folder + "/merges.txt")
    t.save_pretrained(folder)
    return t, BartForConditionalGeneration(BartConfig(
        vocab_size=len(t), forced_eos_token_id=None, decoder_start_token_id=2, **BART))


def plbart(folder):
    sentencepieces(folder, "sentencepiece.bpe.model", "bpe", 90)
    t = PLBartTokenizer(folder + "/sentencepiece.bpe.model", language_codes="base",
                        src_lang="python", tgt_lang="python")
    t.save_pretrained(folder)
    return t, PLBartForConditionalGeneration(PLBartConfig(
        vocab_size=len(t), decoder_start_token_id=None, scale_embedding=True, **BART))


MODELS = {"codet5": codet5, "t5": t5, "bart": bart, "plbart": plbart}


class Holes:
    """Ids of a program with a hole, and of what the decoder says about it."""

    def __init__(self, name, tokenizer, config):
        self.t, self.sentinels, self.config = tokenizer, name in ("codet5", "t5"), config
        self.newline = "\n    " if name in ("codet5", "bart") else " "
        self.mask = tokenizer.convert_tokens_to_ids(
            "<extra_id_0>" if self.sentinels else "<mask>")
        self.end = tokenizer.convert_tokens_to_ids("<extra_id_1>") if self.sentinels else None
        self.front = [tokenizer.bos_token_id] if name in ("codet5", "bart") else []
        self.behind = [tokenizer.eos_token_id]
        if name == "plbart":
            self.behind += [tokenizer.convert_tokens_to_ids("__python__")]
        self.start = config.decoder_start_token_id
        if self.start is None:
            self.start = self.behind[-1]  # wrapped to the front, as shift_tokens_right does

    def ids(self, text):
        return self.t.convert_tokens_to_ids(self.t.tokenize(text))

    def text(self, i):
        token = self.t.convert_ids_to_tokens(i)
        if token in self.t.all_special_tokens or token is None:
            return ""
        if self.newline == " ":
            return token.replace("\u2581", " ")
        return bytes(self.t.byte_decoder[c] for c in token).decode("utf-8", "replace")

    def later(self, text):
        """Ids of text that continues other text: without the space of SentencePiece in front."""
        if self.newline != " " or not text:
            return self.ids(text)
        if text[0] == " ":
            return self.ids(text[1:])
        return self.t.sp_model.encode("a" + text)[len(self.t.sp_model.encode("a")):]

    def source(self, prefix, suffix):
        return self.front + prefix + [self.mask] + suffix + self.behind

    def target(self, prefix):
        return [self.start] + self.front + ([self.mask] if self.sentinels else prefix)

    def example(self, rng):
        """A hole of one to four tokens."""
        ids = self.ids(program(rng, self.newline))
        n = rng.randint(1, 4)
        at = rng.randint(1, len(ids) - n)
        prefix, middle, suffix = ids[:at], ids[at:at + n], ids[at + n:]
        answer = middle + ([self.end] if self.sentinels else suffix) + self.behind[:1]
        return self.source(prefix, suffix), self.target(prefix) + answer


def pad(rows, value):
    longest = max(len(r) for r in rows)
    return torch.tensor([r + [value] * (longest - len(r)) for r in rows])


def train(model, holes):
    rng, pad_id = random.Random(2), model.config.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, STEPS)
    model.train()
    for step in range(STEPS):
        sources, targets = zip(*[holes.example(rng) for _ in range(BATCH)])
        source, target = pad(sources, pad_id), pad(targets, -100)
        given = pad(targets, pad_id)[:, :-1]
        loss = model(input_ids=source, attention_mask=(pad(sources, -1) != -1).long(),
                     decoder_input_ids=given, labels=target[:, 1:].contiguous()).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            print(step, "%.4f" % loss, flush=True)
    model.eval()


def cases(newline):
    """(layout, before, middle, after): whole words, half words, all of the rest; a middle of None is
    whatever comes, as the models of T5's kind were not trained on a line in the decoder."""
    head = f"def run(delta, width):{newline}return"
    yield "prefix", head, " delta", " + width"
    yield "prefix", head + " delta +", " width", ""
    yield "prefix", head, " delta +", " width"
    yield "prefix", head + " delta + ", "width", ""
    yield "line", head + " delta + ", None, ""
    yield "line", head + " delt", None, " + width"
    yield "line", f"def get(index, beta):{newline}return index + be", None, ""


def word_at_cursor(line):
    """What is healed: the word, marks or blanks at the end, with one character before a word."""
    def kind(c):
        return "blank" if c in " \t" else "word" if c.isalnum() else "mark"
    n = 1
    while n < len(line) and kind(line[-1 - n]) == kind(line[-1]):
        n += 1
    if n < len(line) and kind(line[-1]) != "blank" and (
            kind(line[-1]) == "word" or kind(line[-1 - n]) == "blank"):
        n += 1
    return line[len(line) - n:]


def generate(model, source, target):
    with torch.no_grad():
        out = model.generate(torch.tensor([source]), decoder_input_ids=torch.tensor([target]),
                             decoder_start_token_id=target[0], do_sample=False, num_beams=1,
                             max_new_tokens=MOST)
    return out[0, len(target):].tolist()


def agrees(text, rest):
    return bool(text) and (text.startswith(rest) or rest.startswith(text))


def draw_healed(model, holes, source, target, rest, stops):
    """Greedy, but until `rest` is written only with tokens that agree with it."""
    drawn, counted, texts = [], 0, [holes.text(i) for i in range(model.config.vocab_size)]
    with torch.no_grad():
        while counted < MOST:
            row = model(input_ids=torch.tensor([source]),
                        decoder_input_ids=torch.tensor([target + drawn])).logits[0, -1]
            for i, text in enumerate(texts):
                if rest and not agrees(text, rest):
                    row[i] = -float("inf")
            drawn.append(int(row.argmax()))
            rest = rest[len(texts[drawn[-1]]):]
            counted += not rest
            if drawn[-1] in stops:
                break
    return drawn


def fill(layout, before, after, model, holes):
    """(source, target, drawn ids, text that was drawn again)"""
    line, rest, indented = "", "", before
    if layout == "prefix" and before.endswith(" "):
        rest = " "
        indented = before[:-1]
    if layout == "line":
        start = before.rfind("\n") + 1
        indented = before[:start] + " " * (len(before[start:]) - len(before[start:].lstrip(" ")))
        line = before[len(indented):]
        rest = word_at_cursor(line)
        line = line[:len(line) - len(rest)]
    prefix, suffix = holes.ids(indented), holes.later(after)
    source = holes.source(prefix, suffix)
    target = holes.target(prefix) + (holes.later(line) if line else [])
    stops = {holes.t.eos_token_id}
    if holes.sentinels:
        stops.update(holes.t.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(N_SENTINELS)]))
    if layout == "prefix" and not rest:
        drawn = generate(model, source, target)
        end = next((k for k, i in enumerate(drawn) if i in stops), len(drawn))
        return source, target, drawn[:end + 1], rest
    return source, target, draw_healed(model, holes, source, target, rest, stops), rest


def middle_of(holes, drawn, rest, after):
    text = "".join(holes.text(i) for i in drawn)[len(rest):]
    ended = drawn[-1] == holes.t.eos_token_id
    if not holes.sentinels and ended and after and text.endswith(after):
        text = text[:-len(after)]
    return text


def write_cases(path, model, holes):
    right = 0
    with open(path, "w") as f:
        for layout, before, middle, after in cases(holes.newline):
            if layout == "line" and holes.newline == " " and not holes.sentinels:
                continue  # its tokenizer cannot be asked for text that begins without a space
            source, target, drawn, rest = fill(layout, before, after, model, holes)
            found = middle_of(holes, drawn, rest, after)
            right += found == middle
            print(layout, repr(before), repr(found), found == middle)
            lines = dict(layout=layout, before=json.dumps(before), after=json.dumps(after),
                         middle=json.dumps(found))
            for key, ids in (("source", source), ("target", target), ("drawn", drawn)):
                lines[key] = " ".join(map(str, ids))
            f.write("".join(f"{k} {v}\n" for k, v in lines.items()) + "\n")
    if right < 2:
        raise SystemExit(f"{path}: only {right} holes filled")


def main():
    again = sys.argv[1:2] == ["--holes"]
    for name in sys.argv[1 + again:] or MODELS:
        folder = os.path.join(HERE, name)
        torch.manual_seed(4)
        if again:
            kind = T5ForConditionalGeneration if name in ("codet5", "t5") else \
                BartForConditionalGeneration if name == "bart" else PLBartForConditionalGeneration
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=False)
            holes = Holes(name, tokenizer, kind.config_class.from_pretrained(folder))
            model = kind.from_pretrained(folder).eval()
        else:
            tokenizer, model = MODELS[name](folder)
            holes = Holes(name, tokenizer, model.config)
            train(model, holes)
            model.bfloat16().save_pretrained(folder)
        write_cases(folder + ".txt", model.float(), holes)


main()
