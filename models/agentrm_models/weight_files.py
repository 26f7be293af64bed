"""Looks at weight files before a library does, so that a cut-off or foreign file ends in one clear line."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from agentrm_models.errors import DataError

_REMEDY = "Download or export it again."
_HEADER_LIMIT = 100_000_000
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_GGUF_ITEMS = 3_000_000
"""Metadata entries, tensors and texts of a GGUF header: a vocabulary of 256,000 with its merges takes a million."""

_CONFIG_BYTES, _DEEPEST = 10_000_000, 20
_MOST_LAYERS = 10_000
_LAYER_KEYS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers")


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]


def check_safetensors(file: Path) -> None:
    """Check a safetensors file's header against its size.

    Raises:
        DataError: The file is missing, cut off, or not a safetensors file.
    """
    size = _size(file)
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= _HEADER_LIMIT:
            raise DataError(f"{file} is not a safetensors file", _REMEDY)
        if length > size - 8:
            raise DataError(f"{file} is cut off inside its header", _REMEDY)
        header = stream.read(length)
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        end = max((msgspec.json.decode(entry, type=_Tensor).data_offsets[1] for entry in raw.values()), default=0)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DataError(f"{file} is not a safetensors file", _REMEDY) from None
    if 8 + length + end != size:
        raise DataError(f"{file} is cut off: it has {size} bytes, its header promises {8 + length + end}", _REMEDY)


def check_config(file: Path, weights: Sequence[Path]) -> None:
    """Check a `config.json` against the weights beside it, before a library builds what it promises.

    A model has no more layers than tensors, and no size of it is larger than its weights have bytes.

    Args:
        weights: Safetensors files that were checked.

    Raises:
        DataError: It cannot be read, or promises a model of another size.
    """
    if file.stat().st_size > _CONFIG_BYTES:
        raise DataError(f"{file} has {file.stat().st_size:,} bytes, so it is no configuration of a model", _REMEDY)
    try:
        config = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {str(error)[:200]}", _REMEDY) from None
    tensors = sum(_tensor_count(weight) for weight in weights)
    for key, value in _numbers(config, _DEEPEST):
        if key in _LAYER_KEYS and value > min(tensors, _MOST_LAYERS):
            raise DataError(f"{file}: {key} is {value:,}, but the weights have {tensors:,} tensors", _REMEDY)
    _check_embedding(file, config, sum(weight.stat().st_size for weight in weights))


def _check_embedding(file: Path, config: dict[str, Any], size: int) -> None:
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        words, width = part.get("vocab_size"), part.get("hidden_size")
        # Weights of four bits have two numbers in a byte.
        if isinstance(words, int) and isinstance(width, int) and words * width > 2 * size:
            cause = f"{file}: vocab_size {words:,} times hidden_size {width:,} is more than the weights' {size:,} bytes"
            raise DataError(cause, _REMEDY)


def _numbers(value: object, depth: int) -> Iterator[tuple[str, int]]:
    """The whole numbers of nested records by key."""
    if isinstance(value, dict) and depth:
        for key, part in value.items():
            if isinstance(part, int):
                yield key, part
            else:
                yield from _numbers(part, depth - 1)


def _tensor_count(file: Path) -> int:
    with file.open("rb") as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
    return len(msgspec.json.decode(header, type=dict[str, msgspec.Raw]).keys() - {"__metadata__"})


def check_finite(model: Any, path: Path) -> None:
    """Check that the weights of a torch model are numbers.

    Raises:
        DataError: One of them holds NaN or infinity.
    """
    import torch

    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(torch.isfinite(weight.detach().sum(dtype=torch.float64))):
            raise DataError(f"{path}: its weights are damaged: {name} holds values that are no numbers", _REMEDY)


def check_gguf(file: Path) -> None:
    """Walk a GGUF file's header: magic, version, metadata and tensor table, and where the last tensor begins.

    The library that loads it checks the rest. Format: the GGUF specification of the ggml project, versions 2 and 3.

    Raises:
        DataError: The file is missing, cut off, or not a GGUF file.
    """
    size = _size(file)
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise DataError(f"{file} is not a GGUF file", _REMEDY)
        try:
            _walk_gguf(stream, file, size)
        except struct.error:
            raise DataError(f"{file} is cut off or damaged inside its header", _REMEDY) from None


def _walk_gguf(stream: BinaryIO, file: Path, size: int) -> None:
    version, tensors, entries = _read(stream, "<I")[0], *_read(stream, "<QQ")
    if version not in (2, 3):
        raise DataError(f"{file} is GGUF version {version}; versions 2 and 3 can be read")
    if entries + tensors > _GGUF_ITEMS:
        raise struct.error
    left = _GGUF_ITEMS
    for _ in range(entries):
        _skip_string(stream, size)
        left -= _skip_value(stream, _read(stream, "<I")[0], size, left)
    last = 0
    for _ in range(tensors):
        _skip_string(stream, size)
        dimensions = _read(stream, "<I")[0]
        if dimensions > 8:
            raise struct.error
        _read(stream, f"<{dimensions}QI")
        last = max(last, _read(stream, "<Q")[0])
    if tensors and stream.tell() + last >= size:
        raise DataError(f"{file} is cut off: it has {size} bytes, its last tensor begins after that", _REMEDY)


def _read(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _skip_string(stream: BinaryIO, size: int) -> None:
    _skip(stream, _read(stream, "<Q")[0], size)


def _skip(stream: BinaryIO, count: int, size: int) -> None:
    if stream.tell() + count > size:
        raise struct.error
    stream.seek(count, 1)


def _skip_value(stream: BinaryIO, kind: int, size: int, most: int) -> int:
    """Skip a metadata value of at most so many texts, and return how many it had; arrays do not hold arrays."""
    if kind == _ARRAY:
        inner, count = _read(stream, "<I")[0], _read(stream, "<Q")[0]
        if inner in _SCALAR_BYTES:
            _skip(stream, _SCALAR_BYTES[inner] * count, size)
            return 1
        if inner != _STRING or count > most:
            raise struct.error
        for _ in range(count):
            _skip_string(stream, size)
        return int(count)
    if kind == _STRING:
        _skip_string(stream, size)
    elif kind in _SCALAR_BYTES:
        _skip(stream, _SCALAR_BYTES[kind], size)
    else:
        raise struct.error
    return 1


def _size(file: Path) -> int:
    if not file.is_file():
        raise DataError(f"{file} does not exist")
    return file.stat().st_size


def file_digest(*files: Path) -> str:
    """Identity of weight files: the first 16 hex digits of the SHA-256 of their bytes, in the order given."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]
