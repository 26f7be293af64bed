"""Example episodes before the goal: chosen by seed, recorded once, the same after resuming, never a reward model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_world import FakeEnvironment, FakePolicy, FakeRecorder, FakeReward, fake_plan, make_fake

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.expert import ExpertPolicy
from agentrm_tui.environments.base import EnvironmentTraits, Split, Task
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.demonstration_file import read_demonstrations
from agentrm_tui.runs.demonstrations import demonstrations_of
from agentrm_tui.runs.open_run import open_run
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.store import load_state

CHAT = [
    {"role": "system", "content": "Another instruction."},
    {"role": "user", "content": "Goal: spell ab"},
    {"role": "assistant", "content": "Thought: first\nAction: a"},
    {"role": "user", "content": "You have typed 'a'."},
    {"role": "assistant", "content": "Action: b"},
    {"role": "user", "content": "Done."},
]


class OwnModels:
    """Hands out models that stay."""

    def __init__(self, policy: Any, reward: Any) -> None:
        self._policy, self._reward = policy, reward

    def check(self, plan: RunPlan) -> None:
        return

    def policy(self, spec: str, options: object) -> Any:
        return self._policy

    def reward(self, spec: str, options: object) -> Any:
        return self._reward

    def release(self) -> None:
        return


def shown(plan: RunPlan, made: Any = make_fake) -> tuple[Conversation, ...]:
    environment = made(plan.environment)
    return demonstrations_of(plan, environment, [environment.task(task) for task in plan.tasks], made)


def demonstrated(count: int | str = 2, **changes: Any) -> RunPlan:
    return msgspec.structs.replace(fake_plan("greedy", tasks=2), demonstrations=count, **changes)


def test_the_experts_episodes_of_other_tasks_are_shown() -> None:
    found = shown(demonstrated(3))
    assert len({conversation[0].content for conversation in found}) == 3
    for conversation in found:
        assert [message.role for message in conversation] == ["user", "assistant"] * (len(conversation) // 2)
        assert conversation[0].content.startswith("Goal: spell word number 4000")
        assert conversation[1].content.startswith("Thought: type the next letter\nAction: ")
    assert shown(demonstrated(3)) == found
    assert shown(demonstrated(3, seed=1)) != found


def test_tasks_that_are_played_are_never_shown() -> None:
    played = tuple(f"word:{seed}" for seed in range(4_000_000, 4_000_008))
    found = shown(demonstrated(2, tasks=played))
    assert all(int(conversation[0].content.split("number ")[1].split()[0]) >= 4_000_008 for conversation in found)


def test_with_valid_candidates_the_thoughts_are_left_out() -> None:
    for conversation in shown(demonstrated(1, candidates="valid")):
        assert all(turn.content.startswith("Action: ") for turn in conversation if turn.role == "assistant")


def test_the_policy_sees_them_before_the_goal_and_the_reward_model_does_not(tmp_path: Path) -> None:
    policy, reward = FakePolicy(), FakeReward()
    plan = msgspec.structs.replace(fake_plan("beam", tasks=2), demonstrations=2)
    with open_run(plan, tmp_path / "run.jsonl", models=OwnModels(policy, reward), environments=make_fake) as run:
        state = run_with_fakes(run)
    assert state.run is not None and len(state.run.demonstrations) == 2
    turns = tuple(message for one in state.run.demonstrations for message in one)
    requests = [request for call in policy.calls for request in call]
    assert requests
    for request in requests:
        assert request.conversation[0].role == "system"
        assert request.conversation[1 : 1 + len(turns)] == turns
        assert request.conversation[1 + len(turns)].content.startswith("Goal: spell word number")
        assert request.demonstrations == tuple(map(len, state.run.demonstrations))
    judged = [item for call in reward.calls for group in call for item in group.items]
    assert judged and not any(turns[0] in item for item in judged)
    assert load_state(tmp_path / "run.jsonl").run == state.run
    assert (tmp_path / "run.jsonl").read_text().count(turns[0].content.splitlines()[0]) == 1


def run_with_fakes(run: Any) -> Any:
    """Drive a run in fake environments."""
    from agentrm_tui.runs import open_run as module

    original = module.make_environment
    module.make_environment = make_fake
    try:
        return run.drive()
    finally:
        module.make_environment = original


def test_a_resumed_run_shows_what_its_file_holds(tmp_path: Path) -> None:
    plan, path = demonstrated(1), tmp_path / "run.jsonl"
    with open_run(plan, path, models=OwnModels(FakePolicy(), FakeReward()), environments=make_fake) as run:
        run_with_fakes(run)
    lines = path.read_bytes().splitlines(keepends=True)
    started = [number for number, line in enumerate(lines) if b'"episode_started"' in line]
    path.write_bytes(b"".join(lines[: started[0] + 1]))

    class Unplayable(FakeEnvironment):
        def expert(self) -> tuple[str, str]:
            raise AssertionError("the expert has played already")

    policy = FakePolicy()
    with open_run(
        plan, path, resume=True, models=OwnModels(policy, FakeReward()), environments=lambda name: Unplayable()
    ) as run:
        state = run_with_fakes(run)
    assert state.run is not None
    for call in policy.calls:
        for request in call:
            assert request.conversation[1 : 1 + request.demonstrations[0]] == state.run.demonstrations[0]


def test_without_demonstrations_nothing_changes() -> None:
    policy = FakePolicy()
    run_plan(fake_plan("greedy"), policy=policy, reward=None, emit=FakeRecorder(), environments=make_fake)
    assert all(request.demonstrations == () and len(request.conversation) % 2 == 0 for [request] in policy.calls)


class Fixed(FakeEnvironment):
    """The same game with a list of tasks."""

    names = ("word:1", "word:2", "other:3")

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(procedural=False, levels=("word", "other"))

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> list[Task]:
        listed = [self.task(name) for name in self.names]
        return listed[first_seed or 0 :][:count] if count else listed[first_seed or 0 :]


def test_of_a_fixed_list_those_of_the_level_are_taken() -> None:
    [found] = shown(demonstrated(1, tasks=("word:2",)), lambda name: Fixed())
    assert found[0].content.startswith("Goal: spell word number 1\n")
    with pytest.raises(UsageError, match="no training tasks beside"):
        shown(demonstrated(1, tasks=Fixed.names), lambda name: Fixed())


def test_what_cannot_be_shown_is_refused() -> None:
    class Without(FakeEnvironment):
        @property
        def traits(self) -> EnvironmentTraits:
            return super().traits._replace(expert=False)

    with pytest.raises(UsageError, match="has no expert"):
        shown(demonstrated(1), lambda name: Without())
    with pytest.raises(UsageError, match="1 to 64"):
        shown(demonstrated(65))

    class Hopeless(FakeEnvironment):
        def expert(self) -> tuple[str, str]:
            return "give up", "stop"

    with pytest.raises(DataError, match="the expert solved 0 of 4"):
        shown(demonstrated(1), lambda name: Hopeless())


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_of_chats_is_read(tmp_path: Path) -> None:
    named = [{"from": "human", "value": "Goal: x"}, {"from": "gpt", "value": "Action: a"}]
    found = read_demonstrations(write(tmp_path / "own.jsonl", {"messages": CHAT}, {"conversations": named}))
    assert [[message.role for message in conversation] for conversation in found] == [
        ["user", "assistant", "user", "assistant"],
        ["user", "assistant"],
    ]
    plan = demonstrated(str(tmp_path / "own.jsonl"), candidates="valid")
    assert shown(plan)[0][1] == Message("assistant", "Action: a")


def test_a_run_file_gives_its_successes(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    plan = msgspec.structs.replace(fake_plan("greedy", tasks=2), policy="expert", reward="")
    with open_run(plan, path, models=OwnModels(ExpertPolicy(), None), environments=make_fake) as run:
        run_with_fakes(run)
    found = read_demonstrations(path)
    assert len(found) == 2 and all(conversation[-1].role == "assistant" for conversation in found)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "x"}, "line 2 has neither messages nor conversations"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "line 2: role 'critic' is unknown"),
        ({"messages": [{"role": "user", "content": None}]}, "line 2: a message of the user has no text"),
        ({"messages": CHAT[2:]}, "line 2: message 1 is the assistant's, out of turn"),
        ({"messages": CHAT[:2]}, "line 2: no reply has a line 'Action"),
        ([1], "line 2 is no trajectory"),
    ],
)
def test_a_line_that_is_none_is_named(row: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_demonstrations(write(tmp_path / "own.jsonl", {"messages": CHAT}, row))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_demonstrations(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"messages": "\xe4"}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl, line 1 is no trajectory"):
        read_demonstrations(tmp_path / "latin.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    with pytest.raises(DataError, match="is empty"):
        read_demonstrations(tmp_path / "empty.jsonl")


def test_valid_candidates_need_an_environment_that_lists_them() -> None:
    class Silent(FakeEnvironment):
        @property
        def traits(self) -> EnvironmentTraits:
            return super().traits._replace(valid_actions=False)

    plan = msgspec.structs.replace(fake_plan("greedy"), candidates="valid")
    with pytest.raises(UsageError, match="does not list its valid actions"):
        run_plan(plan, policy=FakePolicy(), reward=None, emit=FakeRecorder(), environments=lambda name: Silent())


def test_at_temperature_zero_several_candidates_are_the_likeliest_valid_actions() -> None:
    plan = msgspec.structs.replace(fake_plan("beam"), candidates="valid", temperature=0.0)
    run_plan(plan, policy=FakePolicy(), reward=FakeReward(), emit=FakeRecorder(), environments=make_fake)
    with pytest.raises(UsageError, match="temperature 0 gives only one"):
        run_plan(
            msgspec.structs.replace(plan, candidates="sampled"),
            policy=FakePolicy(),
            reward=FakeReward(),
            emit=FakeRecorder(),
            environments=make_fake,
        )


def test_a_policy_that_tells_no_likelihood_cannot_choose_among_valid_actions() -> None:
    plan = msgspec.structs.replace(fake_plan("greedy"), candidates="valid", reward="")
    with (
        pytest.raises(UsageError, match="does not tell how likely"),
        open_run(plan, models=OwnModels(FakePolicy(), None), environments=make_fake),
    ):
        pass
