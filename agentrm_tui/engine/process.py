"""The engine: loads models and environments, drives the run, writes its file, and listens to its link.

Nothing is written to the run file before the plan has been found to work; what stops it then reaches the link as a
`Failure`, and the log as a traceback where only a bug can be the reason.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agentrm_models.errors import AgentRMError, InterruptedRun, MemoryExhaustedError
from agentrm_tui.engine.commands import Stop
from agentrm_tui.engine.control import EngineControl
from agentrm_tui.engine.status import StatusSender
from agentrm_tui.engine.wire import Failure, LineBuffer, Start, decode_to_engine
from agentrm_tui.runs.open_run import open_run
from agentrm_tui.runs.state import RunState

PATIENCE = 5.0
"""Seconds that a call which cannot be interrupted has left, once the link said stop or went away."""


def serve(descriptor: int) -> int:
    """Be the engine of the link at the other end of an inherited socket; returns the exit code."""
    faulthandler.enable()
    with socket.socket(fileno=descriptor) as connection:
        lines = read_lines(connection)
        start = decode_to_engine(next(lines, b"null"))
        if not isinstance(start, Start):
            raise TypeError(f"an engine must be told what to start first, not {start}")
        sender = StatusSender(connection)
        control = EngineControl(sender.post, start.paused, start.wait_at_end)
        threading.Thread(target=_listen, args=(lines, control), name="commands", daemon=True).start()
        failure = run_reporting(start, control)
        sender.close(failure)
        _exit_after(PATIENCE, failure.exit_code if failure else 0)
        connection.shutdown(socket.SHUT_RDWR)
    return failure.exit_code if failure else 0


def read_lines(connection: socket.socket) -> Iterator[bytes]:
    """The lines that come over a connection, until the other end closes it."""
    buffer = LineBuffer()
    while data := _receive(connection):
        yield from buffer.feed(data)


def run_reporting(start: Start, control: EngineControl) -> Failure | None:
    """Run what a link asked for; say as a status how it ended, and return the failure if it failed."""
    try:
        control.report("starting")
        state = run(start, control)
    except InterruptedRun:
        control.report("finished", "stopped")
        return None
    except AgentRMError as error:
        failure = Failure(error.cause, error.remedy, error.exit_code)
    except MemoryError:
        failure = Failure("no memory left", "Use a smaller model or beam.", MemoryExhaustedError.exit_code)
    except Exception as error:
        traceback.print_exc()
        failure = Failure(f"the engine failed by {type(error).__name__}: {error}", "", 1)
    else:
        finished = state.finished
        if finished is None or finished.reason != "failed":
            control.report("finished")
            return None
        fault = state.faults[-1]
        failure = Failure(fault.message, fault.remedy, 1)
    control.report("failed", failure.cause)
    return failure


def run(start: Start, control: EngineControl) -> RunState:
    """Load what the plan names, then drive the run; its file is begun or gone on with."""

    def report(what: str) -> None:
        control.report("loading", what)

    path = Path(start.run_path)
    with open_run(start.plan, path, resume=start.resume, report=report, send_key=start.send_key) as opened:
        return opened.drive(control)


def _listen(lines: Iterator[bytes], control: EngineControl) -> None:
    """Queue commands as they come; a link that is gone means stop."""
    with suppress(OSError):
        for line in lines:
            command = decode_to_engine(line)
            if isinstance(command, Start):
                raise TypeError("an engine starts once")
            control.put(command)
            if isinstance(command, Stop):
                _exit_after(PATIENCE, InterruptedRun.exit_code)
    control.put(Stop())
    _exit_after(PATIENCE, InterruptedRun.exit_code)


def _exit_after(seconds: float, code: int) -> None:
    """End the process by force later, if it has not ended by itself; the run file is whole after every event."""

    def leave() -> None:
        print(f"still busy after {seconds:g} s: leaving by force", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""
