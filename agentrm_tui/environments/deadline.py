"""A deadline for calls into environments of other people, where a person sets one: a blocked call then fails."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from agentrm_models.errors import UsageError

DEADLINE_VARIABLE = "AGENTRM_ENVIRONMENT_SECONDS"
"""Seconds that one call into an environment of other people may take; without it, as long as it likes."""


@contextmanager
def limited() -> Iterator[None]:
    """Raise `TimeoutError` inside what takes longer, at the line where it stands.

    It works by a signal, so in the main thread only, where environments are played; a call into native code is
    interrupted when it returns to Python.

    Raises:
        UsageError: The variable holds something else than seconds.
    """
    seconds = _seconds()
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer in {seconds:g} s, which is all that {DEADLINE_VARIABLE} allows")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _seconds() -> float:
    text = os.environ.get(DEADLINE_VARIABLE, "")
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e6:
        raise UsageError(f"{DEADLINE_VARIABLE} is {text[:40]!r}, not a number of seconds", "Set it to 60, for example.")
    return seconds
