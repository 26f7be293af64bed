"""A base class that refuses the optional methods an environment does not declare, and lists procedural tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

from agentrm_models.errors import UsageError
from agentrm_models.functions import ActionFunctions
from agentrm_models.messages import PromptStyle
from agentrm_models.spelling import did_you_mean
from agentrm_tui.environments.action_function import one_function
from agentrm_tui.environments.base import SPLIT_SEEDS, EnvironmentTraits, Picture, Split, StepResult, Task

SEED_DIGITS = 18
"""Digits a seed may have, so that it fits in 64 bits everywhere."""


class BaseEnvironment(ABC):
    """Derive environments from this; override what `traits` declares."""

    @property
    @abstractmethod
    def traits(self) -> EnvironmentTraits:
        """Fixed facts about this environment."""

    @abstractmethod
    def instruction(self, style: PromptStyle) -> str:
        """What a model is told before the goal."""

    @abstractmethod
    def make_task(self, level: str, seed: int) -> Task:
        """Build the task of a level (one of `traits.levels`) and seed."""

    @abstractmethod
    def reset(self, task: Task) -> str:
        """Start an episode."""

    @abstractmethod
    def step(self, action: str) -> StepResult:
        """Take one action."""

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> Sequence[Task]:
        """List the tasks of consecutive seeds, cycling through the mix; 100 without a count."""
        mix = self.traits.mix or self.traits.levels
        first = SPLIT_SEEDS[split] if first_seed is None else first_seed
        return [
            self.make_task(mix[seed % len(mix)], seed)
            for seed in range(first, first + (100 if count is None else count))
        ]

    def task(self, task_id: str) -> Task:
        """Find a task by `LEVEL:SEED`; `LEVEL` alone is seed 0."""
        level, _, seed = task_id.partition(":")
        if level not in self.traits.levels:
            remedy = did_you_mean(level, self.traits.levels, "Levels")
            raise UsageError(f"{self.traits.name} has no level {level[:80]!r}", remedy)
        if seed and not (seed.isascii() and seed.isdigit() and len(seed) <= SEED_DIGITS):
            wrong = (
                f"task {task_id[:80]!r}: the seed {seed[:40]!r} is not a whole number of at most {SEED_DIGITS} digits"
            )
            raise UsageError(wrong, f"Write {level}:0.")
        return self.make_task(level, int(seed or "0"))

    def functions(self, task: Task) -> ActionFunctions:
        """One function, `act(action)`, whose argument is the action's text. Override where there is a better form."""
        return one_function(self.instruction("full"))

    def valid_actions(self) -> tuple[str, ...]:
        """Refuse: not declared."""
        self._undeclared("valid actions")

    def snapshot(self) -> Any:
        """Refuse: not declared."""
        self._undeclared("snapshots")

    def restore(self, snapshot: Any) -> None:
        """Refuse: not declared."""
        self._undeclared("snapshots")

    def expert(self) -> tuple[str, str]:
        """Refuse: not declared."""
        self._undeclared("an expert")

    def picture(self) -> Picture:
        """Refuse: not declared."""
        self._undeclared("pictures")

    def state_key(self) -> str:
        """Refuse: not declared."""
        self._undeclared("state keys")

    def close(self) -> None:
        """Nothing to free."""
        return

    def _undeclared(self, what: str) -> NoReturn:
        raise UsageError(f"environment {self.traits.name!r} does not offer {what}")
