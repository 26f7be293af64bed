from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_world import (
    SETTINGS,
    FakeEnvironment,
    FakePolicy,
    FakeRecorder,
    FakeReward,
    fake_plan,
    make_fake,
    number_from,
)

from agentrm_models.errors import AgentRMError, DataError, InterruptedRun, UsageError
from agentrm_models.notices import Notice
from agentrm_models.policies.base import Candidate, ProposeRequest
from agentrm_models.usage import Progress, Usage
from agentrm_tui.environments.base import StepResult
from agentrm_tui.headless.display import run_lines
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.control import RunFreely
from agentrm_tui.runs.model_calls import shares
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState, apply
from agentrm_tui.runs.transitions import SNAPSHOT_LIMIT

EXPLORING = {"iterations": 10, "branching": 3, "leaf": "rollout", "simulations": 2}
CASES: list[tuple[str, dict[str, Any]]] = [*SETTINGS.items(), ("mcts", EXPLORING)]


def play(
    plan: RunPlan, policy: Any = None, reward: Any = None, environments: Any = make_fake, **options: Any
) -> tuple[RunState, FakeRecorder]:
    recorder = FakeRecorder()
    state = run_plan(
        plan,
        policy=policy or FakePolicy(),
        reward=reward or FakeReward(),
        emit=recorder,
        environments=environments,
        **options,
    )
    return state, recorder


def without_times(events: list[ev.AnyEvent]) -> list[dict[str, Any]]:
    """Events but for the fields that name times."""

    def strip(value: Any) -> Any:
        match value:
            case dict():
                return {key: strip(item) for key, item in value.items() if key not in (*ev.TIME_FIELDS, "run")}
            case list() | tuple():
                return [strip(item) for item in value]
            case _:
                return value

    return [strip(msgspec.to_builtins(event)) for event in events]


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
def test_the_same_seed_gives_the_same_events_and_another_seed_others(algorithm: str, changes: dict[str, Any]) -> None:
    runs = [play(fake_plan(algorithm, tasks=3, seed=seed, **changes))[1].events for seed in (1, 1, 2)]
    assert without_times(runs[0]) == without_times(runs[1])
    if algorithm != "greedy":
        assert without_times(runs[0])[1:] != without_times(runs[2])[1:]


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
def test_episodes_are_the_same_however_many_go_at_once(algorithm: str, changes: dict[str, Any]) -> None:
    def of_each(parallel: int) -> dict[str, list[dict[str, Any]]]:
        state, recorder = play(fake_plan(algorithm, tasks=5, parallel=parallel, **changes))
        events = without_times(recorder.events)
        for event in events:
            event.pop("usage", None)
        assert state.finished is not None
        return {name: [event for event in events if event.get("episode") == name] for name in state.episodes}

    assert of_each(1) == of_each(3) == of_each(8)


def test_requests_of_all_episodes_are_merged_into_one_call_a_round() -> None:
    policy, reward = FakePolicy(), FakeReward()
    state, _ = play(fake_plan("beam", tasks=4, parallel=4, **SETTINGS["beam"]), policy, reward)
    assert len(policy.calls[0]) == 4 and len(reward.calls[0]) == 4
    longest = max(
        sum(isinstance(past.event, ev.Proposed) for past in episode.history) for episode in state.episodes.values()
    )
    assert len(policy.calls) == longest
    assert state.ledger.requests == len(policy.calls) + len(reward.calls)


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
@pytest.mark.parametrize("parallel", [1, 4])
def test_the_ledger_is_what_the_models_and_environments_counted(
    algorithm: str, changes: dict[str, Any], parallel: int
) -> None:
    made: list[FakeEnvironment] = []

    def make(name: str) -> FakeEnvironment:
        made.append(FakeEnvironment())
        return made[-1]

    policy, reward = FakePolicy(), FakeReward()
    state, _ = play(fake_plan(algorithm, tasks=4, parallel=parallel, **changes), policy, reward, make)
    assert state.finished is not None
    ledger = state.finished.ledger
    assert ledger.policy_tokens_computed == policy.usage.tokens_computed
    assert ledger.policy_tokens_unique == policy.usage.tokens_unique
    assert ledger.policy_tokens_generated == policy.usage.tokens_generated
    assert ledger.reward_tokens_computed == reward.usage.tokens_computed
    assert ledger.requests == policy.usage.requests + reward.usage.requests
    assert ledger.env_steps == sum(environment.steps_taken for environment in made)
    assert ledger.env_steps == ledger.transitions > 0
    assert len(made) <= parallel


