"""The settings of algorithms as fields that flags, the launcher and help are made from.

A field is named once, in the struct of its algorithm: its type, limits and default are read from there, its words from
the struct's docstring. Algorithms that have a field of the same name share its flag.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from agentrm_models.errors import UsageError
from agentrm_tui.search.algorithm import Algorithm, Grid, name_of
from agentrm_tui.search.registry import ALGORITHMS, SearchSettings

FieldKind: TypeAlias = Literal["whole", "decimal", "choice", "switch", "grid"]


PLANS_OWN = {"candidates": "siblings"}
"""Settings whose name is that of another flag, and what their flag is called."""


class SearchField(NamedTuple):
    """One setting of an algorithm.

    Attributes:
        kind: How it is written: a whole number, a decimal, one of `choices`, a switch, or two sizes as in 5x5.
        default: None where it is left open.
        words: What it means, from the struct's docstring.
        low, high: Limits of numbers, both allowed.
    """

    name: str
    kind: FieldKind
    default: Any
    words: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The command line's flag: the name, unless a field of the plan has that one."""
        name = PLANS_OWN.get(self.name, self.name)
        return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"

    def write(self, value: Any) -> str:
        """A value as it is typed."""
        if value is None:
            return ""
        match self.kind:
            case "grid":
                return f"{value[0]}x{value[1]}"
            case "decimal":
                return f"{value:g}"
            case "switch":
                return "yes" if value else "no"
            case _:
                return str(value)

    def read(self, text: str) -> Any:
        """The value that a typed text stands for.

        Raises:
            UsageError: It is none, or lies outside the limits.
        """
        typed = text.strip()
        if not typed and self.default is None:
            return None
        value = self._value(typed)
        sizes = value if isinstance(value, tuple) else (value,)
        if self.kind in ("whole", "decimal", "grid") and not all(self.low <= size <= self.high for size in sizes):
            raise UsageError(f"{self.flag}: {typed[:40]!r} is not between {self.low:g} and {self.high:g}")
        return value

    def _value(self, typed: str) -> Any:
        match self.kind:
            case "whole" if re.fullmatch(r"[0-9]{1,18}", typed):
                return int(typed)
            case "decimal" if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?", typed):
                return float(typed)
            case "choice" if typed in self.choices:
                return typed
            case "switch" if typed.lower() in ("yes", "no"):
                return typed.lower() == "yes"
            case "grid" if found := re.fullmatch(r"([0-9]{1,9})[xX]([0-9]{1,9})", typed):
                return int(found[1]), int(found[2])
            case _:
                raise UsageError(f"{self.flag}: {typed[:40]!r} is not {_EXPECTED[self.kind]}", self._offer())

    def _offer(self) -> str:
        return f"One of {', '.join(self.choices)}." if self.choices else ""


_EXPECTED: dict[FieldKind, str] = {
    "whole": "a whole number",
    "decimal": "a number",
    "choice": "one of the choices",
    "switch": "yes or no",
    "grid": "of the form 5x5",
}


@cache
def fields_of(algorithm: str) -> tuple[SearchField, ...]:
    """The settings of an algorithm, in the order of its struct."""
    kind = ALGORITHMS[algorithm]
    words = _described(kind)
    return tuple(_field(info, words.get(info.name, "")) for info in msgspec.structs.fields(kind))


@cache
def flags() -> dict[str, tuple[SearchField, tuple[str, ...]]]:
    """Every field by name, as the first algorithm that has it describes it, with the algorithms that have it."""
    found: dict[str, tuple[SearchField, tuple[str, ...]]] = {}
    for algorithm in ALGORITHMS:
        for field in fields_of(algorithm):
            first, owners = found.get(field.name, (field, ()))
            found[field.name] = first, (*owners, algorithm)
    return found


def settings_of(algorithm: str, values: dict[str, Any]) -> SearchSettings:
    """Settings from values by name; what is not named keeps its default, what the algorithm has not is left out.

    Raises:
        UsageError: No such algorithm, or a value that it does not take.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"there is no search {algorithm[:80]!r}", f"One of {', '.join(ALGORITHMS)}.")
    known = {field.name for field in fields_of(algorithm)}
    try:
        kept = {name: value for name, value in values.items() if name in known and value is not None}
        settings: SearchSettings = msgspec.convert({"algorithm": algorithm, **kept}, SearchSettings, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(f"search {algorithm}: {error}") from None
    return settings


def _described(kind: type[Algorithm]) -> dict[str, str]:
    """What the docstring of a struct says of each attribute."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): ((?:.|\n {5,})*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in entries}


def _field(info: msgspec.structs.FieldInfo, words: str) -> SearchField:
    default = None if info.default is msgspec.NODEFAULT else info.default
    if info.type == Grid:
        side: Any = msgspec.inspect.type_info(get_args(Grid)[0])
        return SearchField(info.name, "grid", default, words, side.ge, side.le)
    told: Any = msgspec.inspect.type_info(info.type)
    if isinstance(told, msgspec.inspect.UnionType):
        told = next(part for part in told.types if not isinstance(part, msgspec.inspect.NoneType))
    match told:
        case msgspec.inspect.IntType(ge=low, le=high):
            return SearchField(info.name, "whole", default, words, low or 0, high or 0)
        case msgspec.inspect.FloatType(ge=least, le=most):
            return SearchField(info.name, "decimal", default, words, least or 0, most or 0)
        case msgspec.inspect.LiteralType():
            return SearchField(info.name, "choice", default, words, choices=tuple(map(str, told.values)))
        case msgspec.inspect.BoolType():
            return SearchField(info.name, "switch", default, words)
        case _:
            raise TypeError(f"{name_of(Algorithm)}.{info.name} has a type that no field can show: {info.type}")
