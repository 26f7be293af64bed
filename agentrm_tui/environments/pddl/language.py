"""What a planning task is made of: typed objects, literals, action schemas, domains and problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Atom: TypeAlias = tuple[str, ...]
"""A predicate followed by its arguments: object names when ground, `?variables` inside a schema."""

ROOT_TYPE = "object"
EQUALITY = "="


class Literal(NamedTuple):
    """An atom that must hold (or, with `positive` false, must not)."""

    atom: Atom
    positive: bool = True


class Typed(NamedTuple):
    """A name and the types it may have: one for objects, several for a parameter written `(either …)`."""

    name: str
    types: tuple[str, ...] = (ROOT_TYPE,)


class Schema(NamedTuple):
    """An action before its parameters are filled in.

    Attributes:
        precondition: Literals; `=` between two terms is among them.
        effect: Literals: the positive ones are added, the negative ones deleted. Adding wins over deleting.
    """

    name: str
    parameters: tuple[Typed, ...]
    precondition: tuple[Literal, ...]
    effect: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """The rules: types, constants, predicates and action schemas.

    Attributes:
        parents: The direct supertype of each type but `object`.
        predicates: The parameters of each predicate.
    """

    name: str
    parents: Mapping[str, str]
    constants: tuple[Typed, ...]
    predicates: Mapping[str, tuple[Typed, ...]]
    schemas: tuple[Schema, ...]

    def is_a(self, kind: str, wanted: tuple[str, ...]) -> bool:
        """Tell whether a type equals or lies below one of the wanted types."""
        while kind not in wanted:
            if kind == ROOT_TYPE:
                return False
            kind = self.parents.get(kind, ROOT_TYPE)
        return True

    def fluent_predicates(self) -> frozenset[str]:
        """Predicates that some action changes; all others are static."""
        return frozenset(literal.atom[0] for schema in self.schemas for literal in schema.effect)


@dataclass(frozen=True, slots=True)
class Problem:
    """One task: objects, the atoms true at first, and the literals wanted at the end.

    `initial` is sorted; `goal` keeps its order, in which it is told.
    """

    name: str
    domain: str
    objects: tuple[Typed, ...]
    initial: tuple[Atom, ...]
    goal: tuple[Literal, ...]
