from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import save_model, tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.errors import DataError, MemoryExhaustedError, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_models.rewards.reader import Reader
from agentrm_models.trie.likelihood import least_likelihood
from agentrm_models.usage import ignore_progress

TOKENIZER = tiny_tokenizer()
FAMILIES = ("llama", "qwen2", "gpt2", "gpt_neo", "mistral")


def siblings(count: int, steps: int = 2) -> tuple[Conversation, ...]:
    history = [Message("user", "Goal: the red key.")]
    for step in range(steps):
        history += [Message("assistant", f"Action: go {step}"), Message("user", f"You see a blue door. {step}")]
    return tuple((*history, Message("assistant", f"Action: pick up {'the ball ' * k}")) for k in range(count))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_scores_equal_the_library_on_single_rows(family: str, use_cache: bool) -> None:
    model = tiny_reward_model(family)
    reward = ExplicitReward(model, TOKENIZER, use_cache=use_cache)
    items = siblings(4) + siblings(2, 5)
    found = reward.score([ScoreGroup(items[:1]), ScoreGroup(items[1:])])
    assert [len(group) for group in found] == [1, 5]
    encoder = ChatEncoder(TOKENIZER)
    with torch.inference_mode():
        expected = [float(model(torch.tensor([encoder.ids(item)])).logits) for item in items]
    assert [value for group in found for value in group] == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.05


def test_more_than_one_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 outputs"):
        ExplicitReward(tiny_reward_model(labels=3), TOKENIZER)
    folder = save_model(tiny_reward_model(labels=3), TOKENIZER, tmp_path / "reward")
    with pytest.raises(UsageError, match=r"3 outputs\. Write FOLDER#output=NAME, one of: LABEL_0"):
        ExplicitReward.load(folder)


def test_a_policy_folder_is_refused(tmp_path: Path) -> None:
    folder = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "policy")
    with pytest.raises(UsageError, match=r"holds a policy, not a reward model\..*#head=yes-no"):
        ExplicitReward.load(folder)


def no_heads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 0}))