def test_without_snapshots_prefixes_are_replayed_and_counted() -> None:
    made: list[FakeEnvironment] = []

    def make(name: str) -> FakeEnvironment:
        made.append(FakeEnvironment(snapshots=False))
        return made[-1]

    plan = fake_plan("beam", tasks=2, **SETTINGS["beam"])
    replayed, events = play(plan, environments=make)
    kept, _ = play(plan)
    assert replayed.ledger.env_steps == sum(environment.steps_taken for environment in made)
    assert replayed.ledger.env_steps > replayed.ledger.transitions == kept.ledger.transitions
    assert not any(isinstance(event, ev.Drifted) for event in events.events)
    assert replayed.finished and kept.finished and replayed.finished.scores == kept.finished.scores


def test_a_replay_that_shows_something_else_is_reported() -> None:
    plan = fake_plan("beam", **SETTINGS["beam"])
    state, recorder = play(plan, environments=lambda name: FakeEnvironment(snapshots=False, drifting=True))
    drifts = [event for event in recorder.events if isinstance(event, ev.Drifted)]
    assert drifts and all(event.expected != event.seen for event in drifts)
    assert any("differs" in notice for notice in state.episodes["0"].notices)


class StrangePolicy(FakePolicy):
    """Replies that a runner must survive."""

    strange = (
        "Action: " + "x" * 1_000_000,
        "no action at all " * 1_000,
        "Thought: \x1b]0;title\x07 [red]markup[/red]\nAction: \x1b[2Jdance",
        "Action: \udcff broken",
        "",
        "Thought: " + "y" * 5_000 + "\nAction: " + "z" * 2_500,
    )

    def reply(self, request: ProposeRequest, i: int) -> Candidate:
        return Candidate(self.strange[i % len(self.strange)], math.nan, 7)


def test_strange_replies_become_invalid_steps_that_no_environment_sees(tmp_path: Path) -> None:
    from agentrm_tui.runs.store import RunWriter, load_state

    class Watchful(FakeEnvironment):
        def step(self, action: str) -> StepResult:
            assert 0 < len(action) <= 2_000
            return super().step(action)

    writer = RunWriter(tmp_path / "run.jsonl")
    state = run_plan(
        fake_plan("best-of-n", n=6, max_steps=2),
        policy=StrangePolicy(),
        reward=FakeReward(),
        emit=writer.append,
        environments=lambda name: Watchful(),
    )
    writer.close()
    assert state.finished and state.finished.reason == "finished"
    tree = state.episodes["0"].tree
    assert all(len(node.reply) <= 4_000 for node in tree)
    assert max(node.depth for node in tree) == 2
    first = tree.children("0")
    assert [node.valid for node in first] == [False] * len(first)
    refused = [
        node
        for node in tree
        if node.observation and ("No action found" in node.observation or "longer than" in node.observation)
    ]
    assert len(refused) >= 4
    assert state.ledger.env_steps == state.ledger.transitions == len(tree) - 1 - len(refused)
    assert repr(load_state(tmp_path / "run.jsonl").episodes["0"].tree) == repr(tree)


def test_siblings_merge_by_action_and_keep_the_first_reply() -> None:
    class Two(FakePolicy):
        def reply(self, request: ProposeRequest, i: int) -> Candidate:
            return Candidate(f"Thought: number {i}\nAction: {'stop' if i % 2 else ' a '}", -1.0 - i, 4)

    state, _ = play(fake_plan("beam", beam=(1, 5), max_steps=1), Two())
    a, stop = state.episodes["0"].tree.children("0")
    assert (a.action, a.samples, a.thought, a.log_probability) == ("a", 3, "number 0", -1.0)
    assert (stop.action, stop.samples, stop.thought, stop.log_probability) == ("stop", 2, "number 1", -2.0)
    assert state.ledger.duplicates == 3


