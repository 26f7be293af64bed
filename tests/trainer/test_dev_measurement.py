"""What fitting measures on dev is what the saved model scores when it plays."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from conftest import TINY

from agentrm_models.errors import UsageError
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Message
from agentrm_models.rewards.aggregation import aggregated
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import RewardParts
from agentrm_models.specs import load_reward
from agentrm_trainer.config import Config
from agentrm_trainer.data.judged import Judged, JudgedGroup, pair_accuracy
from agentrm_trainer.data.tokenizer import load_tokenizer, train_tokenizer
from agentrm_trainer.data.trajectories import Trajectory, Turn
from agentrm_trainer.fitting import reward_kinds
from agentrm_trainer.fitting.backbone import Provenance, new_policy, save_model
from agentrm_trainer.fitting.dev_states import LEAST_DIFFERENCES, DevStates
from agentrm_trainer.fitting.reward_kinds import Explicit, Implicit

WORDS = ["climb", "down", "the", "ladder", "jump", "over", "a", "stair", "look", "up", "wait", "here", "now", "then"]
ENVIRONMENTS = ("ladder", "stairs")


def judged_groups(seed: int, count: int) -> list[JudgedGroup]:
    """Siblings after histories of several steps, of worth drawn at random."""
    draw = random.Random(seed)

    def text(words: int) -> str:
        return " ".join(draw.choices(WORDS, k=words))

    groups = []
    for number in range(count):
        name = ENVIRONMENTS[number % 2]
        history = [Message("system", f"Climb the {name}."), Message("user", text(8))]
        for _ in range(draw.randrange(4)):
            history += [Message("assistant", f"Action: {text(3)}"), Message("user", text(6))]
        items = tuple(
            Judged((*history, Message("assistant", f"Thought: {text(4)}\nAction: {text(2)}")), draw.random())
            for _ in range(4)
        )
        groups.append(JudgedGroup(name, f"t{number}", "low", items))
    return groups


class RecordedStates(DevStates):
    """Keeps what was found of the states."""

    def judged(self, judge: Any) -> Any:
        self.found = super().judged(judge)
        return self.found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    turns = [
        tuple(Turn(message.role, message.content, True) for message in item.conversation)
        for group in judged_groups(1, 20)
        for item in group.items
    ]
    texts = [Trajectory("ladder", "t", "low", str(number), 1.0, 1, each) for number, each in enumerate(turns)]
    tokenizer = train_tokenizer(texts, 400, 100, 512)
    config = msgspec.convert(TINY, Config)
    model = new_policy(config.model, tokenizer, 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)
    folder = tmp_path_factory.mktemp("backbone") / "policy"
    save_model(folder, model, tokenizer, Provenance(FolderSettings("short"), "card"))
    return folder


def make_kind(backbone: Path, **fit: Any) -> Any:
    """A kind of reward model on weights that 16 bits hold exactly, and its dev states."""
    config = msgspec.convert({**TINY, "fit": {**TINY["fit"], **fit}}, Config)
    dev = RecordedStates({"ends": judged_groups(2, 12), "siblings": judged_groups(3, 30)})
    kind = (Implicit if config.fit.kind == "implicit" else Explicit)(
        config, backbone, load_tokenizer(backbone), dev, "cpu"
    )
    change_weights(kind.model, 5)
    return kind, dev


def change_weights(model: torch.nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            scale = 0.1 * weight.std() if weight.numel() > 1 else 0.1
            weight.add_(scale * torch.randn(weight.shape, generator=draw)).copy_(weight.half().float())


CHOICES = {
    "value": {"likelihoods": []},
    "own likelihood": {"likelihoods": [0.0, 0.2, 0.5]},
    "likelihood of the backbone": {"likelihoods": [0.2, 0.5], "likelihood_by": "backbone"},
    "likelihood for each": {"likelihoods": [0.0, 0.1, 0.3], "likelihood_for": "each"},
    "sum or least": {"kind": "implicit", "aggregates": ["sum", "min"], "beta": 0.5},
    "mean or last": {"kind": "implicit", "aggregates": ["mean", "last"], "beta": 0.5},
}


def rewards_of(dev: RecordedStates, settings: FolderSettings) -> dict[str, list[list[float]]]:
    """What was measured, put together as the saved settings say."""
    weights = {each.environment: each.weight for each in settings.likelihoods}

    def reward(environment: str, found: Any) -> float:
        if settings.aggregate:
            return aggregated(found, settings.aggregate)
        return found.value + weights.get(environment, settings.likelihood) * found.likelihood

    return {
        name: [
            [reward(group.environment, found) for found in row]
            for group, row in zip(dev.groups[name], rows, strict=True)
        ]
        for name, rows in dev.found.items()
    }


@pytest.mark.parametrize("fit", CHOICES.values(), ids=CHOICES.keys())
def test_dev_figures_are_those_of_the_saved_model(backbone, tmp_path, fit):
    kind, dev = make_kind(backbone, **fit)
    folder = tmp_path / "reward"
    for seed in (6, 7):
        figures = kind.measure()
        kind.save(folder, {"parameters": 1, "trees": 1, "labels": 1}, figures)
        reward, measured = load_reward(str(folder), LoadOptions(threads=1)), rewards_of(dev, read_settings(folder))
        every = [group for groups in dev.groups.values() for group in groups]
        scores = iter(reward.score([ScoreGroup(tuple(item.conversation for item in group.items)) for group in every]))
        for name, groups in dev.groups.items():
            playing = [next(scores) for _ in groups]
            for one, other in zip(measured[name], playing, strict=True):
                assert one == pytest.approx(other, abs=1e-6)
            found = pair_accuracy(groups, playing, LEAST_DIFFERENCES[name])
            assert (figures[f"{name}_accuracy"], figures[f"{name}_pairs"]) == (round(found.accuracy, 4), found.pairs)
        assert kind.model.training
        change_weights(kind.model, seed)


def test_the_weight_that_dev_orders_best_is_chosen_for_each_environment(backbone, tmp_path):
    kind, dev = make_kind(backbone, likelihoods=[0.0, 0.2, 0.4], likelihood_for="each")
    # The worth grows from item to item. On the ladder the value knows it, on the stairs the likelihood does.
    conversations = [group.items[0].conversation[:2] for group in judged_groups(4, 2)]
    reply = Message("assistant", "Action: up")
    for name in dev.groups:
        dev.groups[name] = [
            JudgedGroup(environment, "t", "low", tuple(Judged((*begin, reply), worth / 2) for worth in range(3)))
            for environment, begin in zip(ENVIRONMENTS, conversations, strict=True)
        ]
    ladder = [RewardParts(0.1 * at, -1.0 * at) for at in range(3)]
    stairs = [RewardParts(-0.1 * at, 1.0 * at) for at in range(3)]
    dev.judged = lambda judge: {name: [ladder, stairs] for name in dev.groups}
    figures = kind.measure()
    assert (figures["ends_accuracy"], figures["siblings_accuracy"], figures["selection"]) == (1.0, 1.0, 1.0)
    assert (figures["likelihood_ladder"], figures["likelihood_stairs"]) == (0.0, 0.2)
    kind.save(tmp_path / "reward", {"parameters": 1, "trees": 1, "labels": 6}, figures)
    settings = read_settings(tmp_path / "reward")
    assert [(one.environment, one.instruction, one.weight) for one in settings.likelihoods] == [
        ("ladder", "Climb the ladder.", 0.0),
        ("stairs", "Climb the stairs.", 0.2),
    ]
    card = (tmp_path / "reward" / "README.md").read_text()
    assert f"a weight (ladder 0, stairs 0.2, others {settings.likelihood:g})" in card


def test_a_likelihood_that_the_model_cannot_tell_is_refused_before_fitting(backbone, monkeypatch):
    untied = reward_kinds.new_reward_model

    def new_reward_model(*arguments: Any) -> Any:
        model = untied(*arguments)
        model.config.tie_word_embeddings = False
        return model

    monkeypatch.setattr(reward_kinds, "new_reward_model", new_reward_model)
    make_kind(backbone, likelihoods=[0.2], likelihood_by="backbone")
    with pytest.raises(UsageError, match=r"fit\.likelihoods"):
        make_kind(backbone, likelihoods=[0.2])
