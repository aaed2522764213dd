# SPDX-License-Identifier: MIT
"""nibble: complete code with a language model, on the CPU, inside this process.

    import nibble

    with nibble.Model("model.gguf") as model, model.session() as session:
        for piece in session.fill("def add(a, b):\\n    return ", "\\n", single_line=True):
            print(piece, end="")

The shared library is found through NIBBLE_LIBRARY, beside this package, in the repository's build
folder, or as an installed libnibble.so.0.
"""

from . import _ffi
from ._errors import (ArgumentError, CancelledError, FormatError, InputOutputError, LimitError,
                      MismatchError, NibbleError, OutOfMemoryError, StateError, ThreadError,
                      UnsupportedError)
from .batch import Batch
from .beam import BeamText
from .model import Model, ModelInfo, inspect
from .session import Completion, Session, Stats, Token


def version() -> str:
    """Version of the library that is running."""
    number = _ffi.lib.nib_version()
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def build_info() -> str:
    return str(_ffi.lib.nib_build_info().decode())


__all__ = ["ArgumentError", "Batch", "BeamText", "CancelledError", "Completion", "FormatError",
           "InputOutputError", "LimitError", "MismatchError", "Model", "ModelInfo", "NibbleError",
           "OutOfMemoryError", "Session", "Stats", "StateError", "ThreadError", "Token",
           "UnsupportedError", "build_info", "inspect", "version"]
