# SPDX-License-Identifier: MIT
"""Beam search: the likeliest texts after a prompt."""

import ctypes as C
from typing import TYPE_CHECKING, List, NamedTuple, Sequence, Tuple, Union

from . import _ffi
from .model import int32_array

if TYPE_CHECKING:
    from .session import Session

EARLY_STOPPING = {False: 0, True: 1, "never": 2}


class BeamText(NamedTuple):
    text: str
    score: float  # sum of log probabilities over length to the power of the length penalty
    ids: Tuple[int, ...]  # without the end token
    ended: bool  # by an end token, not by max_tokens or the context


def options_of(beams: int, max_tokens: int, results: int, length_penalty: float,
               early_stopping: Union[bool, str], end_ids: Sequence[int], min_tokens: int,
               no_repeat_ngram: int, repetition_penalty: float,
               model_rules: bool) -> _ffi.BeamOptions:
    native = _ffi.BeamOptions()
    _ffi.lib.nib_beam_options_init(C.byref(native), C.sizeof(native))
    for name, value in (("beams", beams), ("max_tokens", max_tokens), ("results", results),
                        ("min_tokens", min_tokens), ("no_repeat_ngram", no_repeat_ngram)):
        if value < 0:
            raise ValueError(f"{name}: {value} is negative")
    if early_stopping not in EARLY_STOPPING:
        raise ValueError(f"early_stopping {early_stopping!r}: expected False, True or 'never'")
    native.n_beams, native.max_tokens, native.n_results = beams, max_tokens, results
    native.length_penalty, native.early_stopping = length_penalty, EARLY_STOPPING[early_stopping]
    native.min_tokens, native.no_repeat_ngram = min_tokens, no_repeat_ngram
    native.repetition_penalty, native.rules = repetition_penalty, 0 if model_rules else 1
    native.end_ids, native.n_end_ids = int32_array(end_ids), len(end_ids)
    return native


def results_of(session: "Session") -> List[BeamText]:
    """The texts of a search that is done, best first."""
    texts: List[BeamText] = []
    raw, err = _ffi.BeamResult(), _ffi.Error()
    raw.struct_size, raw.n_results = C.sizeof(raw), 1
    with session._busy() as pointer:
        while len(texts) < raw.n_results:
            _ffi.check(_ffi.lib.nib_beam_get_result(pointer, len(texts), C.byref(raw),
                                                    C.byref(err)), err)
            text = C.string_at(raw.text, raw.text_len) if raw.text_len else b""
            texts.append(BeamText(str(text, "utf-8", "surrogateescape"), raw.score,
                                  tuple(raw.ids[:raw.n_ids]), bool(raw.ended)))
    return texts