def other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 52}))


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def broken_template(folder: Path) -> None:
    for file in folder.glob("chat_template*"):
        file.unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": "{{ broken"}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_heads, "config.json|folder: "),
        (other_width, "do not have the shapes that config.json promises"),
        (no_tokenizer, "no usable tokenizer"),
        (broken_template, "folder: its chat template is broken"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model("qwen2"), TOKENIZER, tmp_path / "folder")
    damage(folder)
    with pytest.raises(DataError, match=words):
        ExplicitReward.load(folder).score([ScoreGroup(siblings(2))])


def test_a_wrong_device_is_a_wrong_flag(tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    with pytest.raises(UsageError, match="--device tpu-7"):
        ExplicitReward.load(folder, LoadOptions(device="tpu-7"))


@pytest.mark.parametrize("family", ["qwen2", "gpt_neo"])
def test_foreign_folders_load(family: str, tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model(family), TOKENIZER, tmp_path / family)
    reward = ExplicitReward.load(folder, LoadOptions(device="cpu"))
    plain = ExplicitReward(tiny_reward_model(family), TOKENIZER, use_cache=False)
    group = [ScoreGroup(siblings(3))]
    assert reward.score(group)[0] == pytest.approx(plain.score(group)[0], abs=1e-4)
    assert reward.traits.prompt == "short"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neo"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_likelihood_adds_the_relative_log_probability_of_the_least_likely_token(family: str, use_cache: bool) -> None:
    model = tiny_reward_model(family)
    encoder, items = ChatEncoder(TOKENIZER), siblings(4) + siblings(2, 5)
    plain = ExplicitReward(model, TOKENIZER, use_cache=False).score([ScoreGroup(items)])[0]
    reward = ExplicitReward(model, TOKENIZER, use_cache=use_cache, likelihood=0.5)
    reward.score([ScoreGroup(items[:2])])
    found = reward.score([ScoreGroup(items)])[0]
    expected = []
    for item, value in zip(items, plain, strict=True):
        *before, last = encoder.segments(item)
        ids = torch.tensor([token for segment in (*before, last) for token in segment.ids])
        with torch.inference_mode():
            hidden = getattr(model, model.base_model_prefix)(ids[None]).last_hidden_state[0]
            predicted = torch.distributions.Categorical(logits=hidden[:-1] @ model.get_input_embeddings().weight.T)
            logs = predicted.log_prob(ids[1:]) + predicted.entropy()
        start = sum(len(segment.ids) for segment in before)
        expected.append(value + 0.5 * logs[start + last.start - 1 : start + last.stop - 1].min().item())
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(abs(one - other) for one, other in zip(found, plain, strict=True)) > 0.1


def test_a_folder_says_what_a_likelihood_counts(tmp_path: Path) -> None:
    model = tiny_reward_model()
    folder = save_model(model, TOKENIZER, tmp_path / "reward")
    plain = ExplicitReward.load(folder, LoadOptions(device="cpu"))
    (folder / "agentrm.json").write_text('{"likelihood": 0.25}')
    reward = ExplicitReward.load(folder, LoadOptions(device="cpu"))
    assert reward.traits.digest != plain.traits.digest
    group = [ScoreGroup(siblings(3))]
    alike = ExplicitReward(model, TOKENIZER, likelihood=0.25)
    assert reward.score(group)[0] == pytest.approx(alike.score(group)[0], abs=1e-4)
    for wrong in ('"much"', "true", "NaN"):
        (folder / "agentrm.json").write_text(f'{{"likelihood": {wrong}}}')
        with pytest.raises(DataError, match=r"agentrm\.json: .*likelihood|agentrm\.json: JSON is malformed"):
            ExplicitReward.load(folder)
    model.config.tie_word_embeddings = False
    with pytest.raises(DataError, match="a likelihood needs"):
        ExplicitReward(model, TOKENIZER, likelihood=0.25)


@pytest.mark.parametrize("beside", [True, False])
def test_what_a_likelihood_counts_may_depend_on_the_instruction(tmp_path: Path, beside: bool) -> None:
    folder = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    save_model(tiny_policy_model("llama", seed=4), TOKENIZER, folder / "language")
    items = siblings(2)
    kinds = [tuple((Message("system", text), *item) for item in items) for text in ("A maze.", "Blocks.", "A shop.")]

    def scores(**settings: object) -> list[float]:
        if beside and settings:
            settings["likelihood_model"] = "language"
        (folder / "agentrm.json").write_text(json.dumps(settings))
        reward = ExplicitReward.load(folder, LoadOptions(device="cpu"))
        found = reward.score([ScoreGroup(kind) for kind in kinds])
        return [value for group in found for value in group]

    each = [
        {"environment": "maze", "instruction": "A maze.", "weight": 0.0},
        {"environment": "pddl", "instruction": "Blocks.", "weight": 0.5},
    ]
    plain, half, tenth = scores(), scores(likelihood=0.5), scores(likelihood=0.1)
    assert scores(likelihood=0.1, likelihoods=each) == pytest.approx([*plain[:2], *half[2:4], *tenth[4:]], abs=1e-4)
    assert scores(likelihoods=each) == pytest.approx([*plain[:2], *half[2:4], *plain[4:]], abs=1e-4)
    assert max(abs(one - other) for one, other in zip(half, plain, strict=True)) > 0.1


def test_weights_of_instructions_are_part_of_a_models_identity(tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    digests = set()
    for weight in (0.0, 0.25):
        each = [{"environment": "maze", "instruction": "A maze.", "weight": weight}]
        (folder / "agentrm.json").write_text(json.dumps({"likelihood": 0.5, "likelihoods": each}))
        digests.add(ExplicitReward.load(folder, LoadOptions(device="cpu")).traits.digest)
    assert len(digests) == 2
    (folder / "agentrm.json").write_text('{"likelihoods": [{"environment": "maze", "weight": 1}]}')
    with pytest.raises(DataError, match=r"agentrm\.json: .*instruction"):
        ExplicitReward.load(folder)


def test_a_second_model_may_tell_the_likelihood(tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model("gpt2", seed=3), TOKENIZER, tmp_path / "reward")
    language = save_model(tiny_policy_model("llama", seed=4), TOKENIZER, folder / "language")
    items = siblings(4) + siblings(2, 5)
    plain = ExplicitReward.load(folder, LoadOptions(device="cpu")).score([ScoreGroup(items)])[0]
    (folder / "agentrm.json").write_text('{"likelihood": 0.25, "likelihood_model": "language"}')
    reward = ExplicitReward.load(folder, LoadOptions(device="cpu"))
    found = reward.score([ScoreGroup(items[:3]), ScoreGroup(items[3:])])
    spoken = Reader(tiny_policy_model("llama", seed=4), TOKENIZER, 0, False).logs(items, ignore_progress)
    expected = [value + 0.25 * least_likelihood(logs) for value, logs in zip(plain, spoken, strict=True)]
    assert [value for group in found for value in group] == pytest.approx(expected, abs=1e-3)
    assert max(abs(one - other) for one, other in zip(plain, expected, strict=True)) > 0.05
    assert reward.usage.tokens_computed == reward.usage.tokens_unique
    assert reward.usage.requests == 1
    digest = reward.traits.digest
    save_model(tiny_policy_model("llama", seed=5), TOKENIZER, language)
    assert ExplicitReward.load(folder, LoadOptions(device="cpu")).traits.digest != digest
    for wrong in ("../policy", "language/..", ".hidden"):
        (folder / "agentrm.json").write_text(json.dumps({"likelihood": 0.25, "likelihood_model": wrong}))
        with pytest.raises(DataError, match=r"agentrm\.json"):
            ExplicitReward.load(folder)
    (folder / "agentrm.json").write_text('{"likelihood": 0.25, "likelihood_model": "elsewhere"}')
    with pytest.raises(DataError, match="elsewhere: there is no such model folder"):
        ExplicitReward.load(folder)


def test_an_encoder_classifier_scores_through_the_whole_model() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, num_labels=1
    )
    model = BertForSequenceClassification(config).eval()
    reward = ExplicitReward(model, TOKENIZER)
    assert reward.notice
    items = siblings(3)
    with torch.inference_mode():
        expected = [float(model(torch.tensor([ChatEncoder(TOKENIZER).ids(item)])).logits) for item in items]
    assert reward.score([ScoreGroup(items)])[0] == pytest.approx(expected, abs=1e-5)


def test_numbers_that_are_not_finite_are_an_error() -> None:
    model = tiny_reward_model()
    reward = ExplicitReward(model, TOKENIZER, name="broken")
    with torch.no_grad():
        model.score.weight.fill_(float("nan"))
    with pytest.raises(DataError, match="gave nan"):
        reward.score([ScoreGroup(siblings(1))])
    with pytest.raises(DataError, match="LlamaForSequenceClassification gives outputs that are no numbers"):
        ExplicitReward(model, TOKENIZER, name="broken")


class FakeShortMemory:
    """A backend that can hold only so many sequences at once."""

    computed = 0

    def __init__(self, room: int) -> None:
        self.room = room
        self.calls: list[int] = []

    def outputs(self, sequences: list[list[int]]) -> torch.Tensor:
        self.calls.append(len(sequences))
        if len(sequences) > self.room:
            raise MemoryError
        return torch.tensor([[float(len(sequence))] for sequence in sequences])


def test_out_of_memory_halves_the_batch_and_at_last_says_so() -> None:
    reward = ExplicitReward(tiny_reward_model(), TOKENIZER, use_cache=False)
    items = siblings(5)
    reward._reader._backend = FakeShortMemory(2)  # type: ignore[assignment]
    lengths = [float(len(ChatEncoder(TOKENIZER).ids(item))) for item in items]
    assert reward.score([ScoreGroup(items)]) == [lengths]
    reward._reader._backend = FakeShortMemory(0)  # type: ignore[assignment]
    with pytest.raises(MemoryExhaustedError, match="even for one sequence"):
        reward.score([ScoreGroup(items)])
