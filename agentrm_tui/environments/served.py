"""Conversations that clients bring: what the plan of `agentrm-tui serve` names as its environment.

Nobody here can reset one or take a step in it: the client does both, and tells what came of it with its next request.
"""

from __future__ import annotations

from typing import NoReturn

from agentrm_models.errors import UsageError
from agentrm_models.messages import PromptStyle
from agentrm_tui.environments.base import EnvironmentTraits, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment

SERVED = "served"
"""The environment's name in run files. It is not registered: what clients brought cannot be played again."""


def not_playable() -> UsageError:
    """Why conversations of clients cannot be begun, resumed or forked here."""
    return UsageError(
        f"{SERVED!r} stands for conversations that clients of agentrm-tui serve brought: only they can take a step",
        "Look at such a run with replay or attach; start agentrm-tui serve for new conversations.",
    )


class ServedConversations(BaseEnvironment):
    """Declares nothing but its name."""

    @property
    def traits(self) -> EnvironmentTraits:
        """Nothing is offered: no task, no snapshot, no score."""
        return EnvironmentTraits(SERVED, "own", "conversations that clients of agentrm-tui serve bring")

    def instruction(self, style: PromptStyle) -> str:
        """None: a client brings its own."""
        return ""

    def make_task(self, level: str, seed: int) -> NoReturn:
        """Refuse."""
        raise not_playable()

    def task(self, task_id: str) -> Task:
        """Refuse."""
        raise not_playable()

    def reset(self, task: Task) -> NoReturn:
        """Refuse."""
        raise not_playable()

    def step(self, action: str) -> StepResult:
        """Refuse."""
        raise not_playable()
