"""Words for domains that nobody wrote sentences for: names of schemas and predicates, opened up at their hyphens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.pddl.grounding import GroundTask, Operator
from agentrm_tui.environments.pddl.language import EQUALITY, ROOT_TYPE, Atom, Domain, Literal, Schema
from agentrm_tui.environments.pddl.world import Scene, Wording, paint

SHORT_WORDS = 70
"""Words that the list of actions in the short instruction may have before arguments are left out."""

_THOUGHT_WORDS = 15


class SchemaWords(Wording):
    """Sentences made from a domain's own names.

    An action is told as its name and its arguments, `pick-up` of `b1` as "pick up b1". Where two ground actions of a
    task would share a sentence, both keep their PDDL name, "pick-up b1", which is always unambiguous.

    Args:
        identity: A digest of the domain's text.
    """

    def __init__(self, domain: Domain, identity: str) -> None:
        self._domain = domain
        self._identity = identity
        words = Counter(opened(name) for name in domain.predicates)
        # A predicate keeps its hyphens where its words would read like another one's, or like "not" and another one.
        self._predicates = {
            name: name if words[opened(name)] > 1 or opened(name).startswith("not ") else opened(name)
            for name in domain.predicates
        }

    @property
    def identity(self) -> str:
        """The digest that was given."""
        return self._identity

    @property
    def domain(self) -> Domain:
        """The rules."""
        return self._domain

    def sentence(self, operator: Operator) -> str:
        """Name and arguments in words."""
        return " ".join((opened(operator.name), *operator.arguments))

    def sentences(self, task: GroundTask) -> tuple[str, ...]:
        """One sentence for each ground action, no two the same."""
        drafts = [self.sentence(operator) for operator in task.operators]
        count = Counter(drafts)
        return tuple(
            draft if count[draft] == 1 else _formal(operator)
            for draft, operator in zip(drafts, task.operators, strict=True)
        )

    def other_spellings(self, operator: Operator) -> tuple[str, ...]:
        """The PDDL name with its arguments."""
        return (_formal(operator),)

    def fact(self, condition: Literal) -> str:
        """`a on b`, `clear a`, `not hand empty`."""
        predicate, *arguments = condition.atom
        if predicate == EQUALITY:
            return f"{arguments[0]} {'is' if condition.positive else 'is not'} {arguments[1]}"
        words = _joined(self._predicates[predicate], [tuple(arguments)])
        return words if condition.positive else f"not {words}"

    def goal(self, literals: Sequence[Literal]) -> str:
        """What is wanted, in the order of the file."""
        told = self._told(literal.atom for literal in literals if literal.positive)
        return ". ".join([*told, *(self.fact(literal) for literal in literals if not literal.positive)]) + "."

    def describe(self, scene: Scene) -> str:
        """All fluent atoms that hold, by predicate."""
        told = self._told(self._in_order(scene.task.holding(scene.state)))
        return f"{'. '.join(told)}." if told else "Nothing holds."

    def introduce(self, scene: Scene) -> str:
        """Objects by type, and what holds for ever."""
        task = scene.task
        whole = {name for name in self._static(task) if self._always(task, name)}
        static = [atom for atom in task.static if atom[0] not in whole]
        always = [f"{self._predicates[name]}: any" for name in self._static(task) if name in whole]
        told = [*self._told(self._in_order(static)), *always]
        objects = self._objects(task, {term for atom in static for term in atom[1:]})
        return " ".join([*objects, *([f"Always: {'; '.join(told)}."] if told else []), "Now:"])

    def thought(self, plan: Sequence[Operator], scene: Scene) -> str:
        """The first goal that the plan newly meets."""
        task = scene.task
        state = scene.state
        before = task.met(state)
        for operator in plan:
            state = state & ~operator.deletes | operator.adds
            if gained := task.met(state) & ~before:
                atom = task.holding(gained)[0]
                aim = Literal(atom, bool(task.wanted & gained & -gained))
                return " ".join(f"I work towards {self.fact(aim)}.".split()[:_THOUGHT_WORDS])
        return "I follow my plan."

    def picture(self, scene: Scene) -> Picture:
        """Nothing to draw: not declared."""
        return paint([], "")

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """One line for each schema: its words, what it needs and what it does."""
        return tuple(self._rule(schema) for schema in self._domain.schemas)

    @cached_property
    def short_list(self) -> str:
        """The actions in few words."""
        full = [" ".join((opened(schema.name), *_letters(schema).values())) for schema in self._domain.schemas]
        if sum(len(words.split()) for words in full) <= SHORT_WORDS:
            return ", ".join(full)
        short: list[str] = []
        room = SHORT_WORDS
        for schema in self._domain.schemas:
            words = opened(schema.name)
            room -= len(words.split())
            if room < 0:
                return ", ".join([*short, "…"])
            short.append(words)
        return ", ".join(short)

    def _rule(self, schema: Schema) -> str:
        letters = _letters(schema)
        kinds = [
            f"{letters[item.name]} {' or '.join(item.types)}"
            for item in schema.parameters
            if item.types != (ROOT_TYPE,)
        ]
        needs = ", ".join(self._open(literal, letters) for literal in schema.precondition)
        effect = ", ".join(self._open(literal, letters) for literal in schema.effect)
        words = " ".join((opened(schema.name), *letters.values()))
        typed = f" ({', '.join(kinds)})" if kinds else ""
        return f"{words}{typed}: {f'needs {needs}; ' if needs else ''}then {effect or 'nothing changes'}."

    def _open(self, literal: Literal, letters: Mapping[str, str]) -> str:
        atom = (literal.atom[0], *(letters.get(term, term) for term in literal.atom[1:]))
        return self.fact(Literal(atom, literal.positive))

    def _in_order(self, atoms: Iterable[Atom]) -> list[Atom]:
        """Atoms by the order of predicates in the file."""
        place = {name: number for number, name in enumerate(self._domain.predicates)}
        return sorted(atoms, key=lambda atom: (place[atom[0]], atom))

    def _told(self, atoms: Iterable[Atom]) -> list[str]:
        grouped: dict[str, list[tuple[str, ...]]] = {}
        for atom in atoms:
            grouped.setdefault(atom[0], []).append(atom[1:])
        return [_joined(self._predicates[predicate], found) for predicate, found in grouped.items()]

    def _static(self, task: GroundTask) -> list[str]:
        return list(dict.fromkeys(atom[0] for atom in self._in_order(task.static)))

    def _always(self, task: GroundTask, predicate: str) -> bool:
        """Whether a predicate holds for all objects of its types, as those do that merely name an action."""
        parameters = self._domain.predicates[predicate]
        if len(parameters) not in (1, 2):
            return False
        things = {(item.name, item.types[0]) for item in (*self._domain.constants, *task.problem.objects)}
        fitting = [{name for name, kind in things if self._domain.is_a(kind, item.types)} for item in parameters]
        found = {atom[1:] for atom in task.static if atom[0] == predicate}
        # There are seldom as many atoms as choices: then they need not be looked through.
        choices = prod(map(len, fitting)) - (len(fitting[0] & fitting[1]) if len(fitting) == 2 else 0)
        if not 0 < choices <= len(found):
            return False
        return all(pick in found for pick in product(*fitting) if len(set(pick)) == len(pick))

    def _objects(self, task: GroundTask, named: set[str]) -> list[str]:
        """Objects by type; those without a type only where nothing fixed is told of them."""
        kinds: dict[str, list[str]] = {}
        for item in dict.fromkeys((*self._domain.constants, *task.problem.objects)):
            if item.types[0] != ROOT_TYPE or item.name not in named:
                names = kinds.setdefault("" if item.types[0] == ROOT_TYPE else item.types[0], [])
                names.append(item.name)
        told = [" ".join(filter(None, (kind, ", ".join(names)))) for kind, names in kinds.items()]
        return [f"Objects: {'; '.join(told)}."] if told else []


def opened(name: str) -> str:
    """A PDDL name as words: `pick-up` is "pick up"."""
    return " ".join(name.replace("-", " ").replace("_", " ").split()) or name


def _formal(operator: Operator) -> str:
    return " ".join((operator.name, *operator.arguments))


def _letters(schema: Schema) -> dict[str, str]:
    """Parameters as the instruction shows them."""
    return {item.name: item.name.lstrip("?").upper() for item in schema.parameters}


def _joined(name: str, found: Sequence[tuple[str, ...]]) -> str:
    """The atoms of one predicate: `clear: a, b`, `a, b on c; d on e`, `hand empty`."""
    if len(found) == 1 and len(found[0]) < 2:
        return " ".join((name, *found[0]))
    if len(found[0]) == 2:
        onto: dict[str, list[str]] = {}
        for first, second in found:
            onto.setdefault(second, []).append(first)
        return "; ".join(f"{', '.join(firsts)} {name} {second}" for second, firsts in onto.items())
    if len(found) == 1:
        return " ".join((name, *found[0]))
    return f"{name}: {', '.join(' '.join(arguments) for arguments in found)}"
