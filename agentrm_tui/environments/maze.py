"""Mazes in the text form of LMRL-Gym (arXiv 2311.18232): the goal's position, your own, and the walls around you.

`lmrl` is LMRL-Gym's double-T map; the other levels are generated. In `maze` and `pits` levels each task has a map of
its own, which nobody can know. In `named` levels there are a few maps with names, which never change: as in LMRL-Gym,
the way can be learnt by heart, and a good move be told from a bad one. Where there are pits a draught warns of one
next door, and falling in ends the episode: not every failure lasts until the step limit.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from agentrm_models.functions import ActionFunctions, OneFunction
from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import Cell, EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment


class Position(NamedTuple):
    """Row (grows downwards) and column (grows to the right), as in LMRL-Gym."""

    row: int
    column: int


MOVES: dict[str, Position] = {
    "move up": Position(-1, 0),
    "move down": Position(1, 0),
    "move left": Position(0, -1),
    "move right": Position(0, 1),
}
_WALL_WORDS = {
    "move up": "above you",
    "move down": "below you",
    "move left": "to your left",
    "move right": "to your right",
}
BUMP_LIMIT = 3
"""Refused moves (walls, unknown actions) that end an episode."""


@dataclass(frozen=True, slots=True)
class _Level:
    size: int
    pits: int
    step_limit: int
    loops: int
    names: tuple[str, ...] = ()


_LEVELS = {
    "maze-4": _Level(4, 0, 16, 1),
    "maze-5": _Level(5, 0, 20, 2),
    "maze-6": _Level(6, 0, 26, 3),
    "pits-4": _Level(4, 2, 16, 3),
    "pits-5": _Level(5, 3, 20, 5),
    "pits-6": _Level(6, 4, 26, 7),
    "named-8": _Level(8, 6, 28, 10, ("Ash", "Birch", "Cedar", "Elm", "Fir", "Hawthorn")),
    "named-9": _Level(9, 8, 30, 12, ("Hazel", "Larch", "Maple", "Oak")),
}
_LMRL_STEP_LIMIT = 30
_NAMED_DISTANCE = 4
"""Moves from start to goal at least; elsewhere it is the maze's size."""


@dataclass(frozen=True, slots=True)
class Board:
    """A maze: which neighbouring cells are connected, pits, start, goal and name. Positions start at 1."""

    height: int
    width: int
    passages: frozenset[tuple[Position, Position]]
    pits: frozenset[Position]
    start: Position
    goal: Position
    name: str = ""

    def neighbour(self, position: Position, action: str) -> Position | None:
        """The cell a move leads to, or None where a wall is."""
        move = MOVES[action]
        there = Position(position.row + move.row, position.column + move.column)
        return there if (position, there) in self.passages else None

    def distances(self) -> dict[Position, int]:
        """Moves to the goal from every cell that can reach it without a pit (breadth-first search)."""
        distance = {self.goal: 0}
        queue = deque([self.goal])
        while queue:
            here = queue.popleft()
            for action in MOVES:
                there = self.neighbour(here, action)
                if there is not None and there not in distance and there not in self.pits:
                    distance[there] = distance[here] + 1
                    queue.append(there)
        return distance


class MazeSnapshot(NamedTuple):
    """All that changes during an episode, and the task it belongs to."""

    task: Task
    board: Board
    distance: dict[Position, int]
    position: Position
    steps: int
    bumps: int
    trail: tuple[Position, ...]
    done: bool


_FULL = """\
You are in a maze and have to reach the goal. Positions are row, column: moving down makes the row larger, moving \
right makes the column larger. After each move you are told where you are and where the walls next to you are.
The actions are: move up, move down, move left, move right.
Moving into a wall, or writing anything else as action, leaves you where you are; the third time ends the episode. \
Some mazes have pits. When you feel a draught, a pit is behind one of the openings next to you; falling in ends \
the episode.
Reply with one thought and one action, each on its own line:
Thought: The goal is above and the way up is open.
Action: move up"""
_FUNCTIONS = OneFunction("Move to the next cell.", actions=tuple(MOVES))
_SHORT = "Maze. Actions: move up, move down, move left, move right. A draught means a pit is next to you."


