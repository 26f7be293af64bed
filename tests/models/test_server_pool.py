"""Several servers of one model: who gets which episode, and what happens while one is down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fake_http import FakeTime
from fake_openai import FakeServer, fake_server

from agentrm_models.errors import DataError, UsageError
from agentrm_models.http_failures import ServerDownError
from agentrm_models.messages import Message
from agentrm_models.notices import Notices
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.openai_api import OpenAIPolicy
from agentrm_models.server_pool import FIRST_ABSENCE, MOST_EPISODES, ServerPool
from agentrm_models.specs import load_policy


class Pair(NamedTuple):
    one: FakeServer
    two: FakeServer

    @property
    def spec(self) -> str:
        return f"{self.one.address},{self.two.address}"

    def asked(self) -> tuple[list[str], list[str]]:
        """The goals that each was asked about since the last call."""
        goals = [[body["messages"][1]["content"] for body in server.asked] for server in self]
        for server in self:
            server.asked.clear()
        return goals[0], goals[1]


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    for name in ("OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_server() as one, fake_server() as two:
        yield Pair(one, two)


def ask(task: str, node: str = "0", **changes: Any) -> ProposeRequest:
    conversation = (Message("system", "s"), Message("user", task))
    return ProposeRequest(conversation, 2, Decoding(), NoiseKey(1, changes.pop("noise", task), node), **changes)


def broken(body: object) -> tuple[int, bytes]:
    return 500, b'{"error": {"message": "EngineDeadError"}}'


def test_an_episode_stays_with_its_server(pair: Pair) -> None:
    policy = load_policy(f"{pair.spec}#small&n=no")
    assert policy.traits.name == f"{pair.spec}#small" and policy.traits.context_length == 4096
    tasks = ["a", "b", "c", "d"]
    for node in ("0", "0.1", "0.1.0"):
        replies = policy.propose([ask(task, node) for task in tasks])
        assert [len(group) for group in replies] == [2] * 4
    one, two = pair.asked()
    assert sorted(one) == ["a"] * 6 + ["c"] * 6 and sorted(two) == ["b"] * 6 + ["d"] * 6
    policy.propose([ask("a", noise="a#0.f1", episode="a"), ask("e")])
    assert [sorted(goals) for goals in pair.asked()] == [["a", "a", "e", "e"], []]


def test_a_server_that_is_down_is_replaced_and_comes_back(pair: Pair) -> None:
    time = FakeTime()
    policy = OpenAIPolicy(pair.spec, clock=time.clock)
    requests = [ask("a"), ask("b")]
    policy.propose(requests)
    assert pair.asked() == (["a"], ["b"]) and policy.new_notices() == []
    pair.one.minds = broken
    assert [len(group) for group in policy.propose(requests)] == [2, 2]
    one, two = pair.asked()
    assert one == ["a"] and sorted(two) == ["a", "b"]
    told = [notice.text for notice in policy.new_notices()]
    assert told == [f"{pair.one.address} failed with status 500: EngineDeadError; its episodes go to the other servers"]
    policy.propose(requests)
    assert [len(goals) for goals in pair.asked()] == [0, 2] and policy.new_notices() == []
    time.seconds += FIRST_ABSENCE
    policy.propose(requests)
    assert [len(goals) for goals in pair.asked()] == [1, 2] and policy.new_notices() == []
    pair.one.minds = lambda body: None
    policy.propose(requests)
    assert [len(goals) for goals in pair.asked()] == [0, 2]
    time.seconds += 2 * FIRST_ABSENCE
    policy.propose(requests)
    assert pair.asked() == (["a"], ["b"])
    assert [notice.text for notice in policy.new_notices()] == [
        f"{pair.one.address} answers again; its episodes come back"
    ]


def test_a_rate_limit_is_waited_for_where_it_is(pair: Pair) -> None:
    time = FakeTime()
    policy = OpenAIPolicy(pair.spec, clock=time.clock)
    pair.one.busy = [429, 429]
    policy.propose([ask("a")])
    assert pair.asked() == (["a"] * 3, []) and time.seconds == 1.5 and policy.new_notices() == []


def test_a_refusal_is_learnt_from_the_server_that_refuses(pair: Pair) -> None:
    policy = OpenAIPolicy(pair.spec)

    def minds(body: dict[str, Any]) -> tuple[int, bytes] | None:
        return (400, b'{"error": {"param": "seed"}}') if "seed" in body else None

    pair.one.minds = minds
    policy.propose([ask("a"), ask("b")])
    assert ["seed" in body for body in pair.one.asked] == [True, False]
    assert ["seed" in body for body in pair.two.asked] == [True]
    with pytest.raises(UsageError, match="refuses the request"):
        pair.one.minds = lambda body: (400, b'{"error": "no"}')
        policy.propose([ask("a")])


def test_they_must_serve_the_same_model(pair: Pair) -> None:
    pair.two.models = [{"id": "large"}]
    with pytest.raises(UsageError, match=r"not the same model: .* serves 'small', .* serves 'large'"):
        OpenAIPolicy(pair.spec)
    with pytest.raises(UsageError, match="has no model 'small'"):
        OpenAIPolicy(f"{pair.spec}#small")
    pair.two.models = [{"id": "small", "max_model_len": 2048}]
    assert OpenAIPolicy(pair.spec).traits.context_length == 2048


def test_one_that_is_down_from_the_start_joins_later_if_it_has_the_model(pair: Pair) -> None:
    time = FakeTime()
    pair.two.failure = (503, b"Loading model")
    policy = OpenAIPolicy(pair.spec, clock=time.clock)
    assert [notice.text for notice in policy.new_notices()] == [
        f"{pair.two.address} failed with status 503: Loading model; its episodes go to the other servers"
    ]
    policy.propose([ask("a"), ask("b")])
    assert [len(goals) for goals in pair.asked()] == [2, 0]
    pair.two.failure, pair.two.models = None, [{"id": "large"}]
    time.seconds += FIRST_ABSENCE
    policy.propose([ask("b")])
    assert pair.asked() == (["b"], [])
    (notice,) = policy.new_notices()
    assert notice.loud and "answers again, but is not used" in notice.text and "'small'" in notice.text
    pair.two.models = [{"id": "small"}]
    time.seconds += 2 * FIRST_ABSENCE
    policy.propose([ask("b")])
    assert pair.asked() == ([], ["b"])


def test_where_none_answers_they_are_waited_for_and_named(pair: Pair) -> None:
    time = FakeTime()
    policy = OpenAIPolicy(f"{pair.spec}#small&patience=20", clock=time.clock)
    for server in pair:
        server.minds = broken
    time.then = lambda: setattr(pair.two, "minds", lambda body: None) if time.seconds > 5 else None
    assert len(policy.propose([ask("a")])[0]) == 2
    assert 5 < time.seconds < 10
    time.then = lambda: None
    for server in pair:
        server.minds = broken
    start = time.seconds
    with pytest.raises(ServerDownError, match="EngineDeadError"):
        policy.propose([ask("a")])
    assert 10 <= time.seconds - start <= 20
    pair.one.failure = pair.two.failure = (404, b"")
    with pytest.raises(UsageError, match="was not found"):
        OpenAIPolicy(pair.spec)


def test_an_absent_pair_is_told_at_once() -> None:
    absent = [FakeServer(), FakeServer()]
    for server in absent:
        server.server_close()
    with pytest.raises(DataError, match="cannot reach"):
        OpenAIPolicy(",".join(server.address for server in absent))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("http://a/v1,http://a/v1/", "http://a/v1 is named twice"),
        ("http://a/v1#m,http://b/v1#n", "different models or options: 'm' and 'n'"),
        ("http://a/v1,http://me:s3cret@b/v1", "password"),
        ("http://a/v1,https://b/v1?api_key=s3cret", "key"),
        ("http://a/v1,http://b:port/v1", "not the address"),
        (",".join(f"http://h{k}/v1" for k in range(65)), "65 addresses are too many"),
    ],
)
def test_wrong_lists_are_refused(spec: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as raised:
        load_policy(spec)
    assert "s3cret" not in str(raised.value)


class FakeMember(NamedTuple):
    base: str

    def look(self) -> None:
        return


def test_few_episodes_are_remembered() -> None:
    pool = ServerPool([FakeMember("a"), FakeMember("b")], Notices(), 1.0)
    for number in range(2 * MOST_EPISODES):
        pool.home(str(number))
    assert len(pool._homes) == MOST_EPISODES
