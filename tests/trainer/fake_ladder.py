"""A tiny environment for the trainer's tests: climb to a rung; a wrong word falls off the ladder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import Cell, EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment


class Rung(NamedTuple):
    """The state: where one stands, where to get, steps taken, fallen or not."""

    task: Task
    rung: int
    goal: int
    steps: int
    fallen: bool


class FakeLadder(BaseEnvironment):
    """Rungs 0 to 4; `up` and `down` move, `jump` fails the episode, anything else is invalid."""

    def __init__(self) -> None:
        self._state: Rung | None = None

    @property
    def traits(self) -> EnvironmentTraits:
        return EnvironmentTraits(
            name="ladder",
            origin="own",
            summary="Climb.",
            levels=("low", "high"),
            snapshots=True,
            valid_actions=True,
            expert=True,
            pictures=True,
            state_keys=True,
            procedural=True,
        )

    def instruction(self, style: PromptStyle) -> str:
        return "Ladder. Actions: up, down, jump." if style == "short" else "You climb. Actions: up, down, jump."

    def make_task(self, level: str, seed: int) -> Task:
        return Task(f"{level}:{seed}", f"Stand on rung {seed % 5}.", seed, 6, level)

    def reset(self, task: Task) -> str:
        start = (task.seed * 7 + (2 if task.level == "high" else 0)) // 5 % 5
        goal = task.seed % 5
        self._state = Rung(task, start if start != goal else (goal + 1) % 5, goal, 0, False)
        return self._describe() + f" Colour {task.seed % 997}."

    def step(self, action: str) -> StepResult:
        state = self._now()
        move = {"up": 1, "down": -1}.get(action, 0)
        there = state.rung + move
        valid = action == "jump" or (move != 0 and 0 <= there <= 4)
        state = state._replace(
            rung=there if valid and move else state.rung, steps=state.steps + 1, fallen=action == "jump"
        )
        self._state = state
        won = state.rung == state.goal and not state.fallen
        outcome = 1.0 if won else 0.0 if state.fallen else 0.5 - abs(state.rung - state.goal) / 10
        done = won or state.fallen or state.steps >= state.task.step_limit
        return StepResult(self._describe(), outcome, done, valid)

    def valid_actions(self) -> tuple[str, ...]:
        rung = self._now().rung
        return tuple(action for action, fits in (("up", rung < 4), ("down", rung > 0), ("jump", True)) if fits)

    def snapshot(self) -> Rung:
        return self._now()

    def restore(self, snapshot: Rung) -> None:
        self._state = snapshot

    def expert(self) -> tuple[str, str]:
        state = self._now()
        if state.fallen:
            return "", ""
        return f"Rung {state.goal}.", "up" if state.goal > state.rung else "down"

    def picture(self) -> Picture:
        state = self._now()
        rows = tuple(
            (Cell("@" if rung == state.rung else "G" if rung == state.goal else "-", "floor"),) for rung in range(5)
        )
        return Picture(rows, str(state.task.seed % 997))

    def state_key(self) -> str:
        state = self._now()
        return f"{state.rung}/{state.goal}/{state.fallen}"

    def _now(self) -> Rung:
        assert self._state is not None
        return self._state

    def _describe(self) -> str:
        state = self._now()
        return f"You stand on rung {state.rung}."


class FakeEntryPoint:
    """Stands for an installed environment."""

    def __init__(self, factory: Callable[[], BaseEnvironment]) -> None:
        self.name = factory.__name__.lower()
        self.value = f"{factory.__module__}:{factory.__name__}"
        self._factory = factory

    def load(self) -> Callable[[], BaseEnvironment]:
        return self._factory
