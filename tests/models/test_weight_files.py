"""Weight files and configurations of other people: looked at before a library builds what they promise."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import save_model, tiny_policy_model, tiny_tokenizer

from agentrm_models.errors import DataError
from agentrm_models.specs import load_policy
from agentrm_models.weight_files import check_gguf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny_policy_model("qwen2"), tiny_tokenizer(), tmp_path / "folder")


def change(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 10**6}, r"num_hidden_layers is 1,000,000, but the weights have \d+ tensors"),
        ({"text_config": {"inner": {"n_layer": 10**5}}}, "n_layer is 100,000"),
        ({"vocab_size": 10**9}, "vocab_size 1,000,000,000 times hidden_size"),
        ({"text_config": {"vocab_size": 10**9, "hidden_size": 64}}, "vocab_size 1,000,000,000 times hidden_size 64"),
    ],
)
def test_a_model_that_its_weights_cannot_fill_is_refused(folder: Path, changes: dict[str, object], words: str) -> None:
    change(folder, **changes)
    with pytest.raises(DataError, match=rf"config\.json: {words}"):
        load_policy(str(folder))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "7", '{"a":' * 100_000, "\xff", " " * 10_000_001],
    ids=["cut", "list", "number", "deep", "bytes", "long"],
)
def test_a_configuration_that_is_none_is_one_line(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load_policy(str(folder))
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = sorted(weights)[-1]
    weights[name].view(-1)[3] = value
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"folder: its weights are damaged: \S+ holds values that are no numbers"):
        load_policy(str(folder))


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def gguf(*values: bytes, entries: int | None = None, tensors: int = 0) -> bytes:
    body = b"".join(text(b"key") + value for value in values)
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(values) if entries is None else entries) + body + b"\0" * 64


def nested(depth: int) -> Iterator[bytes]:
    yield struct.pack("<I", 9)
    for _ in range(depth):
        yield struct.pack("<IQ", 9, 1)
    yield struct.pack("<IQ", 4, 0)


STRINGS = struct.pack("<IIQ", 9, 8, 3) + text(b"a") + text(b"") + text(b"cd")
NUMBERS = struct.pack("<IIQ", 9, 4, 3) + b"\0" * 12


def test_ordinary_lists_are_read(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf(STRINGS, NUMBERS, struct.pack("<If", 6, 1.0)))
    check_gguf(file)


@pytest.mark.parametrize(
    "content",
    [
        gguf(b"".join(nested(1))),
        gguf(b"".join(nested(100_000))),
        gguf(struct.pack("<IIQ", 9, 8, 2**63)),
        gguf(struct.pack("<IIQ", 9, 4, 2**63)),
        gguf(struct.pack("<IIQ", 9, 77, 1)),
        gguf(struct.pack("<I", 77)),
        gguf(STRINGS, entries=2**40),
        gguf(STRINGS, tensors=2**40),
        gguf(struct.pack("<IQ", 8, 2**62)),
    ],
    ids=range(9),
)
def test_lists_in_lists_and_huge_counts_are_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.gguf is cut off or damaged inside its header"):
        check_gguf(file)


def test_a_file_full_of_empty_texts_is_not_walked_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf(struct.pack("<IIQ", 9, 8, 10**9)))
    with file.open("r+b") as stream:
        stream.truncate(2 << 30)  # a hole: it takes no room on the disk
    with pytest.raises(DataError, match="damaged inside its header"):
        check_gguf(file)
