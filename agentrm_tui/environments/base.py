"""The environment interface: text in, text out, an outcome in [0, 1]; everything else is optional and declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from agentrm_models.functions import ActionFunctions
from agentrm_models.messages import PromptStyle

Split: TypeAlias = Literal["train", "dev", "test"]
Origin: TypeAlias = Literal["original", "compatible", "own"]


class Task(msgspec.Struct, frozen=True):
    """One episode's assignment.

    Attributes:
        id: `LEVEL:SEED` for procedural tasks, else the task's name. Unique within its environment.
        goal: What the agent is asked to do, in words.
        seed: Seed of the initial state; 0 where there is none.
        step_limit: Steps after which the episode ends.
        level: The level or kind of task; results are grouped by it.
    """

    id: str
    goal: str
    seed: int
    step_limit: int
    level: str = ""


class StepResult(NamedTuple):
    """What one action did.

    Attributes:
        text: The observation.
        outcome: The environment's score now, in [0, 1].
        done: The episode has ended, by success, failure or step limit.
        valid: The action was understood and possible; an invalid action leaves the state as it was but counts.
    """

    text: str
    outcome: float
    done: bool
    valid: bool


Role: TypeAlias = Literal["empty", "wall", "floor", "agent", "goal", "object", "door", "hidden", "label"]
Tint: TypeAlias = Literal["", "red", "green", "blue", "purple", "yellow", "grey", "accent"]


class Cell(NamedTuple):
    """One cell of a picture.

    Attributes:
        glyph: One printable character of width 1.
        role: What it shows: the theme chooses colours by it.
        tint: The object's own colour, where it has one.
    """

    glyph: str
    role: Role
    tint: Tint = ""


class Picture(NamedTuple):
    """A grid to draw: rows of cells from top to bottom, all of the same length, and a caption."""

    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


class EnvironmentTraits(NamedTuple):
    """Facts about an environment that can be told without creating an episode.

    Attributes:
        name: The registered name.
        origin: Original software, a compatible re-implementation, or this project's own.
        summary: One line.
        levels: Names of all levels, in a fixed order; `LEVEL:SEED` names a task.
        mix: The levels that `tasks` cycles through; empty for all of them.
        snapshots: `snapshot` and `restore` exist and are exact.
        valid_actions: `valid_actions` exists.
        expert: `expert` exists.
        pictures: `picture` exists.
        state_keys: `state_key` exists.
        procedural: Any seed gives a task.
        extra: The install extra it needs; empty for the base install.
        left_out: What the original has and is not played here, with the reason; a line each.
    """

    name: str
    origin: Origin
    summary: str
    levels: tuple[str, ...] = ()
    mix: tuple[str, ...] = ()
    snapshots: bool = False
    valid_actions: bool = False
    expert: bool = False
    pictures: bool = False
    state_keys: bool = False
    procedural: bool = False
    extra: str = ""
    left_out: tuple[str, ...] = ()


SPLIT_SEEDS: dict[Split, int] = {"train": 0, "dev": 5_000_000, "test": 9_000_000}
"""First seed of each split of procedural tasks. Exploration uses training seeds from 1,000,000 on."""


class Environment(Protocol):
    """A text environment that plays one episode at a time. Instances share nothing.

    The optional methods exist on every environment; those that `traits` does not declare raise `UsageError`
    (derive from `BaseEnvironment`).
    """

    @property
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""
        ...

    def instruction(self, style: PromptStyle) -> str:
        """What a model is told before the goal: `full` with rules and reply format, `short` the action list."""
        ...

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> Sequence[Task]:
        """List tasks.

        Procedural environments cycle through their mix: seed `s` plays level `mix[s % len(mix)]`; `first_seed`
        overrides the split's own first seed and may be any integer ≥ 0. Fixed task lists start at index `first_seed`.
        """
        ...

    def task(self, task_id: str) -> Task:
        """Find a task by id.

        Raises:
            UsageError: No such task; the message offers the nearest spelling of the level.
        """
        ...

    def reset(self, task: Task) -> str:
        """Start an episode and return the first observation."""
        ...

    def step(self, action: str) -> StepResult:
        """Take one action. Never raises because of the action's text. After `done` it is a bug to call it."""
        ...

    def functions(self, task: Task) -> ActionFunctions:
        """The actions of a task's episode as functions, for models that speak tool calls; equal through the episode."""
        ...

    def valid_actions(self) -> tuple[str, ...]:
        """Actions that are accepted in the current state, in a fixed order."""
        ...

    def snapshot(self) -> Any:
        """Freeze the episode's state (it may be restored many times, in any instance of the same class)."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Go back to a state frozen by `snapshot`."""
        ...

    def expert(self) -> tuple[str, str]:
        """Thought (≤ 15 tokens) and action of the expert in the current state; both empty when it cannot be won."""
        ...

    def picture(self) -> Picture:
        """The current state as a grid."""
        ...

    def state_key(self) -> str:
        """Equal keys, equal futures (steps left aside)."""
        ...

    def close(self) -> None:
        """End child processes and free memory."""
        ...
