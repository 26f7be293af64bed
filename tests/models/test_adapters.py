"""LoRA adapters of policies and reward models: merged into their base exactly, head and all, or refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_model, tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.errors import DataError, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.loading import load_folder
from agentrm_models.messages import Message
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.specs import load_policy, load_reward, parse_spec

CPU = LoadOptions(device="cpu")
IDS = torch.tensor([[5, 17, 200, 31, 8, 99, 4]])
GROUP = [ScoreGroup(tuple((Message("user", "Go."), Message("assistant", f"Action: {word}")) for word in "abcd"))]
TARGETS = {"llama": ("q_proj", "v_proj", "down_proj"), "gpt2": ("c_attn", "c_proj")}
Tensors = dict[str, torch.Tensor]


def lora(model: Any, family: str, rank: int = 4) -> Tensors:
    """Random pairs for the layers that are adapted, under peft's names."""
    torch.manual_seed(9)
    found = {}
    for name, layer in model.named_modules():
        if name.rpartition(".")[2] in TARGETS[family]:
            inside, outside = layer.weight.shape if family == "gpt2" else layer.weight.shape[::-1]
            found[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, inside) * 0.2
            found[f"base_model.model.{name}.lora_B.weight"] = torch.randn(outside, rank) * 0.2
    return found


