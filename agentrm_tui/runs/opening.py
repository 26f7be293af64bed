"""How a run and its episodes begin: the checks that come first, and the events that say what is played."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from agentrm_models.errors import UsageError
from agentrm_tui.environments.base import Environment, EnvironmentTraits, Task
from agentrm_tui.runs.calls import Players
from agentrm_tui.runs.events import EpisodeStarted, RunStarted
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.texts import printable
from agentrm_tui.runs.transitions import Opening
from agentrm_tui.search.algorithms import most_samples, needs_reward


def check_plan(plan: RunPlan, players: Players, environment: EnvironmentTraits) -> None:
    """Refuse a plan that cannot work, before anything is written.

    Raises:
        UsageError: Names the flag that is wrong.
    """
    search, policy, reward = plan.search, players.policy, players.reward
    if needs_reward(search) and reward is None:
        raise UsageError(f"search {search.algorithm!r} needs a reward model", "Give one with --reward.")
    if plan.temperature == 0 and most_samples(search) > 1 and not (policy.deterministic or policy.interactive):
        raise UsageError(
            f"search {search.algorithm!r} samples several replies, but temperature 0 gives only one",
            "Raise --temperature, or use --search greedy.",
        )
    if reward and reward.scale == "within_group":
        if search.algorithm == "mcts":
            raise UsageError(f"mcts cannot use {reward.name}: its scores of different groups cannot be compared")
        if search.algorithm == "best-of-n" and search.aggregate != "last":
            raise UsageError(f"{reward.name} judges whole trajectories", "Leave out --aggregate, or use 'last'.")
    if search.algorithm == "mcts" and search.share_states and not environment.state_keys:
        raise UsageError(f"environment {environment.name!r} has no state keys", "Leave out --share-states.")
    if policy.wants_expert and not environment.expert and not policy.wants_valid_actions:
        raise UsageError(f"environment {environment.name!r} has no expert", "Choose another --policy.")


def run_started(plan: RunPlan, players: Players, environment: EnvironmentTraits, parallel: int) -> RunStarted:
    """The first event: the plan, and what was found on the machine."""
    now = datetime.now(UTC)
    reward = players.reward
    return RunStarted(
        run=now.strftime("%Y%m%dT%H%M%S.%fZ"),
        started_at=now.isoformat(timespec="seconds"),
        environment=plan.environment,
        origin=environment.origin,
        tasks=plan.tasks,
        policy=plan.policy,
        policy_digest=players.policy.digest,
        reward=plan.reward,
        reward_digest=reward.digest if reward else "",
        search=plan.search,
        temperature=plan.temperature,
        top_p=plan.top_p,
        max_tokens=plan.max_tokens,
        max_steps=plan.max_steps,
        seed=plan.seed,
        build=build(),
        device=resolved_device(plan.device),
        threads=plan.threads,
        parallel=parallel,
        cache_bytes=plan.cache_bytes,
    )


def plan_of(run: RunStarted) -> RunPlan:
    """The plan that a run file repeats, for going on with it or doing it again."""
    return RunPlan(
        environment=run.environment,
        tasks=run.tasks,
        policy=run.policy,
        reward=run.reward,
        search=run.search,
        temperature=run.temperature,
        top_p=run.top_p,
        max_tokens=run.max_tokens,
        max_steps=run.max_steps,
        seed=run.seed,
        device=run.device,
        threads=run.threads,
        parallel=run.parallel,
        cache_bytes=run.cache_bytes,
    )


def episode_started(
    plan: RunPlan, episode: str, task: Task, opening: Opening, environment: Environment
) -> EpisodeStarted:
    """What an episode begins with, both instructions included, so that training needs nothing but the file."""
    limit = min(task.step_limit, plan.max_steps) if plan.max_steps else task.step_limit
    return EpisodeStarted(
        episode=episode,
        task=task.id,
        goal=printable(task.goal),
        observation=opening.observation,
        step_limit=limit,
        level=task.level,
        instruction=environment.instruction("full"),
        reward_instruction=environment.instruction("short"),
        state_key=opening.state_key,
        picture=opening.picture,
    )


def check_same_models(state: RunState, players: Players) -> str:
    """A notice when a run is gone on with other weights than it began with; empty when they are the same."""
    run, reward = state.run, players.reward
    if run is None:
        return ""
    now = (players.policy.digest, reward.digest if reward else "")
    changed = [
        what
        for what, old, new in zip(("policy", "reward"), (run.policy_digest, run.reward_digest), now, strict=True)
        if old != new
    ]
    return f"resumed with other weights than it began with: {' and '.join(changed)}" if changed else ""


def build() -> str:
    """The program's version."""
    try:
        return version("agentrm-tui")
    except PackageNotFoundError:
        return "unknown"


def resolved_device(device: str) -> str:
    """The device that `auto` stands for; looks at PyTorch only where a model has already loaded it."""
    torch = sys.modules.get("torch")
    if device != "auto":
        return device
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