def test_the_step_limit_is_the_smaller_of_the_tasks_and_the_plans() -> None:
    class Dancer(FakePolicy):
        def reply(self, request: ProposeRequest, i: int) -> Candidate:
            return Candidate("Action: dance", -1.0, 2)

    for max_steps, steps in ((3, 3), (0, 8), (50, 8)):
        state, _ = play(fake_plan("greedy", max_steps=max_steps), Dancer())
        assert state.episodes["0"].steps == steps
        assert state.episodes["0"].tree[state.episodes["0"].chosen or ""].done


def test_one_failing_episode_is_reported_and_the_rest_go_on() -> None:
    class Exploding(FakePolicy):
        def reply(self, request: ProposeRequest, i: int) -> Candidate:
            return Candidate("Action: explode" if request.noise.task == "word:1" else "Action: a", -1.0, 2)

    plan = fake_plan("greedy", tasks=3, parallel=3)
    state, _ = play(plan, Exploding())
    assert state.finished is not None
    assert [score is None for score in state.finished.scores] == [False, True, False]
    assert state.finished.reason == "finished"
    assert state.episodes["1"].status == "failed" and "exploded" in state.faults[0].message
    scores = [score or 0.0 for score in state.finished.scores]
    assert state.finished.score_mean == pytest.approx(sum(scores) / 3)


def test_a_task_that_cannot_be_started_and_a_model_that_fails_on_one_episode() -> None:
    class Failing(FakePolicy):
        def propose(self, requests: Any, progress: Any = None) -> list[list[Candidate]]:
            if any(request.noise.task == "word:2" for request in requests):
                raise RuntimeError("cannot read this one")
            return super().propose(requests)

    plan = msgspec.structs.replace(fake_plan("greedy", parallel=4), tasks=("word:1", "word:666", "word:2", "nope:3"))
    state, _ = play(plan, Failing())
    assert state.finished is not None
    assert [score is None for score in state.finished.scores] == [False, True, True, True]
    assert sorted(fault.message.split(":")[0] for fault in state.faults) == ["RuntimeError", "task nope", "task word"]


def test_when_every_episode_fails_the_first_error_is_raised_after_the_last_event() -> None:
    class Refusing(FakePolicy):
        def propose(self, requests: Any, progress: Any = None) -> list[list[Candidate]]:
            raise DataError("the server is gone", "Start it again.")

    recorder = FakeRecorder()
    with pytest.raises(DataError, match="the server is gone"):
        run_plan(
            fake_plan("greedy", tasks=2),
            policy=Refusing(),
            reward=None,
            emit=recorder,
            environments=make_fake,
        )
    last = recorder.events[-1]
    assert isinstance(last, ev.RunFinished) and last.reason == "failed" and last.scores == (None, None)


def test_scores_that_are_no_numbers_are_a_data_error() -> None:
    class Broken(FakeReward):
        def score(self, groups: Any, progress: Any = None) -> list[list[float]]:
            return [[math.nan for _ in group.items] for group in groups]

    with pytest.raises(DataError, match="not a finite number"):
        play(fake_plan("beam"), reward=Broken())


def test_a_bug_in_every_episode_fails_loudly() -> None:
    class Buggy(FakePolicy):
        def reply(self, request: ProposeRequest, i: int) -> Candidate:
            raise ZeroDivisionError("a bug")

    with pytest.raises(AgentRMError, match="every episode failed: ZeroDivisionError"):
        play(fake_plan("greedy"), Buggy())


@pytest.mark.parametrize(
    ("plan", "policy", "reward", "message"),
    [
        (fake_plan("beam"), FakePolicy(), None, "--reward"),
        (fake_plan("beam", temperature=0.0), FakePolicy(), FakeReward(), "temperature 0"),
        (fake_plan("mcts"), FakePolicy(), FakeReward(scale="within_group"), "mcts cannot use"),
        (fake_plan("best-of-n", aggregate="mean"), FakePolicy(), FakeReward(scale="within_group"), "--aggregate"),
    ],
)
def test_plans_that_cannot_work_are_refused_before_anything_is_written(
    plan: RunPlan, policy: Any, reward: Any, message: str
) -> None:
    recorder = FakeRecorder()
    with pytest.raises(UsageError, match=message):
        run_plan(plan, policy=policy, reward=reward, emit=recorder, environments=make_fake)
    assert recorder.events == []


