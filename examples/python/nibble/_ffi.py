# SPDX-License-Identifier: MIT
"""include/nibble.h for ctypes: structs, prototypes, and where the shared library is found.

ctypes releases the interpreter lock during every call, so other Python threads run meanwhile.
"""

import ctypes as C
import os
from pathlib import Path
from typing import Any, List, Optional

from ._errors import BY_CODE, NibbleError

NO_OFFSET = 2**64 - 1
OK = 0


class Error(C.Structure):
    _fields_ = [("code", C.c_int32), ("reserved", C.c_uint32), ("offset", C.c_uint64),
                ("text", C.c_char * 256)]


class Text(C.Structure):
    _fields_ = [("data", C.c_void_p), ("len", C.c_size_t)]


ProgressFunction = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.c_double)


class ModelOptions(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("flags", C.c_uint32), ("n_threads", C.c_uint32),
                ("precision", C.c_uint32), ("isa", C.c_char_p), ("allocator", C.c_void_p),
                ("progress", ProgressFunction), ("progress_user", C.c_void_p),
                ("load", C.c_uint32), ("gemm", C.c_uint32), ("cache_dir", C.c_char_p)]


class ModelInfo(C.Structure):
    _fields_ = [(name, C.c_uint32) for name in (
        "struct_size", "n_layer", "n_embd", "n_head", "n_head_kv", "head_dim", "n_ff", "n_vocab",
        "n_ctx_train", "fim_family")] + [(name, C.c_uint64) for name in (
            "n_params", "file_bytes", "weight_bytes", "kv_bytes_per_token")] + [
        ("architecture", C.c_char * 32), ("name", C.c_char * 96), ("formats", C.c_char * 128),
        ("tokenizer", C.c_char * 64), ("isa", C.c_char * 32)]


class SessionOptions(C.Structure):
    _fields_ = [(name, C.c_uint32) for name in (
        "struct_size", "n_ctx", "n_threads", "kv_type", "n_batch", "reserved")] + [
        ("parallel", C.c_void_p), ("allocator", C.c_void_p)]


class SessionStats(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("n_threads", C.c_uint32)] + [
        (name, C.c_uint64) for name in ("n_prefill", "n_decode", "n_reused", "prefill_ns",
                                        "decode_ns", "sample_ns", "memory_bytes")]


class LogitBias(C.Structure):
    _fields_ = [("id", C.c_int32), ("bias", C.c_float)]


class LogProb(C.Structure):
    _fields_ = [("id", C.c_int32), ("logprob", C.c_float)]


class CompleteOptions(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("max_tokens", C.c_uint32),
                ("temperature", C.c_float), ("top_k", C.c_uint32), ("top_p", C.c_float),
                ("min_p", C.c_float), ("typical_p", C.c_float), ("repeat_penalty", C.c_float),
                ("frequency_penalty", C.c_float), ("presence_penalty", C.c_float),
                ("penalty_window", C.c_uint32), ("seed", C.c_uint64),
                ("bias", C.POINTER(LogitBias)), ("n_bias", C.c_size_t),
                ("stops", C.POINTER(Text)), ("n_stops", C.c_size_t),
                ("single_line", C.c_uint32), ("stop_indent", C.c_uint32),
                ("stop_suffix", C.c_uint32), ("max_time_ms", C.c_uint32),
                ("n_logprobs", C.c_uint32), ("ignore_end", C.c_uint32)]


class Step(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("done", C.c_uint32), ("stop_reason", C.c_uint32),
                ("n_left", C.c_uint32), ("text", C.c_void_p), ("text_len", C.c_size_t),
                ("tokens", C.POINTER(LogProb)), ("n_tokens", C.c_size_t),
                ("top", C.POINTER(LogProb))]


class BatchOptions(C.Structure):
    _fields_ = [(name, C.c_uint32) for name in (
        "struct_size", "n_threads", "max_rows", "reserved")] + [
        ("parallel", C.c_void_p), ("allocator", C.c_void_p)]


