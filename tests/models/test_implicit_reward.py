"""Implicit rewards: log-ratios of two language models, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_models import save_model, tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import Aggregate
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.implicit import DEFAULT_BETA, ImplicitReward
from agentrm_models.rewards.reader import Reader
from agentrm_models.specs import describe_spec, load_reward, parse_spec

TOKENIZER = tiny_tokenizer()
MODELS = {family: [tiny_policy_model(family, seed=seed) for seed in (1, 2)] for family in ("llama", "gpt2", "gpt_neo")}


def episode(*actions: str) -> Conversation:
    turns = [Message("system", "Play."), Message("user", "Goal: the red key.")]
    for step, action in enumerate(actions):
        turns += [Message("assistant", f"Action: {action}"), Message("user", f"You see a blue door. {step}")]
    return tuple(turns[:-1])


def implicit(family: str = "llama", aggregate: Aggregate = "sum", use_cache: bool = True) -> ImplicitReward:
    readers = [Reader(model, TOKENIZER, 0, use_cache) for model in MODELS[family]]
    return ImplicitReward(*readers, name="implicit", beta=0.5, aggregate=aggregate)


def log_ratios(family: str, conversation: Conversation) -> list[float]:
    """From the library's own forward pass over the whole conversation."""
    segments = ChatEncoder(TOKENIZER).segments(conversation)
    ids = [token for segment in segments for token in segment.ids]
    logs = []
    for model in MODELS[family]:
        with torch.inference_mode():
            rows = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        logs.append(rows[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].double())
    found, at = [], 0
    for segment in segments:
        if segment.start < segment.stop:
            span = slice(at + segment.start - 1, at + segment.stop - 1)
            found.append(float(logs[0][span].sum() - logs[1][span].sum()))
        at += len(segment.ids)
    return found


@pytest.mark.parametrize("family", list(MODELS))
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_path_has_the_log_ratios_of_its_replies(family: str, use_cache: bool) -> None:
    items = [episode("go left"), episode("go left", "open door", "stop"), episode("go left", "take key")]
    steps = [[0.5 * ratio for ratio in log_ratios(family, item)] for item in items]
    assert [len(path) for path in steps] == [1, 3, 2]
    assert max(map(abs, steps[1])) > 0.1
    expected: dict[Aggregate, list[float]] = {
        "sum": [sum(path) for path in steps],
        "mean": [sum(path) / len(path) for path in steps],
        "min": [min(path) for path in steps],
        "last": [path[-1] for path in steps],
    }
    for aggregate, values in expected.items():
        reward = implicit(family, aggregate, use_cache)
        found = reward.score([ScoreGroup(tuple(items[:1])), ScoreGroup(tuple(items[1:]))])
        assert [value for group in found for value in group] == pytest.approx(values, abs=2e-3)


def test_each_token_is_read_once_by_each_model() -> None:
    reward, encoder = implicit(), ChatEncoder(TOKENIZER)
    parent, children = episode("go left"), (episode("go left", "open door"), episode("go left", "take key"))
    first = reward.score([ScoreGroup((parent,))])[0][0]
    before = reward.usage
    assert before.tokens_computed == before.tokens_unique == 2 * len(encoder.ids(parent))
    reward.score([ScoreGroup(children)])
    spent = reward.usage
    assert spent.tokens_computed == spent.tokens_unique
    assert spent.requests == 2
    again = reward.score([ScoreGroup((parent, *children))])[0]
    assert reward.usage.tokens_computed == spent.tokens_computed
    assert again[0] == first


def test_steps_of_a_full_window_keep_the_rewards_that_they_had() -> None:
    reward = implicit()
    actions = [f"go to the blue door number {step}" for step in range(30)]
    paths = [episode(*actions[: count + 1]) for count in range(30)]
    alone = [reward.score([ScoreGroup((path,))])[0][0] for path in paths]
    assert reward.usage.dropped_observations > 0
    fresh = implicit().score([ScoreGroup((paths[-1],))])[0][0]
    assert fresh == pytest.approx(alone[-1], abs=5e-3)
    last = implicit(aggregate="last").score([ScoreGroup((paths[-1],))])[0][0]
    assert alone[-1] - alone[-2] == pytest.approx(last, abs=5e-3)


def pair(root: Path) -> list[Path]:
    return [save_model(model, TOKENIZER, root / name) for model, name in zip(MODELS["llama"], "ab", strict=True)]


def test_folders_load_by_spec_with_the_settings_of_the_policy(tmp_path: Path) -> None:
    policy, reference = pair(tmp_path)
    group = [ScoreGroup((episode("go left", "stop"), episode("stop")))]
    expected = implicit().score(group)[0]
    plain = load_reward(f"implicit:{policy},{reference}", LoadOptions(device="cpu"))
    assert plain.score(group)[0] == pytest.approx([value * DEFAULT_BETA / 0.5 for value in expected], abs=1e-3)
    assert plain.traits.prompt == "full"
    assert plain.traits.scale == "absolute"
    (policy / "agentrm.json").write_text('{"beta": 0.5, "aggregate": "mean", "prompt": "short"}')
    told = load_reward(f"implicit:{policy},{reference}", LoadOptions(device="cpu"))
    assert told.score(group)[0] == pytest.approx([expected[0] / 2, expected[1]], abs=5e-3)
    assert told.traits.prompt == "short"
    asked = load_reward(f"implicit:{policy},{reference},sum", LoadOptions(device="cpu"))
    assert asked.score(group)[0] == pytest.approx(expected, abs=5e-3)
    assert len({reward.traits.digest for reward in (plain, told, asked)}) == 3
    assert "finds the replies" in describe_spec(f"implicit:{policy},{reference}", "reward")


@pytest.mark.parametrize("settings", [{"beta": "much"}, {"aggregate": "product"}, {"environments": 3}])
def test_wrong_settings_are_one_clear_line(settings: dict[str, object], tmp_path: Path) -> None:
    policy, reference = pair(tmp_path)
    (policy / "agentrm.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match=r"agentrm\.json"):
        load_reward(f"implicit:{policy},{reference}")


def test_wrong_specs_are_one_clear_line(tmp_path: Path) -> None:
    policy, reference = pair(tmp_path)
    classifier = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    for spec, words in (
        (f"implicit:{policy}", "does not name two models"),
        (f"implicit:{policy},{reference},max", "does not name two models"),
        (f"implicit:{policy},expert", "does not tell how likely"),
        (f"implicit:{policy},{tmp_path}/nowhere", "does not exist"),
        (f"implicit:{policy},{classifier}", "holds a reward model, not a policy"),
    ):
        with pytest.raises((UsageError, DataError), match=words):
            load_reward(spec)
    with pytest.raises(UsageError, match="a reward model, not a policy"):
        parse_spec(f"implicit:{policy},{reference}", "policy")
