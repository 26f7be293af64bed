"""The text view: what the agent sees, remembers and carries, in at most about sixty words."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from agentrm_tui.environments.babyai.mission import Part, keys_for, mission_parts
from agentrm_tui.environments.babyai.sight import DIRECTIONS
from agentrm_tui.environments.babyai.world import World

_SEEN_LIMIT = 7
_REMEMBERED_LIMIT = 4


class Known(NamedTuple):
    """A thing the agent knows the place of.

    Attributes:
        thing: Its number.
        name: "red ball"; the second nearest of several is "red ball 2".
        in_view: It is seen now, not only remembered.
        ahead: Cells ahead of the agent; negative behind.
        right: Cells to the right; negative to the left.
    """

    thing: int
    name: str
    in_view: bool
    ahead: int
    right: int

    @property
    def distance(self) -> int:
        """Steps away, walls aside."""
        return abs(self.ahead) + abs(self.right)


def label(thing: Any) -> str:
    """Name a minigrid object: colour and kind."""
    return f"{thing.color} {thing.type}"


def known_things(world: World) -> tuple[Known, ...]:
    """List what lies on seen cells: in view first, then by distance; equal things are numbered in this order."""
    dx, dy = DIRECTIONS[world.direction]
    y, x = divmod(world.cell, world.width)
    found = []
    for k, place in enumerate(world.where):
        if place >= 0 and place != world.cell and world.seen >> place & 1:
            cy, cx = divmod(place, world.width)
            ahead = (cx - x) * dx + (cy - y) * dy
            right = (cy - y) * dx - (cx - x) * dy
            in_view = bool(world.visible >> place & 1)
            found.append((not in_view, abs(ahead) + abs(right), k, ahead, right))
    found.sort()
    counts: Counter[str] = Counter()
    known = []
    for hidden, _, k, ahead, right in found:
        name = label(world.things[k])
        counts[name] += 1
        known.append(
            Known(k, name if counts[name] == 1 else f"{name} {counts[name]}", not hidden, ahead, right),
        )
    return tuple(known)


def shown_things(world: World, known: tuple[Known, ...]) -> tuple[Known, ...]:
    """Choose what the text names: all that concerns the mission, untried doors, then the nearest."""
    concerns = _concerns(world)
    chosen = []
    for in_view, limit in ((True, _SEEN_LIMIT), (False, _REMEMBERED_LIMIT)):
        group = [entry for entry in known if entry.in_view == in_view]
        first = [entry for entry in group if entry.thing in concerns]
        rest = [entry for entry in group if entry.thing not in concerns]
        keep = {entry.thing for entry in (*first, *rest)[:limit]}
        chosen += [entry for entry in group if entry.thing in keep]
    return tuple(chosen)


def _concerns(world: World) -> frozenset[int]:
    """Give things that look like what the mission names, keys of locked doors, untried doors and what blocks doors."""
    looks = set()
    for part in mission_parts(world):
        looks |= {label(world.things[k]) for k in (*part.targets, *part.beside)}
    doors = tuple(k for k in world.door_numbers if world.is_known(k))
    untried = [k for k in doors if not world.passed >> k & 1]
    alike = [k for k, thing in enumerate(world.things) if label(thing) in looks]
    blocking = [k for k, place in enumerate(world.where) if any(place + d in world.door_at for d in world.steps)]
    return frozenset((*alike, *untried, *blocking, *keys_for(world, doors)))


def describe(world: World, known: tuple[Known, ...], more_to_see: bool) -> str:
    """Write the view as text; `more_to_see` tells that exploring this room would show something new."""
    shown = shown_things(world, known)
    seen = "; ".join(f"{e.name} ({_state(world, e.thing, ', ')}{_bearing(e)})" for e in shown if e.in_view)
    sentences = [f"You see {seen or 'nothing'}."]
    remembered = "; ".join(
        e.name + (f" ({state})" if (state := _state(world, e.thing)) else "") for e in shown if not e.in_view
    )
    if remembered:
        sentences.append(f"Seen before: {remembered}.")
    if more_to_see:
        sentences.append("Room partly unseen.")
    sentences.append(f"You carry {label(world.things[world.holding]) if world.holding >= 0 else 'nothing'}.")
    return " ".join(sentences)


def _state(world: World, k: int, end: str = "") -> str:
    thing = world.things[k]
    if thing.type != "door":
        return ""
    state = "open" if thing.is_open else "locked" if thing.is_locked else "closed"
    return state + (", passed" if world.passed >> k & 1 else "") + end


def _bearing(entry: Known) -> str:
    words = []
    if entry.ahead:
        words.append(f"{abs(entry.ahead)} {'ahead' if entry.ahead > 0 else 'behind'}")
    if entry.right:
        words.append(f"{abs(entry.right)} {'right' if entry.right > 0 else 'left'}")
    return ", ".join(words)


def describe_progress(before: tuple[Part, ...], after: tuple[Part, ...]) -> str:
    """Say which part of a longer mission the last action finished; empty when none."""
    done = sum(part.done for part in after)
    return f"Part {done} of {len(after)} is done." if done > sum(part.done for part in before) else ""
