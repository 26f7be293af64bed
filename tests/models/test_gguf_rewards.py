"""GGUF models in several parts, and reward models whose layers llama.cpp computes: the rewards of Transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import make_policy

from agentrm_models.errors import DataError, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.base import RewardModel, ScoreGroup
from agentrm_models.specs import describe_spec, load_policy, load_reward, parse_spec

pytestmark = pytest.mark.llama_cpp

CPU = LoadOptions(device="cpu", threads=1)


def conversations(count: int, steps: int = 2) -> tuple[Conversation, ...]:
    history = [Message("system", "A maze."), Message("user", "You see 7 boxes.")]
    for step in range(steps):
        history += [Message("assistant", f"Action: go {step}"), Message("user", f"a door (closed) {step}")]
    return tuple((*history, Message("assistant", f"Action: take {'red key ' * k}")) for k in range(count))


ITEMS = conversations(4) + conversations(2, 4)


def scores(reward: RewardModel) -> list[float]:
    found = [value for group in reward.score([ScoreGroup(ITEMS[:3]), ScoreGroup(ITEMS[3:])]) for value in group]
    assert len({round(value, 5) for value in found}) == len(found)
    return found


def make_reward(folder: Path, architecture: str = "llama", labels: int = 1, **settings: object) -> Path:
    """A random classifier on the layers of a random policy."""
    import transformers as hf

    make_policy(folder, "qwen2" if architecture == "qwen2" else "smollm", architecture)
    name = {"llama": "LlamaForSequenceClassification", "qwen2": "Qwen2ForSequenceClassification"}[architecture]
    config = hf.AutoConfig.from_pretrained(folder)
    config.num_labels = labels
    torch.manual_seed(2)
    model = getattr(hf, name).from_pretrained(folder, config=config)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn_like(model.score.weight) * 0.3)
    model.save_pretrained(folder)
    (folder / "agentrm.json").write_text(json.dumps(settings))
    return folder


def export(folder: Path, out: Path, dtype: Any = "f32") -> Any:
    pytest.importorskip("llama_cpp")
    from agentrm_models.llama_cpp.reward_export import export_reward_gguf

    return export_reward_gguf(folder, out, dtype)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_rewards_equal_transformers(architecture: str, tmp_path: Path) -> None:
    folder = make_reward(tmp_path / "reward", architecture, prompt="full", stop_at=0.75, environments=["maze"])
    (report,) = export(folder, tmp_path / "out" / "reward.gguf")
    assert report.checked and "rewards within" in str(report)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["reward.gguf", "reward.head.safetensors"]
    own, native = load_reward(str(folder), CPU), load_reward(str(tmp_path / "out" / "reward.gguf"), CPU)
    assert scores(native) == pytest.approx(scores(own), abs=1e-3)
    assert native.usage.tokens_computed < 1.2 * native.usage.tokens_unique
    before = native.usage.tokens_computed
    scores(native)
    assert native.usage.tokens_computed - before <= len(ITEMS)
    traits = native.traits
    assert (traits.prompt, traits.threshold, traits.environments) == ("full", 0.75, ("maze",))
    assert (traits.head, traits.unit) == ("the only output", "step")
    assert load_reward(str(tmp_path / "out"), CPU).traits.digest == traits.digest
    assert "llama.cpp reward model" in describe_spec(str(tmp_path / "out"), "reward")
    native.close()
    own.close()


def test_one_output_of_several(tmp_path: Path) -> None:
    folder = make_reward(tmp_path / "reward", labels=3)
    export(folder, tmp_path / "critic.gguf")
    with pytest.raises(UsageError, match=r"3 outputs. Write FOLDER#output=NAME, one of: LABEL_0 \(0\)"):
        parse_spec(str(tmp_path / "critic.gguf"), "reward")
    native = load_reward(f"{tmp_path / 'critic.gguf'}#output=LABEL_2", CPU)
    assert scores(native) == pytest.approx(scores(load_reward(f"{folder}#output=2", CPU)), abs=1e-3)
    assert native.traits.head == "output 'LABEL_2' of 3"
    assert load_reward(f"{tmp_path / 'critic.gguf'}#output=1", CPU).traits.digest != native.traits.digest
    with pytest.raises(UsageError, match=r"no tokens to compare|no other head"):
        parse_spec(f"{tmp_path / 'critic.gguf'}#head=yes-no", "reward")


@pytest.mark.parametrize("beside", [True, False])
def test_likelihoods_come_along(beside: bool, tmp_path: Path) -> None:
    each = [{"environment": "maze", "instruction": "A maze.", "weight": 0.3}]
    settings = {"likelihoods": each, "likelihood": 0.1} | ({"likelihood_model": "language"} if beside else {})
    folder = make_reward(tmp_path / "reward", **settings)
    if beside:
        make_policy(folder / "language", "smollm", "qwen2")
    reports = export(folder, tmp_path / "out" / "reward.gguf")
    assert len(reports) == 1 + beside
    plain = make_reward(tmp_path / "plain")
    native = load_reward(str(tmp_path / "out"), CPU)
    found, expected = scores(native), scores(load_reward(str(folder), CPU))
    assert found == pytest.approx(expected, abs=2e-3)
    assert (
        max(abs(one - other) for one, other in zip(expected, scores(load_reward(str(plain), CPU)), strict=True)) > 0.1
    )
    if beside:
        (tmp_path / "out" / "reward.language.gguf").unlink()
        with pytest.raises(DataError, match=r"counts how likely a reply is, and reward\.language\.gguf is missing"):
            load_reward(str(tmp_path / "out"), CPU)


def test_value_heads_are_exported_with_their_mean(tmp_path: Path) -> None:
    folder = make_policy(tmp_path / "reward", tied=True)
    weights = load_file(folder / "model.safetensors")
    head = {"value_head.weight": torch.randn(1, 64), "mean": torch.tensor([0.5]), "std": torch.tensor([2.0])}
    save_file(weights | head, folder / "model.safetensors", metadata={"format": "pt"})
    export(folder, tmp_path / "reward.gguf")
    native = scores(load_reward(str(tmp_path / "reward.gguf"), CPU))
    own = load_reward(str(folder), CPU)
    assert "normalised by mean 0.5" in own.traits.head
    assert native == pytest.approx(scores(own), abs=1e-3)


def test_smaller_types_keep_the_order(tmp_path: Path) -> None:
    folder = make_reward(tmp_path / "reward")
    (report,) = export(folder, tmp_path / "reward.gguf", "f16")
    assert report.logit_difference <= 5e-4 < report.stored_difference
    assert scores(load_reward(str(tmp_path / "reward.gguf"), CPU)) == pytest.approx(
        scores(load_reward(str(folder), CPU)), abs=0.05
    )


def test_a_head_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    export(make_reward(tmp_path / "reward"), tmp_path / "reward.gguf")
    head = tmp_path / "reward.head.safetensors"
    for tensors, words in (
        ({"score.weight": torch.ones(1, 63)}, "a head of 63 numbers does not fit hidden states of 64"),
        ({"score.weight": torch.ones(64)}, "is no head: it needs score.weight"),
        ({"score.weight": torch.ones(1, 64), "score.bias": torch.ones(2)}, "is no head"),
        ({"score.weight": torch.ones(1, 64), "other": torch.ones(2)}, "is no head"),
        ({"score.weight": torch.full((1, 64), float("nan"))}, "holds values that are no numbers"),
    ):
        save_file(tensors, head)
        with pytest.raises(DataError, match=words):
            load_reward(str(tmp_path / "reward.gguf"), CPU)
    save_file({"score.weight": torch.ones(1, 64)}, head, metadata={"agentrm": '{"settings": {"prompt": 3}}'})
    with pytest.raises(DataError, match="its metadata cannot be read"):
        load_reward(str(tmp_path / "reward.gguf"), CPU)
    head.unlink()
    with pytest.raises(DataError, match=r"needs its head beside it, reward\.head\.safetensors"):
        parse_spec(str(tmp_path / "reward.gguf"), "reward")


def test_what_has_no_linear_head_is_not_exported(tmp_path: Path) -> None:
    folder = make_policy(tmp_path / "judge")
    (folder / "agentrm.json").write_text('{"head": {"kind": "yes-no", "good": "a", "bad": "b"}}')
    with pytest.raises(UsageError, match="compares tokens cannot be exported"):
        export(folder, tmp_path / "judge.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["judge"]


def split(file: Path, tensors: int = 4) -> list[Path]:
    """The same model in several parts, as llama.cpp's own tool writes them."""
    import gguf

    reader = gguf.GGUFReader(file)
    architecture = reader.fields["general.architecture"].contents()
    stem = file.with_suffix("")
    writer = gguf.GGUFWriter(stem.with_name("parts.gguf"), architecture, split_max_tensors=tensors)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(file.parent.glob("parts-*.gguf"))


