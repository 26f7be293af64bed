"""How long do many episodes take together, over one after another? Bundled models, Maze, the project's own runner.

Both sides are this project, prefix cache included: the ratio is what merging the requests of episodes gives by itself.
Sampling noise does not depend on batching, so outcomes are the same but for rounding; the share that is, is reported.
*Products and attention* are the share of the time inside the model's matrix products and attention, of ours and of one
after another, read by a stopwatch in a run of its own: what is beside it is all that less bookkeeping could still save.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from measuring import ONE_EACH, Part, Settings, Way, cell, one_turn, take_turns
from profile_share import watched
from subjects import bundled_folder

from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.transformers import load_transformers_policy
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import settings_of
from agentrm_tui.runs.state import RunState

QUESTION = "batched episodes"


def cells(settings: Settings) -> list[dict[str, Any]]:
    """Measure the cells of this scale: an algorithm and how many episodes."""
    wanted: list[tuple[str, int]] = settings.choose(
        [("greedy", 2)],
        [("greedy", 64), ("best-of-n", 16), ("beam", 8)],
        [("greedy", 1), ("greedy", 16), ("greedy", 64), ("best-of-n", 64), ("beam", 64)],
    )
    return [_cell(settings, *given) for given in wanted]


def _cell(settings: Settings, algorithm: str, episodes: int) -> dict[str, Any]:
    tasks = _tasks(episodes)
    most_steps = settings.choose(3, 0, 0)

    def play(some: Sequence[str], policy: Any, reward: Any) -> Part:
        plan = RunPlan(
            environment="maze",
            tasks=tuple(some),
            policy="bundled",
            reward="bundled",
            search=settings_of(algorithm, {}),
            parallel=len(some),
            max_steps=most_steps,
        )
        before = policy.usage.tokens_computed + reward.usage.tokens_computed
        state = run_plan(plan, policy=policy, reward=reward, emit=lambda event: None)
        return Part(len(some), policy.usage.tokens_computed + reward.usage.tokens_computed - before, _outcomes(state))

    def together(size: int) -> Generator[float | Part, None, None]:
        policy = load_transformers_policy(bundled_folder("policy"), LoadOptions(device="cpu"))
        reward = ExplicitReward.load(bundled_folder("reward"), LoadOptions(device="cpu"))
        yield len(tasks)
        for start in range(0, len(tasks), size):
            yield play(tasks[start : start + size], policy, reward)

    turns = take_turns(lambda: together(len(tasks)), {ONE_EACH: lambda: together(1)}, settings)
    shares = {
        f"products_and_attention_{of}": _arithmetic(partial(together, size), settings)
        for of, size in (("ours", len(tasks)), ("one_each", 1))
    }
    mine, theirs = ([x for part in turns[name][0].results for x in part] for name in ("ours", ONE_EACH))
    same = {"equal_outcomes": sum(x == y for x, y in zip(mine, theirs, strict=False)) / len(theirs)}
    given = {"search": algorithm, "episodes": episodes}
    return cell(f"{QUESTION}, {algorithm}", "bundled", given, turns, same=same, shares=shares)


def _arithmetic(way: Way, settings: Settings) -> float:
    """The share of a way's time inside products and attention; loading and its check are left out."""
    with watched() as watch:

        def from_the_first_episode() -> Generator[float | Part, None, None]:
            steps = way()
            yield next(steps)
            watch.seconds = 0.0
            yield from steps

        turn = one_turn(from_the_first_episode, settings.limit)
    return watch.seconds / turn.measured_seconds


def _outcomes(state: RunState) -> list[float | None]:
    return [state.episodes[name].outcome for name in sorted(state.episodes, key=int)]


def _tasks(count: int) -> list[str]:
    environment = make_environment("maze")
    try:
        return [task.id for task in environment.tasks("test")][:count]
    finally:
        environment.close()
