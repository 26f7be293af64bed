"""Explicit reward models: one number of a model's outputs, read at or after the last token of the reply.

A reward model may add how likely the reply is: `likelihood` times the relative log-probability of its least likely
token (see `trie.likelihood`). The reward model itself tells it, as the language model that it began as, or a
second model does, which is stored in its folder. What the likelihood counts may depend on the environment, which is
known by its instruction.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentrm_models.adapters import AS_NAMED, AdapterChoice
from agentrm_models.bundled import bundled_models
from agentrm_models.errors import DataError
from agentrm_models.folder_settings import read_settings
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.messages import Conversation, PromptStyle
from agentrm_models.model_folder import ModelFolder
from agentrm_models.rewards.base import RewardModel, RewardTraits, ScoreGroup
from agentrm_models.rewards.heads.choice import NO_CHOICE, HeadChoice
from agentrm_models.rewards.heads.head import ONLY_OUTPUT, RewardHead
from agentrm_models.rewards.implicit import ImplicitReward
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

if TYPE_CHECKING:
    from agentrm_models.rewards.reader import ConversationReader


@dataclass(frozen=True)
class ExplicitSpec(ModelSpec[RewardModel]):
    """A Transformers reward model; a folder that holds a reference model says that it is an implicit one."""

    syntax = ("bundled:NAME", "FOLDER[#head=KIND]", "hf:ORG/REPO")

    spec: str
    source: ModelFolder

    @classmethod
    def parse(cls, text: SpecText) -> ExplicitSpec | None:
        """A folder here, bundled or on the hub."""
        source = ModelFolder.find(text, "reward")
        return None if source is None else cls(text.whole, source)

    @classmethod
    def spellings(cls) -> list[str]:
        """The bundled reward models."""
        return [model.spec for model in bundled_models() if model.role == "reward"]

    @property
    def folder(self) -> Path | None:
        """The folder, unless it is still on the hub."""
        return self.source.here

    def describe(self) -> str:
        """Where it is."""
        return self.source.words

    def load(self, options: LoadOptions) -> RewardModel:
        """Load it: float32 on a CPU, bfloat16 on a GPU."""
        folder = self.source.fetch(options)
        if reference := read_settings(folder).reference:
            return ImplicitReward.load(folder, folder / reference, options, name=self.spec)
        return ExplicitReward.load(folder, options, name=self.spec, adapter=self.source.adapter, head=self.source.head)


class RewardParts(NamedTuple):
    """What the reward of a reply is made of.

    Attributes:
        likelihood: That of its least likely token; 0 where it counts nothing.
    """

    value: float
    likelihood: float

    def reward(self, weight: float) -> float:
        """The value plus this weight times the likelihood."""
        return self.value + weight * self.likelihood if weight else self.value


class ExplicitReward:
    """A model with a reward head: one number for a history, thought and action.

    Unless the head says otherwise, the number is the output at the last id of the encoded conversation, which is the
    last one that the chat template puts after the reply. The weights must not change during the life of this object.

    Args:
        model: A `transformers` classifier or language model in evaluation mode.
        tokenizer: Its tokenizer.
        head: Which number of its outputs is the reward.
        prompt: Which instruction the model is given.
        digest: Identity of the weights; computed where empty.
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False computes everything anew, for comparison.
        likelihood: Weight of the likelihood of the reply in the reward; 0 leaves it out.
        likelihoods: The same for conversations that begin with a certain instruction; `likelihood` is for all others.
        language: Reads the causal language model that tells the likelihood; None takes the reward model itself.
        environments: What it was trained on.
        threshold: The reward from which on a trajectory is good enough.

    Attributes:
        notice: What a person should know of how it was loaded, such as why the prefix cache is not used.

    Raises:
        DataError: The model has more than one output and no head says which counts, or a likelihood is wanted and it
            has no tied embedding.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "",
        prompt: PromptStyle = "short",
        digest: str = "",
        cache_bytes: int = 0,
        use_cache: bool = True,
        likelihood: float = 0.0,
        likelihoods: Mapping[str, float] | None = None,
        language: ConversationReader | None = None,
        environments: tuple[str, ...] = (),
        threshold: float | None = None,
        head: RewardHead = ONLY_OUTPUT,
        notice: str = "",
    ) -> None:
        from agentrm_models.loading import digest_of_weights
        from agentrm_models.rewards.reader import Reader

        label = name or getattr(model, "name_or_path", "") or type(model).__name__
        if head is ONLY_OUTPUT and model.config.num_labels != 1:
            raise DataError(f"{label}: the reward model has {model.config.num_labels} outputs, one is needed")
        digest = digest or digest_of_weights(model)
        self._begin(
            Reader(model, tokenizer, cache_bytes, use_cache, head),
            RewardTraits(label, digest, prompt, environments=environments, threshold=threshold, head=head.words),
            head,
            likelihood=likelihood,
            likelihoods=likelihoods,
            language=language,
            notice=notice,
        )

    @classmethod
    def over(
        cls,
        reader: ConversationReader,
        traits: RewardTraits,
        head: RewardHead,
        *,
        likelihood: float = 0.0,
        likelihoods: Mapping[str, float] | None = None,
        language: ConversationReader | None = None,
        notice: str = "",
    ) -> ExplicitReward:
        """A reward model over a reader of its own, for backends other than Transformers; the rest as above."""
        reward = cls.__new__(cls)
        reward._begin(
            reader, traits, head, likelihood=likelihood, likelihoods=likelihoods, language=language, notice=notice
        )
        return reward

    def _begin(
        self,
        reader: ConversationReader,
        traits: RewardTraits,
        head: RewardHead,
        *,
        likelihood: float,
        likelihoods: Mapping[str, float] | None,
        language: ConversationReader | None,
        notice: str,
    ) -> None:
        label = traits.name
        self._head, self._reader = head, reader
        self._likelihood, self._likelihoods = likelihood, dict(likelihoods or {})
        wanted = any((likelihood, *self._likelihoods.values()))
        self._language = language if wanted else None
        notices = [notice, *(reader.notice for reader in self._readers())]
        self.notice = " ".join({each: None for each in notices if each})
        if wanted and (head.step or any(head.place)):
            raise DataError(f"{label}: a likelihood needs a reward that is read at the end of the reply")
        if wanted and not (language or self._reader).tells_likelihood:
            raise DataError(f"{label}: a likelihood needs a decoder whose embedding is its language-model head")
        self._traits = traits._replace(context_length=reader.context_length)

    @classmethod
    def load(
        cls,
        path: Path,
        options: LoadOptions = DEFAULT_OPTIONS,
        *,
        name: str = "",
        adapter: AdapterChoice = AS_NAMED,
        head: HeadChoice = NO_CHOICE,
    ) -> ExplicitReward:
        """Load a local model folder: float32 on a CPU, bfloat16 on a GPU.

        Raises:
            UsageError: It cannot be known which of its outputs is the reward, or its own code may not run.
            DataError: The folder is missing, incomplete, cut off or of another kind.
            MemoryExhaustedError: The weights do not fit.
        """
        from agentrm_models.loading import load_folder
        from agentrm_models.rewards.reader import Reader

        found, cache_bytes = load_folder(path, "reward", options, adapter=adapter, head=head), options.cache_bytes
        settings, digest, language = found.settings, found.digest, None
        likelihoods = {each.instruction: each.weight for each in settings.likelihoods}
        if settings.language:
            spoken = load_folder(path / settings.language, "policy", options)
            digest = hashlib.sha256(f"{digest} {spoken.digest}".encode()).hexdigest()[:16]
            cache_bytes //= 2
            language = Reader(spoken.model, spoken.tokenizer, cache_bytes, True)
        return cls(
            found.model,
            found.tokenizer,
            name=name or str(path),
            prompt=settings.prompt or "short",
            digest=digest,
            cache_bytes=cache_bytes,
            likelihood=settings.likelihood,
            likelihoods=likelihoods,
            language=language,
            environments=settings.environments,
            threshold=settings.stop_at,
            head=found.head or ONLY_OUTPUT,
            notice=found.notice,
        )

    @property
    def traits(self) -> RewardTraits:
        """Fixed facts about this reward model."""
        return self._traits

    @property
    def usage(self) -> Usage:
        """Cost of all calls so far, of both models where there are two."""
        if self._language is None:
            return self._reader.usage
        both = self._reader.usage + self._language.usage
        return msgspec.structs.replace(both, requests=self._reader.usage.requests)

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        """Score all conversations of all groups together.

        Raises:
            DataError: The model gives a number that is not finite.
            MemoryExhaustedError: No memory left even for one sequence.
            InterruptedRun: Raised by the progress hook.
        """
        scores = [
            [part.reward(self._weight(item)) for part, item in zip(parts, group.items, strict=True)]
            for parts, group in zip(self.parts(groups, progress), groups, strict=True)
        ]
        for value in (value for group in scores for value in group):
            if not math.isfinite(value):
                raise DataError(f"{self._traits.name}: the reward model gave {value}", "Its weights are damaged.")
        return scores

    def parts(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[RewardParts]]:
        """What the scores of all groups are made of, so that other weights can be tried; errors as above."""
        remaining = iter(self._parts([item for group in groups for item in group.items], progress))
        return [[next(remaining) for _ in group.items] for group in groups]

    def new_episode(self) -> None:
        """Nothing to do: what is not asked for again is evicted when the cache is full."""

    def close(self) -> None:
        """Free the model."""
        for reader in self._readers():
            reader.close()

    def _readers(self) -> list[ConversationReader]:
        return [self._reader] if self._language is None else [self._reader, self._language]

    def _parts(self, items: Sequence[Conversation], progress: ProgressHook) -> list[RewardParts]:
        from agentrm_models.trie.likelihood import least_likelihood

        spoken = [row for row, item in enumerate(items) if self._weight(item)]
        if spoken and self._language is None:
            found = self._reader.both(items, progress)
            values, logs = [self._head.reward(outputs) for outputs, _ in found], [found[row][1] for row in spoken]
        else:
            values = [self._head.reward(outputs) for outputs in self._reader.outputs(items, progress)]
            logs = self._language.logs([items[row] for row in spoken], progress) if self._language and spoken else []
        likelihoods = dict(zip(spoken, map(least_likelihood, logs), strict=True))
        return [RewardParts(value, likelihoods.get(row, 0.0)) for row, value in enumerate(values)]

    def _weight(self, item: Conversation) -> float:
        """What the likelihood of this conversation's reply counts."""
        instruction = item[0].content if item[0].role == "system" else ""
        return self._likelihoods.get(instruction, self._likelihood)
