# SPDX-License-Identifier: MIT
"""Sessions: a stream of tokens with its KV cache, and completions as iterators."""

import ctypes as C
import os
import threading
from contextlib import contextmanager
from types import TracebackType
from typing import (Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type,
                    Union)

from . import _ffi
from ._errors import StateError
from .beam import BeamText, options_of, results_of
from .model import Model, as_bytes, int32_array

KV_TYPES = {"f16": 0, "q8": 1}
LAYOUTS = {"default": 0, "line": 1, "prefix": 2}
STOP_REASONS = ("none", "end", "length", "stop", "line", "indent", "suffix", "time", "context")
SLICE_US = 20000  # a step returns after about that long, so that Ctrl-C is noticed


class Stats(NamedTuple):
    n_threads: int
    n_prefill: int
    n_decode: int
    n_reused: int
    prefill_ns: int
    decode_ns: int
    sample_ns: int
    memory_bytes: int


class Token(NamedTuple):
    id: int
    logprob: float
    top: Tuple[Tuple[int, float], ...]  # the most likely tokens with their log probabilities


def _float_array(address: int, count: int, owner: Any) -> Any:
    """Floats inside the library as a buffer that keeps their owner alive."""
    kind: Any = type("Floats", (C.c_float * count,), {})  # a subclass, so that it can have `owner`
    array = kind.from_address(address)
    array.owner = owner
    return array


def _view(array: Any, shape: Sequence[int]) -> "memoryview[float]":
    flat = memoryview(array).cast("B")
    return flat.cast("f", shape=list(shape)).toreadonly()


