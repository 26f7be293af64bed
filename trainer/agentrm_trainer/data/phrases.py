"""Fixed phrases of the collected texts, each to be one token: between names and numbers, templates repeat themselves.

A conversation of a text environment is names in a few sentences. Word by word most of its tokens are known beforehand;
as phrases they cost one token each, and a small model sees more episodes in the same time. Names stay tokens of their
own, so that copying one is copying one token.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from agentrm_models.replies import parse_reply
from agentrm_trainer.data.trajectories import Trajectory

_VARIANTS = 3
"""Words at one place of an action from which on they are names."""
LEAST = 20
"""Occurrences of a phrase."""
_ENDS = ".,;:)]"
"""What ends the phrase before, so that one phrase does not begin with the end of another."""
_PIECE = re.compile(r"\w+|[^\w\s]")


def find_names(trajectories: Iterable[Trajectory]) -> frozenset[str]:
    """Find what actions are about: words where actions of one verb and length differ, neighbours joined.

    Returns:
        Names of one word or several; no numbers.
    """
    actions: dict[tuple[str, str, int], set[tuple[str, ...]]] = {}
    for trajectory in trajectories:
        for turn in trajectory.messages:
            if turn.role == "assistant" and (words := tuple(parse_reply(turn.content).action.split())):
                actions.setdefault((trajectory.environment, words[0], len(words)), set()).add(words)
    names: set[str] = set()
    for alike in actions.values():
        varies = [len(set(column)) >= _VARIANTS for column in zip(*alike, strict=True)]
        for words in alike:
            names.update(_runs(words, varies))
    return frozenset(names)


def _runs(words: Sequence[str], varies: Sequence[bool]) -> Iterable[str]:
    """Join the neighbouring words that vary; a number ends a run."""
    run: list[str] = []
    for word, variable in zip((*words, ""), (*varies, False), strict=True):
        if variable and word.isalpha():
            run.append(word)
            continue
        if run:
            yield " ".join(run)
        run = []


def find_phrases(trajectories: Sequence[Trajectory], count: int) -> tuple[str, ...]:
    """Find the phrases worth a token: names of several words, and what stands between names and numbers.

    A phrase begins with a space, a line or a capital and does not end with a space. No two of them overlap in part, so
    that all ways to look for them find the same.

    Args:
        count: Phrases at most, those that save most characters.
    """
    names = find_names(trajectories)
    if not count or not names:
        return ()
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
    barrier = re.compile(rf" ?\b(?:{longest_first})\b| ?\d")
    found: Counter[str] = Counter()
    for trajectory in trajectories:
        for turn in trajectory.messages:
            found.update(name for name in barrier.findall(turn.content) if " " in name[1:])
            found.update(part.lstrip(_ENDS).rstrip(" ") for part in barrier.split(turn.content))
    ranked = sorted(
        (phrase for phrase, times in found.items() if times >= LEAST and _is_phrase(phrase)),
        key=lambda phrase: (-found[phrase] * len(phrase), phrase),
    )
    kept: list[str] = []
    for phrase in ranked:
        if len(kept) == count:
            break
        if not any(_overlap(phrase, other) or _overlap(other, phrase) for other in (*kept, phrase)):
            kept.append(phrase)
    return tuple(kept)


def _is_phrase(text: str) -> bool:
    return len(_PIECE.findall(text)) > 1 and (text[0] in " \n" or text[0].isupper())


def _overlap(first: str, second: str) -> bool:
    """Whether an end of the first that is not all of it begins the second."""
    return any(second.startswith(first[-length:]) for length in range(1, min(len(first), len(second))))
