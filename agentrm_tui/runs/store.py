"""Run files: append-only JSON lines, flushed at each event, read while they grow, and never believed blindly."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import BinaryIO, cast

from agentrm_models.errors import DataError
from agentrm_models.typed_path import typed_path
from agentrm_tui.runs.codec import LONGEST_RECORD, Codec
from agentrm_tui.runs.events import AnyEvent, RunStarted
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState, apply

RUNS_VARIABLE = "AGENTRM_RUNS"
"""Environment variable that names another folder for run files."""

READ_AT_ONCE = 4_000_000
"""Bytes that one poll reads at most, so that a long file holds nobody up."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading that is an ordinary one: pipes and devices could block, or never end.

    Raises:
        DataError: It is something else, is missing, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DataError(f"{path} is no ordinary file")
        file: BinaryIO = os.fdopen(descriptor, "rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return cast("BinaryIO", gzip.open(file)) if path.suffix == ".gz" else file


class RunReader:
    """Reads a run file, also one that is still being written: each `poll` returns what is new.

    A last line without line break is torn or not finished yet: it waits, and `notice` names it meanwhile. Where a line
    is damaged, the events before it are returned first.

    Args:
        at_once: Bytes that one poll reads at most.

    Attributes:
        complete: Bytes of complete lines read so far: where a writer goes on.
        events: Number of events read so far.
        behind: Whether the last poll left something unread.
    """

    def __init__(self, path: Path, at_once: int = READ_AT_ONCE) -> None:
        self.path = path
        self.codec = Codec()
        self.at_once = at_once
        self.complete = 0
        self.events = 0
        self.behind = False
        self._rest = b""
        self._lines = 0
        self._packed: BinaryIO | None = None
        self._damage: DataError | None = None

    @property
    def notice(self) -> str:
        """A line for the person when the file ends in a torn line; empty otherwise."""
        if not self._rest or self.behind:
            return ""
        return f"{self.path}: line {self._lines + 1} is cut off ({len(self._rest)} bytes); it was skipped"

    @property
    def begins_like_a_run(self) -> bool:
        """Whether what was read of a first line is the beginning of a run's."""
        return self._lines == 0 and self._rest.startswith(b'{"seq":0,')

    def poll(self) -> list[AnyEvent]:
        """Read the events written since the last call, of at most `at_once` bytes (`behind` says if more wait).

        Raises:
            DataError: The file is missing, not a run file, from another version, or damaged; names file and line.
        """
        if self._damage is not None:
            raise self._damage
        data = self._read()
        self.behind = len(data) == self.at_once
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        events: list[AnyEvent] = []
        try:
            events.extend(map(self._decode, lines))
            if len(self._rest) > LONGEST_RECORD:
                raise DataError(f"{self.place(self._lines)} is longer than any record of a run")
        except DataError as error:
            self._damage, self.behind = error, bool(events)
            if not events:
                raise
        return events

    def place(self, number: int) -> str:
        """Where event `number` (from 0) stands, for messages."""
        return f"{self.path}, line {number + 1}"

    def read_all(self) -> Iterator[AnyEvent]:
        """Read on to the present end of the file, a part at a time; errors as in `poll`."""
        yield from self.poll()
        while self.behind:
            yield from self.poll()

    def _read(self) -> bytes:
        try:
            if self.path.suffix == ".gz":
                self._packed = self._packed or open_regular(self.path)
                return self._packed.read(self.at_once)
            with open_regular(self.path) as file:
                start = self.complete + len(self._rest)
                if os.fstat(file.fileno()).st_size < start:
                    raise DataError(f"{self.path} became shorter while it was read")
                file.seek(start)
                return file.read(self.at_once)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self.path}: not a complete gzip file ({error})") from None
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror or error})") from None

    def _decode(self, line: bytes) -> AnyEvent:
        where = self.place(self._lines)
        self._lines += 1
        try:
            event = self.codec.decode(line)
        except DataError as error:
            if self.events or error.remedy:
                raise DataError(f"{where}: {error.cause}", error.remedy) from None
            raise DataError(f"{where}: not a run file of agentrm-tui: {error.cause}") from None
        if (self.events == 0) != isinstance(event, RunStarted):
            what = "it does not begin with run_started" if self.events == 0 else "a run starts once"
            raise DataError(f"{where}: not a run file of agentrm-tui: {what}")
        self.complete += len(line) + 1
        self.events += 1
        return event


