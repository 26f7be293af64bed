"""Implicit reward models: how much likelier than a reference model a policy finds the replies of a trajectory.

The reward of one step is β·log(π(reply | history) / π_ref(reply | history)), summed over the reply's tokens (arXiv
2412.01981); a trajectory's reward is the sum of its steps, and its beginnings have rewards too: what search needs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar, get_args

import msgspec

from agentrm_models.adapters import AS_NAMED
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import Aggregate
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.policies.registry import parse_policy
from agentrm_models.policies.transformers import TransformersSpec
from agentrm_models.rewards.aggregation import aggregated, unit_of
from agentrm_models.rewards.base import RewardModel, RewardTraits, ScoreGroup
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

if TYPE_CHECKING:
    from torch import Tensor

    from agentrm_models.loading import LoadedModel
    from agentrm_models.rewards.reader import Reader

Logs = TypeVar("Logs", float, "Tensor")

DEFAULT_BETA = 0.05
"""Where no file says what the policy was trained with (that of arXiv 2412.01981). It changes no order."""

STEPS_REMEMBERED = 100_000
"""Steps whose rewards are remembered; beyond that the memory is emptied (only time is lost)."""


@dataclass(frozen=True)
class ImplicitSpec(ModelSpec[RewardModel]):
    """The spec `implicit:POLICY,REFERENCE[,AGGREGATE]`."""

    syntax = ("implicit:POLICY,REFERENCE[,AGGREGATE]",)

    spec: str
    policy: TransformersSpec
    reference: TransformersSpec
    aggregate: Aggregate | None

    @classmethod
    def parse(cls, text: SpecText) -> ImplicitSpec | None:
        """The word, two language models, and what becomes of the steps."""
        if text.head != "implicit" or text.rest is None:
            return None
        kinds: tuple[Aggregate, ...] = get_args(Aggregate)
        names = [name.strip() for name in text.rest.split(",")]
        last = names.pop() if len(names) > 2 else ""
        aggregate = next((kind for kind in kinds if kind == last), None)
        if len(names) != 2 or not all(names) or (last and aggregate is None):
            raise UsageError(
                f"{text.whole[:80]!r} does not name two models",
                f"Write implicit:POLICY,REFERENCE, and one of {', '.join(kinds)} behind a further comma if you like.",
            )
        policy, reference = (_language_model(name) for name in names)
        return cls(text.whole, policy, reference, aggregate)

    def describe(self) -> str:
        """Whose likelihoods are compared."""
        return f"how much likelier than {self.reference.spec} {self.policy.spec} finds the replies"

    def load(self, options: LoadOptions) -> RewardModel:
        """Load both models."""
        folders = [part.source.fetch(options) for part in (self.policy, self.reference)]
        return ImplicitReward.load(folders[0], folders[1], options, name=self.spec, aggregate=self.aggregate)


def _language_model(name: str) -> TransformersSpec:
    part = parse_policy(name)
    if isinstance(part, TransformersSpec):
        if part.source.adapter != AS_NAMED:
            raise UsageError(f"{name[:80]!r}: an implicit reward takes models without options")
        return part
    raise UsageError(
        f"{name[:80]!r} does not tell how likely a reply is",
        "An implicit reward takes folders, bundled policies and hub names of Transformers models.",
    )


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
        environments: What the policy was trained on.
        threshold: The reward from which on a trajectory is good enough.

    Attributes:
        notice: Why a prefix cache is not used; empty where both are.

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
        environments: tuple[str, ...] = (),
        threshold: float | None = None,
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
        self._traits = RewardTraits(
            name,
            digest,
            prompt,
            unit=unit_of(aggregate),
            context_length=min(windows, default=0),
            environments=environments,
            threshold=threshold,
        )

    @classmethod
    def load(
        cls,
        policy: Path,
        reference: Path,
        options: LoadOptions = DEFAULT_OPTIONS,
        *,
        name: str,
        aggregate: Aggregate | None = None,
    ) -> ImplicitReward:
        """Load two local model folders; `beta`, `aggregate` and `prompt` are those of the policy's `agentrm.json`.

        Args:
            options: The cache limit is that of both prefix caches together.
            aggregate: Beats the folder's.

        Raises:
            DataError: A folder is missing, incomplete, cut off or no causal language model.
            MemoryExhaustedError: The weights do not fit.
        """
        from agentrm_models.loading import load_folder
        from agentrm_models.rewards.reader import Reader

        found = [load_folder(path, "policy", options) for path in (policy, reference)]
        settings = found[0].settings
        return cls(
            *(Reader(each.model, each.tokenizer, options.cache_bytes // 2, True) for each in found),
            name=name,
            beta=settings.beta or DEFAULT_BETA,
            aggregate=aggregate or settings.aggregate or "sum",
            prompt=settings.prompt or "full",
            digest=_digest(found, aggregate or ""),
            environments=settings.environments,
            threshold=settings.stop_at,
        )

    @property
    def traits(self) -> RewardTraits:
        """Absolute scores; a path's steps are aggregated here, not by the search, unless only the last one counts."""
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
        paths = self.step_rewards(groups, progress)
        return [[aggregated(rewards, self._aggregate) for rewards in group] for group in paths]

    def step_rewards(
        self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress
    ) -> list[list[list[float]]]:
        """The rewards of each path's steps, so that other aggregates can be tried; errors as above."""
        if len(self._known) > STEPS_REMEMBERED:
            self._known.clear()
        paths = [[_steps(item) for item in group.items] for group in groups]
        new = {step: None for group in paths for path in group for step in path if step not in self._known}
        self._read(list(new), progress)
        return [[[self._known[step] for step in path] for path in group] for group in paths]

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
            reward = log_ratio(self._beta, mine, theirs)
            if not math.isfinite(reward):
                raise DataError(f"{self._traits.name}: the reward of a step is {reward}", "Weights are damaged.")
            self._known[step] = reward


def log_ratio(beta: float, policy: Logs, reference: Logs) -> Logs:
    """The reward of replies, of how likely two models find them: the same in play and in the loss."""
    return beta * (policy - reference)


def _steps(conversation: Conversation) -> list[Conversation]:
    """The beginnings of a conversation that end in a reply."""
    return [conversation[: at + 1] for at, message in enumerate(conversation) if message.role == "assistant"]


def _digest(models: Sequence[LoadedModel], *more: str) -> str:
    parts = [each.digest for each in models] + [str(models[0].settings.beta), str(models[0].settings.aggregate), *more]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
