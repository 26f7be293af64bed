"""The reward-model interface: conversations that end in an assistant message in, one number each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.usage import ProgressHook, Usage

ScoreUnit: TypeAlias = Literal["step", "trajectory"]
ScoreScale: TypeAlias = Literal["absolute", "within_group"]


class ScoreGroup(msgspec.Struct, frozen=True):
    """Conversations that are compared with each other. Batching never mixes groups."""

    items: tuple[Conversation, ...]


class RewardTraits(NamedTuple):
    """What a runner must know about a reward model.

    Attributes:
        name: The name shown on screen and written in run files.
        digest: Identity of the weights (hex), empty where there are none.
        prompt: Which instruction the reward model is given; the paper's gives it the short one.
        unit: Whether a score judges the last step or the whole path to it; a search never aggregates the latter again.
        scale: Whether scores of different groups can be compared.
        context_length: Tokens the model can read; 0 where there is no limit.
        threshold: The reward from which on a trajectory is good enough, chosen on dev; None where nobody has.
        environments: Names of the environments it was trained on; empty where nothing says so.
        head: Which number of its outputs is the reward, in words; empty where there is no model that has outputs.
    """

    name: str
    digest: str = ""
    prompt: PromptStyle = "short"
    unit: ScoreUnit = "step"
    scale: ScoreScale = "absolute"
    context_length: int = 0
    threshold: float | None = None
    environments: tuple[str, ...] = ()
    head: str = ""


class RewardModel(Protocol):
    """Judges history + thought + action, never the action's own observation."""

    @property
    def notice(self) -> str:
        """What a person should know of how it was loaded, in one line; empty where there is nothing."""
        ...

    @property
    def traits(self) -> RewardTraits:
        """Fixed facts about this reward model."""
        ...

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far; callers subtract two readings."""
        ...

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ...) -> list[list[float]]:
        """Return one finite number for each item of each group, in order."""
        ...

    def new_episode(self) -> None:
        """Nothing before this call will be asked for again soon: caches may drop it."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...
