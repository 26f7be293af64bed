"""Run files: append-only JSON lines, flushed at each event, read while they grow."""

from __future__ import annotations

import gzip
import os
import re
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import DataError
from agentrm_models.typed_path import typed_path
from agentrm_tui.runs.codec import Codec
from agentrm_tui.runs.events import AnyEvent, RunFinished, RunStarted
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState, apply

RUNS_VARIABLE = "AGENTRM_RUNS"
"""Environment variable that names another folder for run files."""

_TAIL = 1 << 20

FIRST_WORDS = b'{"type":"run_started"'
"""Every run file begins so."""


class RunReader:
    """Reads a run file, also one that is still being written: each `poll` returns what is new.

    A last line without line break is torn or not finished yet: it waits, and `notice` names it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.codec = Codec()
        self.complete = 0
        """Bytes of complete lines read so far: where a writer goes on."""
        self._rest = b""
        self._lines = 0
        self._events = 0

    @property
    def notice(self) -> str:
        """A line for the person when the file ends in a torn line; empty otherwise."""
        if not self._rest:
            return ""
        return f"{self.path}: line {self._lines + 1} is cut off ({len(self._rest)} bytes); it was skipped"

    @property
    def begins_like_a_run(self) -> bool:
        """Whether what was read of a first line is the beginning of a run's."""
        return self._lines == 0 and self._rest.startswith(FIRST_WORDS)

    @property
    def events(self) -> int:
        """Number of events read so far."""
        return self._events

    def poll(self) -> list[AnyEvent]:
        """Read the events written since the last call.

        Raises:
            DataError: The file is missing, not a run file, from a newer version, or damaged; names file and line.
        """
        lines = (self._rest + self._read()).split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            self._lines += 1
            self.complete += len(line) + 1
            event = self._decode(line)
            if event is not None:
                events.append(event)
                self._events += 1
        return events

    def _read(self) -> bytes:
        try:
            if self.path.suffix == ".gz":
                if self._lines:
                    return b""
                with gzip.open(self.path) as packed:
                    return packed.read()
            with self.path.open("rb") as file:
                file.seek(self.complete + len(self._rest))
                return file.read()
        except (EOFError, gzip.BadGzipFile) as error:
            raise DataError(f"{self.path}: not a complete gzip file ({error})") from None
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _decode(self, line: bytes) -> AnyEvent | None:
        where = f"{self.path}, line {self._lines}"
        try:
            event = self.codec.decode(line)
        except DataError as error:
            if self._events or error.remedy:
                raise DataError(f"{where}: {error.cause}", error.remedy) from None
            raise DataError(f"{where}: not a run file of agentrm-tui: {error.cause}") from None
        if self._events == 0 and not isinstance(event, RunStarted):
            raise DataError(f"{where}: not a run file of agentrm-tui: it does not begin with run_started")
        return event


class RunWriter:
    """Appends events to a run file; each is in the operating system's hands before `append` returns.

    A file that exists is gone on with: its torn last line is cut away. Only one writer at a time has a file.

    Raises:
        DataError: The file exists and is not a run file, cannot be written, or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            reader = RunReader(path)
            if path.suffix == ".gz":
                raise DataError(f"{path}: a compressed run cannot be gone on with", "Unpack it with gunzip first.")
            self._file = path.open("r+b" if path.exists() else "xb", buffering=0)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
            reader.poll()
            self._codec, self._number = reader.codec, reader.events
            self._file.truncate(reader.complete)
            self._file.seek(reader.complete)
        except BlockingIOError:
            self._file.close()
            raise DataError(f"{path} is being written by another process", "Wait for it, or attach to it.") from None
        except OSError as error:
            self._file.close()
            raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
        except DataError:
            self._file.close()
            raise

    @property
    def events(self) -> int:
        """Number of events in the file."""
        return self._number

    def append(self, event: AnyEvent) -> int:
        """Write one event and return its number in the file (0-based)."""
        lines = memoryview(self._codec.encode(event))
        try:
            while lines:
                lines = lines[self._file.write(lines) or 0 :]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        self._number += 1
        return self._number - 1

    def close(self) -> None:
        """Close the file; it can be gone on with by a new writer. A file without any event is taken away."""
        self._file.close()
        if self._number == 0:
            self.path.unlink(missing_ok=True)


def read_run(path: Path) -> tuple[list[AnyEvent], str]:
    """Read a whole run file; the notice says whether its last line was torn.

    Raises:
        DataError: See `RunReader.poll`; also for a file without any event.
    """
    reader = RunReader(path)
    events = reader.poll()
    if not events:
        ours = reader.begins_like_a_run
        what = "a run file that is cut off in its first line" if ours else "not a run file of agentrm-tui"
        raise DataError(f"{path}: {what}: it holds no event")
    return events, reader.notice


def load_state(path: Path) -> RunState:
    """Read a run file and reduce it to the state it ended in.

    Raises:
        DataError: See `read_run`; also when events do not fit together.
    """
    state = RunState()
    for event in read_run(path)[0]:
        try:
            apply(state, event)
        except DataError as error:
            raise DataError(f"{path}: {error.cause}", error.remedy) from None
    return state


def runs_folder() -> Path:
    """Where run files are kept: the user's data folder, or what AGENTRM_RUNS names (UsageError: no path)."""
    named = os.environ.get(RUNS_VARIABLE)
    if named:
        return typed_path(named)
    from platformdirs import user_data_path

    return user_data_path("agentrm-tui") / "runs"


def new_run_path(plan: RunPlan) -> Path:
    """A name that is free in the runs folder: time, environment and algorithm."""
    time = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    environment = re.sub(r"[^\w-]", "-", plan.environment)[:40]
    stem = f"{time}-{environment}-{plan.search.algorithm}"
    folder = runs_folder()
    path, count = folder / f"{stem}.jsonl", 2
    while path.exists():
        path, count = folder / f"{stem}-{count}.jsonl", count + 1
    return path


class RunSummary(NamedTuple):
    """One line of the list of runs.

    Attributes:
        finished: The last event, where the run ended; None for a run that was killed or still goes on.
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
    """List the run files of a folder, newest first, reading only the first and the last line of each."""
    place = folder or runs_folder()
    files = [*place.glob("*.jsonl"), *place.glob("*.jsonl.gz")] if place.is_dir() else []
    return sorted((_summary(file) for file in files), key=lambda run: (run.changed, run.path.name), reverse=True)


def _summary(path: Path) -> RunSummary:
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime, UTC)
    try:
        first, last = _ends(path)
        started = Codec().decode(first)
        if not isinstance(started, RunStarted):
            raise DataError("not a run file of agentrm-tui")
        finished = Codec().decode(last) if b'"type":"run_finished"' in last else None
    except DataError as error:
        return RunSummary(path, None, None, str(error), changed, status.st_size)
    return RunSummary(
        path, started, finished if isinstance(finished, RunFinished) else None, "", changed, status.st_size
    )


def _ends(path: Path) -> tuple[bytes, bytes]:
    """The first and the last complete line."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                lines = packed.read().split(b"\n")
            return lines[0], lines[-2] if len(lines) > 1 else b""
        with path.open("rb") as file:
            first = file.readline()
            file.seek(max(0, path.stat().st_size - _TAIL))
            tail = file.read().split(b"\n")
        return first, tail[-2] if len(tail) > 1 else b""
    except (OSError, EOFError) as error:
        raise DataError(f"cannot be read ({error})") from None