class Session:
    """One stream of tokens, for one thread at a time.

    >>> with model.session() as session:
    ...     print(session.text("def add(a, b):", max_tokens=16))
    """

    def __init__(self, model: Model, *, ctx: int = 0, threads: Optional[int] = None,
                 kv: str = "f16", batch: int = 0, _pointer: Optional[int] = None) -> None:
        self._model = model.handle
        self._handle: Optional[_ffi.Handle] = None
        self._lock = threading.Lock()
        if _pointer is None:
            from .model import cpu_count
            if kv not in KV_TYPES:
                raise ValueError(f"kv {kv!r}: expected f16 or q8")
            options = _ffi.SessionOptions()
            _ffi.lib.nib_session_options_init(C.byref(options), C.sizeof(options))
            options.n_ctx, options.n_batch, options.kv_type = ctx, batch, KV_TYPES[kv]
            options.n_threads = threads if threads is not None else cpu_count()
            pointer, err = C.c_void_p(), _ffi.Error()
            _ffi.check(_ffi.lib.nib_session_new(self._model.pointer, C.byref(options),
                                                C.byref(pointer), C.byref(err)), err)
            _pointer = pointer.value
        assert _pointer is not None
        self._parent = model
        self._handle = _ffi.Handle(_pointer, _ffi.lib.nib_session_free)

    # ---- life -----------------------------------------------------------------------------------

    @contextmanager
    def _busy(self) -> Iterator[int]:
        """The pointer, for the length of one call; a session belongs to one thread at a time."""
        if not self._lock.acquire(blocking=False):
            raise StateError("the session is in use by another thread")
        try:
            if self._handle is None:
                raise StateError("the session is closed")
            yield self._handle.pointer
        finally:
            self._lock.release()

    def close(self) -> None:
        """Stops a call that another thread has running, then frees the session. Closing twice is
        allowed."""
        self.cancel()
        with self._lock:
            self._handle = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    def fork(self) -> "Session":
        """A second session with the same tokens and cache, that then goes its own way."""
        pointer, err = C.c_void_p(), _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_fork(session, C.byref(pointer), C.byref(err)), err)
        return Session(self._parent, _pointer=pointer.value)

    def cancel(self) -> None:
        """Makes the running call, or the next one, raise CancelledError. From any thread."""
        handle = self._handle
        if handle is not None:
            _ffi.lib.nib_session_cancel(handle.pointer)

    # ---- tokens ---------------------------------------------------------------------------------

    @property
    def tokens(self) -> List[int]:
        ids, count = C.POINTER(C.c_int32)(), C.c_size_t()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_tokens(session, C.byref(ids), C.byref(count), None))
            return list(ids[:count.value]) if count.value else []

    def set_tokens(self, ids: Sequence[int]) -> int:
        """Replaces the stream; returns how many tokens of it are still in the cache."""
        reused, err = C.c_size_t(), _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_set_tokens(session, int32_array(ids), len(ids),
                                                       C.byref(reused), C.byref(err)), err)
        return reused.value

    def set_source(self, ids: Sequence[int]) -> None:
        """What the decoder of an encoder-decoder looks at; complete() and beam_search() with a prompt
        do this themselves."""
        err = _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_set_source(session, int32_array(ids), len(ids),
                                                       C.byref(err)), err)

    def append(self, ids: Sequence[int]) -> None:
        err = _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_append(session, int32_array(ids), len(ids),
                                                   C.byref(err)), err)

    def truncate(self, n_tokens: int) -> None:
        err = _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_truncate(session, n_tokens, C.byref(err)), err)

    def eval(self) -> None:
        """Evaluates the tokens that are not in the cache yet."""
        err = _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_eval(session, C.byref(err)), err)

    def logits(self) -> "memoryview[float]":
        """Scores of every token after the last one: a read-only view of the session's own memory,
        not a copy. The next call on the session overwrites it. numpy.asarray(view) does not copy
        either."""
        pointer, count, err = C.c_void_p(), C.c_size_t(), _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_logits(session, C.byref(pointer), C.byref(count),
                                                   C.byref(err)), err)
            assert pointer.value is not None
            return _view(_float_array(pointer.value, count.value, self._handle), [count.value])

    def eval_logits(self, ids: Sequence[int], *, stepwise: bool = False) -> "memoryview[float]":
        """Appends ids; returns float32 [len(ids)][vocabulary], the logits after each."""
        if not ids:
            raise ValueError("no ids")
        n_vocab, err = self._parent.info.n_vocab, _ffi.Error()
        out = (C.c_float * (len(ids) * n_vocab))()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_eval_logits(session, int32_array(ids), len(ids),
                                                        1 if stepwise else 0, out, C.byref(err)),
                       err)
        return _view(out, [len(ids), n_vocab])

    def save(self, path: Union[str, "os.PathLike[str]"]) -> None:
        err = _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_save(session, os.fsencode(path), C.byref(err)), err)

    def load(self, path: Union[str, "os.PathLike[str]"]) -> None:
        err = _ffi.Error()
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_load(session, os.fsencode(path), C.byref(err)), err)

    @property
    def stats(self) -> Stats:
        raw = _ffi.SessionStats()
        raw.struct_size = C.sizeof(raw)
        with self._busy() as session:
            _ffi.check(_ffi.lib.nib_session_get_stats(session, C.byref(raw)))
        return Stats(*(int(getattr(raw, name)) for name in Stats._fields))

    # ---- completion -----------------------------------------------------------------------------

    def complete(self, prompt: Union[str, bytes, None] = None, **options: Any) -> "Completion":
        """Continues `prompt` (None: the tokens the session holds). Options as in the C struct:
        max_tokens, temperature, top_k, top_p, min_p, typical_p, repeat_penalty, frequency_penalty,
        presence_penalty, penalty_window, seed, single_line, stop_indent, stop_suffix, max_time_ms,
        n_logprobs, ignore_end; and stop=[texts], bias={id: number}."""
        native, keep = _complete_options(options)
        err = _ffi.Error()
        with self._busy() as session:
            if prompt is None:
                status = _ffi.lib.nib_complete_begin_tokens(session, C.byref(native), C.byref(err))
            else:
                data = as_bytes(prompt)
                status = _ffi.lib.nib_complete_begin(session, data, len(data), C.byref(native),
                                                     C.byref(err))
        del keep
        _ffi.check(status, err)
        return Completion(self, native.n_logprobs)

    def fill(self, prefix: Union[str, bytes], suffix: Union[str, bytes], *,
             layout: str = "default", repo: Union[str, bytes] = "", path: Union[str, bytes] = "",
             files: Sequence[Tuple[Union[str, bytes], Union[str, bytes]]] = (),
             prompt_tokens: int = 0, language: Union[str, bytes] = "",
             **options: Any) -> "Completion":
        """Fills in between prefix and suffix. files: (path, content) of other files, least relevant
        first. language: "python", "java" ... for PLBART. Further options as in complete()."""
        native, keep = _complete_options(options)
        fim, fim_keep = _fim(prefix, suffix, layout, repo, path, files, prompt_tokens, language)
        err = _ffi.Error()
        with self._busy() as session:
            status = _ffi.lib.nib_fim_begin(session, C.byref(fim), C.byref(native), C.byref(err))
        del keep, fim_keep
        _ffi.check(status, err)
        return Completion(self, native.n_logprobs)

    def text(self, prompt: Union[str, bytes], **options: Any) -> str:
        """The whole completion of `prompt` at once."""
        with self.complete(prompt, **options) as pieces:
            return "".join(pieces)


    def beam_search(self, prompt: Union[str, bytes, None] = None, *, beams: int = 4,
                    max_tokens: int = 128, results: int = 1, length_penalty: float = 1.0,
                    early_stopping: Union[bool, str] = False,
                    end_ids: Sequence[int] = (), min_tokens: int = 0, no_repeat_ngram: int = 0,
                    repetition_penalty: float = 0.0, model_rules: bool = True) -> List[BeamText]:
        """The likeliest texts after `prompt` (None: after the tokens the session holds), best first.
        Of an encoder-decoder the prompt is what it reads. length_penalty and early_stopping (False,
        True or "never") as in transformers' generate(); end_ids: instead of the model's own. The rules
        of generation_config.json apply, but for those given here, or unless model_rules is False."""
        native, err = options_of(beams, max_tokens, results, length_penalty, early_stopping,
                                 end_ids, min_tokens, no_repeat_ngram, repetition_penalty,
                                 model_rules), _ffi.Error()
        with self._busy() as session:
            if prompt is None:
                status = _ffi.lib.nib_beam_begin_tokens(session, C.byref(native), C.byref(err))
            else:
                data = as_bytes(prompt)
                status = _ffi.lib.nib_beam_begin(session, data, len(data), C.byref(native),
                                                 C.byref(err))
        _ffi.check(status, err)
        for _ in Completion(self, 0):
            pass
        return results_of(self)


