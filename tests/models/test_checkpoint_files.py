"""Weights come from safetensors files inside the folder, and a model's identity is that of the files it came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import save_model, tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.checkpoint_files import tensor_shapes
from agentrm_models.errors import DataError
from agentrm_models.load_options import LoadOptions
from agentrm_models.specs import load_policy, load_reward, parse_spec

CPU = LoadOptions(device="cpu")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    tiny_policy_model("qwen2").save_pretrained(folder, max_shard_size="40KB")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def index_of(folder: Path) -> Path:
    return folder / "model.safetensors.index.json"


def rename(folder: Path, name: str) -> None:
    """Let the index name another file for the first tensor."""
    index = json.loads(index_of(folder).read_text())
    index["weight_map"][min(index["weight_map"])] = name
    index_of(folder).write_text(json.dumps(index))


def test_parts_are_loaded_and_each_counts_in_the_digest(sharded: Path) -> None:
    parts = sorted(sharded.glob("model-*.safetensors"))
    assert len(parts) > 1
    before = load_policy(str(sharded), CPU).traits.digest
    for part in parts:
        original = part.read_bytes()
        weights = {name: weight + 0.25 for name, weight in load_file(part).items()}
        save_file(weights, part, metadata={"format": "pt"})
        assert load_policy(str(sharded), CPU).traits.digest != before
        part.write_bytes(original)
    save_file({"unused": next(iter(weights.values()))}, sharded / "optimizer.safetensors")
    assert load_policy(str(sharded), CPU).traits.digest == before


@pytest.mark.parametrize(
    "name", ["w.bin", "../outside.safetensors", "/tmp/outside.safetensors", "a/b.safetensors", "..", ""]
)
@pytest.mark.parametrize("beside", [True, False])
def test_an_index_that_names_anything_else_is_refused(sharded: Path, name: str, beside: bool) -> None:
    shutil.copy(min(sharded.glob("model-*.safetensors")), sharded.parent / "outside.safetensors")
    (sharded / "w.bin").write_bytes(b"pickle")
    if beside:
        save_file(load_file(sharded.parent / "outside.safetensors"), sharded / "decoy.safetensors")
    rename(sharded, name)
    with pytest.raises(DataError, match=r"index\.json names .*, which is no safetensors file of this folder"):
        parse_spec(str(sharded), "policy")


def test_a_missing_part_is_named(sharded: Path) -> None:
    part = min(sharded.glob("model-*.safetensors"))
    part.unlink()
    with pytest.raises(DataError, match=rf"{part.name} is missing, which model\.safetensors\.index\.json names"):
        parse_spec(str(sharded), "policy")


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', '{"a":' * 100_000])
def test_an_index_that_is_none_is_one_line(sharded: Path, text: str) -> None:
    index_of(sharded).write_text(text)
    with pytest.raises(DataError, match=r"model\.safetensors\.index\.json cannot be read") as caught:
        parse_spec(str(sharded), "policy")
    assert "\n" not in str(caught.value)


def test_a_configuration_names_no_file_outside(tmp_path: Path) -> None:
    folder = save_model(tiny_policy_model("qwen2"), tiny_tokenizer(), tmp_path / "folder")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    config = json.loads((folder / "config.json").read_text())
    with pytest.raises(DataError, match=r"neither model\.safetensors nor"):
        parse_spec(str(folder), "policy")
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "other.safetensors"}))
    assert load_policy(str(folder), CPU).traits.digest
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "../other.safetensors"}))
    with pytest.raises(DataError, match=r"transformers_weights is '\.\./other\.safetensors'"):
        parse_spec(str(folder), "policy")


@pytest.mark.parametrize("role", ["policy", "reward"])
def test_a_tokenizer_larger_than_the_embedding_is_refused_on_load(tmp_path: Path, role: str) -> None:
    model = tiny_policy_model("qwen2", 280) if role == "policy" else tiny_reward_model("qwen2", 280)
    folder = save_model(model, tiny_tokenizer(), tmp_path / "folder")
    with pytest.raises(DataError, match="its tokenizer has 301 tokens, its embedding 280 rows"):
        (load_policy if role == "policy" else load_reward)(str(folder), CPU)


def test_shapes_are_read_from_the_header(tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model("qwen2"), tiny_tokenizer(), tmp_path / "folder")
    shapes = tensor_shapes(folder / "model.safetensors")
    assert shapes["score.weight"] == (1, 32)
    assert {name: tuple(weight.shape) for name, weight in load_file(folder / "model.safetensors").items()} == shapes
