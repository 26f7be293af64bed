"""Looks at weight files before a library does, so that a cut-off or foreign file ends in one clear line."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

from agentrm_models.errors import DataError

_REMEDY = "Download or export it again."
_HEADER_LIMIT = 100_000_000
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9


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
    for _ in range(entries):
        _skip_string(stream, size)
        _skip_value(stream, _read(stream, "<I")[0], size)
    last = 0
    for _ in range(tensors):
        _skip_string(stream, size)
        dimensions = _read(stream, "<I")[0]
        if dimensions > 8:
            raise struct.error
        _read(stream, f"<{dimensions}QI")
        last = max(last, _read(stream, "<Q")[0])
    if stream.tell() + last >= size:
        raise DataError(f"{file} is cut off: it has {size} bytes, its last tensor begins after that", _REMEDY)


def _read(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _skip_string(stream: BinaryIO, size: int) -> None:
    _skip(stream, _read(stream, "<Q")[0], size)


def _skip(stream: BinaryIO, count: int, size: int) -> None:
    if stream.tell() + count > size:
        raise struct.error
    stream.seek(count, 1)


def _skip_value(stream: BinaryIO, kind: int, size: int) -> None:
    if kind == _STRING:
        _skip_string(stream, size)
    elif kind == _ARRAY:
        inner, count = _read(stream, "<I")[0], _read(stream, "<Q")[0]
        if inner in _SCALAR_BYTES:
            _skip(stream, _SCALAR_BYTES[inner] * count, size)
        else:
            for _ in range(count):
                _skip_value(stream, inner, size)
    else:
        if kind not in _SCALAR_BYTES:
            raise struct.error
        _skip(stream, _SCALAR_BYTES[kind], size)


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
