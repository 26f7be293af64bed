"""Read and write PDDL text: typing, constants, negative preconditions and equality."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from agentrm_models.errors import DataError
from agentrm_tui.environments.pddl.language import EQUALITY, ROOT_TYPE, Atom, Domain, Literal, Problem, Schema, Typed

SUPPORTED = frozenset({":strips", ":typing", ":negative-preconditions", ":equality"})

# A `?` begins a new token even in the middle of a word: a widely used barman file writes `level?l1`.
_TOKEN = re.compile(r";[^\n]*|[()]|\?[^\s()?;]*|[^\s()?;]+")


def parse_domain(text: str, source: str = "domain") -> Domain:
    """Read a domain.

    Raises:
        DataError: The text is not a domain of the supported kind; the line names `source` and the part.
    """
    reader = _Reader(source)
    name, sections = reader.define(text, "domain")
    for requirement in sections.get(":requirements", []):
        if requirement not in SUPPORTED:
            reader.fail(f"requirement {requirement} is not supported")
    parents: dict[str, str] = {}
    for kind in reader.typed(sections.get(":types", [])):
        parents[kind.name] = kind.types[0]
    for parent in list(parents.values()):
        if parent != ROOT_TYPE:
            parents.setdefault(parent, ROOT_TYPE)
    reader.check_hierarchy(parents)
    reader.types = {ROOT_TYPE, *parents}
    constants = reader.typed(sections.get(":constants", []), known=True)
    predicates: dict[str, tuple[Typed, ...]] = {}
    for entry in sections.get(":predicates", []):
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            reader.fail("a predicate is not written (name ?parameter …)")
        predicates[entry[0]] = tuple(reader.typed(entry[1:], known=True))
    reader.predicates = predicates
    terms = {constant.name for constant in constants}
    schemas = tuple(reader.schema(body, terms) for body in sections.get(":action", []))
    return Domain(name, parents, tuple(constants), predicates, schemas)


def parse_problem(text: str, domain: Domain, source: str = "problem") -> Problem:
    """Read a problem of a domain.

    Raises:
        DataError: The text is not a problem, or names objects, types or predicates that do not exist.
    """
    reader = _Reader(source)
    reader.types = {ROOT_TYPE, *domain.parents}
    reader.predicates = dict(domain.predicates)
    name, sections = reader.define(text, "problem")
    wanted = sections.get(":domain", [])
    if wanted != [domain.name]:
        reader.fail(f"the problem is of domain {' '.join(map(str, wanted))!r}, not {domain.name!r}")
    objects = tuple(sorted(reader.typed(sections.get(":objects", []), known=True)))
    terms = {item.name for item in (*domain.constants, *objects)}
    initial = [reader.literal(node, terms) for node in sections.get(":init", [])]
    if any(not literal.positive for literal in initial):
        reader.fail("the initial state lists what holds; (not …) has no place in it")
    goals = sections.get(":goal", [])
    if len(goals) != 1:
        reader.fail("exactly one goal is needed")
    goal = tuple(reader.conjunction(goals[0], terms))
    return Problem(name, domain.name, objects, tuple(sorted({literal.atom for literal in initial})), goal)


def format_problem(problem: Problem) -> str:
    """Write a problem as PDDL text; `parse_problem` reads it back."""
    objects = " ".join(f"{item.name} - {item.types[0]}" for item in problem.objects)
    initial = " ".join(_format_atom(atom) for atom in problem.initial)
    goal = " ".join(
        _format_atom(literal.atom) if literal.positive else f"(not {_format_atom(literal.atom)})"
        for literal in problem.goal
    )
    return (
        f"(define (problem {problem.name})\n  (:domain {problem.domain})\n  (:objects {objects})\n"
        f"  (:init {initial})\n  (:goal (and {goal})))\n"
    )


def _format_atom(atom: Atom) -> str:
    return f"({' '.join(atom)})"


class _Reader:
    """One text being read: knows its source for messages and the names declared so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.types: set[str] = {ROOT_TYPE}
        self.predicates: dict[str, tuple[Typed, ...]] = {}

    def fail(self, what: str) -> NoReturn:
        raise DataError(f"{self.source}: {what[:200]}")

    def define(self, text: str, kind: str) -> tuple[str, dict[str, list[Any]]]:
        """Return the name and the sections of `(define (kind name) (:section …) …)`; actions are collected."""
        tree = self.tree(text)
        match tree:
            case ["define", [found, str(name)], *rest] if found == kind:
                pass
            case _:
                self.fail(f"does not begin with (define ({kind} NAME)")
        sections: dict[str, list[Any]] = {}
        for part in rest:
            match part:
                case [":action", *body]:
                    sections.setdefault(":action", []).append(body)
                case [str(key), *body] if key.startswith(":") and key not in sections:
                    sections[key] = body
                case _:
                    self.fail("a section is written twice or does not begin with (:name")
        return name, sections

    def tree(self, text: str) -> list[Any]:
        """Nest the tokens by their brackets, without recursion, so that depth cannot hurt."""
        stack: list[list[Any]] = [[]]
        for token in _TOKEN.findall(text.lower()):
            if token == "(":
                stack.append([])
            elif token == ")":
                if len(stack) == 1:
                    self.fail("a bracket is closed that was never opened")
                node = stack.pop()
                stack[-1].append(node)
            elif not token.startswith(";"):
                stack[-1].append(token)
        if len(stack) > 1:
            self.fail("a bracket is never closed; the text may be cut off")
        if len(stack[0]) != 1 or not isinstance(stack[0][0], list):
            self.fail("is not one (define …) expression")
        return stack[0][0]

    def typed(self, items: Sequence[Any], known: bool = False) -> list[Typed]:
        """Read `a b - kind c - (either x y) d`; with `known`, the types must have been declared."""
        result: list[Typed] = []
        waiting: list[str] = []
        position = 0
        while position < len(items):
            item = items[position]
            if not isinstance(item, str):
                self.fail("a list of names contains a bracket")
            if item != "-":
                waiting.append(item)
                position += 1
                continue
            kinds = self.kinds(items[position + 1] if position + 1 < len(items) else None)
            for kind in kinds if known else ():
                if kind not in self.types:
                    self.fail(f"type {kind!r} is not declared")
            result.extend(Typed(name, kinds) for name in waiting)
            waiting = []
            position += 2
        result.extend(Typed(name) for name in waiting)
        names = [item.name for item in result]
        if len(set(names)) < len(names):
            self.fail(f"a name occurs twice among {' '.join(names)}")
        return result

    def kinds(self, node: Any) -> tuple[str, ...]:
        match node:
            case str():
                kinds: tuple[str, ...] = (node,)
            case ["either", *options] if options and all(isinstance(option, str) for option in options):
                kinds = tuple(options)
            case _:
                self.fail("'-' is not followed by a type")
        return kinds

    def check_hierarchy(self, parents: dict[str, str]) -> None:
        for kind in parents:
            seen = {kind}
            while (kind := parents.get(kind, ROOT_TYPE)) != ROOT_TYPE:
                if kind in seen:
                    self.fail(f"type {kind!r} is its own supertype")
                seen.add(kind)

    def schema(self, body: list[Any], constants: set[str]) -> Schema:
        if not body or not isinstance(body[0], str) or len(body) % 2 == 0:
            self.fail("an action is not written (:action NAME :parameters … :precondition … :effect …)")
        parts = {key: value for key, value in zip(body[1::2], body[2::2], strict=True) if isinstance(key, str)}
        if unknown := [key for key in parts if key not in (":parameters", ":precondition", ":effect")]:
            self.fail(f"action {body[0]}: {unknown[0]} is not supported")
        parameters = tuple(self.typed(parts.get(":parameters", []), known=True))
        terms = constants | {parameter.name for parameter in parameters}
        effect = tuple(self.conjunction(parts.get(":effect", []), terms))
        if any(literal.atom[0] == EQUALITY for literal in effect):
            self.fail(f"action {body[0]}: an effect cannot make things equal")
        return Schema(body[0], parameters, tuple(self.conjunction(parts.get(":precondition", []), terms)), effect)

    def conjunction(self, node: Any, terms: set[str]) -> Iterable[Literal]:
        match node:
            case []:
                return []
            case ["and", *parts]:
                return [self.literal(part, terms) for part in parts]
            case _:
                return [self.literal(node, terms)]

    def literal(self, node: Any, terms: set[str]) -> Literal:
        match node:
            case ["not", inner]:
                literal = self.literal(inner, terms)
                return Literal(literal.atom, not literal.positive)
            case [str(), *arguments] if all(isinstance(argument, str) for argument in arguments):
                atom: Atom = tuple(node)
            case _:
                self.fail("a condition is neither (predicate …) nor (not (predicate …))")
        wanted = 2 if atom[0] == EQUALITY else len(self.predicates.get(atom[0], ()))
        if atom[0] != EQUALITY and atom[0] not in self.predicates:
            self.fail(f"predicate {atom[0]!r} is not declared")
        if len(atom) - 1 != wanted:
            self.fail(f"{_format_atom(atom)} needs {wanted} arguments")
        for term in atom[1:]:
            if term not in terms:
                self.fail(f"{term!r} in {_format_atom(atom)} is not declared")
        return Literal(atom)
