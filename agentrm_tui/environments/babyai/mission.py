"""The mission: the parts of minigrid's instruction tree, how far each is, and what strictness forbids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from agentrm_tui.environments.babyai.levels import Level
from agentrm_tui.environments.babyai.world import GONE, HELD, World

Verb: TypeAlias = Literal["go to", "pick up", "open", "put"]
_VERBS: dict[str, Verb] = {
    "GoToInstr": "go to",
    "PickupInstr": "pick up",
    "OpenInstr": "open",
    "PutNextInstr": "put",
}
FOUND = 0.2
"""Progress within a part when its object has been seen."""
READY = 0.5
"""Progress within a part when the object to move, or the key of the locked door to open, is in the agent's hand."""


class Part(NamedTuple):
    """One clause of the mission.

    Attributes:
        verb: What to do.
        targets: The things that will do, by number: to go to, pick up, open or move.
        beside: For `put`, the things that one of the targets must be put next to.
        targets_said, beside_said: How the mission calls them, for example `red ball`, `ball` or `red object`.
        done: It has been done.
        active: It may be done now: not done, and not waiting for another part.
    """

    verb: Verb
    targets: tuple[int, ...]
    beside: tuple[int, ...]
    targets_said: str
    beside_said: str
    done: bool
    active: bool


def mission_parts(world: World) -> tuple[Part, ...]:
    """List the clauses in the order in which they are to be done."""
    return tuple(_parts(world, world.env.instrs, done=False, active=True))


def _parts(world: World, instr: Any, done: bool, active: bool) -> Iterator[Part]:
    match type(instr).__name__:
        case "BeforeInstr" | "AfterInstr" as kind:
            a = (instr.instr_a, done or instr.a_done == "success")
            b = (instr.instr_b, done or instr.b_done == "success")
            first, second = (a, b) if kind == "BeforeInstr" else (b, a)
            yield from _parts(world, first[0], first[1], active)
            yield from _parts(world, second[0], second[1], active and first[1])
        case "AndInstr":
            yield from _parts(world, instr.instr_a, done or instr.a_done == "success", active)
            yield from _parts(world, instr.instr_b, done or instr.b_done == "success", active)
        case name:
            # After success the tree above a leaf is not marked: the verifier stops there.
            finished = done or world.verdict == "success"
            moved = instr.desc_move if name == "PutNextInstr" else instr.desc
            fixed = instr.desc_fixed if name == "PutNextInstr" else None
            yield Part(
                _VERBS[name],
                _numbers(world, moved.obj_set),
                _numbers(world, fixed.obj_set) if fixed else (),
                _said(moved),
                _said(fixed) if fixed else "",
                finished,
                active and not finished,
            )


def _said(desc: Any) -> str:
    """What the mission tells of a thing, without its place: never more than the agent was told."""
    return f"{desc.color} {desc.type or 'object'}" if desc.color else desc.type or "object"


def _numbers(world: World, things: Iterable[Any]) -> tuple[int, ...]:
    """Number the things of a description; "a grey object" also matches the walls, which nobody can want."""
    return tuple(k for k in map(world.number, things) if k >= 0)


def outcome(world: World) -> float:
    """Score the mission's progress in [0, 1]: the mean over its parts; 1 exactly when the verifier is content."""
    if world.verdict == "success":
        return 1.0
    parts = mission_parts(world)
    return min(sum(_progress(world, part) for part in parts) / len(parts), 0.99)


def finished_share(world: World) -> float:
    """Give the share of parts that are done: all that counts after a failure."""
    parts = mission_parts(world)
    return min(sum(part.done for part in parts) / len(parts), 0.99) if world.verdict != "success" else 1.0


def _progress(world: World, part: Part) -> float:
    if part.done:
        return 1.0
    if not part.active:
        return 0.0
    if part.verb == "put" and world.holding in part.targets:
        return READY + 0.1 * any(world.is_known(k) for k in part.beside)
    if part.verb == "open" and world.holding in keys_for(world, part.targets):
        return READY
    return FOUND if any(world.is_known(k) for k in part.targets) else 0.0


def keys_for(world: World, doors: tuple[int, ...]) -> tuple[int, ...]:
    """List the keys that fit those of the given doors that are locked."""
    colors = [world.things[k].color for k in doors if world.things[k].is_locked]
    return tuple(k for k, thing in enumerate(world.things) if thing.type == "key" and thing.color in colors)


def is_lost(world: World) -> bool:
    """Tell whether a part can no longer be done, because everything that would do was destroyed."""
    for part in mission_parts(world):
        for candidates in (part.targets, part.beside):
            if not part.done and candidates and all(world.where[k] == GONE for k in candidates):
                return True
    return False


class Deed(NamedTuple):
    """What an action set out to do, as strictness sees it; verb "" for moves that are never wrong."""

    verb: str
    thing: int = -1


def permits(world: World, level: Level, deed: Deed) -> bool:
    """Tell, before an action, whether a strict mission allows it.

    Keys of locked doors may always be picked up, and anything may when something stands in the way of what is asked.
    Doors are free, unless the level is about the doors of one room.
    """
    if not deed.verb or deed.thing < 0 or not level.strict:
        return True
    active = [part for part in mission_parts(world) if part.active]
    beside = {k for part in active for k in part.beside}
    targets = {k for part in active for k in part.targets}
    if deed.verb == "put":
        return not beside or deed.thing in beside
    if world.things[deed.thing].type == "door":
        return not level.strict_doors or deed.thing in targets | beside
    if deed.thing in targets or deed.thing in keys_for(world, world.door_numbers):
        return True
    return deed.thing in beside if deed.verb == "go to" else _is_blocked(world, active)


def _is_blocked(world: World, parts: list[Part]) -> bool:
    """Tell whether what some part asks for cannot be reached without moving things, even with all doors open."""
    doors = 0
    for cell in world.door_at:
        doors |= 1 << cell
    reached = 1 << world.cell
    edge = reached
    free = ~world.solid | doors
    while edge:
        edge = (edge << 1 | edge >> 1 | edge << world.width | edge >> world.width) & free & ~reached
        reached |= edge
    near = reached | reached << 1 | reached >> 1 | reached << world.width | reached >> world.width
    groups = [group for part in parts for group in (part.targets, part.beside) if group]
    return any(
        not any(world.where[k] == HELD or (world.where[k] >= 0 and near >> world.where[k] & 1) for k in group)
        for group in groups
    )