class RunWriter:
    """Appends events to a run file; each is in the operating system's hands before `append` returns.

    A file that exists is gone on with: its torn last line is cut away. Only one writer at a time has a file. Run files
    hold prompts: nobody but their owner may read those that are made here.

    Raises:
        DataError: The file exists and is not a run file, cannot be written, or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix == ".gz":
            raise DataError(f"{path}: a compressed run cannot be resumed", "Unpack it with gunzip first.")
        create_private(path)
        try:
            self._file = path.open("r+b", buffering=0)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
            reader = RunReader(path)
            for _ in reader.read_all():
                pass
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
        """Write one event and return its number in the file (0-based).

        Raises:
            DataError: The disk is full, or the file was removed meanwhile.
        """
        try:
            lines = memoryview(self._codec.encode(event))
            while lines:
                lines = lines[self._file.write(lines) or 0 :]
            removed = os.fstat(self._file.fileno()).st_nlink == 0
        except UnicodeEncodeError:
            raise DataError(f"{self.path}: a text of this run cannot be written as UTF-8") from None
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        if removed:
            raise DataError(f"{self.path} was removed while the run was written to it", "Start the run again.")
        self._number += 1
        return self._number - 1

    def close(self) -> None:
        """Close the file; it can be resumed by a new writer. A file without any event is taken away."""
        self._file.close()
        if self._number == 0:
            self.path.unlink(missing_ok=True)


def create_private(path: Path) -> None:
    """Make sure that a file exists, and that a new one, and a new folder, are their owner's alone.

    Raises:
        DataError: It cannot be made, or is no ordinary file.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file")


def compress_run(path: Path) -> Path:
    """Gzip a finished run file in its place: `NAME.jsonl` becomes `NAME.jsonl.gz`.

    Raises:
        DataError: It cannot be written; the plain file is still there then.
    """
    packed, partial = path.with_name(f"{path.name}.gz"), path.with_name(f".{path.name}.gz.part")
    try:
        create_private(partial)
        with open_regular(path) as plain, gzip.open(partial, "wb") as out:
            shutil.copyfileobj(plain, out)
        partial.replace(packed)
        path.unlink()
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(f"{packed}: cannot be written ({error.strerror or error})") from None
    return packed


def read_events(path: Path) -> Iterator[AnyEvent]:
    """The events of a run file, read a part at a time.

    Raises:
        DataError: See `RunReader.poll`; also for a file without any event.
    """
    reader = RunReader(path)
    yield from reader.read_all()
    if not reader.events:
        ours = reader.begins_like_a_run
        what = "a run file that is cut off in its first line" if ours else "not a run file of agentrm-tui"
        raise DataError(f"{path}: {what}: it holds no event")


def load_state(path: Path) -> RunState:
    """Read a run file and reduce it to the state it ended in.

    Raises:
        DataError: See `read_events`; also when events do not fit together.
    """
    state = RunState()
    for event in read_events(path):
        try:
            apply(state, event)
        except DataError as error:
            raise DataError(f"{path}, line {state.events}: {error.cause}", error.remedy) from None
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
    stem = f"{time}-{environment}-{plan.search.name}"
    folder = runs_folder()
    path, count = folder / f"{stem}.jsonl", 2
    while path.exists() or path.with_name(f"{path.name}.gz").exists():
        path, count = folder / f"{stem}-{count}.jsonl", count + 1
    return path