class BeamOptions(C.Structure):
    _fields_ = [(name, C.c_uint32) for name in (
        "struct_size", "n_beams", "max_tokens", "n_results")] + [
        ("length_penalty", C.c_double), ("early_stopping", C.c_uint32), ("n_end_ids", C.c_uint32),
        ("end_ids", C.POINTER(C.c_int32)), ("rules", C.c_uint32), ("min_tokens", C.c_uint32),
        ("no_repeat_ngram", C.c_uint32), ("first_id", C.c_int32), ("last_id", C.c_int32),
        ("reserved", C.c_uint32), ("repetition_penalty", C.c_double)]


class BeamResult(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("n_results", C.c_uint32),
                ("ids", C.POINTER(C.c_int32)), ("n_ids", C.c_size_t),
                ("text", C.c_void_p), ("text_len", C.c_size_t), ("score", C.c_double),
                ("ended", C.c_uint32), ("reserved", C.c_uint32)]


class FimFile(C.Structure):
    _fields_ = [("path", Text), ("content", Text)]


class Fim(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("layout", C.c_uint32), ("prefix", Text),
                ("suffix", Text), ("repo", Text), ("path", Text), ("files", C.POINTER(FimFile)),
                ("n_files", C.c_size_t), ("max_tokens", C.c_uint32), ("reserved", C.c_uint32),
                ("language", Text)]


def text_of(data: bytes) -> Text:
    """A view of `data`, which the caller keeps alive during the call it is passed to."""
    return Text(C.cast(C.c_char_p(data), C.c_void_p), len(data))


_I32S = C.POINTER(C.c_int32)
_SIZE = C.POINTER(C.c_size_t)
_ERR = C.POINTER(Error)
_PTR = C.c_void_p

