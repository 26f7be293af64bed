"""Read and write PDDL text: typing, constants, negative preconditions and equality. Action costs are passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import Any, NoReturn

from agentrm_models.errors import DataError
from agentrm_models.spelling import did_you_mean
from agentrm_tui.environments.pddl.expressions import Group, Word, line_of, nest
from agentrm_tui.environments.pddl.language import EQUALITY, ROOT_TYPE, Atom, Domain, Literal, Problem, Schema, Typed

SUPPORTED = frozenset({":strips", ":typing", ":negative-preconditions", ":equality", ":action-costs"})

_REQUIREMENTS = {
    ":conditional-effects": "conditional effects",
    ":universal-preconditions": "quantifiers",
    ":existential-preconditions": "quantifiers",
    ":quantified-preconditions": "quantifiers",
    ":disjunctive-preconditions": "disjunctions",
    ":fluents": "numeric fluents",
    ":numeric-fluents": "numeric fluents",
    ":object-fluents": "object fluents",
    ":derived-predicates": "derived predicates",
    ":domain-axioms": "derived predicates",
    ":durative-actions": "durative actions",
    ":adl": "conditional effects, quantifiers and disjunctions",
}
"""What a declared requirement that is refused stands for."""

_SECTIONS = {
    ":functions": "numeric fluents",
    ":derived": "derived predicates",
    ":axiom": "derived predicates",
    ":durative-action": "durative actions",
    ":constraints": "trajectory constraints",
    ":process": "processes",
    ":event": "events",
    ":task": "hierarchical tasks",
    ":method": "hierarchical tasks",
}

_TYPED_LISTS = frozenset({":types", ":constants", ":objects"})
_LISTS = _TYPED_LISTS | {":requirements", ":predicates", ":functions", ":init"}
"""Sections that may be written in several parts."""

_CONDITIONS = {
    "when": "conditional effects",
    "forall": "quantifiers",
    "exists": "quantifiers",
    "or": "disjunctions",
    "imply": "implications",
    "preference": "preferences",
    **dict.fromkeys(("<", ">", "<=", ">="), "numeric conditions"),
    **dict.fromkeys(("assign", "increase", "decrease", "scale-up", "scale-down"), "numeric effects"),
}
"""First words of conditions and effects that are not supported, where no predicate has that name."""


def parse_domain(text: str, source: str = "domain") -> Domain:
    """Read a domain.

    Raises:
        DataError: The text is not a domain of the supported kind; the line names `source` and the part.
    """
    reader = _Reader(source)
    name, sections = reader.define(text, "domain")
    reader.check_requirements(sections)
    parents: dict[str, str] = {}
    for kind in reader.typed(sections.get(":types", []), single=True):
        if kind.name != ROOT_TYPE:
            parents[kind.name] = kind.types[0]
    for parent in list(parents.values()):
        if parent != ROOT_TYPE:
            parents.setdefault(parent, ROOT_TYPE)
    reader.check_hierarchy(parents)
    reader.types = {ROOT_TYPE, *parents}
    constants = reader.typed(sections.get(":constants", []), known=True, single=True)
    predicates: dict[str, tuple[Typed, ...]] = {}
    for entry in sections.get(":predicates", []):
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            reader.fail("a predicate is not written (name ?parameter …)", entry)
        predicates[str(entry[0])] = tuple(reader.typed(entry[1:], known=True))
    reader.check_names([entry[0] for entry in sections.get(":predicates", [])])
    reader.predicates = predicates
    terms = {constant.name for constant in constants}
    schemas = tuple(reader.schema(body, terms) for body in sections.get(":action", []))
    reader.check_names([body[0] for body in sections.get(":action", [])])
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
        reader.fail(f"the problem is of domain {' '.join(map(str, wanted))!r}, not {domain.name!r}", wanted)
    objects = tuple(sorted(reader.typed(sections.get(":objects", []), known=True, single=True)))
    terms = {item.name for item in (*domain.constants, *objects)}
    initial = reader.initial(sections.get(":init", []), terms)
    goals = sections.get(":goal", [])
    if len(goals) != 1:
        reader.fail("exactly one goal is needed", goals)
    goal = tuple(reader.goal(goals[0], terms))
    return Problem(name, domain.name, objects, tuple(sorted(set(initial))), goal)


def format_atom(atom: Atom) -> str:
    """An atom as it stands in a file."""
    return f"({' '.join(atom)})"


def _is_cost(node: Any) -> bool:
    """Whether an entry of the initial state gives a function its number, as files with action costs do."""
    match node:
        case ["=", [str(), *_], str(number)]:
            return _is_number(number)
        case _:
            return False


def _is_number(word: str) -> bool:
    try:
        return isfinite(float(word))
    except ValueError:
        return False


def _is_total_cost(node: Any) -> bool:
    """Whether an effect adds to the plan's cost, which changes nothing in the world."""
    match node:
        case ["increase", ["total-cost"], _]:
            return True
        case _:
            return False


