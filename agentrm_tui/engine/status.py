"""Sends what the engine is doing to its link: the latest status wins, and the search never waits for the wire."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable

import msgspec

from agentrm_tui.engine.commands import Status
from agentrm_tui.engine.wire import Failure, FromEngine, InFlight, encode_line
from agentrm_tui.environments.boundary import Waiting, waiting_for

INTERVAL = 0.05
"""Seconds between two statuses at least."""

LATE = 1.0
"""Seconds after which a call into someone else's environment is named in the status."""


class StatusSender:
    """A thread that writes the latest status at most every `interval` seconds, and nothing when nothing changed.

    Args:
        late: Seconds after which the status names what `waiting` says.
        waiting: The call into an environment that has not returned.
    """

    def __init__(
        self,
        connection: socket.socket,
        interval: float = INTERVAL,
        late: float = LATE,
        waiting: Callable[[], Waiting | None] = waiting_for,
    ) -> None:
        self._connection = connection
        self._interval = interval
        self._late = late
        self._waiting = waiting
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
            self._fresh.wait(max(self._late, self._interval))
            self._fresh.clear()
            latest = self._latest
            told = self._naming_what_is_late(latest) if latest is not None else None
            if told is not None and told != sent:
                if not self._write(InFlight(told)):
                    return
                sent = told
            if self._closing.wait(self._interval) and self._latest is latest:
                return

    def _naming_what_is_late(self, status: Status) -> Status:
        waiting = self._waiting()
        if waiting is None or time.time() - waiting.since < self._late:
            return status
        return msgspec.structs.replace(status, what=waiting.what, since=waiting.since)

    def _write(self, message: FromEngine) -> bool:
        try:
            self._connection.sendall(encode_line(message))
        except OSError:
            return False
        return True
