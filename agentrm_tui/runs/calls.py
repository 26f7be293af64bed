"""What passes between an episode and whoever owns the models: work one way, answers the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.rewards.base import RewardTraits, ScoreGroup
from agentrm_models.usage import Usage


class ProposeCall(NamedTuple):
    """Work for a policy."""

    requests: tuple[ProposeRequest, ...]


class ScoreCall(NamedTuple):
    """Work for a reward model."""

    groups: tuple[ScoreGroup, ...]


ModelCall: TypeAlias = ProposeCall | ScoreCall


class Proposals(NamedTuple):
    """A policy's answer to a `ProposeCall`, and this episode's share of the cost.

    Attributes:
        prompt_tokens: Of each request's conversation, where the policy's server tells; else empty.
    """

    candidates: Sequence[Sequence[Candidate]]
    usage: Usage
    prompt_tokens: Sequence[int] = ()


class Scores(NamedTuple):
    """A reward model's answer to a `ScoreCall`, and this episode's share of the cost."""

    values: Sequence[Sequence[float]]
    usage: Usage


ModelAnswer: TypeAlias = Proposals | Scores


class Players(NamedTuple):
    """The models as far as a runner must know them."""

    policy: PolicyTraits
    reward: RewardTraits | None
