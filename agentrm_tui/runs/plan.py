"""The plan of a run: every choice a person can make before it starts, in one record."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agentrm_models.load_options import LoadOptions
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.registry import SearchSettings

CandidateKind: TypeAlias = Literal["sampled", "valid"]
ActionForm: TypeAlias = Literal["text", "tools", "auto"]
"""How a policy is asked for actions: as text, as calls of functions, or as calls where it speaks them."""


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run; a run file's `run_started` event holds it, beside what was found on the machine.

    Attributes:
        environment: A registered name.
        tasks: Task ids, played in this order.
        policy: A policy spec (see `agentrm_models.specs`), or `human`, `scripted`, `expert`.
        reward: A reward spec; empty for none (greedy needs none).
        search: The settings of one algorithm.
        temperature: Of sampling; greedy search always uses 0.
        max_tokens: Tokens a reply may have.
        reasoning_tokens: Tokens that reasoning before a reply may have, beside `max_tokens`; 0: it counts within them.
        candidates: `sampled`: the policy writes replies; `valid`: it weighs the environment's valid actions.
        demonstrations: Example episodes shown before the goal: how many the expert plays on training tasks, or the file
            that holds them. Their texts stand in `run_started`.
        actions: How the policy is asked for actions; `auto` is decided when the policy is loaded.
        max_steps: Step limit that overrides the task's own when smaller; 0 keeps the task's.
        seed: Of the sampling noise.
        parallel: Episodes driven at once; 0 lets the runner choose.
        load: Where the models compute, and what they may use.
    """

    environment: str
    tasks: tuple[str, ...]
    policy: str
    reward: str = ""
    search: SearchSettings = Beam()
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 64
    reasoning_tokens: int = 0
    candidates: CandidateKind = "sampled"
    demonstrations: int | str = 0
    actions: ActionForm = "text"
    max_steps: int = 0
    seed: int = 0
    parallel: int = 1
    load: LoadOptions = LoadOptions()

    def as_found(self) -> RunPlan:
        """The plan of a run file, which somebody else may have written: it may not run code that comes with a model."""
        return msgspec.structs.replace(self, load=msgspec.structs.replace(self.load, trust_remote_code=False))

    def names_same_models(self, other: RunPlan) -> bool:
        """Whether another plan loads the same models."""
        return (self.policy, self.reward) == (other.policy, other.reward)
