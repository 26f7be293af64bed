"""Commands that a story understands here, found by trying: usual verbs on the words of its dictionary that it shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_MOVES = (
    *("north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest"),
    *("up", "down", "in", "out"),
)
_ALONE = ("look", "inventory", "wait")
_WITH_A_THING = ("take", "examine", "open", "close", "read", "drop", "enter", "climb", "push", "eat")
_PARTICLES = (
    *("all", "and", "are", "for", "from", "has", "have", "here", "into", "its", "not", "off", "one", "other", "out"),
    *("over", "some", "that", "the", "them", "then", "there", "this", "through", "under", "with", "yes", "you", "your"),
)
"""Words that are in dictionaries and texts and name no thing."""
_MOST_THINGS = 10
_KEPT_LETTERS = (6, 9)
"""Letters of a word that dictionaries keep: in versions 1 to 3 of the Z-machine, and later."""
_WORD = re.compile(r"[a-z]{3,}(?:-[a-z]+)*")


def candidates(dictionary: Iterable[str], texts: Iterable[str]) -> Iterator[str]:
    """Commands worth a try, in a fixed order.

    Args:
        dictionary: The words that the story knows, cut to the letters it keeps.
        texts: What it shows, the room first.
    """
    words = frozenset(dictionary)

    def known(word: str) -> bool:
        return any(word[:kept] in words for kept in _KEPT_LETTERS)

    shown = dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower()))
    aside = {*_PARTICLES, *_MOVES, *_ALONE, *_WITH_A_THING}
    things = [word for word in shown if word not in aside and known(word)][:_MOST_THINGS]
    yield from (word for word in _MOVES if known(word))
    yield from (f"{verb} {thing}" for thing in things for verb in _WITH_A_THING if known(verb))
    yield from (word for word in _ALONE if known(word))


def understood(commands: Iterable[str], ask: Callable[[str], str], refused: re.Pattern[str]) -> tuple[str, ...]:
    """Those commands that are answered, and not by a refusal.

    Args:
        ask: Types a command, takes it back, and returns the answer.
    """
    answers = ((command, ask(command)) for command in commands)
    return tuple(command for command, answer in answers if answer.strip() and not refused.search(answer))
