"""A game's stored solution as its expert: what to do in a state on its way, or beside it.

Nothing is planned. On the way the stored command is given. Beside it the same is still to be done next, and only the
agent's place or the doors are others: go to where it is done, open what was opened for it there, and do it. Anywhere
else, as with another thing in the hand, there is no advice; it comes back when the state is like one of the way again.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

DOOR = "opened("
"""How the facts begin that do not count beside the way."""
OPEN = "open "
"""How the commands begin that open a door."""


class Step(NamedTuple):
    """A state of a stored solution, and the command given there."""

    facts: frozenset[str]
    place: str
    command: str


class Solution:
    """The states of a stored way to the goal, found by what holds in them."""

    def __init__(self, thoughts: tuple[str, ...]) -> None:
        self._thoughts = thoughts
        self._steps: list[Step] = []
        self._exact: dict[tuple[frozenset[str], str], int] = {}
        self._deeds: dict[frozenset[str], int] = {}

    def add(self, facts: frozenset[str], place: str, command: str) -> None:
        """Another state, in their order: what holds but for where the agent is, where that is, and what it does."""
        index = len(self._steps)
        self._steps.append(Step(facts, place, command))
        # Of equal states the last counts, so that the way is never walked in a circle.
        self._exact[facts, place] = index
        self._deeds[_without_doors(facts)] = index

    def clear(self) -> None:
        """It leads nowhere."""
        self._steps.clear()
        self._exact.clear()
        self._deeds.clear()

    def advise(self, facts: frozenset[str], place: str, offered: Container[str]) -> tuple[str, str]:
        """The next command and why; both empty where the solution knows no way."""
        index = self._exact.get((facts, place))
        if index is not None and self._steps[index].command in offered:
            thought = self._thoughts[index] if index < len(self._thoughts) else _thought(len(self._steps) - index)
            return self._steps[index].command, thought
        deed = self._deeds.get(_without_doors(facts))
        if deed is None:
            return "", ""
        command = self._towards(deed, place, offered)
        return command, "Back to where I was going on." if command else ""

    def _towards(self, deed: int, place: str, offered: Container[str]) -> str:
        """From beside the way to the last command that was given while nothing but place and doors changed."""
        there = self._steps[deed]
        if place == there.place:
            if there.command in offered:
                return there.command
            wanted = (
                step.command for step in self._steps[deed::-1] if step.place == place and step.command.startswith(OPEN)
            )
        else:
            pairs = zip(self._steps[:deed][::-1], self._steps[1 : deed + 1][::-1], strict=True)
            wanted = (step.command for step, after in pairs if after.place == there.place != step.place)
        return next((command for command in wanted if command in offered), "")


def _without_doors(facts: frozenset[str]) -> frozenset[str]:
    return frozenset(fact for fact in facts if not fact.startswith(DOOR))


def _thought(left: int) -> str:
    return "This is the last step." if left == 1 else f"{left} steps to go."
