"""Runs of the search on many tasks at once, as stages use them: one run file for a chunk, complete or not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Policy
from agentrm_models.rewards.base import RewardModel
from agentrm_models.trie.ledger import begin_run
from agentrm_trainer.workflow.workers import check_stop_here
from agentrm_trainer.workflow.workspace import partial_path
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import RunWriter
from agentrm_tui.search.registry import SearchSettings


class Sampling(NamedTuple):
    """How replies are sampled and how many episodes go at once."""

    temperature: float
    max_tokens: int
    seed: int
    parallel: int
    threads: int


@lru_cache(maxsize=1)
def load_policy_once(folder: str, device: str, threads: int) -> Policy:
    """The policy of a folder, kept by this process for its next chunk."""
    from agentrm_models.specs import load_policy

    return load_policy(folder, LoadOptions(device=device, threads=threads))


@lru_cache(maxsize=2)
def load_reward_once(spec: str, device: str, threads: int) -> RewardModel:
    """The reward model of a spec, kept by this process for its next chunk."""
    from agentrm_models.specs import load_reward

    return load_reward(spec, LoadOptions(device=device, threads=threads))


def make_plan(
    environment: str, tasks: Sequence[str], search: SearchSettings, sampling: Sampling, policy: str, reward: str = ""
) -> RunPlan:
    """The plan of a chunk; `policy` and `reward` are the names written into the run file."""
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
        load=LoadOptions(threads=sampling.threads),
    )


def play(
    plan: RunPlan,
    policy: Policy,
    reward: RewardModel | None = None,
    path: Path | None = None,
    watch: Callable[[AnyEvent], None] | None = None,
) -> RunState:
    """Run a plan and return its final state; with a path the run file appears there when the run has ended.

    Args:
        watch: Called with each event; may raise `InterruptedRun`.
    """
    begin_run()  # the models are kept from chunk to chunk; what a chunk costs does not depend on those before it
    if path is None:
        return run_plan(plan, policy=policy, reward=reward, emit=watch or _ignore)
    partial = partial_path(path)
    partial.unlink(missing_ok=True)
    writer = RunWriter(partial)

    def emit(event: AnyEvent) -> None:
        writer.append(event)
        check_stop_here()
        if watch is not None:
            watch(event)

    try:
        state: RunState = run_plan(plan, policy=policy, reward=reward, emit=emit)
    finally:
        writer.close()
    partial.replace(path)
    return state


def _ignore(event: Any) -> None:
    return


def outcomes(state: RunState) -> list[float]:
    """Outcome of each episode in order; an episode that failed counts 0."""
    return [episode.outcome or 0.0 for episode in state.episodes.values()]