def test_best_of_one_samples_at_temperature_zero_too_and_a_human_needs_a_screen() -> None:
    assert play(fake_plan("best-of-n", n=1, temperature=0.0))[0].finished
    with pytest.raises(UsageError, match="agentrm-tui play"):
        play(fake_plan("greedy"), FakePolicy(interactive=True))


def test_a_scorer_within_groups_sees_finished_beams_again_and_an_absolute_one_does_not() -> None:
    for scale, again in (("absolute", False), ("within_group", True)):
        reward = FakeReward(scale=scale)
        play(fake_plan("beam", tasks=3, **SETTINGS["beam"]), reward=reward)
        seen = [item for call in reward.calls for group in call for item in group.items]
        assert (len(set(seen)) < len(seen)) == again


def test_a_deterministic_policy_is_asked_once_for_all_samples() -> None:
    policy = FakePolicy(strange=False, deterministic=True)
    state, _ = play(fake_plan("best-of-n", n=4), policy)
    assert all(request.n == 1 for call in policy.calls for request in call)
    assert state.episodes["0"].tree.children("0")[0].samples == 4


def test_a_policy_is_given_what_it_says_it_wants() -> None:
    policy = FakePolicy(wants_expert=True, wants_valid_actions=True, prompt="short")
    play(fake_plan("greedy"), policy)
    request = policy.calls[0][0]
    assert request.expert_action.startswith("Thought: type the next letter\nAction: ")
    assert request.valid_actions == ("a", "b", "c", "stop")
    assert request.conversation[0].content == "Spell the word. (short)"
    assert play(fake_plan("greedy"), plain := FakePolicy()) and plain.calls[0][0].valid_actions == ()


@pytest.mark.parametrize(("algorithm", "changes"), list(SETTINGS.items()))
def test_no_oracle_leak(algorithm: str, changes: dict[str, Any]) -> None:
    """With every outcome replaced by NaN all choices stay the same."""

    class Blind(FakeEnvironment):
        def _outcome(self) -> float:
            return math.nan

    def choices(environment: type[FakeEnvironment]) -> list[str]:
        _, recorder = play(fake_plan(algorithm, tasks=6, **changes), environments=lambda name: environment())
        kinds = (ev.Proposed, ev.Scored, ev.Pruned, ev.Chosen, ev.Backpropagated)
        return [
            repr(msgspec.structs.replace(event, at=0.0, **({"usage": Usage()} if hasattr(event, "usage") else {})))
            for event in recorder.events
            if isinstance(event, kinds)
        ]

    assert choices(FakeEnvironment) == choices(Blind)


def test_exploring_does_read_outcomes() -> None:
    """The test above can fail: exploring MCTS chooses by outcomes."""
    plan = fake_plan("mcts", tasks=6, **{**EXPLORING, "iterations": 30})
    state, _ = play(plan)
    blind, _ = play(plan, environments=lambda name: _Reversed())
    assert [episode.chosen for episode in state.episodes.values()] != [
        episode.chosen for episode in blind.episodes.values()
    ]


class _Reversed(FakeEnvironment):
    def _outcome(self) -> float:
        return 1.0 - super()._outcome()


