"""Policies and rewards without a model: true probabilities, seeded, clear errors."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.expert import ExpertPolicy
from agentrm_models.policies.human import HumanPolicy
from agentrm_models.policies.script_file import FileScriptPolicy
from agentrm_models.policies.scripted import ScriptedPolicy, reply_distribution
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.scripted import RandomReward

EXPERT = "Thought: the goal is up\nAction: go up"
ACTIONS = ("go down", "go up", "go left", "go right")


def request(n: int = 1, temperature: float = 1.0, steps: int = 0, **changes: object) -> ProposeRequest:
    turns = tuple(
        message
        for step in range(steps)
        for message in (Message("assistant", f"Action: {step}"), Message("user", "You moved."))
    )
    fields = {
        "conversation": (Message("user", "Reach the goal."), *turns),
        "n": n,
        "decoding": Decoding(temperature=temperature),
        "noise": NoiseKey(seed=1, task="maze:1", node="0"),
        "valid_actions": ACTIONS,
        "expert_action": EXPERT,
    }
    return ProposeRequest(**(fields | changes))


def test_distribution_is_half_expert_half_uniform() -> None:
    replies = reply_distribution(request())
    assert replies == {EXPERT: 0.625, "Action: go down": 0.125, "Action: go left": 0.125, "Action: go right": 0.125}
    assert next(iter(replies)) == EXPERT
    assert reply_distribution(request(valid_actions=())) == {EXPERT: 1.0}
    assert set(reply_distribution(request(expert_action="")).values()) == {0.25}


@given(st.lists(st.text("abc ", min_size=1), max_size=8), st.booleans())
def test_distribution_sums_to_one(actions: list[str], with_expert: bool) -> None:
    if not actions and not with_expert:
        return
    asked = request(valid_actions=tuple(actions), expert_action="Action: abc" if with_expert else "")
    assert math.isclose(sum(reply_distribution(asked).values()), 1.0)


def test_samples_follow_the_distribution_and_their_log_probability() -> None:
    replies = ScriptedPolicy().propose([request(n=4000)])[0]
    counts = Counter(reply.text for reply in replies)
    for text, mass in reply_distribution(request()).items():
        assert abs(counts[text] / 4000 - mass) < 0.03
    assert all(
        math.isclose(reply.log_probability, math.log(reply_distribution(request())[reply.text])) for reply in replies
    )


def test_samples_do_not_depend_on_batching() -> None:
    policy = ScriptedPolicy()
    together = policy.propose([request(n=6)])[0]
    noise = [NoiseKey(1, "maze:1", "0", first) for first in range(6)]
    alone = [policy.propose([request(noise=key)])[0][0] for key in noise]
    assert together == alone
    assert policy.propose([request(n=6, noise=NoiseKey(2, "maze:1", "0"))])[0] != together


def test_temperature_zero_is_the_most_likely_reply() -> None:
    policy = ScriptedPolicy()
    assert policy.propose([request(temperature=0)])[0][0].text == EXPERT
    assert policy.propose([request(temperature=0, expert_action="")])[0][0].text == "Action: go down"
    with pytest.raises(UsageError, match="emperature 0"):
        policy.propose([request(n=2, temperature=0)])


def test_excluded_actions_are_avoided_while_others_remain() -> None:
    policy = ScriptedPolicy()
    texts = {reply.text for reply in policy.propose([request(n=50, exclude=("go up", "go left"))])[0]}
    assert texts == {"Action: go down", "Action: go right"}
    assert len(policy.propose([request(n=3, exclude=ACTIONS)])[0]) == 3


def test_nothing_to_choose_from_is_told() -> None:
    with pytest.raises(UsageError, match="no action here"):
        ScriptedPolicy().propose([request(valid_actions=(), expert_action="")])
    with pytest.raises(UsageError, match="expert has no action"):
        ExpertPolicy().propose([request(expert_action="")])


def test_expert_repeats_what_it_is_given() -> None:
    policy = ExpertPolicy()
    assert policy.traits.wants_expert
    assert policy.traits.deterministic
    assert [reply.text for reply in policy.propose([request(n=2)])[0]] == [EXPERT, EXPERT]
    assert policy.usage.tokens_computed == 0
    assert policy.usage.requests == 1


def test_human_is_interactive_and_is_never_asked() -> None:
    assert HumanPolicy().traits.interactive
    with pytest.raises(AssertionError, match="override"):
        HumanPolicy().propose([request()])


def test_file_gives_one_reply_each_step(tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("Thought: a\nAction: go up\n\n\nAction: go down\n")
    policy = FileScriptPolicy(script)
    texts = [policy.propose([request(steps=steps)])[0][0].text for steps in range(4)]
    assert texts == ["Thought: a\nAction: go up", "Action: go down", "Action: go down", "Action: go down"]
    assert policy.usage.tokens_generated == 5 + 3 * 3


def test_bad_script_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n\n")
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    for file in (empty, binary, tmp_path / "missing.txt"):
        with pytest.raises(DataError, match=file.name):
            FileScriptPolicy(file)


def test_random_reward_is_keyed_by_text_and_seed() -> None:
    one, other = (Message("user", "a"), Message("assistant", "b")), (Message("user", "ab"), Message("assistant", ""))
    reward = RandomReward(3)
    scores = reward.score([ScoreGroup((one, other)), ScoreGroup((one,))])
    assert scores[0][0] == scores[1][0] != scores[0][1]
    assert RandomReward(4).score([ScoreGroup((one,))]) != [[scores[0][0]]]
    assert reward.usage.tokens_computed == 0


def test_random_scores_are_uniform() -> None:
    items = tuple((Message("user", str(number)),) for number in range(2000))
    scores = RandomReward(0).score([ScoreGroup(items)])[0]
    assert abs(sum(scores) / 2000 - 0.5) < 0.02
    assert 0 <= min(scores) < 0.01
    assert 0.99 < max(scores) < 1
