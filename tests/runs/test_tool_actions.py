"""Runs whose policy is asked for calls: what it reads, what becomes of its calls, and what the file says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentrm_models.errors import UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Call
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.usage import ProgressHook, Usage, ignore_progress
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.conversations import CALL_FORMAT
from agentrm_tui.runs.events import ModelLoading
from agentrm_tui.runs.open_run import FreshModels, open_run
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import load_state, read_events
from agentrm_tui.search.greedy import Greedy
from tests.models.fake_openai import fake_server


class FakeCaller:
    """Answers with the replies it was given, one after another; speaks calls unless it says why not."""

    notice = ""
    traits = PolicyTraits("caller")
    usage = Usage()

    def __init__(self, replies: Sequence[str] = (), refusal: str = "") -> None:
        self.replies = list(replies)
        self.refusal = refusal
        self.seen: list[ProposeRequest] = []

    def refuses_functions(self, functions: Any) -> str:
        return self.refusal

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        self.seen += requests
        return [[Candidate(self.replies.pop(0), -1.0, 3)] for _ in requests]

    def new_episode(self) -> None:
        pass

    def close(self) -> None:
        pass


class FakeModels(FreshModels):
    """One policy, whatever is asked for."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy

    def policy(self, spec: str, options: LoadOptions) -> Policy:
        return self._policy


def plan(environment: str, actions: Any, steps: int, policy: str = "scripted") -> RunPlan:
    made = make_environment(environment)
    task = made.tasks("test", None, 1)[0].id
    return RunPlan(
        environment=environment, tasks=(task,), policy=policy, search=Greedy(), actions=actions, max_steps=steps
    )


def drive(asked: RunPlan, policy: Policy, path: Path | None = None) -> RunState:
    with open_run(asked, path, models=FakeModels(policy)) as run:
        return run.drive()


def observations(state: RunState) -> list[str]:
    tree = state.episodes["0"].tree
    return [node.observation or "" for node in tree.nodes.values()][1:]


def test_requests_offer_the_functions_and_an_instruction_that_asks_for_calls() -> None:
    policy = FakeCaller(["Action: move up", "Action: move left"])
    drive(plan("maze", "tools", 2), policy)

    asked = policy.seen[-1]
    assert asked.offer_functions and asked.functions is not None and asked.functions.names == "act"
    assert asked.conversation[0].content.endswith(CALL_FORMAT)
    assert "Action:" not in asked.conversation[0].content
    assert asked.conversation[2].content == "Action: move up"


@pytest.mark.parametrize(
    "environment", ["adventure", "babyai", "household", "pddl", "toolquery", "tooloperation", "webshop"]
)
def test_no_instruction_asks_for_calls_and_for_text(environment: str) -> None:
    policy = FakeCaller(["x"])
    drive(plan(environment, "tools", 1), policy)
    told = policy.seen[0].conversation[0].content

    assert "Thought:" not in told and "Reply with" not in told
    assert told.endswith(CALL_FORMAT)


def test_text_stays_as_it_was() -> None:
    policy = FakeCaller(["Action: move up"])
    state = drive(plan("maze", "text", 1), policy)

    asked = policy.seen[0]
    assert not asked.offer_functions
    assert asked.conversation[0].content == make_environment("maze").instruction("full")
    assert state.run is not None and state.run.plan.actions == "text"


def test_what_is_no_call_is_an_invalid_step_that_says_why() -> None:
    policy = FakeCaller(["nothing", "Tool call: jump({})", "Thought: t\nTool call: act({oops)"])
    state = drive(plan("maze", "tools", 3), policy)

    assert observations(state) == [
        "No call found. Reply with one call of a function: act.",
        'The call was not understood: there is no function "jump"; call act(action).',
        "The call was not understood: the arguments of act are not JSON: expecting property name enclosed in double "
        "quotes at character 2.",
    ]
    assert state.episodes["0"].status == "finished"


@pytest.mark.parametrize(("actions", "refusal"), [("auto", ""), ("auto", "it cannot"), ("tools", "")])
def test_what_was_decided_stands_in_the_file(actions: str, refusal: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    drive(plan("maze", actions, 1), FakeCaller(["Action: move up"], refusal), path)

    state = load_state(path)
    assert state.run is not None and state.run.plan.actions == ("text" if refusal else "tools")
    notice = next(e.notice for e in read_events(path) if isinstance(e, ModelLoading) and e.what == "policy")
    expected = {("auto", ""): "actions are tool calls", ("tools", ""): ""}
    assert notice == expected.get((actions, refusal), "actions are text, not tool calls: it cannot")


def test_demanding_calls_of_a_policy_that_speaks_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with pytest.raises(UsageError, match="scripted cannot be asked for tool calls: it cannot"):
        drive(plan("maze", "tools", 1), FakeCaller([], "it cannot"), path)
    assert not path.exists() or not path.read_bytes()

    with (
        pytest.raises(UsageError, match="expert cannot be asked for tool calls: it speaks no tool calls"),
        open_run(plan("maze", "tools", 1, "expert")),
    ):
        raise AssertionError("opened")


def calls_of(body: dict[str, Any]) -> list[Call]:
    return [
        Call(each["function"]["name"], each["function"]["arguments"])
        for message in body["messages"]
        for each in message.get("tool_calls", ())
    ]


def test_a_served_model_plays_a_tool_environment_by_calls_alone() -> None:
    environment = make_environment("toolquery")
    task = environment.task("weather-1:0")
    environment.reset(task)
    with fake_server() as server:

        def play(body: dict[str, Any]) -> tuple[int, bytes] | None:
            if len(body["messages"]) < 2:  # the question whether it takes functions
                return None
            call = environment.functions(task).call(environment.expert()[1])
            assert call is not None
            environment.step(environment.functions(task).action(call))
            record = {"id": "a", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            message = {"role": "assistant", "content": None, "tool_calls": [record]}
            return 200, json.dumps({"choices": [{"message": message}]}).encode()

        server.minds = play
        asked = RunPlan(
            environment="toolquery", tasks=(task.id,), policy=server.address, search=Greedy(), actions="auto"
        )
        with open_run(asked) as run:
            state = run.drive()

    assert state.run is not None and state.run.plan.actions == "tools"
    assert state.episodes["0"].outcome == 1.0
    last = server.asked[-1]
    assert {tool["function"]["name"] for tool in last["tools"]} >= {"get_elevation", "finish"}
    assert len(calls_of(last)) == len(server.asked) - 2
    assert [message["role"] for message in last["messages"][:4]] == ["system", "user", "assistant", "tool"]