class _Reader:
    """One text being read: knows its source for messages and the names declared so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.types: set[str] = {ROOT_TYPE}
        self.predicates: dict[str, tuple[Typed, ...]] = {}

    def fail(self, what: str, node: object = None, remedy: str = "") -> NoReturn:
        line = line_of(node)
        raise DataError(f"{self.source}: {f'line {line}: ' if line else ''}{what[:200]}", remedy)

    def unsupported(self, feature: str, node: object, remedy: str = "") -> NoReturn:
        self.fail(f"{feature} not supported", node, remedy)

    def define(self, text: str, kind: str) -> tuple[str, dict[str, Any]]:
        """Return the name and the sections of `(define (kind name) (:section …) …)`; actions are collected."""
        tree = nest(text, self.fail)
        match tree:
            case ["define", [found, str(name)], *rest] if found == kind:
                pass
            case _:
                self.fail(f"does not begin with (define ({kind} NAME)", tree)
        sections: dict[str, Any] = {}
        for part in rest:
            match part:
                case [":action", *_]:
                    sections.setdefault(":action", []).append(_body(part))
                case [str(key), *_] if key in _SECTIONS and key != ":functions":
                    self.unsupported(f"{_SECTIONS[key]} ({key}) are", key)
                case [str(key), *_] if key.startswith(":") and (key not in sections or key in _LISTS):
                    sections[str(key)] = _joined(sections.get(str(key)), part, key in _TYPED_LISTS)
                case _:
                    self.fail("a section is written twice or does not begin with (:name", part)
        return str(name), sections

    def check_requirements(self, sections: dict[str, Any]) -> None:
        """Refuse requirements that are not supported, by what they stand for; functions serve costs only."""
        for requirement in sections.get(":requirements", []):
            if requirement in SUPPORTED:
                continue
            what = _REQUIREMENTS.get(str(requirement))
            self.unsupported(
                f"requirement {requirement}{f' ({what})' if what else ''} is",
                requirement,
                "Take the word out if the file makes no use of it.",
            )
        functions = sections.get(":functions", [])
        costs = ":action-costs" in sections.get(":requirements", [])
        named = [entry for entry in functions if isinstance(entry, list)]
        if functions and not costs and any(entry != ["total-cost"] for entry in named):
            self.unsupported("numeric fluents (:functions) are", functions)

    def typed(self, items: Sequence[Any], known: bool = False, single: bool = False) -> list[Typed]:
        """Read `a b - kind c - (either x y) d`; with `known`, the types must have been declared.

        With `single`, names have one type each.
        """
        found: list[tuple[Word, tuple[str, ...]]] = []
        waiting: list[Word] = []
        position = 0
        while position < len(items):
            item = items[position]
            if not isinstance(item, Word):
                self.fail("a list of names contains a bracket", item)
            if item != "-":
                waiting.append(item)
                position += 1
                continue
            kinds = self.kinds(items[position + 1] if position + 1 < len(items) else None, item)
            for kind in kinds if known else ():
                if kind not in self.types:
                    self.fail(f"type {kind!r} is not declared", item, did_you_mean(kind, sorted(self.types), ""))
            if single and len(kinds) > 1:
                self.fail("it has several types; (either …) is for parameters only", item)
            found.extend((name, kinds) for name in waiting)
            waiting = []
            position += 2
        found.extend((name, (ROOT_TYPE,)) for name in waiting)
        self.check_names([name for name, _ in found])
        return [Typed(str(name), kinds) for name, kinds in found]

    def check_names(self, names: Sequence[Word]) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                self.fail(f"the name {name} occurs twice", name)
            if not name.isprintable() or "," in name or name.endswith("."):
                self.fail(f"{str(name)!r} is not a name", name)
            seen.add(name)

    def kinds(self, node: Any, dash: Word) -> tuple[str, ...]:
        match node:
            case str():
                kinds: tuple[str, ...] = (str(node),)
            case ["either", *options] if options and all(isinstance(option, str) for option in options):
                kinds = tuple(str(option) for option in options)
            case _:
                self.fail("'-' is not followed by a type", dash)
        return kinds

    def check_hierarchy(self, parents: dict[str, str]) -> None:
        for kind in parents:
            seen = {kind}
            while (kind := parents.get(kind, ROOT_TYPE)) != ROOT_TYPE:
                if kind in seen:
                    self.fail(f"type {kind!r} is its own supertype")
                seen.add(kind)

    def schema(self, body: Group, constants: set[str]) -> Schema:
        if not body or not isinstance(body[0], str) or len(body) % 2 == 0:
            self.fail("an action is not written (:action NAME :parameters … :precondition … :effect …)", body)
        name = str(body[0])
        parts = {key: value for key, value in zip(body[1::2], body[2::2], strict=True) if isinstance(key, str)}
        if unknown := [key for key in parts if key not in (":parameters", ":precondition", ":effect")]:
            self.unsupported(f"action {name}: {unknown[0]} is", unknown[0])
        listed = parts.get(":parameters", Group(0))
        if not isinstance(listed, Group):
            self.fail(f"action {name}: parameters stand in brackets", listed)
        parameters = tuple(self.typed(listed, known=True))
        bare = {parameter.name for parameter in parameters if not parameter.name.startswith("?")}
        if wrong := [word for word in listed if isinstance(word, Word) and word in bare]:
            self.fail(f"action {name}: a parameter is written ?{wrong[0]}, not {wrong[0]}", wrong[0])
        terms = constants | {parameter.name for parameter in parameters}
        wanted = parts.get(":effect", Group(0))
        effect = tuple(self.conjunction(wanted, terms))
        if any(literal.atom[0] == EQUALITY for literal in effect):
            self.fail(f"action {name}: an effect cannot make things equal", wanted)
        precondition = tuple(self.conjunction(parts.get(":precondition", Group(0)), terms))
        return Schema(name, parameters, precondition, effect)

    def conjunction(self, node: Any, terms: set[str]) -> Iterable[Literal]:
        """The literals of a condition or effect; an `and` inside another one is opened up."""
        found = []
        waiting = [node]
        while waiting:
            part = waiting.pop()
            match part:
                case []:
                    continue
                case ["and", *parts]:
                    waiting += reversed(parts)
                case _ if not _is_total_cost(part):
                    found.append(self.literal(part, terms))
        return found

    def goal(self, node: Any, terms: set[str]) -> Iterator[Literal]:
        """The goal without what names alone decide: `(= a a)` always holds, `(= a b)` never does."""
        for literal in self.conjunction(node, terms):
            if literal.atom[0] != EQUALITY:
                yield literal
            elif (literal.atom[1] == literal.atom[2]) != literal.positive:
                written = format_atom(literal.atom)
                self.fail(f"the goal {written if literal.positive else f'(not {written})'} can never hold", node)

    def initial(self, nodes: Sequence[Any], terms: set[str]) -> list[Atom]:
        """The atoms that hold at first; what is said not to hold is not among them anyway."""
        literals = [
            (literal, node) for node in nodes if not _is_cost(node) for literal in self.conjunction(node, terms)
        ]
        for literal, node in literals:
            if literal.atom[0] == EQUALITY:
                self.fail("a thing equals itself and nothing else; the initial state cannot tell", node)
        told = {literal.atom for literal, _ in literals if literal.positive}
        for literal, node in literals:
            if not literal.positive and literal.atom in told:
                self.fail(f"{format_atom(literal.atom)} is said to hold and not to hold", node)
        return [literal.atom for literal, _ in literals if literal.positive]

    def literal(self, node: Any, terms: set[str]) -> Literal:
        positive = True
        inner = node
        while isinstance(inner, Group) and len(inner) == 2 and inner[0] == "not":
            inner, positive = inner[1], not positive
        match inner:
            case ["and", *_] if not positive:
                self.unsupported("negated conjunctions (not (and …)) are", inner)
            case ["at", str(time), [*_]] if _is_number(time):
                self.unsupported("timed initial literals (at TIME …) are", inner)
            case [str(word), *_] if word in _CONDITIONS and word not in self.predicates:
                self.unsupported(f"{_CONDITIONS[word]} ({word} …) are", inner)
            case [str(), *arguments] if all(isinstance(argument, str) for argument in arguments):
                atom: Atom = tuple(str(term) for term in inner)
            case ["=", *_]:
                self.unsupported("numeric conditions (= of functions) are", inner)
            case _:
                self.fail("a condition is neither (predicate …) nor (not (predicate …))", inner or node)
        self.check_atom(atom, terms, inner)
        return Literal(atom, positive)

    def check_atom(self, atom: Atom, terms: set[str], node: object) -> None:
        wanted = 2 if atom[0] == EQUALITY else len(self.predicates.get(atom[0], ()))
        if atom[0] != EQUALITY and atom[0] not in self.predicates:
            remedy = did_you_mean(atom[0], sorted(self.predicates), "")
            self.fail(f"predicate {atom[0]!r} is not declared", node, remedy)
        if len(atom) - 1 != wanted:
            self.fail(f"{format_atom(atom)} needs {wanted} arguments", node)
        for term in atom[1:]:
            if term not in terms:
                remedy = did_you_mean(term, sorted(terms), "")
                self.fail(f"{term!r} in {format_atom(atom)} is not declared", node, remedy)


def _body(part: Group) -> Group:
    """A section without its name, at the section's line."""
    body = Group(part.line)
    body.extend(part[1:])
    return body


def _joined(before: Group | None, part: Group, typed: bool) -> Group:
    """A section's list and, in front of it, what an earlier part of the section listed.

    Args:
        typed: Names at the end of the earlier part that have no type do not take the type of what follows.
    """
    body = _body(part)
    if before is None:
        return body
    if typed and before and (len(before) < 2 or before[-2] != "-"):
        before.extend(_word(text, body.line) for text in ("-", ROOT_TYPE))
    before.extend(body)
    return before


def _word(text: str, line: int) -> Word:
    word = Word(text)
    word.line = line
    return word
