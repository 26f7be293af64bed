"""PDDL text as nested brackets whose words know their line, so that every refusal can name it."""

from __future__ import annotations

import re
from typing import Any, NoReturn, Protocol

# A `?` begins a new token even in the middle of a word: a widely used barman file writes `level?l1`. A dash does at
# its beginning only (`-block`): names hold dashes, too.
_TOKEN = re.compile(r";[^\n\r]*|[()]|\?[^\s()?;]*|-(?!\d)|[^\s()?;]+")


class Word(str):
    """A token, equal to the string it is, and the line on which it stands."""

    __slots__ = ("line",)
    line: int


class Group(list[Any]):
    """What stands between two brackets: words and groups, and the line of the opening bracket."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class Refuse(Protocol):
    """Raises an error about a node (or, where it is a number, a line)."""

    def __call__(self, what: str, node: object = None) -> NoReturn:
        """Raise."""
        ...


def line_of(node: object) -> int:
    """The line of a node, 0 where it is not known."""
    return node.line if isinstance(node, Word | Group) else node if isinstance(node, int) else 0


def nest(text: str, refuse: Refuse) -> Group:
    """Nest the tokens by their brackets, without recursion, so that depth cannot hurt; comments are left out.

    Args:
        refuse: Called for text that is not exactly one expression.
    """
    stack = [Group(1)]
    line, place = 1, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", place, found.start())
        place = found.start()
        token = found.group()
        if token == "(":
            stack.append(Group(line))
        elif token == ")":
            if len(stack) == 1:
                refuse("a bracket is closed that was never opened", line)
            node = stack.pop()
            stack[-1].append(node)
        elif not token.startswith(";"):
            word = Word(token.lower())
            word.line = line
            stack[-1].append(word)
    if len(stack) > 1:
        refuse("a bracket is never closed; the text may be cut off", stack[-1])
    if len(stack[0]) != 1 or not isinstance(stack[0][0], Group):
        refuse("is not one (define …) expression")
    return stack[0][0]
