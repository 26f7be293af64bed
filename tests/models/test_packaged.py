"""Models that packages carry: found without import, converted once and whole, refused with what installs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tiny_llama import make_policy

from agentrm_models import packaged
from agentrm_models.errors import DataError, UsageError
from agentrm_models.llama_cpp.gguf_export import export_gguf
from agentrm_models.messages import Message
from agentrm_models.packaged import PACKAGED, PackagedModel, converted_folder, find_packaged, folder_or_source
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.transformers import load_transformers_policy
from agentrm_models.specs import describe_spec, load_policy, parse_spec


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_policy(tmp_path_factory.mktemp("policy"))
    return export_gguf(folder, folder / "tiny.gguf", "f32").file


@pytest.fixture
def model(gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A package of a test, which must never be imported, in the place of the known ones."""
    package = tmp_path / "site" / "tiny_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "tiny.gguf").write_bytes(gguf_file.read_bytes())
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row = PackagedModel("tiny", "tiny_package", "tiny-package", "tiny.gguf", "a tiny model", "tiny")
    monkeypatch.setattr(packaged, "PACKAGED", (row,))
    return row


def ask(policy: Any) -> Any:
    request = ProposeRequest(
        (Message("user", "You see 7 boxes."),), 1, Decoding(0.0, max_tokens=4), NoiseKey(0, "t", "0")
    )
    return policy.propose([request])[0][0]


def test_a_packaged_model_plays_as_the_folder_it_was_made_from(model: PackagedModel, gguf_file: Path) -> None:
    assert describe_spec("pip:tiny") == "a tiny model"
    policy = load_policy("pip:tiny")
    assert policy.traits.name == "pip:tiny"
    expected, found = ask(load_transformers_policy(gguf_file.parent)), ask(policy)
    assert found.text == expected.text and found.tokens == expected.tokens
    assert found.log_probability == pytest.approx(expected.log_probability, abs=0.05)
    assert "tiny_package" not in sys.modules


@pytest.mark.llama_cpp
def test_llama_cpp_reads_the_file_itself(model: PackagedModel, gguf_file: Path) -> None:
    assert describe_spec("pip:tiny#gguf") == "a tiny model, by llama.cpp"
    policy = load_policy("pip:tiny#gguf")
    assert ask(policy).text == ask(load_transformers_policy(gguf_file.parent)).text


def test_it_is_converted_once_and_again_where_the_folder_is_not_whole(
    model: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions: list[Path] = []
    convert = packaged._dequantise

    def counted(file: Path, folder: Path) -> None:
        conversions.append(folder)
        convert(file, folder)

    monkeypatch.setattr(packaged, "_dequantise", counted)
    folder = converted_folder(model)
    assert converted_folder(model) == folder and len(conversions) == 1
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert converted_folder(model) == folder and len(conversions) == 2
    stamp = json.loads((folder / "converted.json").read_text())
    (folder / "converted.json").write_text(json.dumps({**stamp, "layout": 0}))
    converted_folder(model)
    assert len(conversions) == 3
    assert folder_or_source("pip:tiny") == str(folder)
    assert folder_or_source("some/folder") == "some/folder"


def test_a_conversion_that_is_cut_off_leaves_nothing_and_is_begun_again(
    model: PackagedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "own"

    def cut_off(file: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packaged, "_dequantise", cut_off)
        converted_folder(model, cache)
    assert [path.name for path in cache.iterdir()] == ["tiny.lock"]
    (cache / f".tiny-{packaged.file_digest(model.require())}-left").mkdir()  # as kill -9 leaves it
    folder = converted_folder(model, cache)
    assert sorted(path.name for path in cache.iterdir()) == [folder.name, "tiny.lock"]


def test_two_at_once_convert_once(model: PackagedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conversions: list[Path] = []
    convert = packaged._dequantise
    monkeypatch.setattr(
        packaged, "_dequantise", lambda file, folder: (conversions.append(folder), convert(file, folder))
    )
    workers = [Thread(target=converted_folder, args=(model, tmp_path / "own")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(conversions) == 1


def test_what_is_not_there_is_refused_with_what_would_do(model: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown packaged model 'pip:tny'.*tiny"):
        parse_spec("pip:tny", "policy")
    with pytest.raises(UsageError, match=r"unknown option 'exl2'.*pip:tiny#gguf"):
        parse_spec("pip:tiny#exl2", "policy")
    model.require().unlink()
    with pytest.raises(DataError, match=r"tiny-package lacks tiny\.gguf"):
        parse_spec("pip:tiny", "policy")
    gone = model._replace(package="no_such_package")
    monkeypatch.setattr(packaged, "PACKAGED", (gone,))
    with pytest.raises(DataError, match=r"tiny-package is not installed.*pip install 'agentrm-tui\[tiny\]'"):
        parse_spec("pip:tiny", "policy")
    assert packaged.installed_models() == []


def test_a_damaged_file_is_named(model: PackagedModel, tmp_path: Path) -> None:
    file = model.require()
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"tiny\.gguf"):
        converted_folder(model, tmp_path / "own")


def test_a_judge_can_be_one(model: PackagedModel) -> None:
    assert "tiny" in describe_spec("judge:pip:tiny", "reward")


def test_known_rows_are_complete() -> None:
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for row in PACKAGED:
        assert find_packaged(row.name) == row
        assert f'{row.extra} = ["{row.distribution}' in extras
