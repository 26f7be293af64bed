"""The engine's process from outside: started with the first game, shared by all instances, gone with the last."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from importlib.util import find_spec

import msgspec

from agentrm_models.errors import DataError, MissingExtraError
from agentrm_tui.environments.alfworld.messages import Answer, Failed, Request
from agentrm_tui.environments.shared_process import Shared

EXTRA = "alfworld"
PATIENCE_SECONDS = 120.0
"""Until an engine that does not answer is given up; loading a large home takes about half a second."""
_PACKAGES = ("textworld", "fast_downward", "alfworld")
_CLOSING_SECONDS = 2.0
_CHUNK = 1 << 16


def missing_extra(reason: str) -> MissingExtraError:
    """What to say when a package is not there, with what its installation needs."""
    return MissingExtraError(
        f"ALFWorld's engine is not installed ({reason})",
        f"pip install 'agentrm-tui[{EXTRA}]' (compiles a part: needs a C++ compiler, cmake and make)",
    )


class EngineProcess:
    """One process with the engine in it. It ends when its input does, that is with this process, however it ends.

    Raises:
        MissingExtraError: A package of the extra is not installed.
        DataError: The process cannot be started.
    """

    def __init__(self) -> None:
        for package in _PACKAGES:
            if find_spec(package) is None:
                raise missing_extra(f"no module named {package!r}")
        # Importing alfworld makes the folder that ALFWORLD_DATA names; games are sent, so any folder will do.
        variables = {**os.environ, "ALFWORLD_DATA": tempfile.gettempdir(), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-P", "-m", "agentrm_tui.environments.alfworld.player"]
        try:
            self.process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            raise DataError(f"ALFWorld's engine cannot be started ({error.strerror})") from error
        self.lock = threading.Lock()
        self.users = 0
        self.owner = os.getpid()
        self._unread = b""
        self._decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)

    @property
    def alive(self) -> bool:
        """It was started by this process and still runs."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, request: Request) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            DataError: The process ended, or did not answer in time, and was ended.
        """
        with self.lock:
            try:
                self._send(msgspec.json.encode(request) + b"\n")
                return self._decoder.decode(self._receive())
            except (OSError, EOFError, TimeoutError) as error:
                self.process.kill()
                self.process.wait()
                cause = "did not answer in time" if isinstance(error, TimeoutError) else "has ended"
                raise DataError(f"the process of ALFWorld's engine {cause}") from error

    def _send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(line)
        while view:
            written = self.process.stdin.write(view)
            view = view[written or 0 :]

    def _receive(self) -> bytes:
        assert self.process.stdout is not None
        pipe, until = self.process.stdout.fileno(), time.monotonic() + PATIENCE_SECONDS
        while b"\n" not in self._unread:
            if not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError
            chunk = os.read(pipe, _CHUNK)
            if not chunk:
                raise EOFError
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def end(self) -> None:
        """Close its input, which ends it; it is killed if it does not end by itself."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


_shared = Shared(EngineProcess)


class Engine:
    """One instance's use of the shared process; the last one that is closed ends it.

    Raises:
        MissingExtraError: A package of the extra is not installed.
        DataError: The process cannot be started.
    """

    def __init__(self) -> None:
        self._process: EngineProcess | None = _shared.acquire()
        self._release = weakref.finalize(self, _shared.release, self._process)

    @property
    def alive(self) -> bool:
        """It can be used: not closed, and its process runs."""
        return self._process is not None and self._process.alive

    @property
    def process_id(self) -> int:
        """The engine's process."""
        return self._open().process.pid

    def ask(self, request: Request) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            MissingExtraError: A package that the engine needs is not installed.
            DataError: The process has ended.
        """
        answer = self._open().ask(request)
        if isinstance(answer, Failed) and answer.missing:
            raise missing_extra(answer.reason)
        return answer

    def close(self) -> None:
        """Give the process back; closing twice is nothing."""
        self._process = None
        self._release()

    def _open(self) -> EngineProcess:
        if self._process is None:
            raise RuntimeError("the engine is closed")
        return self._process
