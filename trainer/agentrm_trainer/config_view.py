"""What a stage may read of a configuration: the keys it has declared, and nothing else.

A stage's identity is made of the values it declares. A value that it read in silence could change without making the
stage new, so a view raises where more is read than declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec

from agentrm_trainer.config import Config

TIMING = frozenset(
    {"processes", "checkpoint_minutes", "max_minutes", "threads", "device", "require_better_than_chance"}
)
"""Keys that change how long a stage takes, where it computes or what is said of it, not what it does: a stage may be
resumed under other values."""


def view_of(config: Config, reads: Iterable[str], reader: str) -> Config:
    """The configuration as a stage sees it.

    Args:
        reads: Dotted keys; a section's name stands for all its keys, `environments.name` for that key of each.
        reader: Who reads, for the message.
    """
    return cast(Config, _View(config, frozenset(reads), reader, ""))


class _View:
    """A record of which only declared fields can be read; properties are computed on what can be."""

    __slots__ = ("_reader", "_reads", "_record", "_where")

    def __init__(self, record: Any, reads: frozenset[str], reader: str, where: str) -> None:
        self._record, self._reads, self._reader, self._where = record, reads, reader, where

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        own = getattr(type(self._record), name, None)
        if isinstance(own, property) and own.fget is not None:
            return own.fget(self)
        value = getattr(self._record, name)
        if name in self._reads:
            return value
        inner = frozenset(key.partition(".")[2] for key in self._reads if key.startswith(f"{name}."))
        key = f"{self._where}{name}"
        if not inner:
            raise AssertionError(f"the stage {self._reader} reads {key}, which it does not declare")
        if isinstance(value, tuple):
            return tuple(_View(item, inner, self._reader, f"{key}.") for item in value)
        return _View(value, inner, self._reader, f"{key}.")

    def __reduce__(self) -> tuple[type[_View], tuple[Any, ...]]:
        return _View, (self._record, self._reads, self._reader, self._where)


def values_of(config: Config, reads: Sequence[str]) -> dict[str, Any]:
    """The values of declared keys, flat and sorted by dotted key, without those that only change the time it takes."""
    parts = msgspec.json.decode(msgspec.json.encode([_at(config, read.split(".")) for read in reads]))
    found = {key: value for part in parts for key, value in _flat(part, "")}
    return {key: found[key] for key in sorted(found) if key.rpartition(".")[2] not in TIMING}


def value_at(config: Config, key: str) -> Any:
    """The value of one dotted key."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _at(record: Any, path: list[str]) -> Any:
    """The part of a record that a path selects, inside the structure around it."""
    if not path:
        return record
    if isinstance(record, tuple):
        return [_at(item, path) for item in record]
    return {path[0]: _at(getattr(record, path[0]), path[1:])}


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested mappings; a list of mappings is numbered, any other value stands for itself."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{key}.{number}")
    else:
        yield key, value
