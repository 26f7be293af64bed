"""The nearest right spelling of a name that does not exist, for every message that refuses one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from agentrm_models.terminal_text import on_one_line

LONGEST_NAME = 80
"""Characters of a name that are compared and shown."""

MOST_NAMES = 1_000
"""Known names that a name is compared with: a comparison costs up to a millisecond."""

SIMILARITY = 0.5
"""Share of characters in common (difflib's ratio) from which on a spelling is offered."""

_LISTED = 20


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is spelt most like this one; empty where none is near.

    Where no spelling is near as typed, upper and lower case count as the same letter.
    """
    candidates = list(islice(known, MOST_NAMES))
    typed = name[:LONGEST_NAME]
    for lower in (False, True):
        spellings: dict[str, str] = {}
        for candidate in candidates:
            spelling = candidate[:LONGEST_NAME]
            spellings.setdefault(spelling.lower() if lower else spelling, candidate)
        near = get_close_matches(typed.lower() if lower else typed, spellings, n=1, cutoff=SIMILARITY)
        if near:
            return spellings[near[0]]
    return ""


def did_you_mean(name: str, known: Iterable[str], listed_as: str = "Known") -> str:
    """The remedy for a name that does not exist: the nearest spelling, else a list of what there is.

    Args:
        listed_as: What the listed names are called; without it nothing is listed.
    """
    names = list(known)
    if near := nearest(name, names):
        return f"Did you mean '{shown_name(near)}'?"
    if not names or not listed_as:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{listed_as}: {', '.join(shown_name(candidate) for candidate in names[:_LISTED])}{more}."


def shown_name(name: str) -> str:
    """A name as a message can hold it: on one line, without control characters, of bounded length."""
    line = on_one_line(name[:LONGEST_NAME])
    return line if len(name) <= LONGEST_NAME and len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"
