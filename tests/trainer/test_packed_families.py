"""Families that may be trained packed have the gradients of one row for each state; those with windows are refused."""

from __future__ import annotations

import copy
import random
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from family_models import WINDOW, build

from agentrm_models.errors import UsageError
from agentrm_models.trie.packed_attention import PackedPass
from agentrm_models.trie.packing import pack_sequences
from agentrm_models.trie.states import architecture_of
from agentrm_trainer.fitting.backbone import prepare_for_training
from agentrm_trainer.fitting.packed_forward import packed_hidden
from agentrm_trainer.fitting.reward_loss import values_at


def texts() -> list[list[int]]:
    draw = random.Random(2)

    def text(length: int) -> list[int]:
        return draw.choices(range(3, 90), k=length)

    stem = text(WINDOW + 20)
    left, right = stem + text(30), stem[:WINDOW] + text(40)
    return [stem, left, left + text(20), right, [*left[:90], *text(5)], text(11)]


def agree(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, weight), same in zip(one.named_parameters(), other.parameters(), strict=True):
        found, expected = (part.grad if part.grad is not None else torch.zeros(1) for part in (weight, same))
        scale = max(1e-3, float(expected.abs().max()))
        assert float((found - expected).abs().max()) / scale < 1e-4, name


@pytest.mark.parametrize("family", ["granite", "cohere", "gpt2", "glm", "olmo2", "qwen3_moe", "opt", "jetmoe"])
def test_a_policy_trained_packed_has_the_gradients_of_each_text_alone(family: str) -> None:
    model = build("policy", family)
    alone, batch = copy.deepcopy(model), texts()
    prepare_for_training(model, "cpu").eval()
    [(members, tree)] = pack_sequences(batch, 1 << 40)
    hidden = packed_hidden(model, tree, PackedPass(tree, "cpu"), False)
    head = architecture_of(model).vocabulary
    assert head is not None
    logits = head(hidden)
    loss = sum(
        torch.nn.functional.cross_entropy(logits[torch.from_numpy(path)][:-1], torch.tensor(batch[index][1:]))
        for index, path in zip(members, tree.paths(), strict=True)
    )
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    for text in batch:
        own = alone(input_ids=torch.tensor([text])).logits[0]
        torch.nn.functional.cross_entropy(own[:-1], torch.tensor(text[1:])).backward()
    agree(model, alone)


@pytest.mark.parametrize("family", ["llama", "glm4", "gpt_neox", "qwen2_moe", "phi", "nemotron"])
def test_a_reward_model_trained_packed_has_the_gradients_of_each_text_alone(family: str) -> None:
    model = build("reward", family)
    alone, batch = copy.deepcopy(model), texts()
    prepare_for_training(model, "cpu").eval()
    [(members, tree)] = pack_sequences(batch, 1 << 40)
    values = values_at(model, packed_hidden(model, tree, PackedPass(tree, "cpu"), False), tree.ends)
    targets = torch.linspace(-1, 1, len(batch))
    (values - targets[torch.tensor(members)]).square().sum().backward()
    for text, target in zip(batch, targets, strict=True):
        (alone(input_ids=torch.tensor([text])).logits[0, 0] - target).square().backward()
    agree(model, alone)


@pytest.mark.parametrize(
    "family", ["mistral", "phimoe", "phi3", "gemma2", "gemma3_text", "qwen3_next", "mamba", "stablelm"]
)
def test_windows_shorter_than_the_text_and_recurrent_layers_are_refused_by_name(family: str) -> None:
    with pytest.raises(UsageError, match="cannot be trained packed: ") as caught:
        prepare_for_training(build("policy", family), "cpu")
    words = ("sliding", "reach back", "own way", "linear attention")
    assert any(word in str(caught.value) for word in words), str(caught.value)
