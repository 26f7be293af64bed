"""Reward without a model: uniform noise that depends on the conversation alone.

It is the baseline "beam with random scores", and lets demos and tests run without weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import perf_counter

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation
from agentrm_models.rewards.base import RewardModel, RewardTraits, ScoreGroup
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress


@dataclass(frozen=True)
class RandomSpec(ModelSpec[RewardModel]):
    """The spec `random`, with a seed if need be, or `scripted`."""

    syntax = ("random[:SEED]", "scripted")
    words = ("random", "scripted")

    spec: str
    seed: int

    @classmethod
    def parse(cls, text: SpecText) -> RandomSpec | None:
        """One of the words, `random` with a whole number behind it."""
        if text.whole in cls.words:
            return cls(text.whole, 0)
        if text.head != "random" or text.rest is None:
            return None
        if not text.rest.removeprefix("-").isdecimal():
            raise UsageError(f"{text.whole[:80]!r}: the seed must be a whole number", "For example random:7.")
        return cls(text.whole, int(text.rest))

    def describe(self) -> str:
        """What it is worth."""
        return "random scores: a baseline, knows nothing"

    def load(self, options: LoadOptions) -> RewardModel:
        """There is nothing to load."""
        return RandomReward(self.seed, self.spec)


class RandomReward:
    """Scores each conversation with a number in [0, 1) keyed by its text and a seed: equal texts get equal scores."""

    notice = ""

    def __init__(self, seed: int = 0, name: str = "") -> None:
        self._seed = seed
        self._name = name or f"random:{seed}"
        self._usage = Usage()

    @property
    def traits(self) -> RewardTraits:
        """Absolute scores for single steps; nothing is known about quality."""
        return RewardTraits(name=self._name)

    @property
    def usage(self) -> Usage:
        """No tokens are computed."""
        return self._usage

    def score(self, groups: Sequence[ScoreGroup], progress: ProgressHook = ignore_progress) -> list[list[float]]:
        """Return noise: 53 bits of the BLAKE2b digest of the conversation's JSON form, keyed by the seed."""
        started = perf_counter()
        scores = []
        for done, group in enumerate(groups):
            progress(Progress("scoring", done, len(groups)))
            scores.append([self._noise(item) for item in group.items])
        self._usage += Usage(requests=1, milliseconds=(perf_counter() - started) * 1e3)
        return scores

    def _noise(self, conversation: Conversation) -> float:
        key = str(self._seed).encode()[:64]
        digest = blake2b(msgspec.json.encode(conversation), digest_size=8, key=key).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""
