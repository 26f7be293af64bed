"""Reward models behind servers, named by their address."""

from __future__ import annotations

from dataclasses import dataclass

from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.rewards.base import RewardModel
from agentrm_models.rewards.served.options import RewardOptions, read_served_reward
from agentrm_models.server_spec import ServedSpec


@dataclass(frozen=True)
class ServedRewardSpec(ModelSpec[RewardModel]):
    """A reward model behind a server."""

    syntax = ("http(s)://HOST[#MODEL][&folder=PATH]",)

    spec: str
    served: ServedSpec[RewardOptions]

    @classmethod
    def parse(cls, text: SpecText) -> ServedRewardSpec | None:
        """An address, which holds no password."""
        if not text.whole.lower().startswith(("http://", "https://")):
            return None
        return cls(text.whole, read_served_reward(text.whole))

    def describe(self) -> str:
        """Where it is."""
        return f"reward model served at {self.spec}"

    def load(self, options: LoadOptions) -> RewardModel:
        """Find out how the server is asked, and whether what it gives are raw values."""
        from agentrm_models.rewards.served.reward import ServedReward

        return ServedReward(self.spec, options)
