"""What a run without a screen says while a server is waited for: the reason, and again only after a while."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_NUMBER = re.compile(r"\d[\d.,:]*")

AGAIN_SECONDS = 30.0
"""After which the same reason is told once more."""


class Waits:
    """Tells what holds a run up.

    Args:
        say: Writes one line.
        clock: Seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._told: dict[str, float] = {}

    def tell(self, words: str) -> None:
        """Say what is waited for, unless the same was said a moment ago; numbers (of seconds, tokens) do not count."""
        reason, now = _NUMBER.sub("0", words), self._clock()
        if now >= self._told.get(reason, now):
            self._told[reason] = now + AGAIN_SECONDS
            self._say(words)
