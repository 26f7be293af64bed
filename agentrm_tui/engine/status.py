"""Sends what the engine is doing to its link: the latest status wins, and the search never waits for the wire."""

from __future__ import annotations

import select
import socket
import threading

from agentrm_tui.engine.commands import Status
from agentrm_tui.engine.wire import Failure, FromEngine, InFlight, encode_line

INTERVAL = 0.05
"""Seconds between two statuses at least."""


class StatusSender:
    """A thread that writes the latest status at most every `interval` seconds, and nothing when nothing changed."""

    def __init__(self, connection: socket.socket, interval: float = INTERVAL) -> None:
        self._connection = connection
        self._interval = interval
        self._latest: Status | None = None
        self._fresh = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_statuses, name="status", daemon=True)
        self._thread.start()

    @property
    def latest(self) -> Status | None:
        """The status posted last."""
        return self._latest

    def post(self, status: Status) -> None:
        """Replace what will be sent next; returns at once."""
        self._latest = status
        self._fresh.set()

    def close(self, failure: Failure | None = None, patience: float = 1.0) -> None:
        """Send the last status and the failure, if there is one; give up after `patience` seconds if nobody reads."""
        self._closing.set()
        self._fresh.set()
        self._thread.join(patience)
        if failure is None or self._thread.is_alive():
            return
        _, writable, _ = select.select([], [self._connection], [], patience)
        if writable:
            self._write(failure)

    def _send_statuses(self) -> None:
        sent: Status | None = None
        while True:
            self._fresh.wait()
            self._fresh.clear()
            latest = self._latest
            if latest is not None and latest is not sent:
                if not self._write(InFlight(latest)):
                    return
                sent = latest
            if self._closing.wait(self._interval) and self._latest is sent:
                return

    def _write(self, message: FromEngine) -> bool:
        try:
            self._connection.sendall(encode_line(message))
        except OSError:
            return False
        return True
