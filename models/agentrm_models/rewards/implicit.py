"""Implicit reward models: how much likelier than a reference model a policy finds the replies of a trajectory.

The reward of one step is β·log(π(reply | history) / π_ref(reply | history)), summed over the reply's tokens (arXiv
2412.01981); a trajectory's reward is the sum of its steps, and its beginnings have rewards too: what search needs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.folder_settings import Aggregate
from agentrm_models.loading import LoadedModel, load_folder
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.rewards.base import RewardTraits, ScoreGroup
from agentrm_models.rewards.reader import Reader
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

DEFAULT_BETA = 0.05
"""Where no file says what the policy was trained with (that of arXiv 2412.01981). It changes no order."""

STEPS_REMEMBERED = 100_000
"""Steps whose rewards are remembered; beyond that the memory is emptied (only time is lost)."""


class Pair(NamedTuple):
    """The two models, with what they are read through."""

    policy: Reader
    reference: Reader


class ImplicitReward:
    """Two language models as a reward model: one number for a history and the reply that ends it.

    Args:
        policy, reference: Readers of causal language models; they may have different tokenizers.
        beta: β.
        aggregate: What becomes of the steps.
        prompt: Which instruction both models are given.
        digest: Identity of weights and settings.

    Raises:
        DataError: One of the models does not tell how likely it finds a token.
    """

    def __init__(
        self,
        policy: Reader,
        reference: Reader,
        *,
        name: str,
        beta: float = DEFAULT_BETA,
        aggregate: Aggregate = "sum",
        prompt: PromptStyle = "full",
        digest: str = "",
    ) -> None:
        for reader in (policy, reference):
            if not reader.tells_likelihood:
                raise DataError(f"{name}: both models of an implicit reward must be causal language models")
        self._pair = Pair(policy, reference)
        self._beta = beta
        self._aggregate = aggregate
        self._known: dict[Conversation, float] = {}
        self.notice = " ".join({reader.notice: None for reader in self._pair if reader.notice})
        windows = [reader.context_length for reader in self._pair if reader.context_length]
        self._traits = RewardTraits(name, digest, prompt, context_length=min(windows, default=0))

    @classmethod
    def load(
        cls,
        policy: Path,
        reference: Path,
        *,
        name: str,
        aggregate: Aggregate | None = None,
        device: str = "auto",
        threads: int = 0,
        cache_bytes: int = 0,
        trust_remote_code: bool = False,
    ) -> ImplicitReward:
        """Load two local model folders; `beta`, `aggregate` and `prompt` are those of the policy's `agentrm.json`.

        Args:
            aggregate: Beats the folder's.
            cache_bytes: Limit of both prefix caches together; 0 lets each take a share of the free memory.

        Raises:
            DataError: A folder is missing, incomplete, cut off or no causal language model.
            MemoryExhaustedError: The weights do not fit.
        """
        found = [load_folder(path, "policy", device, threads, trust_remote_code) for path in (policy, reference)]
        settings = found[0].settings
        return cls(
            *(Reader(each.model, each.tokenizer, cache_bytes // 2, True) for each in found),
            name=name,
            beta=settings.beta or DEFAULT_BETA,
            aggregate=aggregate or settings.aggregate or "sum",
            prompt=settings.prompt or "full",
            digest=_digest(found, aggregate or ""),
        )

    @property
    def traits(self) -> RewardTraits:
        """Absolute scores of single steps: a path's steps are added up here, not by the search."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far, of both models together."""
        policy, reference = (reader.usage for reader in self._pair)
        return msgspec.structs.replace(policy + reference, requests=policy.requests)

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        """Score all conversations of all groups together; steps that were read before are not read again.

        Raises:
            DataError: A model gives a number that is not finite.
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        if len(self._known) > STEPS_REMEMBERED:
            self._known.clear()
        paths = [[_steps(item) for item in group.items] for group in groups]
        new = {step: None for group in paths for path in group for step in path if step not in self._known}
        self._read(list(new), progress)
        return [[self._value(path) for path in group] for group in paths]

    def new_episode(self) -> None:
        """Nothing to do: what is not asked for again is evicted when a cache is full."""

    def close(self) -> None:
        """Free both models."""
        self._known.clear()
        for reader in self._pair:
            reader.close()

    def _read(self, steps: Sequence[Conversation], progress: ProgressHook) -> None:
        policy, reference = (
            [float(logs[:, 0].sum(dtype=float)) for logs in reader.logs(steps, progress)] for reader in self._pair
        )
        for step, mine, theirs in zip(steps, policy, reference, strict=True):
            reward = self._beta * (mine - theirs)
            if not math.isfinite(reward):
                raise DataError(f"{self._traits.name}: the reward of a step is {reward}", "Weights are damaged.")
            self._known[step] = reward

    def _value(self, path: Sequence[Conversation]) -> float:
        rewards = [self._known[step] for step in path]
        match self._aggregate:
            case "sum":
                return math.fsum(rewards)
            case "mean":
                return math.fsum(rewards) / len(rewards)
            case "min":
                return min(rewards)
            case "last":
                return rewards[-1]


def _steps(conversation: Conversation) -> list[Conversation]:
    """The beginnings of a conversation that end in a reply."""
    return [conversation[: at + 1] for at, message in enumerate(conversation) if message.role == "assistant"]


def _digest(models: Sequence[LoadedModel], *more: str) -> str:
    parts = [each.digest for each in models] + [str(models[0].settings.beta), str(models[0].settings.aggregate), *more]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
