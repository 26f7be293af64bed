"""Specs: every kind is recognised, every mistake is one clear line."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from agentrm_models import bundled as bundled_package
from agentrm_models import specs
from agentrm_models.errors import AgentRMError, DataError, UsageError
from agentrm_models.specs import describe_spec, load_policy, load_reward, parse_spec
from agentrm_models.weight_files import check_gguf, check_safetensors


def make_folder(folder: Path, architecture: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    save_file({"weight": numpy.zeros((4, 4), numpy.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "bundled"
    make_folder(root / "small-policy", "LlamaForCausalLM")
    make_folder(root / "small-reward", "LlamaForSequenceClassification")
    make_folder(root / "pair" / "policy", "LlamaForCausalLM")
    make_folder(root / "pair" / "reward", "LlamaForSequenceClassification")
    monkeypatch.setattr(bundled_package, "HERE", root)
    return root


def test_models_without_weights_load() -> None:
    assert load_policy("human").traits.interactive
    assert load_policy("expert").traits.wants_expert
    assert load_policy("scripted").traits.name == "scripted"
    assert load_reward("scripted").traits.name == "scripted"
    assert load_reward("random:5").traits.name == "random:5"


def test_bundled_models_are_found_by_role(bundled: Path) -> None:
    listed = [(model.name, model.role) for model in specs.list_models()]
    assert listed == [("pair", "policy"), ("pair", "reward"), ("small-policy", "policy"), ("small-reward", "reward")]
    assert parse_spec("bundled:small-policy", "policy").folder == bundled / "small-policy"
    assert parse_spec("bundled:pair", "reward").folder == bundled / "pair" / "reward"
    assert "no download" in describe_spec("bundled:pair", "policy")


def test_wrong_bundled_names_offer_the_nearest(bundled: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'bundled:small-policy'"):
        parse_spec("bundled:small-polcy", "policy")
    with pytest.raises(UsageError, match="is not a reward model"):
        parse_spec("bundled:small-policy", "reward")


@pytest.mark.parametrize(
    ("spec", "role", "error", "text"),
    [
        ("scriptd", "policy", UsageError, "Did you mean 'scripted'"),
        ("humn", "policy", UsageError, "Did you mean 'human'"),
        ("randm", "reward", UsageError, "Did you mean 'random'"),
        ("zzz", "policy", UsageError, "Use one of"),
        ("", "policy", UsageError, "unknown policy"),
        ("judge:scripted", "reward", UsageError, "scripted cannot judge"),
        ("implicit:a,b", "reward", UsageError, "unknown policy .a."),
        ("random:x", "reward", UsageError, "whole number"),
        ("hf:model", "policy", UsageError, "hf:ORG/REPO"),
        ("hf:org/repo:model.bin", "policy", UsageError, "only a .gguf file can be named"),
        ("hf:org/repo:model.gguf", "reward", UsageError, "the whole repository"),
        ("no/such/folder", "policy", DataError, "no/such/folder does not exist"),
        ("missing.gguf", "policy", DataError, "missing.gguf does not exist"),
        ("human", "reward", UsageError, "is a policy, not a reward model"),
        ("http://localhost:1/v1", "reward", DataError, "cannot reach"),
        ("http://localhost:1#api=clasify", "reward", UsageError, "classify"),
        ("http://localhost:1#folder=no/such", "reward", DataError, "is no folder"),
        ("http://a,http://b", "reward", UsageError, "one address"),
    ],
)
def test_mistakes_are_one_clear_line(spec: str, role: str, error: type[AgentRMError], text: str) -> None:
    load = load_policy if role == "policy" else load_reward
    with pytest.raises(error, match=text) as raised:
        load(spec)
    assert "\n" not in str(raised.value)


ADDRESSES = (
    "http://user:hunter2@host/v1",
    "HTTPS://:hunter2@host/v1#model",
    "http:/user:hunter2@host/v1",
    "http://user:a/hunter2@host/v1",
    "http://host/v1?api_key=hunter2",
    "http://host/v1#model?token=hunter2",
    "htps://user:hunter2@host/v1",
    "openai:http://user:hunter2@host/v1",
    "https//host/v1?api_key=hunter2",
)
PLACES = ("{}", " {}", "judge:{}", "coached:0.5:{}", "coached:x:{}", "implicit:bundled:small,{}", "implicit:{}",
          "scripted:{}", "bundled:{}", "hf:{}", "random:{}", "expert:{}", "judge:judge:{}", "{}.gguf")  # fmt: skip


@pytest.mark.parametrize("role", ["policy", "reward"])
@pytest.mark.parametrize("place", PLACES)
def test_a_password_is_shown_nowhere(place: str, role: str) -> None:
    for address in ADDRESSES:
        try:
            told = parse_spec(place.format(address), role).describe()
        except AgentRMError as error:
            told = str(error)
        assert "hunter2" not in told


@pytest.mark.parametrize("name", ["http://127.0.0.1:8000/v1#org/model@rev", "scripted:me@home.txt"])
def test_a_name_with_an_at_sign_is_no_password(name: str) -> None:
    assert parse_spec(name, "policy").spec == name


def test_a_wrong_address_is_found_before_anything_is_loaded() -> None:
    for address in ("http://", "http://host:99999/v1", "http://host:0/v1"):
        with pytest.raises(UsageError, match="is not the address of a server"):
            parse_spec(address, "policy")


def test_folders_are_checked_before_a_library_sees_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a reward model, not a policy"):
        load_policy(str(make_folder(tmp_path / "reward", "LlamaForSequenceClassification")))
    with pytest.raises(UsageError, match="holds a policy, not a reward model"):
        load_reward(str(make_folder(tmp_path / "policy", "LlamaForCausalLM")))
    with pytest.raises(DataError, match="holds no model"):
        load_policy(str(tmp_path))
    (tmp_path / "policy" / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"no .safetensors weights"):
        load_policy(str(tmp_path / "policy"))


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "policy", "LlamaForCausalLM")
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    check_safetensors(file)
    for damaged in (b"", whole[:4], whole[:20], whole[:-1], b"\xff" * 100, whole[:8] + b"x" * (len(whole) - 8)):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"model\.safetensors") as raised:
            load_policy(str(folder))
        assert "\n" not in str(raised.value)


def test_a_folder_whose_name_ends_like_a_gguf_file_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model.gguf"
    folder.mkdir()
    for load in (load_policy, load_reward):
        with pytest.raises(DataError, match=r"model\.gguf holds no model"):
            load(str(folder))


def test_damaged_gguf_files_are_refused(tmp_path: Path) -> None:
    entry = struct.pack("<Q", 4) + b"name" + struct.pack("<IQ", 8, 3) + b"abc"
    lists = struct.pack("<Q", 4) + b"list" + struct.pack("<IIQ", 9, 8, 1) + struct.pack("<Q", 2) + b"ab"
    tensor = struct.pack("<Q", 1) + b"w" + struct.pack("<IQIQ", 1, 2, 0, 0)
    whole = b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + entry + lists + tensor + b"\0" * 8
    file = tmp_path / "model.gguf"
    file.write_bytes(whole)
    check_gguf(file)
    damaged = [b"", b"GGUF", b"GGML" + whole[4:], b"GGUF" + struct.pack("<I", 9) + whole[8:], whole[:-8]]
    damaged += [whole[:length] for length in range(8, len(whole) - 8, 7)] + [b"GGUF\3\0\0\0" + b"\xff" * 64]
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"model\.gguf") as raised:
            load_policy(str(file))
        assert "\n" not in str(raised.value)


def test_hub_models_are_fetched_without_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[object] = []

    def fake_snapshot(repository: str, allow_patterns: list[str]) -> str:
        asked.append((repository, tuple(allow_patterns)))
        return str(make_folder(tmp_path / "hub", "LlamaForSequenceClassification"))

    def fake_file(repository: str, file: str) -> str:
        raise OSError(f"no connection for {repository}/{file}\nsecond line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake_snapshot)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake_file)
    with pytest.raises(UsageError, match="holds a reward model"):
        load_policy("hf:org/repo")
    assert asked == [("org/repo", ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"))]
    with pytest.raises(DataError, match=r"cannot get hf:org/repo:model.gguf .* no connection for org/repo/model.gguf$"):
        load_policy("hf:org/repo:model.gguf")


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, agentrm_models.specs as s; s.load_policy('scripted'); s.list_models(); s.describe_spec('human');"
        "heavy = {'torch', 'transformers', 'llama_cpp', 'huggingface_hub', 'numpy'} & set(sys.modules);"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
