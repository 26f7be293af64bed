"""From the words of an action to primitive actions: macros plan over what has been seen."""

from __future__ import annotations

import re
from collections import deque
from functools import cached_property
from typing import NamedTuple

from agentrm_tui.environments.babyai.mission import Deed
from agentrm_tui.environments.babyai.sight import window
from agentrm_tui.environments.babyai.view import Known, label
from agentrm_tui.environments.babyai.world import DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, World

_LONGEST = 200
_ARTICLE = re.compile(r"\b(?:the|a|an) ")
_ON_THING = re.compile(
    r"(go to|pick up|open|close|go through|put next to)"
    r" (?:(red|green|blue|purple|yellow|grey) )?(ball|box|key|door)(?: ([1-9]\d?))?"
)
_SYNONYMS = {"pickup": "pick up", "forward": "move forward", "left": "turn left", "right": "turn right"}


class Plan(NamedTuple):
    """What an action comes to.

    Attributes:
        moves: Primitive actions, one after the other; none when the action is refused.
        told: What happened, or why it is refused.
        deed: What strictness judges.
    """

    moves: tuple[int, ...]
    told: str
    deed: Deed = Deed("")


class Routes(NamedTuple):
    """Shortest ways from the agent over seen, free cells: for each cell the one before it and the steps to it."""

    before: dict[int, int]
    steps: dict[int, int]


def routes(world: World) -> Routes:
    """Search breadth first from the agent's cell."""
    before: dict[int, int] = {}
    steps = {world.cell: 0}
    free = world.seen & ~world.solid
    queue = deque((world.cell,))
    while queue:
        cell = queue.popleft()
        for there in neighbors(world, cell):
            if there not in steps and free >> there & 1:
                before[there] = cell
                steps[there] = steps[cell] + 1
                queue.append(there)
    return Routes(before, steps)


def neighbors(world: World, cell: int) -> tuple[int, int, int, int]:
    """Give the cells to the east, south, west and north; free cells are never on the grid's edge."""
    return cell + 1, cell + world.width, cell - 1, cell - world.width


def refuse(why: str) -> Plan:
    """Make a plan that does nothing and says why."""
    return Plan((), why)


