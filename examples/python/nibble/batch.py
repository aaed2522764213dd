# SPDX-License-Identifier: MIT
"""Many completions at once: one pass over the weights gives each of them its next token."""

import ctypes as C
from contextlib import ExitStack
from types import TracebackType
from typing import List, Optional, Sequence, Type

from . import _ffi
from .model import Model, cpu_count
from .session import Completion


class Batch:
    """Threads and memory for steps of many sessions of one model, for one thread at a time.

    >>> with model.session(threads=1) as first, nibble.Batch(model) as batch:
    ...     first.set_tokens(model.tokenize("def fib(n):"))
    ...     first.eval()
    ...     sessions = [first] + [first.fork() for _ in range(3)]
    ...     print(batch.texts([s.complete(temperature=0.8, seed=i) for i, s in enumerate(sessions)]))

    The texts are those that each session would give on its own.
    """

    def __init__(self, model: Model, *, threads: Optional[int] = None, rows: int = 0) -> None:
        options, err, pointer = _ffi.BatchOptions(), _ffi.Error(), C.c_void_p()
        _ffi.lib.nib_batch_options_init(C.byref(options), C.sizeof(options))
        options.n_threads = threads if threads is not None else cpu_count()
        options.max_rows = rows
        self._model = model.handle
        self._handle: Optional[_ffi.Handle] = None
        _ffi.check(_ffi.lib.nib_batch_new(self._model.pointer, C.byref(options), C.byref(pointer),
                                          C.byref(err)), err)
        assert pointer.value is not None
        self._handle = _ffi.Handle(pointer.value, _ffi.lib.nib_batch_free)

    def close(self) -> None:
        self._handle = None

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    def cancel(self) -> None:
        """Makes the running step, or the next one, raise CancelledError. From any thread."""
        if self._handle is not None:
            _ffi.lib.nib_batch_cancel(self._handle.pointer)

    def step(self, completions: Sequence[Completion], budget_us: int = 0) -> List[str]:
        """The next piece of text of each completion, "" where there is none; finished ones are left
        out of the work. Raises what happened to the first session that failed; what the others
        brought comes with the next step."""
        if self._handle is None:
            raise ValueError("the batch is closed")
        pieces = [c.held if c.session is None else "" for c in completions]
        for completion in completions:
            if completion.session is None:
                completion.held = ""
        active = [i for i, c in enumerate(completions) if c.session is not None]
        if not active:
            return pieces
        n, err = len(active), _ffi.Error()
        steps, statuses = (_ffi.Step * n)(), (C.c_int32 * n)()
        errors, sessions = (_ffi.Error * n)(), (C.c_void_p * n)()
        steps[0].struct_size = C.sizeof(_ffi.Step)
        with ExitStack() as stack:
            for k, i in enumerate(active):
                session = completions[i].session
                assert session is not None
                sessions[k] = stack.enter_context(session._busy())
            _ffi.check(_ffi.lib.nib_batch_step(self._handle.pointer, sessions, n, budget_us, steps,
                                               statuses, errors, C.byref(err)), err)
            for k, i in enumerate(active):
                if statuses[k] == _ffi.OK:
                    pieces[i] = completions[i].held + completions[i].take(steps[k])
                    completions[i].held = ""
        for k in range(n):
            if statuses[k] != _ffi.OK:
                for piece, completion in zip(pieces, completions):
                    completion.held += piece
            _ffi.check(statuses[k], errors[k])
        return pieces

    def texts(self, completions: Sequence[Completion]) -> List[str]:
        """The whole text of each completion."""
        texts = [""] * len(completions)
        while any(c.session is not None or c.held for c in completions):
            texts = [text + piece for text, piece in zip(texts, self.step(completions))]
        return texts