_NUMBERS = {field[0]: field[1] for field in _ffi.CompleteOptions._fields_
            if field[0] not in ("struct_size", "bias", "n_bias", "stops", "n_stops")}


def _complete_options(options: Mapping[str, Any]) -> Tuple[Any, List[Any]]:
    native, keep = _ffi.CompleteOptions(), []  # type: Any, List[Any]
    _ffi.lib.nib_complete_options_init(C.byref(native), C.sizeof(native))
    for name, value in options.items():
        if name in _NUMBERS:
            if value < 0 and _NUMBERS[name] is not C.c_float:
                raise ValueError(f"{name}: {value} is negative")
            setattr(native, name, value)
        elif name == "stop":
            texts = [as_bytes(t) for t in ([value] if isinstance(value, (str, bytes)) else value)]
            stops = (_ffi.Text * len(texts))(*(_ffi.text_of(t) for t in texts))
            native.stops, native.n_stops = stops, len(texts)
            keep += [texts, stops]
        elif name == "bias":
            pairs: Dict[int, float] = dict(value)
            biases = (_ffi.LogitBias * len(pairs))(*(_ffi.LogitBias(*p) for p in pairs.items()))
            native.bias, native.n_bias = biases, len(pairs)
            keep.append(biases)
        else:
            raise TypeError(f"unknown option {name!r}")
    return native, keep


def _fim(prefix: Union[str, bytes], suffix: Union[str, bytes], layout: str, repo: Union[str, bytes],
         path: Union[str, bytes], files: Sequence[Tuple[Union[str, bytes], Union[str, bytes]]],
         prompt_tokens: int, language: Union[str, bytes]) -> Tuple[Any, List[Any]]:
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    fim, keep = _ffi.Fim(), []  # type: Any, List[Any]
    _ffi.lib.nib_fim_init(C.byref(fim), C.sizeof(fim))
    fim.layout, fim.max_tokens = LAYOUTS[layout], prompt_tokens
    for name, text in (("prefix", prefix), ("suffix", suffix), ("repo", repo), ("path", path),
                       ("language", language)):
        data = as_bytes(text)
        keep.append(data)
        setattr(fim, name, _ffi.text_of(data))
    pairs = [(as_bytes(p), as_bytes(c)) for p, c in files]
    array = (_ffi.FimFile * len(pairs))(*(_ffi.FimFile(_ffi.text_of(p), _ffi.text_of(c))
                                           for p, c in pairs))
    fim.files, fim.n_files = array, len(pairs)
    return fim, keep + [pairs, array]


class Completion:
    """Iterates over pieces of text, each of them whole characters. Leaving the `with` block (or
    close()) ends the work at once: nothing runs between two pieces.

    Bytes that are not UTF-8 come as surrogates ("surrogateescape"). `tokens` grows as pieces come;
    `stop_reason` is set at the end.
    """

    def __init__(self, session: Session, n_logprobs: int) -> None:
        self._session: Optional[Session] = session
        self._n_logprobs = int(n_logprobs)
        self._step = _ffi.Step()
        self._step.struct_size = C.sizeof(self._step)
        self.tokens: List[Token] = []
        self.stop_reason = "none"
        self.held = ""  # text that a batch could not hand out yet

    def __iter__(self) -> "Completion":
        return self

    def __next__(self) -> str:
        err, step = _ffi.Error(), self._step
        while self._session is not None:
            with self._session._busy() as session:
                status = _ffi.lib.nib_session_step(session, SLICE_US, C.byref(step), C.byref(err))
                if status != _ffi.OK:
                    self._session = None
                    _ffi.check(status, err)
                text = self.take(step)
            if text:
                return text
        raise StopIteration

    @property
    def session(self) -> Optional[Session]:
        """None once the completion is over."""
        return self._session

    def take(self, step: Any) -> str:
        """Notes what a step brought and returns its text; called while the session is held."""
        text = C.string_at(step.text, step.text_len) if step.text_len else b""
        self._take_tokens(step)
        if step.done:
            reason = step.stop_reason
            self.stop_reason = STOP_REASONS[reason] if reason < len(STOP_REASONS) else "unknown"
            self._session = None
        return str(text, "utf-8", "surrogateescape")

    def _take_tokens(self, step: Any) -> None:
        n = self._n_logprobs
        for i in range(step.n_tokens):
            token, best = step.tokens[i], step.top[i * n:(i + 1) * n] if n else []
            top = tuple((int(t.id), float(t.logprob)) for t in best)
            self.tokens.append(Token(int(token.id), float(token.logprob), top))

    def close(self) -> None:
        """Ends the completion; the session is free for the next one."""
        self._session = None

    def __enter__(self) -> "Completion":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()