class MazeEnvironment(BaseEnvironment):
    """One agent in a maze, seeing only the walls around it."""

    def __init__(self) -> None:
        self._state: MazeSnapshot | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about the mazes."""
        return EnvironmentTraits(
            name="maze",
            origin="compatible",
            summary="Find the goal of a maze from its position and the walls around you.",
            levels=("lmrl", *_LEVELS),
            mix=("pits-4", "maze-4", "maze-5"),
            snapshots=True,
            valid_actions=True,
            expert=True,
            pictures=True,
            state_keys=True,
            procedural=True,
        )

    def instruction(self, style: PromptStyle) -> str:
        """Rules and reply format, or the action list alone."""
        return _FULL if style == "full" else _SHORT

    def functions(self, task: Task) -> ActionFunctions:
        """One function, which names the four moves."""
        return _FUNCTIONS

    def make_task(self, level: str, seed: int) -> Task:
        """A maze of this level; `seed` fixes map and pits, or which of the named ones, start and goal."""
        limit = _LMRL_STEP_LIMIT if level == "lmrl" else _LEVELS[level].step_limit
        board = make_board(level, seed)
        where = f"In the {board.name} maze, reach" if board.name else "Reach"
        goal = f"{where} the goal at position {board.goal.row}, {board.goal.column}."
        return Task(f"{level}:{seed}", goal, seed, limit, level)

    def reset(self, task: Task) -> str:
        """Put the agent at the start."""
        board = make_board(task.level, task.seed)
        self._state = MazeSnapshot(task, board, board.distances(), board.start, 0, 0, (board.start,), False)
        return self._describe()

    def step(self, action: str) -> StepResult:
        """Move one cell; a refused move counts as a step and as a bump."""
        state = self._current()
        if state.done:
            raise AssertionError("the episode is over: reset before the next step")
        known = " ".join(action.lower().split()) if len(action) <= 40 else ""
        there = state.board.neighbour(state.position, known) if known in MOVES else None
        steps = state.steps + 1
        at_limit = steps >= state.task.step_limit
        if there is None:
            bumps = state.bumps + 1
            state = state._replace(steps=steps, bumps=bumps, done=at_limit or bumps >= BUMP_LIMIT)
            why = "There is a wall in the way." if known in MOVES else "That is not an action here."
            end = " That was the third time: the episode is over." if bumps >= BUMP_LIMIT else ""
            self._state = state
            return StepResult(f"{why}{end} {self._describe()}", self._outcome(), state.done, valid=False)
        fallen, arrived = there in state.board.pits, there == state.board.goal
        trail = (*state.trail, there)
        self._state = state._replace(position=there, steps=steps, trail=trail, done=at_limit or fallen or arrived)
        text = "You fall into a pit. The episode is over." if fallen else "You reached the goal." if arrived else ""
        return StepResult(text or self._describe(), self._outcome(), self._state.done, valid=True)

    def valid_actions(self) -> tuple[str, ...]:
        """The moves that no wall blocks."""
        state = self._current()
        return tuple(action for action in MOVES if state.board.neighbour(state.position, action) is not None)

    def snapshot(self) -> MazeSnapshot:
        """The state itself: it is immutable."""
        return self._current()

    def restore(self, snapshot: MazeSnapshot) -> None:
        """Go back to a state."""
        self._state = snapshot

    def expert(self) -> tuple[str, str]:
        """The first move of a shortest way without pits, and why, in terms of what the agent is told."""
        state = self._current()
        here = state.distance.get(state.position)
        if not here:
            return "", ""
        options = [(action, state.board.neighbour(state.position, action)) for action in MOVES]
        # Ties go to the direction in which more is still missing: the only choice that can be explained.
        best = min(
            (action for action, there in options if there is not None and state.distance.get(there) == here - 1),
            key=lambda action: -_gain(state.position, state.board.goal, action),
        )
        return self._explain(best), best

    def picture(self) -> Picture:
        """The whole map with walls, the trail, the agent and the goal."""
        state = self._current()
        return Picture(_draw(state), f"step {state.steps}/{state.task.step_limit}")

    def state_key(self) -> str:
        """Task, position and bumps left."""
        state = self._current()
        return f"{state.task.id}@{state.position.row},{state.position.column}/{state.bumps}"

    def _current(self) -> MazeSnapshot:
        if self._state is None:
            raise AssertionError("reset comes first")
        return self._state

    def _outcome(self) -> float:
        state = self._current()
        left = state.distance.get(state.position)
        if left is None:
            return 0.0
        return max(0.0, 1.0 - left / state.distance[state.board.start])

    def _describe(self) -> str:
        state = self._current()
        here, goal = state.position, state.board.goal
        walls = [words for action, words in _WALL_WORDS.items() if state.board.neighbour(here, action) is None]
        parts = [
            f"The goal is at position {goal.row}, {goal.column}.",
            f"Your current position is at position {here.row}, {here.column}.",
        ]
        if walls:
            parts.append(f"There {'is a wall' if len(walls) == 1 else 'are walls'} {', '.join(walls)}.")
        if any(state.board.neighbour(here, action) in state.board.pits for action in MOVES):
            parts.append("You feel a draught.")
        return " ".join(parts)

    def _explain(self, action: str) -> str:
        state = self._current()
        down, right = state.board.goal.row - state.position.row, state.board.goal.column - state.position.column
        ways = [f"{abs(down)} {'down' if down > 0 else 'up'}"] if down else []
        ways += [f"{abs(right)} {'right' if right > 0 else 'left'}"] if right else []
        where = f"The goal is {' and '.join(ways)}"
        there = state.board.neighbour(state.position, action)
        if there in state.trail:
            return f"{where}, but I must go back."
        return f"{where}." if _gain(state.position, state.board.goal, action) > 0 else f"{where}, I go around."


def _gain(here: Position, goal: Position, action: str) -> int:
    """How much is missing in the direction of a move; negative when it leads away."""
    move = MOVES[action]
    return (goal.row - here.row) * move.row + (goal.column - here.column) * move.column


def make_board(level: str, seed: int) -> Board:
    """Build the maze of a level and seed: LMRL-Gym's map with a random start, or a generated one."""
    rng = random.Random(f"maze/{level}/{seed}")
    if level == "lmrl":
        return _lmrl_board(rng)
    spec = _LEVELS[level]
    name = rng.choice(spec.names) if spec.names else ""
    while True:
        board = _named_board(level, name, rng) if name else _generate(spec, rng)
        distance = board.distances().get(board.start, 0)
        if (_NAMED_DISTANCE if name else spec.size) <= distance <= spec.step_limit // 2 + 1:
            return board


