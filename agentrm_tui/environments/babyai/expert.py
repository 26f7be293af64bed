"""An expert that acts on what it has seen only, so that its choices can be explained by the text view.

Ways are planned on the seen map with doors, keys and movable things in between priced by the steps they cost; the
first obstacle on the way becomes the next subgoal. It needs no memory of its own and starts from any state.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from agentrm_tui.environments.babyai.levels import Level
from agentrm_tui.environments.babyai.macros import Planner, neighbors
from agentrm_tui.environments.babyai.mission import Part, mission_parts
from agentrm_tui.environments.babyai.view import Known, label
from agentrm_tui.environments.babyai.world import HELD, World

_DOOR_PRICE = 4
_BLOCKER_PRICE = 30
_LOCK_PRICE = 60


class Advice(NamedTuple):
    """A thought and an action; both empty when nothing helps."""

    thought: str
    action: str


class Way(NamedTuple):
    """A priced way over the seen map: the things in between that have to be opened or moved, in order."""

    price: int
    obstacles: tuple[int, ...]


class Expert:
    """Gives advice for one state of a world.

    Attributes:
        world: The world, not changed.
        planner: The planner of the same state.
        level: Its strictness decides whether other doors may be tried before something is moved out of the way.
        names: The known things by number.
    """

    def __init__(self, world: World, planner: Planner, level: Level) -> None:
        self.world = world
        self.level = level
        self.planner = planner
        self.names = {entry.thing: entry for entry in planner.known}
        self._prices, self._from = self._survey()

    def advise(self) -> Advice:
        """Choose the next action of the first part that can be worked on, else of a search for what is missing."""
        active = [part for part in mission_parts(self.world) if part.active]
        for part in active:
            advice = self._work_on(part)
            if advice:
                return advice
        return self._search(self._wanted(active[0])) if active else Advice("", "")

    def _work_on(self, part: Part) -> Advice | None:
        """Advise on a part whose things are known; None when something has to be found first."""
        match part.verb:
            case "go to":
                return self._reach("go to", part.targets)
            case "pick up":
                return self._fetch(part.targets)
            case "open":
                return self._open(part.targets)
            case _:
                return self._put(part)

    def _reach(self, verb: str, targets: tuple[int, ...]) -> Advice | None:
        """Go to one of the targets and do what the verb says, clearing the way first."""
        if self.world.holding in targets:
            return self._drop()
        choice = self._nearest(targets)
        if choice is None:
            return None
        target, way = choice
        if way.obstacles:
            return self._clear(way.obstacles[0], label(self.world.things[target]))
        entry = self.names.get(target)
        if entry is None:
            # It is the door in whose frame the agent stands.
            return self._step_out()
        if not self.planner.on_thing(verb, entry).moves:
            return None
        where = "is in view" if entry.in_view else "was seen before"
        so = "go there" if verb == "go to" else "pick it up"
        return Advice(f"The {entry.name} {where}, so {so}.", f"{verb} {entry.name}")

    def _fetch(self, targets: tuple[int, ...]) -> Advice | None:
        """Pick up one of the targets; other things are put down first."""
        if self.world.holding >= 0:
            return self._drop() if self._nearest(targets) or self.world.holding in targets else None
        return self._reach("pick up", targets)

    def _open(self, doors: tuple[int, ...]) -> Advice | None:
        """Open one of the doors; one that is open has to be closed first."""
        for is_open in (False, True):
            choice = self._nearest(tuple(k for k in doors if self.world.things[k].is_open == is_open))
            if choice is None:
                continue
            door, way = choice
            if way.obstacles:
                return self._clear(way.obstacles[0], label(self.world.things[door]))
            if door not in self.names:
                return self._step_out()
            name = self.names[door].name
            if is_open:
                return Advice(f"The {name} is open, so close it first.", f"close {name}")
            return self._clear(door, name, verb="open")
        return None

    def _put(self, part: Part) -> Advice | None:
        holding = self.world.holding
        beside = self._nearest(part.beside)
        if beside is None:
            return None
        target, way = beside
        if way.obstacles:
            return self._clear(way.obstacles[0], label(self.world.things[target]))
        if holding not in part.targets:
            return self._fetch(part.targets)
        if target not in self.names:
            return self._step_out()
        entry = self.names[target]
        if not self.planner.on_thing("put next to", entry).moves:
            return None
        held = label(self.world.things[holding])
        return Advice(f"Now put the {held} next to the {entry.name}.", f"put next to {entry.name}")

    def _clear(self, obstacle: int, goal: str, verb: str = "go through") -> Advice | None:
        """Deal with the first obstacle on a way: open a door, fetch its key, or move what blocks."""
        thing = self.world.things[obstacle]
        entry = self.names[obstacle]
        if thing.type != "door":
            return self._move_away(entry, goal)
        if not thing.is_locked:
            if verb == "open":
                return Advice(f"The {entry.name} is closed, so open it.", f"open {entry.name}")
            return Advice(f"The way leads through the {entry.name}.", f"go through {entry.name}")
        keys = self._keys(thing.color)
        if self.world.holding in keys:
            return Advice(f"I have the key of the {entry.name}.", f"{verb} {entry.name}")
        return self._fetch(keys) or self._search(f"{thing.color} key")

    def _move_away(self, entry: Known, goal: str) -> Advice:
        """Pick up what blocks a way, unless there may be another way that has not been looked for yet."""
        if self.planner.exploring.moves:
            return Advice("I see no free way yet, so look around.", "explore")
        choice = None if self.level.strict_doors else self._nearest(self._untried_doors())
        if choice is not None and choice[1].price < _BLOCKER_PRICE:
            first = self.names[(*choice[1].obstacles, choice[0])[0]]
            return Advice(f"No free way to the {goal}, so try the {first.name}.", f"go through {first.name}")
        if self.world.holding >= 0:
            return self._drop()
        return Advice(f"The {entry.name} is in the way, so move it.", f"pick up {entry.name}")

    def _untried_doors(self) -> tuple[int, ...]:
        """List the known doors that are not locked and in whose frame the agent has not stood."""
        world = self.world
        return tuple(
            k
            for k in world.door_numbers
            if k in self.names and not world.passed >> k & 1 and not world.things[k].is_locked
        )

    def _keys(self, color: str) -> tuple[int, ...]:
        return tuple(k for k, thing in enumerate(self.world.things) if thing.type == "key" and thing.color == color)

    def _drop(self) -> Advice:
        return Advice(f"Free my hand, so drop the {label(self.world.things[self.world.holding])}.", "drop")

    def _step_out(self) -> Advice:
        """Leave a door's frame."""
        if not self.world.solid >> self.world.front() & 1:
            return Advice("I stand in the door, so step out.", "move forward")
        return Advice("I stand in the door, so turn.", "turn right")

    def _search(self, wanted: str) -> Advice:
        """Look for something: in this room, behind untried doors, in unseen rooms, behind locks and blocks."""
        if self.planner.exploring.moves:
            return Advice(f"No {wanted} seen yet, so look around.", "explore")
        choice = self._nearest(self._untried_doors())
        if choice is not None and choice[1].price < _BLOCKER_PRICE:
            name = self.names[(*choice[1].obstacles, choice[0])[0]].name
            return Advice(f"No {wanted} here, so try the {name}.", f"go through {name}")
        return (
            self._return_to_unseen(wanted)
            or self._unlock_or_clear()
            or Advice(f"No {wanted} seen yet, so turn.", "turn right")
        )

    def _unlock_or_clear(self) -> Advice | None:
        """Get at a room that is locked or blocked: the cheapest untried door, locked ones with a known key included."""
        world = self.world
        locked = tuple(
            k
            for k in world.door_numbers
            if k in self.names
            and world.things[k].is_locked
            and any(world.is_known(key) for key in self._keys(world.things[k].color))
        )
        choice = self._nearest((*self._untried_doors(), *locked))
        if choice is None:
            return None
        first = (*choice[1].obstacles, choice[0])[0]
        return self._clear(first, label(world.things[choice[0]]))

    def _return_to_unseen(self, wanted: str) -> Advice | None:
        """Go back to a room that was not seen in full, through doors that are open by now."""
        world = self.world
        here = world.region()
        unseen = 0
        for region in world.regions:
            if region & ~world.seen and not region >> world.cell & 1:
                unseen |= region & ~here
        cells = [cell for cell in self._prices if unseen >> cell & 1 and cell not in world.door_at]
        if not cells:
            return None
        cell = min(cells, key=lambda there: (self._prices[there], there))
        obstacles = self._obstacles(cell)
        if obstacles:
            return self._clear(obstacles[0], wanted)
        door = -1
        while cell != world.cell:
            door = world.door_at.get(cell, door)
            cell = self._from[cell]
        if door not in self.names:
            return None
        name = self.names[door].name
        return Advice(f"No {wanted} here, so go back to the {name}.", f"go through {name}")

    def _wanted(self, part: Part) -> str:
        """Name what a part still looks for, in the mission's words."""
        unknown = [k for k in part.targets if not self.world.is_known(k)]
        looked_for = part.beside if part.verb == "put" and len(unknown) < len(part.targets) else part.targets
        return part.beside_said if looked_for is part.beside else part.targets_said

    def _nearest(self, things: tuple[int, ...]) -> tuple[int, Way] | None:
        """Choose the known thing with the cheapest way to a cell next to it."""
        best: tuple[int, int, int] | None = None
        for k in things:
            place = self.world.where[k]
            if place == HELD or not self.world.is_known(k):
                continue
            if place == self.world.cell:
                return k, Way(0, ())
            for stand in neighbors(self.world, place):
                if stand in self._prices:
                    candidate = (self._prices[stand], k, stand)
                    best = candidate if best is None or candidate < best else best
        return None if best is None else (best[1], Way(best[0], self._obstacles(best[2])))

    def _obstacles(self, cell: int) -> tuple[int, ...]:
        found = []
        while cell != self.world.cell:
            k = self.world.thing_at(cell)
            if k >= 0 and self.world.solid >> cell & 1:
                found.append(k)
            cell = self._from[cell]
        return tuple(reversed(found))

    def _survey(self) -> tuple[dict[int, int], dict[int, int]]:
        """Price the way to every seen cell that could be reached by opening doors and moving things (Dijkstra)."""
        prices = {self.world.cell: 0}
        before: dict[int, int] = {}
        heap = [(0, self.world.cell)]
        done: set[int] = set()
        while heap:
            price, cell = heapq.heappop(heap)
            if cell in done:
                continue
            done.add(cell)
            for there in neighbors(self.world, cell):
                step = self._price(there)
                if step and price + step < prices.get(there, 1 << 30):
                    prices[there] = price + step
                    before[there] = cell
                    heapq.heappush(heap, (price + step, there))
        return prices, before

    def _price(self, cell: int) -> int:
        """Price a step onto a cell; 0 where there is no way."""
        world = self.world
        if not world.seen >> cell & 1:
            return 0
        if not world.solid >> cell & 1:
            return 1
        k = world.thing_at(cell)
        if k < 0:
            return 0
        thing = world.things[k]
        if thing.type != "door":
            return _BLOCKER_PRICE
        if not thing.is_locked:
            return _DOOR_PRICE
        keys = self._keys(thing.color)
        if world.holding in keys:
            return _DOOR_PRICE
        return _LOCK_PRICE if any(world.is_known(key) for key in keys) else 0
