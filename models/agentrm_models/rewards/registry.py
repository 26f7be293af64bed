"""All kinds of reward models, in the order in which they are asked whether a spec is theirs."""

from __future__ import annotations

from typing import TypeAlias

from agentrm_models.kinds import ModelSpec
from agentrm_models.rewards.base import RewardModel
from agentrm_models.rewards.explicit import ExplicitSpec
from agentrm_models.rewards.gguf import GGUFRewardSpec
from agentrm_models.rewards.implicit import ImplicitSpec
from agentrm_models.rewards.judge import JudgeSpec
from agentrm_models.rewards.scripted import RandomSpec
from agentrm_models.rewards.served.spec import ServedRewardSpec

RewardSpec: TypeAlias = ModelSpec[RewardModel]

REWARD_KINDS: tuple[type[RewardSpec], ...] = (
    RandomSpec,
    JudgeSpec,
    ImplicitSpec,
    ServedRewardSpec,
    GGUFRewardSpec,
    ExplicitSpec,
)
