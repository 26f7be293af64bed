"""What a model finds out while it plays and a person should know, such as what its server refuses."""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple, Protocol, runtime_checkable


class Notice(NamedTuple):
    """One line about a model.

    Attributes:
        loud: It changes results.
    """

    text: str
    loud: bool = False


class Notices:
    """Collects notices; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: set[str] = set()
        self._fresh: list[Notice] = []

    def add(self, text: str, loud: bool = False, once: bool = True) -> None:
        """Note something, unless it has been noted before and is noted only once."""
        with self._lock:
            if not once or text not in self._told:
                self._told.add(text)
                self._fresh.append(Notice(text, loud))

    def take(self) -> list[Notice]:
        """What was noted since the last call, oldest first."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
        return fresh


def notices_of(model: object) -> list[Notice]:
    """What a model found out since the last call; nothing where it is none that finds things out."""
    return model.new_notices() if isinstance(model, FindsOut) else []


@runtime_checkable
class FindsOut(Protocol):
    """A policy or reward model that finds things out while it plays."""

    def new_notices(self) -> list[Notice]:
        """What was found out since the last call."""
        ...
