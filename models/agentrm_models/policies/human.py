"""A person as the policy: the runner waits for an override instead of asking here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.usage import ProgressHook, Usage, ignore_progress


@dataclass(frozen=True)
class HumanSpec(ModelSpec[Policy]):
    """The spec `human`."""

    syntax = words = ("human",)

    spec: str

    @classmethod
    def parse(cls, text: SpecText) -> HumanSpec | None:
        """The word alone."""
        return cls(text.whole) if text.whole == "human" else None

    def describe(self) -> str:
        """Who plays."""
        return "you choose every action"

    def load(self, options: LoadOptions) -> Policy:
        """There is nothing to load."""
        return HumanPolicy()


class HumanPolicy:
    """Marks that a person answers; it proposes nothing itself."""

    notice = ""

    @property
    def traits(self) -> PolicyTraits:
        """Interactive: the runner must wait for a person."""
        return PolicyTraits(name="human", interactive=True)

    @property
    def usage(self) -> Usage:
        """A person's actions are counted by the runner."""
        return Usage()

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Fail: asking this policy is a bug of the runner."""
        raise AssertionError("an interactive policy was asked to propose; the runner must wait for an override")

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""