def _named_board(level: str, name: str, rng: random.Random) -> Board:
    """A map that never changes, with a random start and goal."""
    board = _named_map(level, name)
    cells = sorted({here for here, _ in board.passages} - board.pits)
    start, goal = rng.sample(cells, 2)
    return replace(board, start=start, goal=goal, name=name)


@cache
def _named_map(level: str, name: str) -> Board:
    """A named map; from each of its cells but the pits each other can be reached."""
    rng = random.Random(f"maze/{level}/{name}")
    while True:
        board = _generate(_LEVELS[level], rng)
        if len(board.distances()) == board.height * board.width - len(board.pits):
            return board


def _lmrl_board(rng: random.Random) -> Board:
    """LMRL-Gym's double T: two bars at the top, joined by a bridge from which a stem leads down to the goal at 8, 6."""
    cells = {Position(1, column) for column in (*range(1, 6), *range(7, 12))}
    cells |= {Position(row, column) for row in range(2, 6) for column in (3, 9)}
    cells |= {Position(5, column) for column in range(3, 10)} | {Position(row, 6) for row in range(6, 9)}
    goal = Position(8, 6)
    start = rng.choice(sorted(cells - {goal}))
    return Board(8, 11, _connect(cells.__contains__, cells), frozenset(), start, goal)


def _connect(is_open: Callable[[Position], bool], cells: set[Position]) -> frozenset[tuple[Position, Position]]:
    passages = set()
    for here in cells:
        for move in MOVES.values():
            there = Position(here.row + move.row, here.column + move.column)
            if is_open(there):
                passages.add((here, there))
    return frozenset(passages)


def _generate(spec: _Level, rng: random.Random) -> Board:
    """A random spanning tree of the grid (depth-first), some walls opened to make loops, then pits, start and goal."""
    cells = [Position(row, column) for row in range(1, spec.size + 1) for column in range(1, spec.size + 1)]
    walls = {(a, b) for a in cells for b in cells if abs(a.row - b.row) + abs(a.column - b.column) == 1}
    stack, seen, opened = [rng.choice(cells)], set[Position](), set[tuple[Position, Position]]()
    seen.add(stack[0])
    while stack:
        here = stack[-1]
        fresh = [there for there in cells if (here, there) in walls and there not in seen]
        if not fresh:
            stack.pop()
            continue
        there = rng.choice(fresh)
        opened |= {(here, there), (there, here)}
        seen.add(there)
        stack.append(there)
    for here, there in rng.sample(sorted(walls - opened), 2 * spec.loops):
        opened |= {(here, there), (there, here)}
    start, goal, *pits = rng.sample(cells, 2 + spec.pits)
    return Board(spec.size, spec.size, frozenset(opened), frozenset(pits), start, goal)


def _draw(state: MazeSnapshot) -> tuple[tuple[Cell, ...], ...]:
    board = state.board
    wall, trail = Cell("█", "wall"), Cell("·", "floor")
    rooms = {here for here, _ in board.passages}
    walked = set(state.trail)
    between = {(a.row + b.row, a.column + b.column) for a, b in zip(state.trail, state.trail[1:], strict=False)}
    open_between = {(a.row + b.row, a.column + b.column) for a, b in board.passages}

    def cell(y: int, x: int) -> Cell:
        here = Position(y // 2, x // 2)
        if y % 2 or x % 2:
            return (trail if (y, x) in between else Cell(" ", "floor")) if (y, x) in open_between else wall
        if here not in rooms:
            return wall
        if here == state.position:
            return Cell("x" if here in board.pits else "@", "agent")
        if here == board.goal:
            return Cell("G", "goal")
        if here in board.pits:
            return Cell("o", "hidden")
        return trail if here in walked else Cell(" ", "floor")

    return tuple(tuple(cell(y, x) for x in range(1, 2 * board.width + 2)) for y in range(1, 2 * board.height + 2))