def save_adapter(folder: Path, base: Path | str, tensors: Tensors, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    said = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": 4,
        "lora_alpha": 16,
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter_config.json").write_text(json.dumps(said | config))
    return folder


def by_hand(model: Any, tensors: Tensors, scale: float, turned: bool = False) -> None:
    """Add s·B·A to the model's own weights."""
    for name, first in tensors.items():
        if name.endswith(".lora_A.weight"):
            delta = scale * tensors[name.replace("lora_A", "lora_B")] @ first
            layer = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
            with torch.no_grad():
                layer.weight.add_(delta.T if turned else delta)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 4.0),
        ({"use_rslora": True}, 16 / math.sqrt(4)),
        ({"lora_alpha": 2}, 0.5),
        ({"alpha_pattern": {r"layers\.\d+\.self_attn\.[qv]_proj|h\.\d+": 8}}, None),
        ({"alpha_pattern": {"nothing": 8}}, 4.0),
    ],
)
def test_policies_are_merged(family: str, config: dict[str, object], scale: float | None, tmp_path: Path) -> None:
    model = tiny_policy_model(family, 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    tensors = lora(model, family)
    folder = save_adapter(tmp_path / "adapter", base, tensors, **config)
    if scale is None:
        with pytest.raises(DataError, match=r"alpha_pattern .* is not understood"):
            parse_spec(str(folder), "policy")
        return
    plain = logits(model)
    by_hand(model, tensors, scale, family == "gpt2")
    found = logits(load_folder(folder, "policy", CPU).model)
    assert torch.allclose(found, logits(model), atol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-1)
    policy = load_policy(str(folder), CPU)
    assert policy.notice == ""
    assert policy.traits.digest != load_policy(str(base), CPU).traits.digest


def test_ranks_and_alphas_may_differ_by_layer(tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    tensors = {name: value for name, value in lora(model, "llama").items() if ".layers.0." in name}
    wide = {name: value for name, value in lora(model, "llama", rank=8).items() if ".layers.1." in name}
    folder = save_adapter(tmp_path / "adapter", base, tensors | wide, alpha_pattern={r"layers.1.self_attn.q_proj": 2})
    by_hand(model, tensors, 4.0)
    by_hand(model, {name: value for name, value in wide.items() if "q_proj" in name}, 0.25)
    by_hand(model, {name: value for name, value in wide.items() if "q_proj" not in name}, 2.0)
    assert torch.allclose(logits(load_folder(folder, "policy", CPU).model), logits(model), atol=1e-5)


@pytest.mark.parametrize("labels", [1, 3])
def test_a_reward_model_keeps_its_head(labels: int, tmp_path: Path) -> None:
    base = save_model(tiny_policy_model("llama", 301, seed=4), tiny_tokenizer(), tmp_path / "base")
    model = tiny_reward_model("llama", 301, seed=6, labels=labels)
    model.model.load_state_dict(tiny_policy_model("llama", 301, seed=4).model.state_dict())
    tensors = lora(model, "llama")
    head = {"base_model.model.score.weight": model.score.weight.detach().clone()}
    said = {"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}  # as peft writes it
    folder = save_adapter(tmp_path / "adapter", base, tensors | head, **said)
    by_hand(model, tensors, 4.0)
    with torch.inference_mode():
        expected = model(IDS).logits[0]
    spec = str(folder) + "#output=1" * (labels > 1)
    assert torch.allclose(
        logits(load_folder(folder, "reward", CPU, head=parse_spec(spec, "reward").source.head).model)[0],
        expected,
        atol=1e-5,
    )
    reward = load_reward(spec, CPU)
    assert len(set(reward.score(GROUP)[0])) == 4
    digests = {reward.traits.digest}
    save_adapter(folder, base, tensors | {name: value + 1 for name, value in head.items()}, task_type="SEQ_CLS")
    digests.add(load_reward(spec, CPU).traits.digest)
    save_model(tiny_policy_model("llama", 301, seed=5), tiny_tokenizer(), base)
    digests.add(load_reward(spec, CPU).traits.digest)
    assert len(digests) == 3


def test_a_missing_head_is_refused(tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    folder = save_adapter(tmp_path / "adapter", base, lora(model, "llama"), task_type="SEQ_CLS")
    with pytest.raises(DataError, match=r"neither .*base nor the adapter .*adapter holds score\.weight"):
        load_reward(str(folder), CPU)
    save_adapter(folder, base, lora(model, "llama"), task_type="SEQ_CLS", modules_to_save=["score"])
    with pytest.raises(DataError, match=r"trained with 'score', but adapter_model\.safetensors does not hold it"):
        load_reward(str(folder), CPU)


def test_a_value_head_may_lie_beside_an_adapter(tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    folder = save_adapter(tmp_path / "adapter", base, lora(model, "llama"))
    weight, bias = torch.linspace(-1, 1, 32)[None], torch.tensor([0.5])
    save_file({"v_head.summary.weight": weight, "v_head.summary.bias": bias}, folder / "value_head.safetensors")
    by_hand(model, lora(model, "llama"), 4.0)
    with torch.inference_mode():
        expected = float(weight[0] @ model.model(IDS).last_hidden_state[0, -1] + bias)
    found = load_folder(folder, "reward", CPU)
    assert logits(found.model).item() == pytest.approx(expected, abs=1e-4)
    assert load_reward(str(folder), CPU).traits.head == "v_head"
    assert load_reward(f"{folder}#head=yes-no&good=a&bad=b", CPU).traits.head.startswith("probability of 'a'")


def test_embeddings_that_were_one_with_the_head_are_adapted_alone(tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    left, right = torch.randn(32, 4) * 0.2, torch.randn(4, 301) * 0.2
    name = "base_model.model.model.embed_tokens.lora_embedding_"
    folder = save_adapter(tmp_path / "adapter", base, {f"{name}A": right, f"{name}B": left})
    before = model.lm_head.weight.detach().clone()
    with torch.inference_mode():
        changed = torch.nn.functional.embedding(IDS, before + (4.0 * left @ right).T)
        expected = model.model(inputs_embeds=changed).last_hidden_state @ before.T
    assert torch.allclose(logits(load_folder(folder, "policy", CPU).model), expected, atol=1e-4)


def test_tokens_that_were_added_come_with_their_rows(tmp_path: Path) -> None:
    model = tiny_policy_model("qwen2", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    model.resize_token_embeddings(304)
    rows = {
        "base_model.model.model.embed_tokens.weight": model.model.embed_tokens.weight.detach().clone(),
        "base_model.model.lm_head.weight": model.lm_head.weight.detach().clone(),
    }
    folder = save_adapter(tmp_path / "adapter", base, rows)
    assert torch.allclose(logits(load_folder(folder, "policy", CPU).model), logits(model), atol=1e-5)
    save_adapter(folder, base, dict(list(rows.items())[:1]))
    with pytest.raises(DataError, match="more tokens than its base, but not all of their rows"):
        load_policy(str(folder), CPU)


def test_an_adapter_beside_full_weights_is_merged_and_named(tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    folder = save_model(model, tiny_tokenizer(), tmp_path / "both")
    save_adapter(folder, "org/elsewhere", lora(model, "llama"))
    plain = logits(model)
    by_hand(model, lora(model, "llama"), 4.0)
    assert torch.allclose(logits(load_folder(folder, "policy", CPU).model), logits(model), atol=1e-5)
    assert "was merged into the weights beside it (#adapter=no leaves it out)" in load_policy(str(folder), CPU).notice
    alone = load_policy(f"{folder}#adapter=no", CPU)
    assert alone.notice == ""
    source = parse_spec(f"{folder}#adapter=no", "policy").source
    assert torch.allclose(logits(load_folder(folder, "policy", CPU, adapter=source.adapter).model), plain, atol=1e-5)


def test_bases_are_found_beside_the_adapter_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    folder = save_adapter(tmp_path / "adapter", "../base", lora(model, "llama"))
    (tmp_path / "elsewhere" / "base").mkdir(parents=True)
    (tmp_path / "elsewhere" / "here").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere" / "here")  # another ../base lies here, which is not meant
    digest = load_policy(str(folder), CPU).traits.digest
    save_adapter(folder, "/nowhere/base", lora(model, "llama"))
    with pytest.raises(DataError, match=r"stands on '/nowhere/base', which is no folder here. Write FOLDER#base=PATH"):
        parse_spec(str(folder), "policy")
    assert load_policy(f"{folder}#base={base}", CPU).traits.digest == digest
    save_adapter(folder, "org/base", lora(model, "llama"))
    asked: list[Any] = []

    def fetch(self: Any, trust_remote_code: bool) -> Path:
        asked.append((self.repository, trust_remote_code))
        return base

    monkeypatch.setattr("agentrm_models.hub.HubName.fetch", fetch)
    assert load_policy(str(folder), CPU).traits.digest == digest
    assert load_policy(f"{folder}#base=hf:our/base", CPU).traits.digest == digest
    assert asked == [("org/base", False), ("our/base", False)]
    tensors = lora(model, "llama") | {"base_model.model.score.weight": torch.ones(1, 32)}
    save_adapter(folder, "org/base", tensors, task_type="SEQ_CLS")
    assert load_reward(str(folder), CPU).traits.head == "the only output"
    with pytest.raises(UsageError, match="holds a reward model, not a policy"):
        parse_spec(str(folder), "policy")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"peft_type": "IA3"}, "IA3 adapters cannot be merged here"),
        ({"use_dora": True}, "adapters with use_dora cannot be merged here. Merge it with peft"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4' may have changed the base"),
        ({"trainable_token_indices": [1]}, "adapters with trainable_token_indices"),
        ({"lora_alpha": "x"}, r"adapter_config\.json cannot be read"),
        ({"base_model_name_or_path": None}, "does not name its base"),
    ],
)
def test_other_adapters_are_refused_by_name(config: dict[str, object], words: str, tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    folder = save_adapter(tmp_path / "adapter", base, lora(model, "llama"), **config)
    with pytest.raises(DataError, match=words):
        parse_spec(str(folder), "policy")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            {"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.ones(4, 32)},
            "which its base .* not have",
        ),
        ({"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(4, 32)}, "half of the adapter"),
        ({"base_model.model.model.norm.weight": torch.ones(31)}, r"has the shape \(31,\) for the base's \(32,\)"),
        ({"base_model.model.model.norm.scale": torch.ones(32)}, "holds 'model.norm.scale', which its base does not"),
        ({"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector": torch.ones(32)}, "does not have"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(tensors: Tensors, words: str, tmp_path: Path) -> None:
    base = save_model(tiny_policy_model("llama", 301), tiny_tokenizer(), tmp_path / "base")
    with pytest.raises(DataError, match=words):
        load_policy(str(save_adapter(tmp_path / "adapter", base, tensors)), CPU)


def test_pickled_adapters_are_never_read(tmp_path: Path) -> None:
    model = tiny_policy_model("llama", 301)
    base = save_model(model, tiny_tokenizer(), tmp_path / "base")
    folder = save_adapter(tmp_path / "adapter", base, lora(model, "llama"))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(DataError, match="pickled weights are never read"):
        load_policy(str(folder), CPU)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "extra", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 3, "c_attn": 3}, "rank_pattern": {"q_proj": 2}}]
)
def test_merging_equals_peft(family: str, extra: dict[str, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = save_model(tiny_reward_model(family, 301), tiny_tokenizer(), tmp_path / "base")
    wanted = [*TARGETS[family], "embed_tokens" if family == "llama" else "wte"]
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=4, lora_alpha=16, target_modules=wanted, modules_to_save=["score"], **extra
    )
    wrapped = peft.get_peft_model(load_folder(base, "reward", CPU).model, config).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name or "score" in name:
                weight.copy_(torch.randn_like(weight) * 0.2)
    wrapped.save_pretrained(tmp_path / "adapter")
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(said | {"base_model_name_or_path": str(base)}))
    expected = logits(wrapped)
    assert load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    found = load_folder(tmp_path / "adapter", "reward", CPU)
    assert torch.allclose(logits(found.model), expected, atol=1e-4)


def test_the_library_does_not_follow_an_adapter_by_itself(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = tiny_policy_model("llama", 301)
    folder = save_model(model, tiny_tokenizer(), tmp_path / "both")
    save_adapter(folder, "/nowhere", lora(model, "llama"))
    source = parse_spec(f"{folder}#adapter=no", "policy").source
    assert torch.allclose(
        logits(load_folder(folder, "policy", CPU, adapter=source.adapter).model), logits(model), atol=1e-5
    )
    by_hand(model, lora(model, "llama"), 4.0)
    assert torch.allclose(logits(load_folder(folder, "policy", CPU).model), logits(model), atol=1e-5)
