"""Expert paths: the simulator's own solutions, shortened where the shorter one is proven to reach as much."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from agentrm_tui.environments.scienceworld.simulators import Simulator

_MOVES = ("go to ", "teleport to ")
_KEPT = 512
_known: dict[tuple[str, int], tuple[str, ...]] = {}
"""Paths that were found, by level and variation; the oldest go first."""
_LONG_WAIT = 10
"""Iterations that `wait` stands for; `wait1` is one."""


def merge_waits(path: Iterable[str]) -> list[str]:
    """Ten single waits in a row become one long one."""
    merged: list[str] = []
    for action, run in groupby(path):
        count = len(list(run))
        if action == "wait1":
            merged += ["wait"] * (count // _LONG_WAIT) + ["wait1"] * (count % _LONG_WAIT)
        else:
            merged += [action] * count
    return merged


def shorten(path: Iterable[str]) -> list[str]:
    """Leave out looking around and doors, which stand open, and go through several rooms in one step."""
    short: list[str] = []
    for action in path:
        if action == "look around" or action.startswith(("open door", "close door")):
            continue
        if not action.startswith(_MOVES):
            short.append(action)
            continue
        if short and short[-1].startswith(_MOVES):
            short.pop()
        short.append(f"teleport to {action.partition(' to ')[2]}")
    return short


def candidates(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Shorter versions of a path, the shortest first, and the path itself."""
    found = (merge_waits(shorten(path)), shorten(path), merge_waits(path), path)
    return list(dict.fromkeys(tuple(each) for each in found))


def expert_path(simulator: Simulator, level: str, variation: int) -> tuple[str, ...]:
    """The shortest version of the simulator's solution that reaches the full score, or the one that reaches most.

    Each version is played beside the episode, so what is returned is proven. Kept for later episodes.
    """
    key = (level, variation)
    if key not in _known:
        found: tuple[str, ...] = ()
        best = -1.0
        for path in candidates(simulator.gold_path(level, variation)):
            reached, taken = simulator.try_path(level, variation, path)
            if reached > best:
                best, found = reached, taken
            if reached >= 1.0:
                break
        if len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[key] = found
    return _known[key]
