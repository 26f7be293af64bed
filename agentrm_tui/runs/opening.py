"""How a run and its episodes begin: the checks that come first, and the events that say what is played."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.messages import Conversation
from agentrm_tui.environments.base import Environment, EnvironmentTraits, Task
from agentrm_tui.runs.calls import Players
from agentrm_tui.runs.events import EpisodeStarted, RunStarted
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.texts import printable
from agentrm_tui.runs.transitions import Opening
from agentrm_tui.search.algorithm import RewardFacts


def fitted_plan(plan: RunPlan, players: Players, environment: EnvironmentTraits) -> RunPlan:
    """A plan with what its reward model fills in; one that cannot work is refused, before anything is written.

    Raises:
        UsageError: Names the flag that is wrong.
    """
    search, policy, reward = plan.search, players.policy, players.reward
    if search.needs_reward and reward is None:
        raise UsageError(f"search {search.name!r} needs a reward model", "Give one with --reward.")
    if plan.candidates == "valid" and not environment.valid_actions:
        raise UsageError(
            f"environment {environment.name!r} does not list its valid actions", "Leave out --candidates valid."
        )
    ranked = plan.candidates == "valid" or policy.deterministic or policy.interactive
    if plan.temperature == 0 and search.samples > 1 and not ranked:
        raise UsageError(
            f"search {search.name!r} samples several replies, but temperature 0 gives only one",
            "Raise --temperature, or use --search greedy.",
        )
    if reward and reward.scale == "within_group":
        if search.needs_reward and search.compares_requests:
            raise UsageError(
                f"{search.name} cannot use {reward.name}: its scores of different groups cannot be compared"
            )
        if flag := search.judges_steps():
            raise UsageError(f"{reward.name} judges whole trajectories", f"Leave out {flag}.")
    if search.merges_states and not environment.state_keys:
        raise UsageError(f"environment {environment.name!r} has no state keys", "Leave out --share-states.")
    if policy.wants_expert and not environment.expert and not policy.wants_valid_actions:
        raise UsageError(f"environment {environment.name!r} has no expert", "Choose another --policy.")
    if reward is not None:
        search = search.with_reward(RewardFacts(reward.unit, reward.threshold))
    if flag := search.missing():
        raise UsageError(f"search {search.name!r} lacks {flag}, which {plan.reward} does not name", f"Give {flag}.")
    return msgspec.structs.replace(plan, search=search)


def run_started(
    plan: RunPlan,
    players: Players,
    environment: EnvironmentTraits,
    parallel: int,
    demonstrations: Sequence[Conversation] = (),
) -> RunStarted:
    """The first event: the plan, and what was found on the machine."""
    return RunStarted(
        run=uuid4().hex[:8],
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        plan=plan,
        origin=environment.origin,
        policy_digest=players.policy.digest,
        reward_digest=players.reward.digest if players.reward else "",
        build=build(),
        device=resolved_device(plan.load.device),
        parallel=parallel,
        demonstrations=tuple(demonstrations),
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
