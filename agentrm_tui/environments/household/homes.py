"""Homes: which places there are, which things are kept where, and what is to be done; drawn from a seed.

A home is fixed for an episode; what the agent changes is in `world.State`. Drawing does not check that the task can be
done within the step limit: `levels.make_home` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from agentrm_tui.environments.household.things import (
    APPLIANCES,
    FULL_PLACES,
    LAMP,
    OPENABLE,
    PLANS,
    ROOMS,
    SMALL_PLACES,
    THINGS,
    Room,
    Thing,
    Treatment,
    things_of,
)

TaskType: TypeAlias = Literal["place", "light", "clean", "heat", "cool", "two"]
Size: TypeAlias = Literal["small", "full"]

TASK_TYPES: tuple[TaskType, ...] = ("place", "light", "clean", "heat", "cool", "two")
TREATMENTS: dict[TaskType, Treatment] = {"clean": "clean", "heat": "heat", "cool": "cool"}

_TASK_ROOMS: dict[TaskType, tuple[Room, ...]] = {
    "place": ROOMS,
    "light": ("bedroom", "livingroom"),
    "clean": ("kitchen", "bathroom"),
    "heat": ("kitchen",),
    "cool": ("kitchen",),
    "two": ROOMS,
}

# ALFWorld's published wordings of the goals.
_WORDINGS: dict[TaskType, tuple[str, ...]] = {
    "place": ("put a {thing} in {place}.", "put some {thing} on {place}."),
    "light": ("look at {thing} under the {place}.", "examine the {thing} with the {place}."),
    "clean": ("put a clean {thing} in {place}.", "clean some {thing} and put it in {place}."),
    "heat": ("put a hot {thing} in {place}.", "heat some {thing} and put it in {place}."),
    "cool": ("put a cool {thing} in {place}.", "cool some {thing} and put it in {place}."),
    "two": ("put two {thing} in {place}.", "find two {thing} and put them in {place}."),
}


class Goal(NamedTuple):
    """What is to be done.

    Attributes:
        type: One of the six task types.
        thing: The kind of thing that is wanted.
        place: The kind of place it belongs in; for `light` the lamp's kind.
        text: The goal in ALFWorld's words.
    """

    type: TaskType
    thing: str
    place: str
    text: str

    @property
    def treatment(self) -> Treatment | None:
        """What must be done to the thing before it is put in its place."""
        return TREATMENTS.get(self.type)


class Named(NamedTuple):
    """One place or thing: its kind, its number among its kind, and its name, such as `mug 1`."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        """Kind and number."""
        return f"{self.kind} {self.number}"


@dataclass(frozen=True)
class Home:
    """What stays as it is during an episode. Places and things are numbered by their index in these tuples.

    Attributes:
        room: The kind of room.
        places: All places in the order of ALFWorld's listings: by kind, the highest number first.
        things: All things, in the same order.
        start: Index of the place where each thing is at first.
        goal: What is to be done.
    """

    room: Room
    places: tuple[Named, ...]
    things: tuple[Named, ...]
    start: tuple[int, ...]
    goal: Goal

    @cached_property
    def place_index(self) -> dict[str, int]:
        """Places by name."""
        return {place.name: index for index, place in enumerate(self.places)}

    @cached_property
    def thing_index(self) -> dict[str, int]:
        """Things by name."""
        return {thing.name: index for index, thing in enumerate(self.things)}

    @cached_property
    def kinds(self) -> tuple[Thing, ...]:
        """The kind of each thing."""
        return tuple(THINGS[thing.kind] for thing in self.things)

    @cached_property
    def openable(self) -> int:
        """Places that can be opened, as bits."""
        return sum(1 << index for index, place in enumerate(self.places) if place.kind in OPENABLE)

    @cached_property
    def wanted(self) -> tuple[int, ...]:
        """Things of the kind that the goal names."""
        return tuple(index for index, thing in enumerate(self.things) if thing.kind == self.goal.thing)

    @cached_property
    def goal_places(self) -> tuple[int, ...]:
        """Places of the kind that the goal names; none for `light`."""
        return tuple(index for index, place in enumerate(self.places) if place.kind == self.goal.place)

    @cached_property
    def lamps(self) -> tuple[int, ...]:
        """All lamps."""
        return tuple(index for index, thing in enumerate(self.things) if thing.kind == LAMP)

    def accepts(self, place: int, thing: int) -> bool:
        """Whether a thing can be put in a place."""
        return self.places[place].kind in self.kinds[thing].kept


class _Load(NamedTuple):
    """How full homes of a size are, and how orderly.

    Attributes:
        others: Least and most things that the goal does not name.
        equal: Most of one kind among them.
        most: Most things in one place.
        order: Weight of each kind of place against the next likelier one: 1 is chaos.
    """

    others: tuple[int, int]
    equal: int
    most: int
    order: float


_LOADS: dict[Size, _Load] = {"small": _Load((4, 6), 1, 3, 0.6), "full": _Load((14, 22), 3, 6, 0.85)}


def draw_home(task_type: TaskType, size: Size, rng: Random) -> Home | None:
    """Draw a home and its goal; nothing when the places drawn allow no such goal or hold too little."""
    room = rng.choice(_TASK_ROOMS[task_type])
    places = _draw_places(room, size, rng)
    goals = _possible_goals(task_type, room, places)
    if not goals:
        return None
    # First the thing, then the place: else things that can be kept in many places would be asked for most.
    thing = rng.choice(sorted({thing for thing, _ in goals}))
    target = rng.choice([place for other, place in goals if other == thing])
    wording = rng.choice(_WORDINGS[task_type])
    goal = Goal(task_type, thing, target, wording.format(thing=thing, place=target))
    filled = _fill(goal, room, size, places, rng)
    if filled is None:
        return None
    things, start = filled
    return Home(room, places, things, start, goal)


def _draw_places(room: Room, size: Size, rng: Random) -> tuple[Named, ...]:
    least, most = SMALL_PLACES if size == "small" else FULL_PLACES
    while True:
        counts = {plan.kind: rng.randint(*(plan.small if size == "small" else plan.full)) for plan in PLANS[room]}
        if least <= sum(counts.values()) <= most:
            return tuple(Named(kind, number) for kind in sorted(counts) for number in range(counts[kind], 0, -1))


def _possible_goals(task_type: TaskType, room: Room, places: Sequence[Named]) -> list[tuple[str, str]]:
    """Pairs of a kind of thing and a kind of place that make sense in this room."""
    present = {place.kind for place in places}
    movable = [thing for thing in things_of(room) if thing.movable]
    if task_type == "light":
        if not present.intersection(THINGS[LAMP].kept):
            return []
        return [(thing.name, LAMP) for thing in movable if present.intersection(thing.kept)]
    treatment = TREATMENTS.get(task_type)
    goals = []
    for thing in movable:
        kept = [kind for kind in thing.kept if kind in present]
        if treatment is None:
            # What is wanted must not be there at first, so there has to be another place for it.
            goals += [(thing.name, target) for target in kept if len(kept) > 1]
        elif treatment in thing.treatments and APPLIANCES[treatment] in present:
            goals += [(thing.name, target) for target in kept if target != APPLIANCES[treatment]]
    return goals


def _fill(
    goal: Goal, room: Room, size: Size, places: Sequence[Named], rng: Random
) -> tuple[tuple[Named, ...], tuple[int, ...]] | None:
    """Put things in the places: what the goal needs first, then others."""
    load = _LOADS[size]
    room_left = [load.most] * len(places)
    kept: list[tuple[str, int]] = []

    def put(kind: str, avoid: str = "") -> bool:
        free = [index for index, left in enumerate(room_left) if left and places[index].kind != avoid]
        place = _draw_place(THINGS[kind], places, free, load.order, rng)
        if place is None:
            return False
        room_left[place] -= 1
        kept.append((kind, place))
        return True

    wanted = 2 if goal.type == "two" else 1
    if size == "full":
        wanted += rng.choice((0, 0, 1)) if goal.type == "two" else rng.choice((0, 0, 1, 2))
    avoid = "" if goal.treatment else goal.place
    needed = [goal.thing] * wanted + ([LAMP] if goal.type == "light" else [])
    if not all(put(kind, avoid) for kind in needed):
        return None
    others = [thing.name for thing in things_of(room) if thing.name not in (goal.thing, LAMP)]
    equal = Counter[str]()
    for _ in range(rng.randint(*load.others)):
        kind = rng.choice(others)
        if equal[kind] < load.equal and put(kind):
            equal[kind] += 1
    if goal.type != "light" and "desk" in {place.kind for place in places} and rng.random() < 0.5:
        put(LAMP)
    return _number(kept, rng)


def _draw_place(thing: Thing, places: Sequence[Named], free: Sequence[int], order: float, rng: Random) -> int | None:
    """Draw one of the free places for a thing: a likely kind first, then one of that kind."""
    kinds = [kind for kind in thing.kept if any(places[index].kind == kind for index in free)]
    if not kinds:
        return None
    kind = rng.choices(kinds, weights=[order**rank for rank in range(len(kinds))])[0]
    return rng.choice([index for index in free if places[index].kind == kind])


def _number(kept: list[tuple[str, int]], rng: Random) -> tuple[tuple[Named, ...], tuple[int, ...]]:
    """Number the things of each kind in a random order and sort them as listings do."""
    rng.shuffle(kept)
    counts = Counter[str]()
    numbered = []
    for kind, place in kept:
        counts[kind] += 1
        numbered.append((kind, -counts[kind], place))
    numbered.sort()
    return tuple(Named(kind, -number) for kind, number, _ in numbered), tuple(place for *_, place in numbered)
