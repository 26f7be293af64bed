from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from agentrm_models.errors import UsageError
from agentrm_models.messages import Message
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, PolicyTraits, ProposeRequest
from agentrm_models.policies.coached import CoachedPolicy
from agentrm_models.policies.expert import ExpertPolicy
from agentrm_models.specs import describe_spec, load_policy, parse_spec
from agentrm_models.usage import ProgressHook, Usage, ignore_progress

EXPERT = "Thought: the key is here\nAction: take key"


def request(node: str = "0", n: int = 1, expert: str = EXPERT, task: str = "t:1") -> ProposeRequest:
    return ProposeRequest(
        (Message("user", "Goal"),),
        n,
        Decoding(),
        NoiseKey(3, task, node),
        valid_actions=("go left", "go right", "wait"),
        expert_action=expert,
    )


def test_a_disturbed_expert_keeps_its_thought_and_says_which_actions_are_noise() -> None:
    policy = ExpertPolicy(0.25)
    replies = [found for (found,) in policy.propose([request(f"0.{node}") for node in range(400)])]
    disturbed = [reply for reply in replies if reply.source == "noise"]
    assert 70 <= len(disturbed) <= 130
    assert {reply.text.partition("Action: ")[2] for reply in disturbed} == {"go left", "go right", "wait"}
    assert all(reply.text.startswith("Thought: the key is here\n") for reply in disturbed)
    assert all(reply.log_probability == pytest.approx(math.log(0.25 / 3)) for reply in disturbed)
    others = [reply for reply in replies if reply.source == "policy"]
    assert {reply.text for reply in others} == {EXPERT}
    assert [found for (found,) in policy.propose([request(f"0.{node}") for node in range(400)])] == replies


def test_an_expert_that_sees_no_way_says_so_or_where_it_is_disturbed_proposes_nothing() -> None:
    with pytest.raises(UsageError, match="no action here"):
        ExpertPolicy().propose([request(expert="")])
    assert ExpertPolicy(0.5).propose([request(expert=""), request()])[0] == []


def test_specs_name_the_share_and_are_refused_otherwise() -> None:
    assert load_policy("expert").traits.deterministic and not load_policy("expert:0.1").traits.deterministic
    assert "10 %" in describe_spec("expert:0.1")
    for wrong in ("expert:", "expert:2", "expert:nan", "expert:-0.1", "coached:2:bundled:small", "coached:0.5:human"):
        with pytest.raises(UsageError):
            parse_spec(wrong, "policy")


class FakeModel:
    notice = "a notice"
    traits = PolicyTraits(name="model")
    usage = Usage()

    def __init__(self) -> None:
        self.asked: list[int] = []

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        self.asked += [asked.n for asked in requests]
        return [[Candidate(f"Action: {k}", -1.0, 2) for k in range(asked.n)] for asked in requests]

    def new_episode(self) -> None:
        return

    def close(self) -> None:
        return


def test_the_experts_reply_stands_behind_the_models_or_before_them_where_it_leads() -> None:
    for share, place in ((0.0, -1), (1.0, 0)):
        model = FakeModel()
        (found,) = CoachedPolicy(model, share).propose([request(n=4)])
        assert len(found) == 4 and model.asked == [3]
        assert (found[place].text, found[place].source) == (EXPERT, "expert")
        assert [one.source for one in found].count("policy") == 3


def test_without_an_expert_the_model_gives_all_candidates() -> None:
    model = FakeModel()
    (found,) = CoachedPolicy(model, 1.0).propose([request(n=4, expert="")])
    assert model.asked == [4] and all(one.source == "policy" for one in found)


def test_the_task_and_the_seed_decide_who_leads_the_node_does_not() -> None:
    policy = CoachedPolicy(FakeModel(), 0.5)
    leads = {
        task: {policy.propose([request(node, 2, task=task)])[0][0].source for node in ("0", "0.1", "0.1.4")}
        for task in map(str, range(60))
    }
    assert all(len(sources) == 1 for sources in leads.values())
    assert 15 <= sum(sources == {"expert"} for sources in leads.values()) <= 45
    assert policy.notice == "a notice" and policy.traits.wants_expert
