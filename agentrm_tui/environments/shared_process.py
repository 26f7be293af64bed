"""One process of other software for all instances of an environment: begun by the first, ended after the last."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class CountedProcess(Protocol):
    """A process that counts its users.

    Attributes:
        users: Instances that use it now.
        owner: Id of the process that began it; a fork of that one must not end it.
    """

    users: int
    owner: int

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        ...

    def end(self) -> None:
        """End it, at last by force."""
        ...


Process = TypeVar("Process", bound=CountedProcess)


class Shared(Generic[Process]):
    """The process in use, if any; one that no longer answers is left to its users and replaced.

    Args:
        begin: Starts a process.
    """

    def __init__(self, begin: Callable[[], Process]) -> None:
        self._begin = begin
        self._guard = threading.RLock()
        self._current: Process | None = None

    def acquire(self) -> Process:
        """One more user of the process, which is begun where none answers."""
        with self._guard:
            if self._current is None or not self._current.alive:
                self._current = self._begin()
            self._current.users += 1
            return self._current

    def release(self, process: Process) -> None:
        """One user less; the last one ends it."""
        with self._guard:
            process.users -= 1
            if process.users > 0 or process.owner != os.getpid():
                return
            if self._current is process:
                self._current = None
        process.end()
