"""Expert paths: the simulator's own solutions, shortened where the shorter one is proven to reach as much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from agentrm_tui.environments.scienceworld.levels import LEVELS
from agentrm_tui.environments.scienceworld.simulators import Simulator


class Proven(NamedTuple):
    """A path as it was played: the highest score within the level's step limit, and the actions until then."""

    reached: float
    actions: tuple[str, ...]


_MOVES = ("go to ", "teleport to ")
_KEPT = 512
_known: dict[tuple[str, int], Proven] = {}
"""Paths that were found, by level and variation; the oldest go first."""
_LONG_WAIT = 10
"""Iterations that `wait` stands for; `wait1` is one."""
_SHORTEST_WAIT = 4
"""Single waits in a row for which a long one may do as well."""
_WATCHING = ("look at ", "examine ", "use thermometer ", "wait")
"""Beginnings of actions that change nothing but the time."""
_FEWEST = 3
"""Repetitions that are left alone."""


def merge_waits(path: Iterable[str], least: int = _LONG_WAIT) -> list[str]:
    """Ten single waits in a row become one long one; with `least`, so many are enough, and time goes on further."""
    merged: list[str] = []
    for action, run in groupby(path):
        count = len(list(run))
        if action == "wait1":
            longer = count % _LONG_WAIT >= least
            merged += ["wait"] * (count // _LONG_WAIT + longer) + ["wait1"] * (0 if longer else count % _LONG_WAIT)
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


def condense(path: Sequence[str]) -> list[str]:
    """Wait instead of looking over and over again: of a few actions in a row that are repeated, those in between.

    The simulator's solutions watch a thing that slides, melts or boils, step by step. Time goes on as before.
    """
    short: list[str] = []
    place = 0
    while place < len(path):
        length, times = max(((length, _times(path, place, length)) for length in (3, 2, 1)), key=_saved)
        block = list(path[place : place + length])
        if times <= _FEWEST or not all(action.startswith(_WATCHING) for action in block):
            short.append(path[place])
            place += 1
            continue
        moments = (times - 2) * sum(_LONG_WAIT if action == "wait" else 1 for action in block)
        short += [*block, *["wait1"] * moments, *block]
        place += length * times
    return short


def _times(path: Sequence[str], place: int, length: int) -> int:
    """How often the `length` actions at `place` come in a row."""
    block = path[place : place + length]
    times = 1
    while len(block) == length and path[place + times * length : place + (times + 1) * length] == block:
        times += 1
    return times


def _saved(found: tuple[int, int]) -> int:
    length, times = found
    return length * times if times > 1 else 0


def leave_running(path: Iterable[str]) -> list[str]:
    """Open a tap once and leave it open."""
    seen: set[str] = set()
    short: list[str] = []
    for action in path:
        if action.startswith("deactivate sink") or action in seen:
            continue
        if action.startswith("activate sink"):
            seen.add(action)
        short.append(action)
    return short


def candidates(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Shorter versions of a path, the shortest first, and the path itself."""
    short = shorten(path)
    brief = condense(short)
    found = (
        merge_waits(leave_running(brief)),
        merge_waits(leave_running(brief), _SHORTEST_WAIT),
        merge_waits(brief),
        leave_running(short),
        short,
        merge_waits(path),
        path,
    )
    return list(dict.fromkeys(tuple(each) for each in found))


def expert_path(simulator: Simulator, level: str, variation: int) -> Proven:
    """The shortest version of the simulator's solution that reaches the full score, or the one that reaches most.

    Each version is played beside the episode, so what is returned is proven. Kept for later episodes.
    """
    key = (level, variation)
    if key not in _known:
        best = Proven(-1.0, ())
        for path in candidates(simulator.gold_path(level, variation)):
            found = Proven(*simulator.try_path(level, variation, path, LEVELS[level].step_limit))
            best = max(best, found, key=lambda proven: proven.reached)
            if best.reached >= 1.0:
                break
        if len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[key] = best
    return _known[key]
