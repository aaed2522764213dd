# SPDX-License-Identifier: MIT
"""The vocabulary of a GGUF file inside the tokenizers their models were published with: Hugging Face
`tokenizers` for all but SentencePiece BPE, which `sentencepiece` does. Nothing here is ours but the
wiring; the pre-tokenizers are the ones of the models' tokenizer.json.

    pip install gguf tokenizers sentencepiece protobuf
"""
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Punctuation, Sequence, Split

CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"
          r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SEED = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}|"
        r" ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+%s|"
         r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + r"*%s|\p{N}%s|"
         r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"""
             r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
             r"\s*[\r\n]+|\s+(?!\S)|\s+")
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# The cased letters of DeepSeek LLM, as code point ranges.
DEEPSEEK_CASED = """
41-5a 61-7a b5-b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f-37f 386-386
388-38a 38c-38c 38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba
1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59-1f59
1f5b-1f5b 1f5d-1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe-1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb
1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102-2102 2107-2107 210a-2113 2115-2115 2119-211d 2124-2124 2126-2126
2128-2128 212a-212d 212f-2134 2139-2139 213c-213f 2145-2149 214e-214e 2183-2184 2c00-2c7b 2c7e-2ce4
2ceb-2cee 2cf2-2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17
ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df
1e900-1e943"""


def isolated(regex):
    return Split(Regex(regex), "isolated")


def byte_level(use_regex):
    return ByteLevel(add_prefix_space=False, use_regex=use_regex)


def o200k(suffix, digits):
    return O200K % (suffix, suffix, digits)


def deepseek_letters():
    ranges = (r.split("-") for r in DEEPSEEK_CASED.split())
    return "".join("%c-%c" % (int(low, 16), int(high, 16)) for low, high in ranges)


def pre_tokenizer(name):
    digits_gpt2 = [Digits(individual_digits=True), byte_level(True)]
    families = {
        "gpt-2": [byte_level(True)], "mpt": [byte_level(True)],
        "smollm": digits_gpt2, "starcoder": digits_gpt2, "refact": digits_gpt2,
        "command-r": digits_gpt2,
        "qwen2": [isolated(CL100K % ""), byte_level(False)],
        "llama-bpe": [isolated(CL100K % "{1,3}"), byte_level(False)],
        "qwen35": [isolated(QWEN35), byte_level(False)],
        "seed-coder": [isolated(SEED), byte_level(False)],
        "deepseek-coder": [isolated(r"[\r\n]"), isolated(r"\s?\p{L}+"), isolated(r"\s?\p{P}+"),
                           isolated(CJK), Digits(individual_digits=True), byte_level(False)],
        "deepseek-llm": [isolated(r"[\r\n]"), isolated(r"\s?[%s]+" % deepseek_letters()),
                         isolated("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
                         isolated(r"\s+$"), isolated(CJK), Digits(individual_digits=True),
                         byte_level(False)],
        "deepseek-v3": [isolated(r"\p{N}{1,3}"), isolated("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                        isolated(DEEPSEEK3), byte_level(False)],
        "gpt-4o": [isolated(o200k("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}")), byte_level(False)],
        "tekken": [isolated(o200k("", "")), byte_level(False)],
        "falcon": [Punctuation("contiguous"), byte_level(True), Digits(individual_digits=False),
                   isolated("[0-9][0-9][0-9]")],
    }
    return Sequence(families[name])


def bpe(tokens, merges, pre):
    """Texts never contain special tokens here, so none is registered."""
    vocab = {token: i for i, token in enumerate(tokens)}
    pairs = []
    for line in merges:
        cut = line.index(" ", 1)
        pairs.append((line[:cut], line[cut + 1:]))
    tokenizer = Tokenizer(models.BPE(vocab, pairs, ignore_merges=pre in ("llama-bpe", "tekken")))
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def wordpiece(tokens, types, unknown):
    def original(token, kind):
        if kind != 1:
            return token
        return token[1:] if token.startswith("\u2581") else "##" + token
    vocab = {original(t, k): i for i, (t, k) in enumerate(zip(tokens, types))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=tokens[unknown]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def unigram(tokens, scores, unknown, charsmap):
    """As XLM-R's tokenizer.json; sentencepiece itself adds scores in float and so breaks ties
    otherwise."""
    tokenizer = Tokenizer(models.Unigram(list(zip(tokens, scores)), unknown, False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def sentence_piece(tokens, scores, types, space=True):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = pb.ModelProto()
    unknown = False
    for token, score, piece_type in zip(tokens, scores, types):
        if piece_type == 2 and unknown:
            piece_type = 3  # converters mark padding so; one unknown piece is all there can be
        unknown |= piece_type == 2
        model.pieces.add(piece=token, score=score, type=piece_type)
    model.trainer_spec.model_type = 2  # BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(tokens)
    model.normalizer_spec.add_dummy_prefix = space
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    return processor.encode


def from_gguf(path):
    """(name, encode) of the tokenizer in a GGUF file."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields

    def get(key, default=None):
        field = fields.get("tokenizer.ggml." + key)
        return default if field is None else field.contents()
    model, tokens, types = get("model"), get("tokens"), get("token_type")
    if model == "gpt2":
        return get("pre"), bpe(tokens, get("merges"), get("pre"))
    if model == "bert":
        return "wpm", wordpiece(tokens, types, get("unknown_token_id"))
    if model == "llama":
        # A user-defined piece would be cut out of the text first; see test/token for those.
        return "spm", sentence_piece(tokens, get("scores"), types,
                                     get("add_space_prefix", True))
    if model == "t5":
        return "unigram", unigram(tokens, get("scores"), get("unknown_token_id"),
                                  bytes(get("precompiled_charsmap")))
    raise ValueError(model)
