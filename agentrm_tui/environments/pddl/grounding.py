"""Fill in schemas with objects, once for each task; states are immutable sets of ground atoms, stored as bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import NamedTuple

from agentrm_models.errors import DataError
from agentrm_tui.environments.pddl.language import EQUALITY, Atom, Domain, Literal, Problem, Schema

MOST_OPERATORS = 20_000
"""Ground actions of a task; their masks would fill the memory beyond that."""
MOST_TRIES = 500_000
"""Partial assignments of objects to parameters that are looked at."""


class Operator(NamedTuple):
    """A ground action. The four masks are sets of atoms: bit `i` stands for `GroundTask.atoms[i]`.

    Attributes:
        needs: Atoms that must hold.
        forbids: Atoms that must not hold.
        adds: Atoms that hold afterwards.
        deletes: Atoms that no longer hold afterwards, unless added.
    """

    name: str
    arguments: tuple[str, ...]
    needs: int
    forbids: int
    adds: int
    deletes: int


@dataclass(frozen=True, eq=False)
class GroundTask:
    """A problem with everything filled in. A state is an integer: the set of fluent atoms that hold.

    Attributes:
        atoms: All fluent ground atoms, sorted; the bit of an atom is its index.
        static: Atoms that hold for ever, sorted.
        operators: Ground actions in the order of schemas and objects.
        initial: The first state.
        wanted: Goal atoms that must hold.
        unwanted: Goal atoms that must not hold.
        met_at_first: Goal literals that hold in the first state, as the set of their atoms.
    """

    domain: Domain
    problem: Problem
    atoms: tuple[Atom, ...]
    static: tuple[Atom, ...]
    operators: tuple[Operator, ...]
    initial: int
    wanted: int
    unwanted: int
    met_at_first: int

    def applicable(self, state: int) -> list[int]:
        """Indices of the operators that can be applied, ascending."""
        return [
            index
            for index, operator in enumerate(self.operators)
            if operator.needs & state == operator.needs and not operator.forbids & state
        ]

    def apply(self, state: int, index: int) -> int:
        """The state after an operator; it must be applicable."""
        operator = self.operators[index]
        return state & ~operator.deletes | operator.adds

    def unmet(self, state: int, index: int) -> list[Literal]:
        """Preconditions of an operator that do not hold."""
        operator = self.operators[index]
        missing = [Literal(atom) for atom in self.holding(operator.needs & ~state)]
        return missing + [Literal(atom, False) for atom in self.holding(operator.forbids & state)]

    def holding(self, state: int) -> tuple[Atom, ...]:
        """The fluent atoms of a state, sorted."""
        found = []
        while state:
            lowest = state & -state
            found.append(self.atoms[lowest.bit_length() - 1])
            state ^= lowest
        return tuple(found)

    def is_goal(self, state: int) -> bool:
        """Whether every goal literal holds."""
        return state & self.wanted == self.wanted and not state & self.unwanted

    def met(self, state: int) -> int:
        """The goal literals that hold, as the set of their atoms."""
        return state & self.wanted | ~state & self.unwanted

    def goals_held(self, state: int) -> int:
        """Number of goal literals that hold."""
        return self.met(state).bit_count()

    @cached_property
    def goals(self) -> int:
        """Number of goal literals."""
        return self.wanted.bit_count() + self.unwanted.bit_count()

    def progress(self, state: int) -> float:
        """gained / (missing + broken) over goal literals, in [0, 1]; 1 exactly in goal states.

        Missing are those that do not hold in the first state, gained those of them that hold now; broken are those
        that held at first and do not now. What holds at first thus gives no head start.
        """
        met = self.met(state)
        gained = (met & ~self.met_at_first).bit_count()
        broken = (self.met_at_first & ~met).bit_count()
        needed = self.goals - self.met_at_first.bit_count() + broken
        return gained / needed if needed else 1.0


def ground(domain: Domain, problem: Problem) -> GroundTask:
    """Instantiate every schema whose static preconditions hold, and number the fluent atoms.

    Raises:
        DataError: There are more ground actions than can be held.
    """
    fluent = domain.fluent_predicates()
    static = frozenset(atom for atom in problem.initial if atom[0] not in fluent)
    things = (*domain.constants, *problem.objects)
    kinds = {item.name: item.types[0] for item in things}
    bindings: list[tuple[Schema, dict[str, str]]] = []
    for schema in domain.schemas:
        for binding in _bindings(schema, domain, kinds, static, fluent):
            bindings.append((schema, binding))
            if len(bindings) > MOST_OPERATORS:
                raise _too_large(schema, f"more than {MOST_OPERATORS:,} ground actions", len(things))
    drafts = [(schema, binding, *_split(schema, binding, fluent)) for schema, binding in bindings]
    table = {atom for draft in drafts for mask in draft[2:] for atom in mask}
    table.update(atom for atom in problem.initial if atom[0] in fluent)
    table.update(literal.atom for literal in problem.goal)
    atoms = tuple(sorted(table))
    bit = {atom: 1 << index for index, atom in enumerate(atoms)}
    operators = tuple(
        Operator(
            schema.name,
            tuple(binding[parameter.name] for parameter in schema.parameters),
            *(sum(bit[atom] for atom in mask) for mask in masks),
        )
        for schema, binding, *masks in drafts
    )
    initial = sum(bit[atom] for atom in problem.initial if atom in bit)
    wanted = sum({bit[literal.atom] for literal in problem.goal if literal.positive})
    unwanted = sum({bit[literal.atom] for literal in problem.goal if not literal.positive})
    met = initial & wanted | ~initial & unwanted
    return GroundTask(domain, problem, atoms, tuple(sorted(static)), operators, initial, wanted, unwanted, met)


def _too_large(schema: Schema, what: str, things: int) -> DataError:
    return DataError(
        f"{what}, at action {schema.name} with {len(schema.parameters)} parameters and {things} objects",
        "Take fewer objects, or give them types.",
    )


def _split(
    schema: Schema, binding: Mapping[str, str], fluent: frozenset[str]
) -> tuple[set[Atom], set[Atom], set[Atom], set[Atom]]:
    """The ground atoms that an action needs, forbids, adds and deletes."""
    needs, forbids, adds, deletes = set[Atom](), set[Atom](), set[Atom](), set[Atom]()
    for literal in schema.precondition:
        if literal.atom[0] in fluent:
            (needs if literal.positive else forbids).add(_fill(literal.atom, binding))
    for literal in schema.effect:
        (adds if literal.positive else deletes).add(_fill(literal.atom, binding))
    return needs, forbids, adds, deletes


def _fill(atom: Atom, binding: Mapping[str, str]) -> Atom:
    return (atom[0], *(binding.get(term, term) for term in atom[1:]))


def _bindings(
    schema: Schema, domain: Domain, kinds: Mapping[str, str], static: frozenset[Atom], fluent: frozenset[str]
) -> Iterator[dict[str, str]]:
    """All assignments of objects to parameters that satisfy types, equality and static preconditions."""
    order = [parameter.name for parameter in schema.parameters]
    options = [
        [name for name, kind in kinds.items() if domain.is_a(kind, parameter.types)] for parameter in schema.parameters
    ]
    # Each check is made as soon as its last variable is bound, so that dead branches are cut early.
    checks: list[list[Literal]] = [[] for _ in range(len(order) + 1)]
    for literal in schema.precondition:
        if literal.atom[0] not in fluent:
            checks[max((order.index(term) + 1 for term in literal.atom[1:] if term in order), default=0)].append(
                literal
            )

    tries = count()

    def extend(depth: int, binding: dict[str, str]) -> Iterator[dict[str, str]]:
        if next(tries) > MOST_TRIES:
            raise _too_large(schema, f"more than {MOST_TRIES:,} assignments to try", len(kinds))
        if not all(_holds(literal, binding, static) for literal in checks[depth]):
            return
        if depth == len(order):
            yield dict(binding)
            return
        for name in options[depth]:
            binding[order[depth]] = name
            yield from extend(depth + 1, binding)
        binding.pop(order[depth], None)

    return extend(0, {})


def _holds(literal: Literal, binding: Mapping[str, str], static: frozenset[Atom]) -> bool:
    atom = _fill(literal.atom, binding)
    return (atom[1] == atom[2] if atom[0] == EQUALITY else atom in static) == literal.positive
