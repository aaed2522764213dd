# SPDX-License-Identifier: MIT
"""One exception class per status of the library."""

from typing import Dict, Optional, Type


class NibbleError(Exception):
    """A call failed. `code` is the status, `offset` a byte position in a file or None."""

    code = 0

    def __init__(self, text: str, offset: Optional[int] = None) -> None:
        super().__init__(text if offset is None else f"{text} (at byte {offset})")
        self.offset = offset


class ArgumentError(NibbleError, ValueError):
    code = -1


class OutOfMemoryError(NibbleError, MemoryError):
    code = -2


class CancelledError(NibbleError):
    code = -3


class LimitError(NibbleError):
    code = -4


class StateError(NibbleError):
    code = -5


class ThreadError(NibbleError):
    code = -6


class InputOutputError(NibbleError):
    code = -20


class FormatError(NibbleError):
    code = -21


class UnsupportedError(NibbleError):
    code = -22


class MismatchError(NibbleError):
    code = -23


BY_CODE: Dict[int, Type[NibbleError]] = {c.code: c for c in NibbleError.__subclasses__()}
