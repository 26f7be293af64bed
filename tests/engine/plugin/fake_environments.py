"""An environment for engine tests, installed for the child process alone: it counts, and it misbehaves on request."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

ACTIONS = ("add 1", "add 2", "add 3")


class FakeEnvironment(BaseEnvironment):
    """Counts up to a goal; prints when it is reset; `raise`, `abort` and `wait` do what they say."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._count = 0
        self._steps = 0

    @property
    def traits(self) -> EnvironmentTraits:
        """Everything but pictures."""
        return EnvironmentTraits(
            name="counting",
            origin="own",
            summary="Count to the goal.",
            levels=("short", "long"),
            snapshots=True,
            valid_actions=True,
            expert=True,
            state_keys=True,
            procedural=True,
        )

    def instruction(self, style: PromptStyle) -> str:
        """What to do, in few words."""
        return "Count. Reply with Thought: and Action: lines." if style == "full" else "Count."

    def make_task(self, level: str, seed: int) -> Task:
        """Count to 12 or to 900."""
        limit = 12 if level == "short" else 900
        return Task(f"{level}:{seed}", f"Count to {limit}.", seed, limit, level)

    def reset(self, task: Task) -> str:
        """Start at 0, noisily."""
        print("NOISE on stdout \x1b[2J", flush=True)
        os.write(1, b"NOISE on descriptor 1\n")
        os.write(2, b"NOISE on descriptor 2 \x1b[31m\n")
        sys.stderr.write("NOISE on stderr\n")
        self._task, self._count, self._steps = task, 0, 0
        return "The count is 0."

    def step(self, action: str) -> StepResult:
        """Add, or misbehave."""
        task = self._current()
        self._steps += 1
        match action.split():
            case ["raise"]:
                raise RuntimeError("a bug in the environment")
            case ["abort"]:
                print("last words before the abort", flush=True)
                os.abort()
            case ["crash"]:
                os.kill(os.getpid(), signal.SIGSEGV)
            case ["wait"]:
                Path(os.environ["FAKE_FIFO"]).read_text()
            case _:
                pass
        valid = action in ACTIONS
        self._count += int(action.split()[1]) if valid else 0
        done = self._count >= task.step_limit or self._steps >= task.step_limit
        return StepResult(f"The count is {self._count}.", min(1.0, self._count / task.step_limit), done, valid)

    def valid_actions(self) -> tuple[str, ...]:
        """Three ways to add."""
        return ACTIONS

    def snapshot(self) -> tuple[Task, int, int]:
        """Task, count, steps."""
        return self._current(), self._count, self._steps

    def restore(self, snapshot: tuple[Task, int, int]) -> None:
        """Go back."""
        self._task, self._count, self._steps = snapshot

    def expert(self) -> tuple[str, str]:
        """Add 1: slow but sure."""
        return "One more.", "add 1"

    def state_key(self) -> str:
        """The count."""
        return str(self._count)

    def _current(self) -> Task:
        if self._task is None:
            raise AssertionError("reset comes first")
        return self._task