# name -> result type, argument types
_FUNCTIONS = {
    "nib_version": (C.c_uint32, []),
    "nib_build_info": (C.c_char_p, []),
    "nib_status_str": (C.c_char_p, [C.c_int32]),
    "nib_model_options_init": (None, [C.POINTER(ModelOptions), C.c_size_t]),
    "nib_model_open": (C.c_int32, [C.c_char_p, C.POINTER(ModelOptions), C.POINTER(_PTR), _ERR]),
    "nib_model_free": (None, [_PTR]),
    "nib_model_get_info": (C.c_int32, [_PTR, C.POINTER(ModelInfo)]),
    "nib_tokenize": (C.c_int32, [_PTR, C.c_char_p, C.c_size_t, C.c_uint32, _I32S, C.c_size_t,
                                 _SIZE, _ERR]),
    "nib_detokenize": (C.c_int32, [_PTR, _I32S, C.c_size_t, C.c_uint32, C.c_char_p, C.c_size_t,
                                   _SIZE, _ERR]),
    "nib_token_special": (C.c_int32, [_PTR, C.c_uint32]),
    "nib_token_is_end": (C.c_int32, [_PTR, C.c_int32]),
    "nib_session_options_init": (None, [C.POINTER(SessionOptions), C.c_size_t]),
    "nib_session_memory": (C.c_int32, [_PTR, C.POINTER(SessionOptions), C.POINTER(C.c_uint64),
                                       _ERR]),
    "nib_session_new": (C.c_int32, [_PTR, C.POINTER(SessionOptions), C.POINTER(_PTR), _ERR]),
    "nib_session_free": (None, [_PTR]),
    "nib_session_fork": (C.c_int32, [_PTR, C.POINTER(_PTR), _ERR]),
    "nib_session_set_tokens": (C.c_int32, [_PTR, _I32S, C.c_size_t, _SIZE, _ERR]),
    "nib_session_append": (C.c_int32, [_PTR, _I32S, C.c_size_t, _ERR]),
    "nib_session_truncate": (C.c_int32, [_PTR, C.c_size_t, _ERR]),
    "nib_session_tokens": (C.c_int32, [_PTR, C.POINTER(_I32S), _SIZE, _SIZE]),
    "nib_session_eval": (C.c_int32, [_PTR, _ERR]),
    "nib_session_eval_logits": (C.c_int32, [_PTR, _I32S, C.c_size_t, C.c_uint32,
                                            C.POINTER(C.c_float), _ERR]),
    "nib_session_logits": (C.c_int32, [_PTR, C.POINTER(_PTR), _SIZE, _ERR]),
    "nib_session_set_source": (C.c_int32, [_PTR, _I32S, C.c_size_t, _ERR]),
    "nib_session_cancel": (None, [_PTR]),
    "nib_session_save": (C.c_int32, [_PTR, C.c_char_p, _ERR]),
    "nib_session_load": (C.c_int32, [_PTR, C.c_char_p, _ERR]),
    "nib_session_get_stats": (C.c_int32, [_PTR, C.POINTER(SessionStats)]),
    "nib_complete_options_init": (None, [C.POINTER(CompleteOptions), C.c_size_t]),
    "nib_complete_begin": (C.c_int32, [_PTR, C.c_char_p, C.c_size_t, C.POINTER(CompleteOptions),
                                       _ERR]),
    "nib_complete_begin_tokens": (C.c_int32, [_PTR, C.POINTER(CompleteOptions), _ERR]),
    "nib_session_step": (C.c_int32, [_PTR, C.c_uint64, C.POINTER(Step), _ERR]),
    "nib_beam_options_init": (None, [C.POINTER(BeamOptions), C.c_size_t]),
    "nib_beam_begin": (C.c_int32, [_PTR, C.c_char_p, C.c_size_t, C.POINTER(BeamOptions), _ERR]),
    "nib_beam_begin_tokens": (C.c_int32, [_PTR, C.POINTER(BeamOptions), _ERR]),
    "nib_beam_get_result": (C.c_int32, [_PTR, C.c_uint32, C.POINTER(BeamResult), _ERR]),
    "nib_batch_options_init": (None, [C.POINTER(BatchOptions), C.c_size_t]),
    "nib_batch_new": (C.c_int32, [_PTR, C.POINTER(BatchOptions), C.POINTER(_PTR), _ERR]),
    "nib_batch_free": (None, [_PTR]),
    "nib_batch_step": (C.c_int32, [_PTR, C.POINTER(_PTR), C.c_size_t, C.c_uint64, C.POINTER(Step),
                                   _I32S, C.POINTER(Error), _ERR]),
    "nib_batch_cancel": (None, [_PTR]),
    "nib_fim_init": (None, [C.POINTER(Fim), C.c_size_t]),
    "nib_fim_build": (C.c_int32, [_PTR, C.POINTER(Fim), _I32S, C.c_size_t, _SIZE, _ERR]),
    "nib_fim_begin": (C.c_int32, [_PTR, C.POINTER(Fim), C.POINTER(CompleteOptions), _ERR]),
}


def _candidates() -> List[str]:
    here = Path(__file__).resolve()
    places = [here.parent / "libnibble.so"]
    if len(here.parents) > 3:  # the repository: examples/python/nibble/_ffi.py
        places.append(here.parents[3] / "build" / "libnibble.so")
    return [str(p) for p in places if p.exists()] + ["libnibble.so.0"]


def _load() -> Any:
    named = os.environ.get("NIBBLE_LIBRARY")
    failures = []
    for path in [named] if named else _candidates():
        try:
            library = C.CDLL(path)
            break
        except OSError as error:
            failures.append(str(error))
    else:
        raise ImportError("libnibble not found (set NIBBLE_LIBRARY): " + "; ".join(failures))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


lib: Any = _load()


def check(status: int, err: Optional[Error] = None) -> None:
    """Raises the exception of `status` unless it is OK."""
    if status == OK:
        return
    if err is not None and err.code == status:
        text = err.text.decode("utf-8", "replace")
        offset = err.offset if err.offset not in (0, NO_OFFSET) else None
    else:
        text, offset = lib.nib_status_str(status).decode(), None
    raise BY_CODE.get(status, NibbleError)(text, offset)


class Handle:
    """Owns a model or session: freed when the last object that uses it is gone."""

    def __init__(self, pointer: int, free: Any, keep: Any = None) -> None:
        self.pointer = pointer
        self._free = free
        self._keep = keep

    def __del__(self) -> None:
        pointer, self.pointer = getattr(self, "pointer", None), 0
        if pointer:
            self._free(pointer)
