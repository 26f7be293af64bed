"""The launcher's end of an engine: starts the child process, commands it, and says how it is and how it died.

Nothing here ever waits for the engine, except `close` and `wait`. Nothing heavy is imported.
"""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from agentrm_models.errors import DataError
from agentrm_models.terminal_text import one_line
from agentrm_tui.engine.commands import Command, Status, Stop
from agentrm_tui.engine.wire import Failure, InFlight, LineBuffer, Start, ToEngine, decode_from_engine, encode_line
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.store import new_run_path

_CHUNK = 1 << 16
_TAIL_BYTES = 16_384
_LINE_LIMIT = 300


class EngineLink:
    """One running (or dead) engine.

    Attributes:
        run_path: The run file that the engine writes.
        log_path: Where its stdout and stderr go: a file beside the run file.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], connection: socket.socket, run_path: Path, log_start: int
    ) -> None:
        self.run_path = run_path
        self.log_path = log_path_of(run_path)
        self._process = process
        self._connection = connection
        self._log_start = log_start
        self._unsent = bytearray()
        self._lines = LineBuffer()
        self._status: Status | None = None
        self._failure: Failure | None = None
        self._hung_up = False

    @classmethod
    def start(
        cls,
        plan: RunPlan,
        run_path: Path | None = None,
        paused: bool = False,
        resume: Path | None = None,
        wait_at_end: bool = False,
        send_key: bool = True,
    ) -> Self:
        """Spawn an engine for a plan and return at once.

        Args:
            plan: What to run.
            run_path: The run file to write; None makes a fresh name in the folder of runs.
            paused: Wait at the first request until `Resume` or `Step` is sent.
            resume: A run file of this plan to go on with; it takes the place of `run_path`.
            wait_at_end: Pause when an episode has ended, so that a person can still go back; `Resume` goes on.
            send_key: Servers that the plan names may be sent a key.

        Raises:
            DataError: The run file cannot be written, or the one to resume does not exist.
        """
        if resume is not None and not resume.exists():
            raise DataError(f"{resume} does not exist")
        path = _prepare(resume or run_path or new_run_path(plan))
        log_path = log_path_of(path)
        log_start = log_path.stat().st_size if log_path.exists() else 0
        ours, theirs = socket.socketpair()
        try:
            with theirs, log_path.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "agentrm_tui.engine", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise DataError(f"cannot start the engine: {error}") from error
        ours.setblocking(False)
        link = cls(process, ours, path, log_start)
        link._post(Start(plan, str(path), paused, resume is not None, wait_at_end, send_key))
        return link

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The process's exit code: None while it runs, negative for a signal."""
        return self._process.poll()

    def fileno(self) -> int:
        """A descriptor that becomes readable when there is a new status, or the engine has ended."""
        return self._connection.fileno()

    def send(self, command: Command) -> None:
        """Queue a command; a dead engine hears nothing, which `alive` tells."""
        self._post(command)

    def status(self) -> Status | None:
        """What the engine said last about itself; None before its first word."""
        self._flush()
        self._drain()
        return self._status

    def exit_notice(self) -> str:
        """One line about how the engine ended: its own error, else its last words; empty while all is well."""
        self._drain()
        code = self.exit_code
        if self._failure is not None:
            remedy = f". {self._failure.remedy}" if self._failure.remedy else ""
            return one_line(self._failure.cause + remedy)
        if code is None or code == 0:
            return ""
        how = _name_signal(-code) if code < 0 else f"ended with code {code}"
        last = self._last_words()
        return one_line(f"the engine {how}: {last}" if last else f"the engine {how}; its log {self.log_path} is empty")

    def log_tail(self, lines: int = 5) -> tuple[str, ...]:
        """The last lines that this engine printed, blank ones left out."""
        try:
            with self.log_path.open("rb") as log:
                end = log.seek(0, 2)
                log.seek(max(self._log_start, end - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ()
        return tuple(line for line in (one_line(line, _LINE_LIMIT) for line in text.splitlines()) if line)[-lines:]

    def wait(self, seconds: float) -> bool:
        """Wait until the engine has ended, at most so long; whether it has."""
        deadline = time.monotonic() + seconds
        while not self._hung_up and (left := deadline - time.monotonic()) > 0:
            writable = [self] if self._unsent else []
            select.select([self], writable, [], left)
            self._flush()
            self._drain()
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self, grace: float = 3.0) -> None:
        """End the engine: ask it to stop, after `grace` seconds terminate it, then kill it. May be repeated.

        A run file without any event and an empty log are removed.
        """
        if self.alive:
            self.send(Stop())
            for end in (self._process.terminate, self._process.kill):
                if self.wait(grace):
                    break
                end()
            self._process.wait()
        self._drain()
        self._connection.close()
        self._hung_up = True
        _remove_if_empty(self.run_path)
        _remove_if_empty(self.log_path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, message: ToEngine) -> None:
        self._unsent += encode_line(message)
        self._flush()

    def _flush(self) -> None:
        """Send what the socket takes now; the rest goes with the next call, so a stopped engine blocks nobody."""
        try:
            while self._unsent:
                sent = self._connection.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()

    def _drain(self) -> None:
        while not self._hung_up:
            try:
                data = self._connection.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._hung_up = True
                return
            for line in self._lines.feed(data):
                self._take(line)

    def _take(self, line: bytes) -> None:
        match decode_from_engine(line):
            case InFlight(status):
                self._status = status
            case Failure() as failure:
                self._failure = failure

    def _last_words(self) -> str:
        lines = self.log_tail(200)
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        return fatal[-1] if fatal else " · ".join(lines[-3:])


def log_path_of(run_path: Path) -> Path:
    """The log beside a run file: `NAME.jsonl` has `NAME.log`."""
    return run_path.with_name(run_path.name.split(".jsonl")[0] + ".log")


def _prepare(run_path: Path) -> Path:
    """Make sure that the run file exists, so that it can be tailed before the engine has begun it."""
    try:
        run_path.parent.mkdir(parents=True, exist_ok=True)
        run_path.touch()
    except OSError as error:
        raise DataError(f"{run_path}: cannot be written ({error.strerror or error})") from error
    return run_path.absolute()


def _remove_if_empty(file: Path) -> None:
    with suppress(OSError):
        if file.stat().st_size == 0:
            file.unlink()


def _name_signal(number: int) -> str:
    with suppress(ValueError):
        return f"was ended by {signal.Signals(number).name}"
    return f"was ended by signal {number}"
