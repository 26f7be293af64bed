"""The list of runs in a folder: the first and the last record of each file, in bounded time and memory."""

from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import DataError
from agentrm_tui.runs.codec import decode_alone
from agentrm_tui.runs.events import RunFinished, RunStarted
from agentrm_tui.runs.store import open_regular, runs_folder

_TAIL = 1 << 20
"""Bytes at the end of a file that hold its last record."""

_LONGEST_FIRST = 8 << 20
"""Bytes of a first record that a list reads at most."""

_UNPACKED = 256 << 20
"""Bytes of a compressed file that a list unpacks at most."""


class RunSummary(NamedTuple):
    """One line of the list of runs.

    Attributes:
        finished: The last event, where the run ended; None for a run that was killed or is still going.
        problem: Why the file cannot be read; empty when it can.
        changed: When the file was last written, UTC.
    """

    path: Path
    started: RunStarted | None
    finished: RunFinished | None
    problem: str
    changed: datetime
    size_bytes: int


def list_runs(folder: Path | None = None) -> list[RunSummary]:
    """List the run files of a folder, newest first; what cannot be read is listed with the reason."""
    place = folder or runs_folder()
    files = [*place.glob("*.jsonl"), *place.glob("*.jsonl.gz")] if place.is_dir() else []
    return sorted((summary_of(file) for file in files), key=lambda run: (run.changed, run.path.name), reverse=True)


def summary_of(path: Path) -> RunSummary:
    """What the list says of one file."""
    changed, size = datetime.fromtimestamp(0, UTC), 0
    try:
        status = path.stat()
        changed, size = datetime.fromtimestamp(status.st_mtime, UTC), status.st_size
        first, last = _ends(path)
        started = decode_alone(first)
        if not isinstance(started, RunStarted):
            raise DataError("not a run file of agentrm-tui")
        finished = decode_alone(last) if b'"type":"run_finished"' in last else None
    except DataError as error:
        return RunSummary(path, None, None, str(error), changed, size)
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return RunSummary(path, None, None, f"cannot be read ({reason})", changed, size)
    return RunSummary(path, started, finished if isinstance(finished, RunFinished) else None, "", changed, size)


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first and the last complete line."""
    with open_regular(path) as file:
        first = file.readline(_LONGEST_FIRST)
        if not first.endswith(b"\n"):
            raise DataError("not a run file of agentrm-tui: it has no complete first record")
        if isinstance(file, gzip.GzipFile):
            tail = _unpacked_tail(file)
        else:
            file.seek(max(0, path.stat().st_size - _TAIL))
            tail = file.read(2 * _TAIL)
    lines = tail.split(b"\n")
    return first[:-1], lines[-2] if len(lines) > 1 else b""


def _unpacked_tail(file: gzip.GzipFile) -> bytes:
    tail, unpacked = b"", 0
    while part := file.read(_TAIL):
        tail, unpacked = tail[-_TAIL:] + part, unpacked + len(part)
        if unpacked > _UNPACKED:
            raise DataError(f"more than {_UNPACKED >> 20} MB unpacked: too large for a list; replay reads it")
    return tail
