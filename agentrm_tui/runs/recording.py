"""A run file in which one can move: it keeps where each record lies, and reads it again when it is asked for."""

from __future__ import annotations

import gzip
import os
from array import array
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from agentrm_models.errors import DataError
from agentrm_tui.runs.codec import decode_alone
from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.runs.store import RunReader, open_regular

_AT_ONCE = 1_000_000
"""Bytes of one poll: a screen answers keys between two of them."""

_UNPACKED = 8 << 30
"""Bytes of a compressed file that are unpacked at most."""


class Recording(RunReader):
    """Reads a run file like `RunReader`, and any event of it again.

    A compressed file is unpacked into a temporary one without a name, as it is read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _AT_ONCE)
        self._ends = array("q", [0])
        self._file: BinaryIO | None = None

    @property
    def share(self) -> float:
        """How much of the file is read, in [0, 1]."""
        try:
            whole = self.path.stat().st_size
            packed = self._packed.fileobj.tell() if isinstance(self._packed, gzip.GzipFile) else None
        except (OSError, ValueError):
            return 1.0
        done = self.complete if packed is None else packed
        return min(1.0, done / whole) if whole else 1.0

    def size(self, number: int) -> int:
        """Bytes of event `number`."""
        return self._ends[number + 1] - self._ends[number]

    def read(self, number: int) -> AnyEvent:
        """Event `number` (from 0), which was polled before.

        Raises:
            DataError: The file was changed meanwhile.
        """
        if self._file is None:
            raise IndexError(number)
        start, end = self._ends[number], self._ends[number + 1]
        try:
            line = os.pread(self._file.fileno(), end - start - 1, start)
            return decode_alone(line)
        except OSError as error:
            raise DataError(f"{self.place(number)}: cannot be read ({error.strerror or error})") from None
        except DataError as error:
            raise DataError(f"{self.place(number)} was changed after it was read: {error.cause}") from None

    def _read(self) -> bytes:
        packed = self.path.suffix == ".gz"
        data = super()._read()
        try:
            if self._file is None:
                self._file = self._temporary() if packed else open_regular(self.path)
            if packed:
                self._keep(data, self._file)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be unpacked ({error.strerror or error})") from None
        return data

    def _temporary(self) -> BinaryIO:
        descriptor, name = mkstemp(prefix="agentrm-")
        Path(name).unlink()
        return os.fdopen(descriptor, "r+b", buffering=0)

    def _keep(self, data: bytes, file: BinaryIO) -> None:
        if file.tell() + len(data) > _UNPACKED:
            raise DataError(f"{self.path}: more than {_UNPACKED >> 30} GB unpacked", "Unpack it with gunzip first.")
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]

    def _decode(self, line: bytes) -> AnyEvent:
        event = super()._decode(line)
        self._ends.append(self.complete)
        return event
