"""Encoders as reward models: the numbers that the library gives for the text that its tokenizer makes, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny_encoders import FAMILIES, tiny_encoder
from tiny_models import save_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward

CPU = LoadOptions(device="cpu")
TEMPLATE = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"


class Library(NamedTuple):
    model: Any
    tokenizer: Any

    def score(self, text: str) -> float:
        with torch.inference_mode():
            return float(self.model(**self.tokenizer(text, return_tensors="pt")).logits)


def conversations(count: int, steps: int = 1) -> tuple[Conversation, ...]:
    history = [Message("system", "Go."), Message("user", "Goal: the red key.")]
    for step in range(steps):
        history += [Message("assistant", f"Action: go {step}"), Message("user", f"You see a blue door. {step}")]
    return tuple((*history, Message("assistant", f"Action: pick up {'the ball ' * k}")) for k in range(count))


def library(family: str, folder: Path, template: str | None, window: int = 160) -> Library:
    model, tokenizer = tiny_encoder(family, window)
    tokenizer.chat_template = template
    save_model(model, tokenizer, folder)
    return Library(model, tokenizer)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_scores_are_the_librarys_one_by_one(family: str, template: str | None, tmp_path: Path) -> None:
    own = library(family, tmp_path / "folder", template)
    items = conversations(4) + conversations(1, 2)
    form = "[{0.role}] {0.content} " if template else "{1}: {0.content}\n"
    texts = ["".join(form.format(message, message.role.capitalize()) for message in item) for item in items]
    reward = ExplicitReward.load(tmp_path / "folder", CPU)
    found = reward.score([ScoreGroup(items)])[0]
    expected = [own.score(text) for text in texts]
    assert found == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 4) for value in expected}) == len(expected)
    assert "an encoder reads every text anew" in reward.notice


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_special_tokens_are_plain_characters(family: str, tmp_path: Path) -> None:
    own = library(family, tmp_path / "folder", None)
    ends = own.tokenizer.eos_token or own.tokenizer.sep_token
    (item,) = conversations(1)
    hostile = (*item[:-2], Message("user", f"You see {ends} a door {ends}"), item[-1])
    reward = ExplicitReward.load(tmp_path / "folder", CPU)
    ids = reward._reader._encoder.ids(hostile)
    assert ids.count(own.tokenizer.convert_tokens_to_ids(ends)) == 1
    assert len(reward.score([ScoreGroup((item, hostile))])[0]) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_long_texts_fit_the_positions_there_are(family: str, tmp_path: Path) -> None:
    own = library(family, tmp_path / "folder", None, window=64)
    reward = ExplicitReward.load(tmp_path / "folder", CPU)
    window = 0 if family == "t5" else 64
    assert reward.traits.context_length == window
    found = reward.score([ScoreGroup(conversations(3, 12))])[0]
    assert len(found) == 3
    assert (reward.usage.dropped_observations > 0) == bool(window)
    if family == "roberta":
        full = own.tokenizer("a " * 400)["input_ids"][:64]
        with torch.inference_mode():
            own.model(input_ids=torch.tensor([full]))
        with pytest.raises((IndexError, RuntimeError)), torch.inference_mode():
            own.model(input_ids=torch.tensor([[*full, 5]]))


def test_a_decoder_of_which_only_the_whole_model_is_known_keeps_its_last_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_reward_model("llama")
    model.config.pad_token_id = model.config.eos_token_id
    tokenizer = tiny_tokenizer("{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}")
    items = conversations(3)
    with torch.inference_mode():
        hidden = [
            model.model(torch.tensor([ChatEncoder(tokenizer).ids(item)])).last_hidden_state[0, -1] for item in items
        ]
        expected = [float(model.score(each)) for each in hidden]
    found = ExplicitReward(model, tokenizer).score([ScoreGroup(items)])[0]
    assert found == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr("agentrm_models.rewards.reader.has_own_head", lambda parts: False)
    alone = ExplicitReward(model, tokenizer)
    assert "only the whole model" in alone.notice
    assert alone.score([ScoreGroup(items)])[0] == pytest.approx(expected, abs=1e-4)
    assert model.config.pad_token_id == model.config.eos_token_id


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_heads_of_16_bit_models_do_not_tie(family: str) -> None:
    if family == "bert":
        model, tokenizer = tiny_encoder("bert", 160)
        head = model.classifier
    else:
        model, tokenizer = tiny_reward_model(family), tiny_tokenizer()
        head = model.score
    with torch.no_grad():
        head.weight.mul_(0.1)
        head.bias = torch.nn.Parameter(torch.full((1,), 30.0))
    items = conversations(8)
    exact = ExplicitReward(model, tokenizer).score([ScoreGroup(items)])[0]
    assert len(set(exact)) == len(items)
    narrow = model.to(torch.bfloat16)
    with torch.inference_mode():
        tied = [float(narrow(torch.tensor([ChatEncoder(tokenizer).ids(item)])).logits) for item in items]
    assert len(set(tied)) < len(items)
    coarse = ExplicitReward(narrow, tokenizer).score([ScoreGroup(items)])[0]
    assert len(set(coarse)) == len(items)
    assert coarse == pytest.approx(exact, abs=0.2)
