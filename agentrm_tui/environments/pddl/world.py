"""What a domain adds to its PDDL rules: sentences, problem generators, descriptions, thoughts and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, NamedTuple

from agentrm_tui.environments.base import Cell, Picture, Tint
from agentrm_tui.environments.pddl.grounding import GroundTask, Operator
from agentrm_tui.environments.pddl.language import Atom, Domain, Problem, Typed
from agentrm_tui.environments.pddl.language import Literal as Condition
from agentrm_tui.environments.pddl.reading import parse_domain

Role = Literal["empty", "wall", "floor", "agent", "goal", "object", "door", "hidden", "label"]

EMPTY_CELL = Cell(" ", "empty")


class Level(NamedTuple):
    """A size of problem.

    Attributes:
        step_limit: About twice the expert's longest plan, `finish` included, and at most 30.
        size: Number of main objects (blocks, balls, drinks, hubs).
        variant: What the generator sets up, where size does not say it.
    """

    name: str
    step_limit: int
    size: int
    variant: str = ""


class Scene:
    """A state opened up for reading: the fluent and static atoms by predicate, each sorted."""

    def __init__(self, task: GroundTask, state: int) -> None:
        self.task = task
        self.state = state
        self.goal = task.problem.goal
        self._objects = task.problem.objects
        self._facts: dict[str, list[tuple[str, ...]]] = {}
        for atom in (*task.static, *task.holding(state)):
            self._facts.setdefault(atom[0], []).append(atom[1:])

    def pairs(self, predicate: str) -> list[tuple[str, ...]]:
        """Arguments of each atom of a predicate."""
        return self._facts.get(predicate, [])

    def firsts(self, predicate: str, *rest: str) -> list[str]:
        """First arguments of the atoms of a predicate whose other arguments are as given."""
        return [found[0] for found in self.pairs(predicate) if found[1:] == rest]

    def mapping(self, predicate: str) -> dict[str, str]:
        """First to second argument of the atoms of a predicate with two."""
        return {found[0]: found[1] for found in self.pairs(predicate)}

    def holds(self, *atom: str) -> bool:
        """Whether an atom holds."""
        return atom[1:] in self.pairs(atom[0])

    def objects(self, kind: str) -> list[str]:
        """Names of the objects of a type, sorted."""
        return [item.name for item in self._objects if item.types[0] == kind]


class Wording(ABC):
    """How a domain is told in words; what a task needs of it, whether it is one of ours or a person's own file."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """What tells these rules from all others."""

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The rules."""

    @abstractmethod
    def sentence(self, operator: Operator) -> str:
        """The English sentence of a ground action."""

    @abstractmethod
    def fact(self, condition: Condition) -> str:
        """The English sentence, without a full stop, of a literal."""

    @abstractmethod
    def describe(self, scene: Scene) -> str:
        """What changes, in short English sentences: enough to tell any two states of one task apart."""

    @abstractmethod
    def thought(self, plan: Sequence[Operator], scene: Scene) -> str:
        """Why the first action of a plan comes next, as a subgoal of at most 15 tokens."""

    @abstractmethod
    def picture(self, scene: Scene) -> Picture:
        """The state as a grid."""

    def introduce(self, scene: Scene) -> str:
        """What never changes but matters, told once; empty when there is nothing."""
        return ""

    def sentences(self, task: GroundTask) -> tuple[str, ...]:
        """The sentences of all ground actions of a task, in their order."""
        return tuple(self.sentence(operator) for operator in task.operators)

    def other_spellings(self, operator: Operator) -> tuple[str, ...]:
        """What else is understood as an action."""
        return ()


class World(Wording):
    """One planning domain as an environment tells it.

    Attributes:
        name: Also the name of the domain and of its `.pddl` file.
        actions: For each schema its sentence; `{parameter}` stands for an argument. Arguments that the state
            determines may be left out, and schemas may share a sentence, as long as at most one of the ground
            actions that a sentence names can be applied in any reachable state.
        facts: For each predicate what it is to hold, and what it is not to hold.
        action_list: The sentences as the full instruction shows them.
        short_list: The same in fewest words.
        rules: One or two sentences for the full instruction.
    """

    name: ClassVar[str]
    actions: ClassVar[Mapping[str, str]]
    facts: ClassVar[Mapping[str, tuple[str, str]]]
    levels: ClassVar[tuple[Level, ...]]
    action_list: ClassVar[str]
    short_list: ClassVar[str]
    rules: ClassVar[str]

    @property
    def identity(self) -> str:
        """The domain's name."""
        return self.name

    @cached_property
    def domain(self) -> Domain:
        """The rules, read from the `.pddl` file beside the worlds on first use."""
        path = Path(__file__).parent / "worlds" / f"{self.name}.pddl"
        return parse_domain(path.read_text(encoding="utf-8"), path.name)

    @abstractmethod
    def problem(self, level: Level, random: Random) -> Problem:
        """Generate a problem; the goal does not hold at first."""

    @cached_property
    def _slots(self) -> dict[str, tuple[str, ...]]:
        return {
            schema.name: tuple(parameter.name.lstrip("?") for parameter in schema.parameters)
            for schema in self.domain.schemas
        }

    def sentence(self, operator: Operator) -> str:
        """The English sentence of a ground action."""
        return self.actions[operator.name].format_map(
            dict(zip(self._slots[operator.name], operator.arguments, strict=True))
        )

    def fact(self, condition: Condition) -> str:
        """The English sentence, without a full stop, of a literal."""
        holds, fails = self.facts[condition.atom[0]]
        return (holds if condition.positive else fails).format(*condition.atom[1:])


def listed(names: Iterable[str], nothing: str = "nothing") -> str:
    """Join names with commas."""
    return ", ".join(names) or nothing


def make_problem(
    world: World, level: Level, objects: Mapping[str, Iterable[str]], initial: Iterable[Atom], goal: Iterable[Condition]
) -> Problem:
    """Build a problem with its objects and atoms in canonical order, so that equal problems are equal records."""
    things = tuple(sorted(Typed(name, (kind,)) for kind, names in objects.items() for name in names))
    return Problem(level.name, world.name, things, tuple(sorted(initial)), tuple(goal))


class Span(NamedTuple):
    """A run of equal-looking characters in a picture."""

    text: str
    role: Role = "label"
    tint: Tint = ""


def tint_of(name: str) -> Tint:
    """The tint that a colour's name asks for, if the palette has it."""
    match name:
        case "red" | "green" | "blue" | "purple" | "yellow" | "grey":
            return name
        case _:
            return ""


def paint(lines: Sequence[Sequence[Span]], caption: str) -> Picture:
    """Lay lines of spans out as a rectangle of cells."""
    rows = [[Cell(glyph, span.role, span.tint) for span in line for glyph in span.text] for line in lines]
    width = max((len(row) for row in rows), default=0)
    return Picture(tuple(tuple(row) + (EMPTY_CELL,) * (width - len(row)) for row in rows), caption)
