"""What a rule of the preflight is given, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from agentrm_trainer.config_file import ConfigFile


class Mistake(NamedTuple):
    """One thing that would fail later.

    Attributes:
        key: The dotted key, or the flag, that is to be changed.
        cause: What is wrong, with the value.
        remedy: What to write instead.
    """

    key: str
    cause: str
    remedy: str


class Given(NamedTuple):
    """What is about to be done.

    Attributes:
        file: The settings, with the place of each key.
        out: The folder of all results.
        stages: Names of the stages that will run.
    """

    file: ConfigFile
    out: Path
    stages: tuple[str, ...]


Rule: TypeAlias = Callable[[Given], Iterator[Mistake]]


def shown(value: Any) -> str:
    """A value as one would write it, shortened."""
    text = value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
