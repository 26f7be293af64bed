"""One minigrid level in play: its dynamics and verifier are the original's, its state is small enough to copy fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from agentrm_tui.environments.babyai.sight import DIRECTIONS, visible, window

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE = range(6)
"""minigrid's primitive actions."""

HELD = -1
GONE = -2
"""Places of a thing that lies on no cell: in the agent's hand, or destroyed (a box that was opened)."""

_NEVER = 1_000_000_000
"""minigrid's own step limit, set so far away that only our step limit ends an episode."""


class WorldState(NamedTuple):
    """The mutable part of a level in play; with the level and seed it is the whole state."""

    cell: int
    direction: int
    holding: int
    where: tuple[int, ...]
    doors: tuple[tuple[bool, bool], ...]
    seen: int
    passed: int
    verdict: str
    primitive_steps: int
    verifier: tuple[Any, ...]


class World:
    """A level in play, with the memory of what has been seen.

    Attributes:
        steps: What to add to a cell to get its neighbours to the east, south, west and north.
        env: The original environment, freshly reset; it still decides what an action does and when the mission is done.
        things: All objects and doors, numbered in reading order of the initial grid.
        where: The cell (y * width + x) of each thing, `HELD` or `GONE`.
        cell: Where the agent stands.
        direction: Where it looks: 0 east, 1 south, 2 west, 3 north.
        holding: The thing in its hand, or -1.
        seen: The cells seen so far, as bits.
        visible: The cells seen now, as bits.
        passed: The doors in whose frame the agent has stood, as bits over things.
        solid: The cells that cannot be walked on, as bits.
        verdict: The verifier's last word: "", "success" or "failure".
        regions: The cells of each connected group of rooms without doors in between, walls in, corners out.
    """

    def __init__(self, env: Any) -> None:
        env.max_steps = _NEVER
        env.gen_obs = _no_observation
        self.env = env
        self.width: int = env.grid.width
        self.height: int = env.grid.height
        placed = [(cell, thing) for cell, thing in enumerate(env.grid.grid) if thing is not None]
        self.steps = (1, self.width, -1, -self.width)
        self._walls = _bits(cell for cell, thing in placed if thing.type == "wall")
        self.things: tuple[Any, ...] = tuple(thing for _, thing in placed if thing.type != "wall")
        self.where = [cell for cell, thing in placed if thing.type != "wall"]
        self._number = {id(thing): k for k, thing in enumerate(self.things)}
        self.door_numbers = tuple(k for k, thing in enumerate(self.things) if thing.type == "door")
        self.door_at = {self.where[k]: k for k in self.door_numbers}
        self.regions = _regions(env, self.width)
        self.holding = -1
        self.seen = 0
        self.passed = 0
        self.verdict = ""
        self._take_pose()
        self._take_obstacles()
        self._look()

    def act(self, primitive: int) -> None:
        """Take one primitive action of the original environment."""
        _, reward, terminated, _, _ = self.env.step(primitive)
        if terminated:
            self.verdict = "success" if reward > 0 else "failure"
        self._take_pose()
        if primitive >= PICKUP:
            self._take_things()
            self._take_obstacles()
        self._look()

    def front(self) -> int:
        """Give the cell ahead; the outer wall keeps it inside the grid."""
        dx, dy = DIRECTIONS[self.direction]
        return self.cell + dy * self.width + dx

    def thing_at(self, cell: int) -> int:
        """Give the number of the thing on a cell, or -1."""
        return self._number.get(id(self.env.grid.grid[cell]), -1)

    def number(self, thing: Any) -> int:
        """Give a minigrid object's number, or -1 for None."""
        return self._number.get(id(thing), -1)

    def is_known(self, k: int) -> bool:
        """Tell whether the agent has seen where a thing is, or holds it."""
        place = self.where[k]
        return place == HELD or (place >= 0 and bool(self.seen >> place & 1))

    def region(self) -> int:
        """Give the cells of the room (or both rooms, in a door frame) where the agent stands, as bits."""
        here = 1 << self.cell
        cells = 0
        for region in self.regions:
            if region & here:
                cells |= region
        return cells

    def save(self) -> WorldState:
        """Copy what can change."""
        return WorldState(
            self.cell,
            self.direction,
            self.holding,
            tuple(self.where),
            tuple((self.things[k].is_open, self.things[k].is_locked) for k in self.door_numbers),
            self.seen,
            self.passed,
            self.verdict,
            self.env.step_count,
            self._save_verifier(self.env.instrs),
        )

    def load(self, state: WorldState) -> None:
        """Go back to a saved state of the same level and seed."""
        cells = self.env.grid.grid
        for place in self.where:
            if place >= 0:
                cells[place] = None
        self.where = list(state.where)
        for k, place in enumerate(self.where):
            thing = self.things[k]
            thing.cur_pos = (place % self.width, place // self.width) if place >= 0 else (-1, -1)
            if place >= 0:
                cells[place] = thing
        for k, (is_open, is_locked) in zip(self.door_numbers, state.doors, strict=True):
            self.things[k].is_open, self.things[k].is_locked = is_open, is_locked
        self.env.carrying = self.things[state.holding] if state.holding >= 0 else None
        self.env.agent_pos = (state.cell % self.width, state.cell // self.width)
        self.env.agent_dir = state.direction
        self.env.step_count = state.primitive_steps
        self._load_verifier(self.env.instrs, state.verifier)
        self.cell, self.direction, self.holding = state.cell, state.direction, state.holding
        self.passed, self.verdict = state.passed, state.verdict
        self._take_obstacles()
        self._look()
        self.seen = state.seen

    def _save_verifier(self, instr: Any) -> tuple[Any, ...]:
        if hasattr(instr, "instr_a"):
            return (
                instr.a_done,
                instr.b_done,
                self._save_verifier(instr.instr_a),
                self._save_verifier(instr.instr_b),
            )
        places = tuple(tuple(description.obj_poss) for description in descriptions(instr))
        return (self.number(getattr(instr, "preCarrying", None)), places)

    def _load_verifier(self, instr: Any, saved: tuple[Any, ...]) -> None:
        if hasattr(instr, "instr_a"):
            instr.a_done, instr.b_done = saved[0], saved[1]
            self._load_verifier(instr.instr_a, saved[2])
            self._load_verifier(instr.instr_b, saved[3])
            return
        if hasattr(instr, "preCarrying"):
            instr.preCarrying = self.things[saved[0]] if saved[0] >= 0 else None
        for description, places in zip(descriptions(instr), saved[1], strict=True):
            description.obj_poss = list(places)

    def _take_pose(self) -> None:
        x, y = (int(part) for part in self.env.agent_pos)
        self.env.agent_pos = (x, y)
        self.env.agent_dir = self.direction = int(self.env.agent_dir)
        self.cell = y * self.width + x
        door = self.door_at.get(self.cell)
        if door is not None:
            self.passed |= 1 << door

    def _take_things(self) -> None:
        """Follow what the last action did to the thing in the hand and to the thing ahead."""
        ahead = self.front()
        held = self.number(self.env.carrying)
        if self.holding >= 0 and held < 0:
            self.where[self.holding] = ahead
        elif held >= 0:
            self.where[held] = HELD
        self.holding = held
        there = self.thing_at(ahead)
        for k, place in enumerate(self.where):
            if place == ahead and k != there:
                self.where[k] = GONE

    def _take_obstacles(self) -> None:
        opaque = solid = self._walls
        for k, place in enumerate(self.where):
            if place < 0:
                continue
            thing = self.things[k]
            if thing.type != "door":
                solid |= 1 << place
            elif not thing.is_open:
                solid |= 1 << place
                opaque |= 1 << place
        self.solid = solid
        self._opaque = opaque

    def _look(self) -> None:
        self.visible = visible(window(self.width, self.height, self.cell, self.direction), self._opaque)
        self.seen |= self.visible


def descriptions(instr: Any) -> Iterator[Any]:
    """Give the object descriptions of one verifier leaf, in a fixed order."""
    for name in ("desc", "desc_move", "desc_fixed"):
        if hasattr(instr, name):
            yield getattr(instr, name)


def _no_observation() -> dict[str, Any]:
    """Stand in for minigrid's image observation, which nobody reads and which costs most of a step."""
    return {}


def _bits(cells: Iterator[int]) -> int:
    mask = 0
    for cell in cells:
        mask |= 1 << cell
    return mask


def _regions(env: Any, width: int) -> tuple[int, ...]:
    """Join rooms whose common wall was removed and give each group's cells, walls in and corners out."""
    rooms = [room for row in env.room_grid for room in row]
    group = list(range(len(rooms)))
    index = {id(room): i for i, room in enumerate(rooms)}
    for i, room in enumerate(rooms):
        for door, neighbor in zip(room.doors, room.neighbors, strict=True):
            if door is True:
                old, new = group[index[id(neighbor)]], group[i]
                group = [new if g == old else g for g in group]
    return tuple(
        _bits(cell for i, room in enumerate(rooms) if group[i] == g for cell in _room_cells(room, width))
        for g in sorted(set(group))
    )


def _room_cells(room: Any, width: int) -> Iterator[int]:
    left, top = room.top
    across, down = room.size
    for y in range(down):
        for x in range(across):
            if not (x in (0, across - 1) and y in (0, down - 1)):
                yield (top + y) * width + left + x