def test_a_policy_in_parts_is_one_model(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    from agentrm_models.llama_cpp.gguf_export import export_gguf
    from agentrm_models.policies.base import Decoding, ProposeRequest
    from agentrm_models.sampling import NoiseKey

    export_gguf(make_policy(tmp_path / "policy"), tmp_path / "whole" / "model.gguf", "f32")
    parts = split(tmp_path / "whole" / "model.gguf")
    assert len(parts) > 2
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in parts:
        part.rename(folder / part.name)
    first, second, *_ = sorted(folder.iterdir())
    decoding = Decoding(temperature=0.0, max_tokens=8)
    request = ProposeRequest(conversations(1)[0][:2], 1, decoding, NoiseKey(0, "t", "n"))
    replies, digests = [], []
    for spec in (tmp_path / "whole" / "model.gguf", first, folder):
        policy = load_policy(str(spec), CPU)
        replies.append(policy.propose([request])[0][0].text)
        digests.append(policy.traits.digest)
        policy.close()
    assert replies[0] == replies[1] == replies[2]
    assert digests[0] != digests[1] == digests[2]
    assert f"in {len(parts)} parts" in describe_spec(str(folder))
    with pytest.raises(UsageError, match=r"is part 2 of .*Name the first: parts-00001-of-"):
        parse_spec(str(second), "policy")
    second.rename(tmp_path / "elsewhere")
    for spec in (first, folder):
        with pytest.raises(DataError, match=rf"{second.name} is missing: {first.name} has {len(parts)} parts"):
            parse_spec(str(spec), "policy")
    first.unlink()
    with pytest.raises(DataError, match=r"parts-00001-of-\d+\.gguf is missing"):
        parse_spec(str(folder), "policy")
    shutil.copy(tmp_path / "whole" / "model.gguf", folder / "a.gguf")
    with pytest.raises(UsageError, match=r"holds 2 GGUF models\. Name one"):
        parse_spec(str(folder), "policy")
