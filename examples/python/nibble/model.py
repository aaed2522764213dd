# SPDX-License-Identifier: MIT
"""Models: opening, inspecting, text to tokens and back."""

import ctypes as C
import os
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Type, Union

from . import _ffi
from ._errors import CancelledError, StateError

if TYPE_CHECKING:
    from .session import Session

PRECISIONS = {"default": 0, "exact": 1, "fast": 2, "f32": 3}
LOADS = ("stored", "f32", "f16", "bf16", "int8")
FIM_FAMILIES = ("none", "qwen", "starcoder", "santacoder", "starcoder2", "codellama", "codegemma",
                "deepseek", "codestral", "incoder", "codegen2", "generic", "t5", "byt5", "bart")
_SPECIAL = {"bos": 0, "eos": 1, "eot": 2, "pad": 3, "fim_prefix": 4, "fim_suffix": 5,
            "fim_middle": 6, "fim_pad": 7, "repo": 8, "file": 9, "unk": 10}


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself; `weight_bytes` is the memory its weights take."""

    name: str
    architecture: str
    formats: str
    tokenizer: str
    isa: str
    fim: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_vocab: int
    n_ctx_train: int
    n_params: int
    file_bytes: int
    weight_bytes: int
    kv_bytes_per_token: int


def as_bytes(text: Union[str, bytes]) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def int32_array(ids: Sequence[int]) -> Any:
    for i in ids:
        if not -(2**31) <= i < 2**31:
            raise ValueError(f"token id {i} does not fit 32 bits")
    return (C.c_int32 * len(ids))(*ids)


class Model:
    """An open model. Immutable: any number of threads and sessions may use it.

    >>> with Model("models/smollm2-135m.gguf") as model:
    ...     model.tokenize("int x;")
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, threads: Optional[int] = None,
                 precision: str = "default", isa: Optional[str] = None, weights: bool = True,
                 load: str = "stored",
                 cache_dir: Optional[Union[str, "os.PathLike[str]"]] = None,
                 progress: Optional[Callable[[float], Any]] = None) -> None:
        """weights=False reads metadata and tokenizer only. load: numbers in memory, "stored" (as in
        the file), "f32", "f16", "bf16" or "int8". cache_dir: a folder where packed weights of GGUF
        files are kept, so that they open at once the next time. progress(fraction) is called while
        loading; an exception raised in it cancels the load and comes out here."""
        options = _ffi.ModelOptions()
        _ffi.lib.nib_model_options_init(C.byref(options), C.sizeof(options))
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
        if load not in LOADS:
            raise ValueError(f"load {load!r}: expected one of {', '.join(LOADS)}")
        options.load = LOADS.index(load)
        options.flags = 0 if weights else 1
        options.n_threads = threads if threads is not None else cpu_count()
        options.precision = PRECISIONS[precision]
        options.isa = isa.encode() if isa is not None else None
        options.cache_dir = os.fsencode(cache_dir) if cache_dir is not None else None
        raised: List[BaseException] = []

        def on_progress(_user: Any, fraction: float) -> int:
            try:
                if progress is not None:
                    progress(fraction)
            except BaseException as error:  # comes out of the constructor
                raised.append(error)
            return 1 if raised else 0

        options.progress = _ffi.ProgressFunction(on_progress)
        pointer, err = C.c_void_p(), _ffi.Error()
        self._handle: Optional[_ffi.Handle] = None
        status = _ffi.lib.nib_model_open(os.fsencode(path), C.byref(options), C.byref(pointer),
                                         C.byref(err))
        if raised:
            if status == _ffi.OK:
                _ffi.lib.nib_model_free(pointer)
            raise raised[0]
        _ffi.check(status, err)
        assert pointer.value is not None
        self._handle = _ffi.Handle(pointer.value, _ffi.lib.nib_model_free)

    @property
    def handle(self) -> _ffi.Handle:
        if self._handle is None:
            raise StateError("the model is closed")
        return self._handle

    def close(self) -> None:
        """Sessions keep what they need. Closing twice is allowed."""
        self._handle = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    @property
    def info(self) -> ModelInfo:
        raw = _ffi.ModelInfo()
        raw.struct_size = C.sizeof(raw)
        _ffi.check(_ffi.lib.nib_model_get_info(self.handle.pointer, C.byref(raw)))
        family = int(raw.fim_family)
        fields: Dict[str, Any] = {"fim": FIM_FAMILIES[family] if family < len(FIM_FAMILIES)
                                  else "unknown"}
        for name in ModelInfo.__dataclass_fields__:
            if name != "fim":
                value = getattr(raw, name)
                text = isinstance(value, bytes)
                fields[name] = value.decode("utf-8", "replace") if text else value
        return ModelInfo(**fields)

    def tokenize(self, text: Union[str, bytes], *, bos: bool = False,
                 special: bool = False) -> List[int]:
        """bos: begin and end tokens where the model expects them. special: "<|endoftext|>" and the
        like become their token instead of plain text."""
        data, flags = as_bytes(text), (1 if bos else 0) | (2 if special else 0)
        cap, count, err = len(data) + 16, C.c_size_t(), _ffi.Error()
        while True:
            ids = (C.c_int32 * cap)()
            status = _ffi.lib.nib_tokenize(self.handle.pointer, data, len(data), flags, ids, cap,
                                           C.byref(count), C.byref(err))
            if status != -4 or count.value <= cap:
                break
            cap = count.value
        _ffi.check(status, err)
        return list(ids[:count.value])

    def detokenize(self, ids: Sequence[int], *, special: bool = False) -> bytes:
        """The exact bytes the ids stand for; they need not be valid UTF-8."""
        array, count, err = int32_array(ids), C.c_size_t(), _ffi.Error()
        flags = 2 if special else 0
        cap = 0
        while True:
            text = C.create_string_buffer(cap) if cap else None
            status = _ffi.lib.nib_detokenize(self.handle.pointer, array, len(ids), flags, text, cap,
                                             C.byref(count), C.byref(err))
            if status != -4 or count.value <= cap:
                break
            cap = count.value
        _ffi.check(status, err)
        return text.raw[:count.value] if text is not None else b""

    def special(self, which: str) -> Optional[int]:
        """Id of a special token: bos, eos, eot, pad, unk, fim_prefix, fim_suffix, ..."""
        token = int(_ffi.lib.nib_token_special(self.handle.pointer, _SPECIAL[which]))
        return token if token >= 0 else None

    def is_end(self, token: int) -> bool:
        return bool(_ffi.lib.nib_token_is_end(self.handle.pointer, token))

    def session(self, **options: Any) -> "Session":
        """A new Session on this model; see there for the options."""
        from .session import Session
        return Session(self, **options)


def inspect(path: Union[str, "os.PathLike[str]"]) -> ModelInfo:
    """What is in a model file, without loading its weights."""
    with Model(path, weights=False) as model:
        return model.info


def cpu_count() -> int:
    """CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


__all__ = ["CancelledError", "Model", "ModelInfo", "inspect"]