def test_rewards_never_see_the_nodes_own_observation() -> None:
    reward = FakeReward()
    play(fake_plan("mcts", **SETTINGS["mcts"]), reward=reward)
    items = [item for call in reward.calls for group in call for item in group.items]
    assert items and all(item[-1].role == "assistant" for item in items)
    assert all([m.role for m in item[1:]] == ["user", "assistant"] * (len(item) // 2) for item in items)


class StopAfter(RunFreely):
    def __init__(self, calls: int) -> None:
        self.calls = calls

    def progress(self, progress: Progress) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise InterruptedRun("interrupted")


def test_a_stop_inside_a_model_call_ends_the_run_with_its_last_event() -> None:
    recorder = FakeRecorder()
    with pytest.raises(InterruptedRun):
        run_plan(
            fake_plan("greedy", tasks=3),
            policy=FakePolicy(),
            reward=None,
            emit=recorder,
            control=StopAfter(5),
            environments=make_fake,
        )
    last = recorder.events[-1]
    assert isinstance(last, ev.RunFinished) and last.reason == "stopped"
    assert last.scores[-1] is None
    done = [score for score in last.scores if score is not None]
    assert last.score_mean == pytest.approx(sum(done) / len(done) if done else 0.0)


def test_shares_of_a_merged_call_sum_to_the_whole() -> None:
    whole = Usage(101, 57, 13, 1, 3, 10.0)
    for weights in ([1, 2, 3], [0, 0], [5], [0, 7, 0]):
        parts = shares(whole, weights)
        assert len(parts) == len(weights)
        total = sum(parts, Usage())
        assert msgspec.structs.replace(total, milliseconds=0.0) == msgspec.structs.replace(whole, milliseconds=0.0)
        assert total.milliseconds == pytest.approx(10.0, abs=0.01)
        assert parts[0].requests == 1


def test_truncation_is_told_where_it_happens() -> None:
    class Forgetful(FakePolicy):
        @property
        def usage(self) -> Usage:
            return super().usage + Usage(dropped_observations=2 * len(self.calls))

    state, recorder = play(fake_plan("greedy", max_steps=2), Forgetful())
    told = [event for event in recorder.events if isinstance(event, ev.Truncated)]
    assert [(event.what, event.dropped) for event in told] == [("policy", 2)] * len(told) and told
    assert state.ledger.dropped_observations == 2 * len(told)


def test_snapshots_are_kept_under_a_limit_and_what_is_lost_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SNAPSHOT_LIMIT >= 256
    monkeypatch.setattr("agentrm_tui.runs.transitions.SNAPSHOT_LIMIT", 3)
    plan = fake_plan("mcts", **EXPLORING)
    few, _ = play(plan)
    monkeypatch.undo()
    many, _ = play(plan)
    assert repr(few.episodes["0"].tree) == repr(many.episodes["0"].tree)
    assert few.ledger.env_steps > many.ledger.env_steps == many.ledger.transitions


_HASH_SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from fake_world import *
from test_batch import *
for algorithm, changes in CASES:
    _, recorder = play(fake_plan(algorithm, tasks=2, parallel=2, **changes))
    print(repr(without_times(recorder.events)))
"""


def test_the_order_of_hashes_changes_nothing() -> None:
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _HASH_SCRIPT.format(tests=str(Path(__file__).parent))],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        )
        outputs.add(number_from(done.stdout))
        assert done.stdout
    assert len(outputs) == 1


class FindingPolicy(FakePolicy):
    """Finds one thing out at each of its first two calls."""

    asked = 0

    def new_notices(self) -> list[Notice]:
        self.asked += 1
        return [Notice(f"takes no seed\x1b{self.asked}", loud=self.asked == 2)] if self.asked < 3 else []


def test_what_a_model_finds_out_is_recorded_before_its_answer() -> None:
    state, recorder = play(fake_plan(), FindingPolicy())
    kinds = [type(event).__name__ for event in recorder.events]
    assert kinds[kinds.index("Noticed") + 1] == "Proposed" and kinds.count("Noticed") == 2
    assert [(item.notice, item.loud) for item in state.noticed] == [
        ("takes no seed\x1b1", False),
        ("takes no seed\x1b2", True),
    ]
    assert all(item.what == "policy" and not item.episode for item in state.noticed)


class DeafPolicy(FakePolicy):
    """Its server is gone for every other task."""

    def propose(self, requests: Any, progress: Any = lambda progress: None) -> Any:
        if any(number_from(request.noise.task) % 2 for request in requests):
            raise DataError("the server failed")
        return super().propose(requests, progress)


def test_failed_episodes_count_as_failed_and_are_told_apart() -> None:
    plan = fake_plan(tasks=6)
    state, recorder = play(plan, DeafPolicy())
    finished = state.finished
    assert finished is not None and finished.reason == "finished"
    failed = sum(number_from(task) % 2 for task in plan.tasks)
    assert 0 < failed < 6 and state.failed == failed and finished.share == f"{6 - failed} of 6 ended"
    assert f"over 6 episodes: {6 - failed} of 6 ended, {failed} failed and count 0 (finished)" in run_lines(finished)[0]
    resumed = RunState()
    for event in recorder.events:
        apply(resumed, event)
    again, _ = play(plan, resume=resumed)
    assert again.failed == 0 and again.finished is not None and again.finished.share == ""
    assert len(again.episodes) == 6 + failed
