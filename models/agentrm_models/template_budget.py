"""What one rendering of a chat template may take: steps, characters, sizes, and processor time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import thread_time
from typing import Any, NoReturn

STEPS = 1_000_000
"""Rounds of loops, calls and filters of one rendering; a conversation of 200 turns takes some thousands."""

CHARACTERS = 50_000_000
"""Characters that one rendering may write."""

LARGEST = 10_000_000
"""Characters of one text, and elements of one list."""

BITS = 10_000
"""Bits of one number."""

SECONDS = 5.0
"""Processor time of one rendering."""

_SHARE = 16
"""One in so many characters or elements that a rendering makes or walks through on the way counts."""


class OverBudgetError(Exception):
    """A template that takes more; the message says what, as in "makes …"."""


class Budget:
    """What one rendering may still spend."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin a rendering."""
        self._steps = self._characters = 0
        self._until = thread_time() + SECONDS

    def spend(self, steps: int, characters: int = 0) -> None:
        """Count steps and characters."""
        self._steps += steps
        self._characters += characters
        if self._steps > STEPS:
            _endless(f"more than {STEPS:,} steps")
        if self._characters > CHARACTERS:
            _endless(f"more than {CHARACTERS:,} characters")
        if thread_time() > self._until:
            _endless(f"more than {SECONDS:g} s")

    def use(self, value: Any, steps: int) -> None:
        """Count a call or filter that may walk through a value."""
        self.spend(steps + (len(value) // _SHARE if hasattr(value, "__len__") else 0))

    def measure(self, value: Any) -> Any:
        """Count a value that was made, and pass it on."""
        if isinstance(value, str | list | tuple):
            check_size(len(value))
            self.spend(0, len(value) // _SHARE)
        elif isinstance(value, int):
            check_size(value.bit_length(), BITS)
        return value

    def written(self, value: Any) -> Any:
        """Count a value that is written out, and pass it on."""
        if isinstance(value, str):
            self.spend(0, len(value))
        return value

    def rounds(self, items: Iterable[Any], characters: int) -> Iterator[Any]:
        """The items of a loop whose body writes so many characters."""
        for item in items:
            self.spend(1, characters)
            yield item


def check_size(size: int, largest: int = LARGEST) -> None:
    """Refuse what is too large before it is made."""
    if size > largest:
        _endless("something too large")


def check_arguments(name: str, value: Any, arguments: Iterable[Any]) -> None:
    """Refuse a call that makes something large out of something small."""
    if name.startswith("format") and isinstance(value, str):
        check_widths(value)
    for argument in arguments:
        if isinstance(argument, int):
            check_size(abs(argument))
        if name in ("replace", "join") and isinstance(argument, str):
            whole = sum(len(part) for part in value if isinstance(part, str)) if isinstance(value, list | tuple) else 0
            check_size(whole + len(argument) * (len(value) if hasattr(value, "__len__") else 1))


def check_widths(layout: str) -> None:
    """Refuse a format with a number that makes a text too large."""
    digits = "".join(char if char in "0123456789" else " " for char in layout).split()
    check_size(max((int(each.lstrip("0")[:9] or 0) for each in digits), default=0))


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation with a result that is too large."""
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "**" and whole and right > 0:
        check_size(left.bit_length() * right, BITS)
    elif operator == "*" and not whole:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(other, int):
                check_size(len(one) * other)
    elif operator == "%" and isinstance(left, str):
        check_widths(left)
        for each in right if isinstance(right, tuple) else (right,):
            if isinstance(each, int):
                check_size(abs(each))


def _endless(what: str) -> NoReturn:
    raise OverBudgetError(what)
