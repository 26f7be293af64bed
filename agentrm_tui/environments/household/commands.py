"""Action texts: what a person or a model may write, read into a verb and names."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

Verb: TypeAlias = Literal[
    "go", "open", "close", "take", "move", "put", "clean", "heat", "cool", "slice", "use", "examine",
    "look", "inventory", "help",
]  # fmt: skip

_LONGEST = 100
"""Characters that an action can sensibly have."""


class Command(NamedTuple):
    """An action: a verb, what it is done to, and where or with what. Names may be of nothing in this home."""

    verb: Verb
    what: str = ""
    other: str = ""


_FORMS: tuple[tuple[Verb, re.Pattern[str]], ...] = (
    ("go", re.compile(r"go to (.+)")),
    ("take", re.compile(r"take (.+?) from (.+)")),
    ("move", re.compile(r"move (.+?) to (.+)")),
    ("put", re.compile(r"put (.+?) (?:in/on|in|on) (.+)")),
    ("clean", re.compile(r"clean (.+?) with (.+)")),
    ("heat", re.compile(r"heat (.+?) with (.+)")),
    ("cool", re.compile(r"cool (.+?) with (.+)")),
    ("slice", re.compile(r"slice (.+?) with (.+)")),
    ("open", re.compile(r"open (.+)")),
    ("close", re.compile(r"close (.+)")),
    ("use", re.compile(r"use (.+)")),
    ("examine", re.compile(r"examine (.+)")),
    ("look", re.compile("look")),
    ("inventory", re.compile("inventory")),
    ("help", re.compile("help")),
)


def read_command(action: str) -> Command | None:
    """Read an action text; case, surplus blanks and a full stop at the end do not matter."""
    if len(action) > _LONGEST:
        return None
    text = " ".join(action.lower().split()).removesuffix(".")
    for verb, form in _FORMS:
        if match := form.fullmatch(text):
            return Command(verb, *match.groups())
    return None
