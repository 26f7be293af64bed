"""Trajectories to learn from: what `collect` writes and `sft` reads, taken from the episodes of runs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec

from agentrm_models.messages import Conversation, Message, PromptStyle, Role
from agentrm_trainer.data.tasks import state_at_start
from agentrm_trainer.workflow.workspace import read_json_lines
from agentrm_tui.runs.conversations import policy_conversation
from agentrm_tui.runs.state import EpisodeState


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message; `train` is false for turns that are read but not learnt."""

    role: str
    content: str
    train: bool = True


class Trajectory(msgspec.Struct, frozen=True):
    """One line of `train.jsonl`: a whole episode of the expert.

    Attributes:
        initial_state: Identity of the state it started from.
        score: The outcome, always 1 here.
    """

    environment: str
    task: str
    level: str
    initial_state: str
    score: float
    steps: int
    messages: tuple[Turn, ...]

    @property
    def conversation(self) -> Conversation:
        """The messages without their marks."""
        return tuple(Message(cast(Role, turn.role), turn.content) for turn in self.messages)


def trajectory_of(environment: str, episode: EpisodeState, prompt: PromptStyle) -> Trajectory | None:
    """The chosen path of an episode as a trajectory; None where it did not end with outcome 1.

    Disturbed steps are marked as not to be learnt, and what comes after the last reply teaches nothing and is dropped.
    """
    if episode.chosen is None or episode.outcome != 1:
        return None
    path = episode.tree.path(episode.chosen)
    learnt = iter([node.source != "noise" for node in path[1:]])
    turns = [
        Turn(message.role, message.content, next(learnt) if message.role == "assistant" else True)
        for message in policy_conversation(episode.start, episode.tree, episode.chosen, prompt)
    ]
    while turns and turns[-1].role != "assistant":
        turns.pop()
    start = episode.start
    key = state_at_start(environment, start)
    return Trajectory(environment, start.task, start.level, key, 1.0, episode.steps, tuple(turns))


def read_trajectories(path: Path) -> list[Trajectory]:
    """Read a file of trajectories.

    Raises:
        DataError: It is missing or damaged.
    """
    found: list[Trajectory] = read_json_lines(path, Trajectory, "collect")
    return found
