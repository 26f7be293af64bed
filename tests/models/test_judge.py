"""LLM-as-a-judge: what it is asked, how its answers are read, and how many attempts it compares at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from fake_openai import fake_server
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_policy_model, tiny_tokenizer

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, PolicyTraits, ProposeRequest
from agentrm_models.policies.transformers import transformers_policy
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.judge import LARGEST_HEAT, JudgeReward
from agentrm_models.specs import describe_spec, load_reward
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

OPENING = (Message("system", "Play well."), Message("user", "Goal: the red key.\nA room."))


class Oracle:
    """A policy that ranks attempts by the number in their last action, or says what it is told to say."""

    notice = "a slow oracle"

    def __init__(self, window: int = 0, say: Callable[[ProposeRequest], str] | None = None) -> None:
        self.traits = PolicyTraits("oracle", digest="abc", context_length=window)
        self.usage = Usage()
        self.asked: list[ProposeRequest] = []
        self.calls = 0
        self._say = say or self._rank

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        self.calls += 1
        self.asked += requests
        self.usage += Usage(requests=1, tokens_generated=len(requests))
        return [[Candidate(self._say(request), -1.0, 1)] for request in requests]

    def _rank(self, request: ProposeRequest) -> str:
        values = [int(part[-1]) for part in last_actions(request)]
        order = sorted(range(len(values)), key=lambda number: -values[number])
        return f"The second is bold.\nRanking: {', '.join(str(number + 1) for number in order)}."

    def new_episode(self) -> None: ...

    def close(self) -> None: ...


def question(request: ProposeRequest) -> str:
    return request.conversation[-1].content


def last_actions(request: ProposeRequest) -> list[list[str]]:
    attempts = re.split(r"Attempt \d+:\n", question(request))[1:]
    return [re.findall(r"Action: worth (\d+)", attempt) for attempt in attempts]


def attempt(worth: int, steps: int = 2, shared: int = 0) -> Conversation:
    turns = list(OPENING)
    for step in range(shared):
        turns += [Message("assistant", f"Action: shared {step}"), Message("user", f"seen {step}")]
    for step in range(steps):
        turns += [Message("assistant", f"Action: step {step}"), Message("user", f"wall {worth} {step}")]
    return (*turns, Message("assistant", f"Action: worth {worth}"))


def test_the_best_has_1_and_the_worst_of_n_has_1_nth() -> None:
    oracle = Oracle()
    judge = JudgeReward(oracle, "judge:oracle")
    assert judge.notice == oracle.notice
    found = judge.score([ScoreGroup(tuple(map(attempt, (3, 9, 5, 1)))), ScoreGroup(tuple(map(attempt, (1, 2))))])
    assert found == [[0.5, 1.0, 0.75, 0.25], [0.5, 1.0]]
    assert oracle.calls == 1
    assert judge.usage.requests == 1
    assert (judge.traits.unit, judge.traits.scale, judge.traits.digest) == ("trajectory", "within_group", "abc")
    assert judge.score([ScoreGroup((attempt(3),)), ScoreGroup(())]) == [[1.0], []]
    assert oracle.calls == 1
    assert all(request.whole_turn and request.decoding.temperature == 0 for request in oracle.asked)


def test_what_all_attempts_share_is_told_once() -> None:
    oracle = Oracle()
    JudgeReward(oracle, "judge").score([ScoreGroup((attempt(3, shared=2), attempt(4, shared=2), attempt(4, 0, 2)))])
    text = question(oracle.asked[0])
    assert text.count("Action: shared 1\nObservation: seen 1") == 1
    assert text.count("Goal: the red key.") == 1
    assert "Attempt 3:\nAction: worth 4" in text
    oracle = Oracle()
    JudgeReward(oracle, "judge").score([ScoreGroup((attempt(3), attempt(3)))])
    assert "Attempt 2:\nAction: worth 3" in question(oracle.asked[0])


@given(worth=st.permutations(range(60)), count=st.integers(1, 60), window=st.sampled_from([0, 1_000, 2_000]))
def test_tournaments_find_the_best_whatever_the_number_of_attempts(worth: list[int], count: int, window: int) -> None:
    oracle = Oracle(window)
    group = ScoreGroup(tuple(attempt(value) for value in worth[:count]))
    scores = JudgeReward(oracle, "judge").score([group])[0]
    assert sorted(scores) == pytest.approx([(place + 1) / count for place in range(count)])
    assert scores[worth.index(max(worth[:count]))] == 1.0
    sizes = [len(last_actions(request)) for request in oracle.asked]
    assert all(2 <= size <= LARGEST_HEAT for size in sizes)
    if window:
        assert all(len(question(request)) / 3 < window for request in oracle.asked)
    elif count <= LARGEST_HEAT:
        assert len(sizes) == (count > 1)


def test_what_does_not_fit_loses_its_oldest_steps_and_is_counted() -> None:
    oracle = Oracle(window=700)
    judge = JudgeReward(oracle, "judge")
    scores = judge.score([ScoreGroup((attempt(3, 40), attempt(9, 60), attempt(5, 2)))])[0]
    assert scores[1] == 1.0
    assert "(earlier steps are left out)" in question(oracle.asked[0])
    assert judge.usage.dropped_observations > 80
    assert all("Goal: the red key." in question(request) for request in oracle.asked)


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("Ranking: 2, 1, 3", [2 / 3, 1.0, 1 / 3]),
        ("**Ranking:** 3 > 2 > 1", [1 / 3, 2 / 3, 1.0]),
        ("Ranking: 1, 2, 3\nno, rather\nranking: 3, 1, 2", [2 / 3, 1 / 3, 1.0]),
        ("Best: 2", [0.5, 1.0, 0.5]),
        ("Ranking: 3, 3, 17, 0, 99999999999999999999", [0.5, 0.5, 1.0]),
    ],
)
def test_answers_are_read_in_the_forms_that_models_give(reply: str, scores: list[float]) -> None:
    judge = JudgeReward(Oracle(say=lambda request: reply), "judge")
    assert judge.score([ScoreGroup(tuple(map(attempt, (1, 2, 3))))])[0] == pytest.approx(scores)


def test_an_answer_without_a_ranking_is_asked_for_again() -> None:
    oracle = Oracle(say=lambda request: "Ranking: 2, 1" if request.decoding.temperature else "I cannot say.")
    assert JudgeReward(oracle, "judge").score([ScoreGroup((attempt(1), attempt(2)))]) == [[0.5, 1.0]]
    assert oracle.calls == 2


def test_a_judge_that_never_ranks_is_an_error_and_one_that_once_did_has_ties() -> None:
    group = ScoreGroup((attempt(1), attempt(2)))
    with pytest.raises(DataError, match="gives no ranking; it says 'Action: x'"):
        JudgeReward(Oracle(say=lambda request: "Action:\nx"), "judge").score([group])
    replies = iter(["Ranking: 2, 1", "hm", "hm"])
    judge = JudgeReward(Oracle(say=lambda request: next(replies)), "judge")
    assert judge.score([group]) == [[0.5, 1.0]]
    assert judge.score([group]) == [[0.75, 0.75]]


def test_a_judge_with_a_tokenizer_counts_exactly() -> None:
    policy = transformers_policy(tiny_policy_model(), tiny_tokenizer(), name="tiny")
    talk = (Message("user", "the red key"),)
    policy.propose([ProposeRequest(talk, 1, Decoding(max_tokens=1), NoiseKey(0, "task", "0"))])
    assert policy.count_tokens(talk) == policy.usage.tokens_unique


def test_a_window_that_does_not_hold_two_attempts_is_an_error() -> None:
    policy = transformers_policy(tiny_policy_model(), tiny_tokenizer(), name="tiny")
    with pytest.raises(DataError, match="window of 512 tokens does not hold"):
        JudgeReward(policy, "judge:tiny").score([ScoreGroup((attempt(1, 30), attempt(2, 30)))])


def test_a_question_leaves_room_for_the_whole_answer() -> None:
    for window in range(700, 900):
        oracle = Oracle(window=window)
        JudgeReward(oracle, "judge").score([ScoreGroup(tuple(attempt(worth, 1) for worth in range(16)))])
        for request in oracle.asked:
            read = sum(len(message.content) for message in request.conversation) // 3
            assert read + request.decoding.max_tokens <= window or len(last_actions(request)) == 2


def test_a_server_judges_by_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_server() as server:
        judge = load_reward(f"judge:{server.address}")
        assert judge.traits.scale == "within_group"
        assert "orders the attempts" in describe_spec(f"judge:{server.address}", "reward")
        with pytest.raises(DataError, match="gives no ranking"):
            judge.score([ScoreGroup((attempt(1), attempt(2)))])
        assert "Attempt 2" in server.asked[0]["messages"][1]["content"]
        assert "stop" not in server.asked[0]


def test_those_who_cannot_judge_are_named() -> None:
    for spec, words in (("judge:human", "human cannot judge"), ("judge:", "unknown policy"), ("judge:exprt", "expert")):
        with pytest.raises(UsageError, match=words):
            load_reward(spec)
