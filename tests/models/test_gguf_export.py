"""Export to GGUF: same tokens, same logits, and mistakes are found before a file appears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_llama import make_policy

from agentrm_models.errors import DataError, UsageError
from agentrm_models.llama_cpp.gguf_export import LOGIT_TOLERANCE, export_gguf
from agentrm_models.weight_files import check_gguf


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_policy(tmp_path_factory.mktemp("policy"))


@pytest.mark.llama_cpp
@pytest.mark.parametrize("kind", ["smollm", "gpt-2", "qwen2", "llama-bpe"])
def test_tokens_and_logits_agree(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("llama_cpp")
    report = export_gguf(make_policy(tmp_path / "policy", kind), tmp_path / "model.gguf", "f32")
    assert report.checked
    assert report.label == kind
    assert report.probe_texts > 40
    assert report.logit_difference == report.stored_difference <= LOGIT_TOLERANCE
    check_gguf(report.file)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".gguf"] == ["model.gguf"]


@pytest.mark.llama_cpp
@pytest.mark.parametrize(("architecture", "tied"), [("qwen2", True), ("qwen2", False), ("llama", False)])
def test_other_architectures_agree(tmp_path: Path, architecture: str, tied: bool) -> None:
    pytest.importorskip("llama_cpp")
    source = make_policy(tmp_path / "policy", "qwen2", architecture, tied)
    assert export_gguf(source, tmp_path / "model.gguf", "f32").logit_difference <= LOGIT_TOLERANCE


@pytest.mark.llama_cpp
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_smaller_types_are_checked_in_32_bits(folder: Path, tmp_path: Path, dtype: str) -> None:
    pytest.importorskip("llama_cpp")
    report = export_gguf(folder, tmp_path / "model.gguf", dtype)
    assert report.logit_difference <= LOGIT_TOLERANCE < report.stored_difference < 0.5
    wide = export_gguf(folder, tmp_path / "wide.gguf", "f32")
    assert report.file.stat().st_size < 0.7 * wide.file.stat().st_size


@pytest.mark.llama_cpp
def test_a_wrong_label_is_caught(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    source = make_policy(tmp_path / "policy", "gpt-2")
    with pytest.raises(DataError, match="smollm differs on"):
        export_gguf(source, tmp_path / "model.gguf", "f32", pre_tokenizer="smollm")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.llama_cpp
def test_a_tokenizer_without_label_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    with pytest.raises(DataError, match="cannot reproduce this tokenizer"):
        export_gguf(make_policy(tmp_path / "policy", "none"), tmp_path / "model.gguf")


@pytest.mark.llama_cpp
def test_a_missing_permutation_is_caught(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_cpp")
    monkeypatch.setattr("agentrm_models.llama_cpp.gguf_source.GGUFSource._permuted", lambda self, name, tensor: tensor)
    with pytest.raises(DataError, match="logits differ by"):
        export_gguf(folder, tmp_path / "model.gguf", "f32")
    assert list(tmp_path.iterdir()) == []


def test_without_llama_cpp_nothing_is_claimed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    report = export_gguf(folder, tmp_path / "model.gguf")
    assert not report.checked
    assert "parity not checked" in str(report)
    check_gguf(report.file)


def test_mistakes_are_one_clear_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown GGUF type 'q4'"):
        export_gguf(folder, tmp_path / "model.gguf", "q4")
    with pytest.raises(DataError, match=r"cannot read .*config\.json"):
        export_gguf(tmp_path / "missing", tmp_path / "model.gguf")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["GPTNeoForCausalLM"]}))
    with pytest.raises(UsageError, match="GPTNeoForCausalLM cannot be exported"):
        export_gguf(tmp_path, tmp_path / "model.gguf")
