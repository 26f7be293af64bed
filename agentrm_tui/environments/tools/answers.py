"""When an answer equals the expected one: numbers by value, texts without case and blanks, lists in any order."""

from __future__ import annotations

import math
from random import Random
from typing import TypeAlias

Scalar: TypeAlias = str | int | float
Answer: TypeAlias = Scalar | list[Scalar]


def same_answer(given: Answer, expected: Answer) -> bool:
    """Compare; a list may also be written as a text with commas, and one value as a list of one."""
    wanted, offered = _parts(expected, split=False), _parts(given, split=isinstance(expected, list))
    return len(offered) == len(wanted) and all(map(_same, offered, wanted))


def as_number(value: Scalar) -> float | None:
    """The number a value means, if it is a finite one in ASCII digits."""
    try:
        number = float(value) if not isinstance(value, str) or (value.isascii() and "_" not in value) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def near(number: int, rng: Random, step: int = 1) -> tuple[int, ...]:
    """A whole number among three others, in order, so that its place does not tell it."""
    offsets = rng.sample((-12, -7, -4, -2, -1, 1, 2, 3, 5, 8, 13), 3)
    return tuple(sorted((number, *(number + offset * step for offset in offsets))))


def _parts(answer: Answer, split: bool) -> list[Scalar]:
    if isinstance(answer, str) and split:
        answer = [part for part in answer.split(",") if part.strip()]
    return sorted(answer, key=_plain) if isinstance(answer, list) else [answer]


def _plain(value: Scalar) -> str:
    number = as_number(value)
    return " ".join(str(value).casefold().split()).rstrip(".") if number is None else f"{number:.6f}"


def _same(one: Scalar, other: Scalar) -> bool:
    return _plain(one) == _plain(other)