class Planner:
    """Plans actions in one state of a world.

    Attributes:
        world: The world, not changed by planning.
        known: Its known things; names in actions are looked up here.
        routes: Ways over seen cells.
    """

    def __init__(self, world: World, known: tuple[Known, ...]) -> None:
        self.world = world
        self.known = known
        self.routes = routes(world)

    def plan(self, action: str) -> Plan:
        """Plan an action given in words. Any text is answered: what is not understood is refused."""
        if len(action) > _LONGEST:
            return refuse("This action is too long.")
        words = _ARTICLE.sub("", " ".join(action.lower().split()).rstrip(". "))
        words = re.sub(r"^put .+ next to ", "put next to ", _SYNONYMS.get(words, words))
        match words:
            case "turn left":
                return Plan((LEFT,), "You turn left.")
            case "turn right":
                return Plan((RIGHT,), "You turn right.")
            case "turn around":
                return Plan((RIGHT, RIGHT), "You turn around.")
            case "move forward":
                return self._move_forward()
            case "explore":
                return self.exploring
            case "drop":
                return self.drop()
            case "toggle" | "pick up":
                return self._on_front(words)
        match = _ON_THING.fullmatch(words)
        if match is None:
            return refuse("This is not an action.")
        verb, color, kind, number = match.groups()
        name = f"{color} {kind}" if color else kind
        entry = self._find(color, kind, int(number or 1))
        if entry is None:
            return refuse(f"You know no {name}{' ' + number if number else ''}.")
        return self.on_thing(verb, entry)

    def on_thing(self, verb: str, entry: Known) -> Plan:
        """Plan one of the verbs that take a thing."""
        match verb:
            case "go to":
                return self._go_to(entry)
            case "pick up":
                return self._pick_up(entry)
            case "open" | "close":
                return self._swing(verb, entry)
            case "go through":
                return self._go_through(entry)
            case _:
                return self._put_next_to(entry)

    def _find(self, color: str | None, kind: str, number: int) -> Known | None:
        alike = [
            entry
            for entry in self.known
            if self.world.things[entry.thing].type == kind and color in (None, self.world.things[entry.thing].color)
        ]
        return alike[number - 1] if number <= len(alike) else None

    def approach(self, target: int) -> tuple[int, ...] | None:
        """Plan to stand next to a cell and face it; None when there is no way over what has been seen."""
        stands = [cell for cell in neighbors(self.world, target) if cell in self.routes.steps]
        if not stands:
            return None
        return min((self.walk(cell, target) for cell in stands), key=len)

    def walk(self, stand: int, face: int = -1) -> tuple[int, ...]:
        """Turn a way to a reachable cell, and a neighbour of it to face at the end, into primitive actions."""
        cells = [] if face < 0 else [face]
        at = stand
        while at != self.world.cell:
            cells.append(at)
            at = self.routes.before[at]
        cells.reverse()
        moves: list[int] = []
        direction = self.world.direction
        for there in cells:
            wanted = neighbors(self.world, at).index(there)
            moves += turns(direction, wanted)
            direction = wanted
            if there != face:
                moves.append(FORWARD)
            at = there
        return tuple(moves)

    def _move_forward(self) -> Plan:
        ahead = self.world.front()
        if not self.world.solid >> ahead & 1:
            return Plan((FORWARD,), "You move forward.")
        k = self.world.thing_at(ahead)
        return refuse(f"The way ahead is blocked by {'a wall' if k < 0 else 'the ' + label(self.world.things[k])}.")

    def _on_front(self, verb: str) -> Plan:
        """Plan a primitive toggle or pick-up of what is right ahead."""
        k = self.world.thing_at(self.world.front())
        if k < 0:
            return refuse("There is nothing right ahead.")
        thing = self.world.things[k]
        entry = next(entry for entry in self.known if entry.thing == k)
        if verb == "pick up":
            return self._pick_up(entry)
        if thing.type == "box":
            return Plan((TOGGLE,), f"You open the {label(thing)} and it is gone.")
        return self._swing("close" if thing.type == "door" and thing.is_open else "open", entry)

    def _no_way(self, entry: Known) -> Plan:
        return refuse(f"You see no free way to the {entry.name}.")

    def _go_to(self, entry: Known) -> Plan:
        moves = self.approach(self.world.where[entry.thing])
        if moves is None:
            return self._no_way(entry)
        if not moves:
            return refuse(f"You are at the {entry.name} already.")
        return Plan(moves, f"You go to the {entry.name}.", Deed("go to", entry.thing))

    def _pick_up(self, entry: Known) -> Plan:
        if self.world.things[entry.thing].type == "door":
            return refuse("A door cannot be picked up.")
        if self.world.holding >= 0:
            return refuse("Your hands are full.")
        moves = self.approach(self.world.where[entry.thing])
        if moves is None:
            return self._no_way(entry)
        return Plan((*moves, PICKUP), f"You pick up the {entry.name}.", Deed("pick up", entry.thing))

    def _swing(self, verb: str, entry: Known) -> Plan:
        """Plan to open or close a door."""
        door = self.world.things[entry.thing]
        if door.type != "door":
            return refuse("Only doors can be opened or closed.")
        if door.is_open == (verb == "open"):
            return refuse(f"The {entry.name} is {'open' if door.is_open else 'closed'} already.")
        if not self._can_unlock(entry.thing):
            return refuse(f"The {entry.name} is locked and you do not carry its key.")
        moves = self.approach(self.world.where[entry.thing])
        if moves is None:
            return self._no_way(entry)
        deed = Deed("open", entry.thing) if verb == "open" else Deed("")
        return Plan((*moves, TOGGLE), f"You {verb} the {entry.name}.", deed)

    def _can_unlock(self, door: int) -> bool:
        world = self.world
        if not world.things[door].is_locked:
            return True
        key = world.things[world.holding] if world.holding >= 0 else None
        return key is not None and key.type == "key" and key.color == world.things[door].color

    def _go_through(self, entry: Known) -> Plan:
        """Plan to open a door where needed and walk to its other side."""
        door = self.world.things[entry.thing]
        if door.type != "door":
            return refuse("Only doors can be gone through.")
        if not self._can_unlock(entry.thing):
            return refuse(f"The {entry.name} is locked and you do not carry its key.")
        moves = self.approach(self.world.where[entry.thing])
        if moves is None:
            return self._no_way(entry)
        opening = () if door.is_open else (TOGGLE,)
        return Plan(
            (*moves, *opening, FORWARD, FORWARD),
            f"You go through the {entry.name}.",
            Deed("" if door.is_open else "open", entry.thing),
        )

    def _put_next_to(self, entry: Known) -> Plan:
        if self.world.holding < 0:
            return refuse("You carry nothing.")
        held = label(self.world.things[self.world.holding])
        place = self.world.where[entry.thing]
        free = self.world.seen & ~self.world.solid & ~self._door_cells()
        spots = [
            (self.routes.steps[stand], stand, spot)
            for spot in neighbors(self.world, place)
            if spot >= 0 and free >> spot & 1
            for stand in neighbors(self.world, spot)
            if stand in self.routes.steps and stand != spot
        ]
        if not spots:
            return refuse(f"You see no free place next to the {entry.name}.")
        _, stand, spot = min(spots)
        return Plan(
            (*self.walk(stand, spot), DROP),
            f"You put the {held} next to the {entry.name}.",
            Deed("put", entry.thing),
        )

    def drop(self) -> Plan:
        """Plan to put down what is carried on the nearest free cell where it is in nobody's way."""
        if self.world.holding < 0:
            return refuse("You carry nothing.")
        spot = self._spot_to_drop()
        if spot is None:
            return refuse("There is no free place to drop it.")
        held = label(self.world.things[self.world.holding])
        return Plan((*self.walk(*spot), DROP), f"You drop the {held}.")

    def _spot_to_drop(self) -> tuple[int, int] | None:
        """Choose (where to stand, where to drop): not next to a door and cutting nothing off, if that can be had."""
        free = self.world.seen & ~self.world.solid & ~self._door_cells()
        ahead = self.world.front()
        spots = []
        for stand, steps in self.routes.steps.items():
            for spot in neighbors(self.world, stand):
                if free >> spot & 1:
                    by_door = any(there in self.world.door_at for there in neighbors(self.world, spot))
                    spots.append((by_door, steps + (spot != ahead), stand, spot))
        spots.sort()
        best: tuple[int, int, int] | None = None
        for _, _, stand, spot in spots:
            lost = self._cut_off(stand, spot)
            if best is None or lost < best[0]:
                best = (lost, stand, spot)
            if not lost:
                break
        return None if best is None else best[1:]

    def _cut_off(self, stand: int, spot: int) -> int:
        """Count the cells and things that an agent on `stand` could no longer reach with a thing on `spot`."""
        reached = {stand}
        stack = [stand]
        while stack:
            for there in neighbors(self.world, stack.pop()):
                if there != spot and there not in reached and there in self.routes.steps:
                    reached.add(there)
                    stack.append(there)
        lost = len(self.routes.steps) - (spot in self.routes.steps) - len(reached)
        for there in neighbors(self.world, spot):
            if self.world.thing_at(there) >= 0 and there not in reached:
                lost += reached.isdisjoint(neighbors(self.world, there))
        return lost

    @cached_property
    def exploring(self) -> Plan:
        """The plan to walk to where most of the unseen part of this room comes into view, and look there."""
        world = self.world
        room = world.region()
        unseen = room & ~world.seen
        best = (0, 0, world.cell, world.direction)
        for cell, steps in self.routes.steps.items():
            if not unseen:
                break
            if not room >> cell & 1:
                continue
            for direction in range(4):
                gain = (unseen & window(world.width, world.height, cell, direction).mask).bit_count()
                cost = steps * 2 + len(turns(world.direction, direction))
                if gain and (-gain, cost) < best[:2]:
                    best = (-gain, cost, cell, direction)
        if not best[0]:
            return refuse("All that can be seen of this room has been seen.")
        moves = self.walk(best[2])
        return Plan((*moves, *turns(self._heading(moves), best[3])), "You look around.")

    def _heading(self, moves: tuple[int, ...]) -> int:
        return (self.world.direction + moves.count(RIGHT) - moves.count(LEFT)) % 4

    def _door_cells(self) -> int:
        mask = 0
        for cell in self.world.door_at:
            mask |= 1 << cell
        return mask


def turns(direction: int, wanted: int) -> tuple[int, ...]:
    """Give the fewest turns from one direction to another."""
    return ((), (RIGHT,), (RIGHT, RIGHT), (LEFT,))[(wanted - direction) % 4]
