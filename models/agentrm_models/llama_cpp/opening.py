"""Opening a GGUF file: its parts, its token probe, and how large a context it gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.weight_files import check_gguf, file_digest

if TYPE_CHECKING:
    from agentrm_models.llama_cpp.native import NativeModel

LONGEST_CONTEXT = 8_192
"""Context length used at most when no cache limit is given: foreign models declare up to a million tokens."""

SPARE_CELLS = 2_048
"""Cells beyond one full context, for candidates and for what is kept between calls."""

SEQUENCES = 64
"""Sequences of a context: candidates in flight together with beginnings that are kept."""

PROBE_KEY = "agentrm.token_probe"
"""Metadata key of the token probe: a JSON list of [text, token ids]."""

PROMPT_KEY = "agentrm.prompt"
"""Metadata key of the instruction style that the model was trained with."""

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_MOST_PARTS = 1_000


class GGUFFiles(NamedTuple):
    """A GGUF model on this machine.

    Attributes:
        parts: Its files in order; llama.cpp is given the first.
    """

    parts: tuple[Path, ...]

    @property
    def first(self) -> Path:
        """The file that llama.cpp opens; it finds the others by their names."""
        return self.parts[0]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.stat().st_size for part in self.parts)

    @property
    def digest(self) -> str:
        """Identity of all files."""
        return file_digest(*self.parts)

    @property
    def stem(self) -> str:
        """The model's name, without the part's number and the ending."""
        match = _PART.fullmatch(self.first.name)
        return match[1] if match else self.first.name[: -len(".gguf")]

    def check(self) -> None:
        """Walk the headers of all files; errors as `check_gguf`."""
        for part in self.parts:
            check_gguf(part)


def part_names(name: str) -> tuple[str, ...]:
    """The names of all parts of a model whose first part this is; the name alone where it is no part.

    Raises:
        UsageError: It is a later part.
    """
    match = _PART.fullmatch(name)
    if match is None:
        return (name,)
    stem, number, count = match[1], int(match[2]), int(match[3])
    if number != 1:
        raise UsageError(
            f"{name[:120]} is part {number} of {count}", f"Name the first: {stem}-00001-of-{count:05}.gguf."
        )
    if not 1 <= count <= _MOST_PARTS:
        raise UsageError(f"{name[:120]}: a model has at most {_MOST_PARTS} parts")
    ending = name[-len(".gguf") :]
    return tuple(f"{stem}-{place:05}-of-{count:05}{ending}" for place in range(1, count + 1))


def find_gguf(path: Path) -> GGUFFiles | None:
    """The model that a file or folder is; None where it is none.

    Raises:
        UsageError: A later part was named, or the folder holds several models.
        DataError: A part is missing.
    """
    if path.is_file() and path.name.lower().endswith(".gguf"):
        parts = tuple(path.with_name(name) for name in part_names(path.name))
        for part in parts:
            if not part.is_file():
                raise DataError(f"{part} is missing: {path.name} has {len(parts)} parts", "Download it too.")
        return GGUFFiles(parts)
    if not path.is_dir() or any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        return None
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name.lower().endswith(".gguf"))
    models = {match[1] if (match := _PART.fullmatch(file.name)) else file.name: file for file in files[::-1]}
    models = {name: file for name, file in models.items() if not name.endswith(".language.gguf")}
    if not models:
        return None
    if len(models) > 1:
        raise UsageError(f"{path} holds {len(models)} GGUF models", f"Name one: {', '.join(sorted(models)[:4])}.")
    (file,) = models.values()
    match = _PART.fullmatch(file.name)
    if match and int(match[2]) != 1:
        raise DataError(f"{path}: {match[1]}-00001-of-{match[3]}.gguf is missing", "Download it too.")
    return find_gguf(file)


class Room(msgspec.Struct, frozen=True):
    """How much of a context is used.

    Attributes:
        window: Tokens of one prompt and its reply.
        cells: Tokens of all sequences together.
        notice: Says that the model could read more; empty where it could not.
    """

    window: int
    cells: int
    notice: str


def room_of(model: NativeModel, cache_bytes: int, exact: bool) -> Room:
    """Context length and number of cells, from the limit in bytes."""
    trained = model.trained_context or LONGEST_CONTEXT
    window = min(trained, LONGEST_CONTEXT)
    cells = window + SPARE_CELLS
    if cache_bytes:
        cells = max(256, cache_bytes // (model.cell_bytes * (2 if exact else 1)))
        window = min(trained, cells)
    if window == trained:
        return Room(window, cells, "")
    name = model.file.name
    notice = f"{name} reads {window:,} tokens of the {trained:,} that it was trained for; raise --cache-mb for more"
    return Room(window, cells, notice)


def open_model(file: Path, device: str) -> NativeModel:
    """Load a model, and repeat the token probe that an export of this project has stored in the file.

    Raises:
        DataError: The package is missing, the file cannot be loaded, or it tokenises otherwise than the tokenizer it
            was exported from.
    """
    from agentrm_models.llama_cpp.native import NativeModel

    model = NativeModel(file, device=device)
    stored = model.metadata(PROBE_KEY)
    try:
        probe = msgspec.json.decode(stored or "[]", type=list[tuple[str, list[int]]])
    except msgspec.DecodeError:
        model.close()
        raise DataError(f"{model.file} is damaged: its token probe cannot be read", "Export it again.") from None
    for text, tokens in probe:
        if model.tokenize(text, special=False) != tokens:
            model.close()
            raise DataError(
                f"{model.file} tokenises {text[:30]!r} otherwise than the tokenizer it was made from",
                "Its pre-tokenizer label is wrong, or the file is damaged; export it again.",
            )
    return model
