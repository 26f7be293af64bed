"""Which files a folder's weights are loaded from: what the library would take, and nothing outside the folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agentrm_models.errors import DataError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_REMEDY = "Download or export it again."
_INDEX_BYTES = 200_000_000
_PLAIN_NAME = re.compile(r"[\w-][\w.-]*\.safetensors")


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class _Config(msgspec.Struct):
    transformers_weights: str | None = None


class _Header(msgspec.Struct):
    dtype: str
    shape: list[int]


def checkpoint_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a folder's model, in the order of their names.

    `model.safetensors`, or the parts that its index names; a `config.json` may name another file by the key
    `transformers_weights`.

    Raises:
        DataError: There are none, an index names what is no safetensors file of this folder, or a part is missing.
    """
    named = _named_by_config(folder / "config.json")
    index = folder / (named if named.endswith(".json") else INDEX)
    parts = _parts(index) if index.is_file() else None
    single = folder / (named or WEIGHTS)
    if not named.endswith(".json") and single.is_file():
        return [single]
    if parts is None:
        other = " (pickled weights are never read)" if [*folder.glob("*.bin"), *folder.glob("*.pt")] else ""
        cause = f"{folder} holds no .safetensors weights: neither {WEIGHTS} nor {INDEX}{other}"
        raise DataError(cause, "Save the model with safe_serialization.")
    for part in parts:
        if not part.is_file():
            raise DataError(f"{folder}: {part.name} is missing, which {index.name} names", _REMEDY)
    return parts


def _named_by_config(config: Path) -> str:
    try:
        named = msgspec.json.decode(config.read_bytes(), type=_Config).transformers_weights or ""
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if named and not _PLAIN_NAME.fullmatch(named.removesuffix(".index.json")):
        raise DataError(
            f"{config}: transformers_weights is {named[:80]!r}, which is no safetensors file of this folder"
        )
    return named


def _parts(index: Path) -> list[Path]:
    if index.stat().st_size > _INDEX_BYTES:
        raise DataError(f"{index} has {index.stat().st_size:,} bytes, so it is no index of weights", _REMEDY)
    try:
        names = set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{index} cannot be read: {str(error)[:200]}", _REMEDY) from None
    for name in sorted(names):
        if not _PLAIN_NAME.fullmatch(name):
            cause = f"{index} names {name[:80]!r}, which is no safetensors file of this folder"
            raise DataError(cause, "Only safetensors files inside the folder are read.")
    return [index.parent / name for name in sorted(names)]


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a safetensors file's tensors, from its header; the file was checked before."""
    return dict(_headers(file))


def _headers(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    with file.open("rb") as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
    for name, entry in msgspec.json.decode(header, type=dict[str, msgspec.Raw]).items():
        if name != "__metadata__":
            yield name, tuple(msgspec.json.decode(entry, type=_Header).shape)
