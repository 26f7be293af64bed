"""Runs as stages use them: a plan and a run file, complete or not there; what a stop or a crash left is resumed.

While a chunk is played its file has a name that no pattern for finished files matches (`partial_path`); it can be
watched there with `agentrm-tui attach`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.errors import AgentRMError, DataError
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Policy
from agentrm_models.rewards.base import RewardModel
from agentrm_trainer.workflow.workers import check_stop_here
from agentrm_trainer.workflow.workspace import partial_path
from agentrm_tui.runs.events import AnyEvent, RunStarted
from agentrm_tui.runs.open_run import FreshModels, open_run
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import load_state
from agentrm_tui.search.algorithm import RewardFacts
from agentrm_tui.search.registry import SearchSettings


class Sampling(NamedTuple):
    """How replies are sampled and how many episodes go at once."""

    temperature: float
    max_tokens: int
    seed: int
    parallel: int
    load: LoadOptions


@lru_cache(maxsize=1)
def _kept_policy(spec: str, options: LoadOptions) -> Policy:
    from agentrm_models.specs import load_policy

    return load_policy(spec, options)


@lru_cache(maxsize=2)
def kept_reward(spec: str, options: LoadOptions) -> RewardModel:
    """The reward model of a spec, kept by this process for what comes next."""
    from agentrm_models.specs import load_reward

    return load_reward(spec, options)


def forget_models() -> None:
    """Free the models that this process has kept."""
    _kept_policy.cache_clear()
    kept_reward.cache_clear()


class KeptModels(FreshModels):
    """Models that outlive a run: a process that plays many chunks loads them once."""

    def policy(self, spec: str, options: LoadOptions) -> Policy:
        """The policy of a spec, loaded at its first run."""
        return _kept_policy(spec, options)

    def reward(self, spec: str, options: LoadOptions) -> RewardModel:
        """The reward model of a spec, loaded at its first run."""
        return kept_reward(spec, options)


class HeldPolicy(FreshModels):
    """A policy that is in memory already, whatever the plan calls it."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy

    def check(self, plan: RunPlan) -> None:
        """The plan's names are only names."""

    def policy(self, spec: str, options: LoadOptions) -> Policy:
        """The one that is held."""
        return self._policy


def make_plan(
    environment: str, tasks: Sequence[str], search: SearchSettings, sampling: Sampling, policy: str, reward: str = ""
) -> RunPlan:
    """The plan of a chunk."""
    return RunPlan(
        environment=environment,
        tasks=tuple(tasks),
        policy=policy,
        reward=reward,
        search=search,
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        parallel=sampling.parallel,
        load=sampling.load,
    )


def play(
    plan: RunPlan,
    path: Path,
    *,
    models: FreshModels | None = None,
    watch: Callable[[AnyEvent], None] | None = None,
    all_may_fail: bool = False,
) -> RunState:
    """Play a plan into its run file and return its final state; a finished file is only read.

    Args:
        models: Where the models come from; this process keeps them by default.
        watch: Called with each event once it is in the file; may raise `InterruptedRun`.
        all_may_fail: A run in which every episode failed is a result, not an error.

    Raises:
        AgentRMError: As `run_plan`; the file can be resumed.
    """
    if path.exists():
        return load_state(path)
    partial, source = partial_path(path), models or KeptModels()

    def emit(event: AnyEvent) -> None:
        check_stop_here()
        if watch is not None:
            watch(event)

    with open_run(plan, partial, resume=_can_be_resumed(partial, plan, source), models=source) as run:
        try:
            state = run.drive(watch=emit)
        except AgentRMError:
            state = load_state(partial)
            if not (all_may_fail and state.episodes and all(one.status == "failed" for one in state.episodes.values())):
                raise
    partial.replace(path)
    return state


def _can_be_resumed(partial: Path, plan: RunPlan, models: FreshModels) -> bool:
    """Whether a run that was left behind can be gone on with; any other, and what cannot be read, is taken away."""
    if not partial.exists():
        return False
    try:
        found = load_state(partial)
    except DataError:
        found = RunState()
    failed = any(episode.status == "failed" for episode in found.episodes.values())
    if found.run is not None and not failed and _is_of(found.run, plan, models):
        return True
    partial.unlink()
    return False


def _is_of(begun: RunStarted, plan: RunPlan, models: FreshModels) -> bool:
    """Whether a run was begun with this plan, whatever it computed on, and by these very models."""
    policy, reward = models.policy(plan.policy, plan.load).traits, None
    search = plan.search
    if plan.reward:
        reward = models.reward(plan.reward, plan.load).traits
        search = search.with_reward(RewardFacts(reward.unit, reward.threshold))
    same = msgspec.structs.replace(plan, search=search, load=begun.plan.load)
    digests = policy.digest, reward.digest if reward else ""
    return begun.plan == same and (begun.policy_digest, begun.reward_digest) == digests


def outcomes(state: RunState) -> list[float]:
    """Outcome of each task in order; one that failed counts 0."""
    scores = state.finished.scores if state.finished else ()
    return [score or 0.0 for score in scores]
