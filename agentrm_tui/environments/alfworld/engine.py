"""A game in the original engine: TextWorld's planning games on Fast Downward, with ALFWorld's names for things.

Only the engine's own process imports this. What is TextWorld's: reading domain, problem and grammar, the state, which
actions are possible, what they change, and every sentence. What is not: `PddlEnv.reset` and `PddlEnv.step`, which
translate the problem four times for each episode and derive every command anew in every state; and the planner, which
is never run.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple

import fast_downward
from alfworld.agents.utils.misc import Demangler
from textworld.envs.pddl import PddlEnv, textgen
from textworld.generator.game import EntityInfo
from textworld.logic import Placeholder, Variable

from agentrm_tui.environments.alfworld.games import Aim, Game
from agentrm_tui.environments.alfworld.messages import Shown, spelled
from agentrm_tui.environments.alfworld.solution import Solution

LOCATION = "atlocation"
STATES_KEPT = 2_000
"""States of a game, after which it is loaded anew and the old ones are gone."""

_CALL = re.compile(r"(\w+)\(")
_RULES = re.compile(r"[\[#|.]")
"""What a command's template holds when it is more than names to fill in."""
_BANNER = re.compile(r"^-= .* =-\s*")
_TASK = re.compile(r"\s*Your task is to: .*\Z", re.DOTALL)
_loads = count(1)
_translate = fast_downward.pddl2sas
_load_library = fast_downward.load_lib
_libraries: list[Any] = []
_parse = textgen._parse_and_convert


def _translate_once(domain: str, problem: str, verbose: bool = False, optimize: bool = False) -> tuple[Any, str]:
    """The translation that is played; the second one, which TextWorld makes for its planner, is left out."""
    return (None, "") if optimize else _translate(domain, problem, verbose=verbose)


@lru_cache(maxsize=4_096)
def _symbols(text: str, rule_name: str) -> Any:
    return _parse(text, rule_name=rule_name)


def _parse_once(text: str, rule_name: str, **_: object) -> Any:
    """The symbols of a sentence, read once; copies, because deriving writes on them."""
    return deepcopy(_symbols(text, rule_name))


def _library() -> Any:
    """A copy of the planner's library, one for each game at a time; they are never unloaded, which ends in a crash."""
    return _libraries.pop() if _libraries else _load_library()


def _the_same(thing: Any, _: Any) -> Any:
    """Things are copied with every symbol that is derived, and never written on."""
    return thing


fast_downward.pddl2sas = _translate_once
for kind in (EntityInfo, Placeholder, Variable):
    kind.__deepcopy__ = _the_same
textgen.Rule.parse_conjunctive_query = lru_cache(maxsize=4_096)(textgen.Rule.parse_conjunctive_query)
fast_downward.load_lib = _library
textgen._parse_and_convert = _parse_once


class Facts(NamedTuple):
    """What TextWorld knows of a state beside the planner's own record: facts, and the things in them."""

    facts: dict[Any, set[Any]]
    by_name: dict[str, Any]
    by_type: dict[str, set[Any]]
    counts: Counter[str]


def _copies(held: Mapping[Any, set[Any]], before: dict[Any, set[Any]]) -> dict[Any, set[Any]]:
    """Copies of sets by name, but for those that are as they were."""
    return {name: before[name] if before.get(name) == each else set(each) for name, each in held.items()}


class Kept(NamedTuple):
    """A state that was reached, and the operator of each command that is possible there."""

    number: int
    facts: Facts
    commands: dict[str, Any]
    shown: Shown


class Loaded:
    """One game with all states that were reached in it.

    Raises:
        KeyError: `val1`, when the goal can never be reached.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self._env = PddlEnv()
        grammar = {"pddl_domain": game.pddl_domain, "grammar": game.grammar, "pddl_problem": game.pddl_problem}
        self._env.load({**grammar, "walkthrough": list(game.walkthrough)})
        self._state = self._env._pddl_state
        self._things = self._env._entity_infos
        names = Demangler(game_infos=self._things)
        for thing in self._things.values():
            thing.name = names.demangle_alfred_name(thing.id).strip()
        self._telling = _telling(self._state.task, game.grammar)
        self._operators: dict[int, Any] = {}
        self._actions: dict[int, Any] = {}
        self._texts: dict[int, str] = {}
        self._name = f"{os.getpid()}-{next(_loads)}"
        self._kept: list[Kept] = []
        self._before = Facts({}, {}, {}, Counter())
        self._solution = Solution(game.thoughts)
        self._begin()

    def close(self) -> None:
        """Free the planner's memory, and leave its library to the next game."""
        self._state.downward_lib.cleanup()
        _libraries.append(self._state.downward_lib)

    @property
    def first(self) -> Shown:
        """The beginning of the game."""
        return self._kept[0].shown

    @property
    def full(self) -> bool:
        """Enough states were reached; load it anew."""
        return len(self._kept) >= STATES_KEPT

    def take(self, state: str, command: str) -> Shown | None:
        """Give a command in a state; nothing where the state is not of this game.

        Raises:
            ValueError: The command is not possible there.
        """
        name, _, index = state.rpartition(":")
        if name != self._name:
            return None
        return self._take(self._kept[int(index)], command).shown

    def _begin(self) -> None:
        """Show the first state, and play the stored solution to know its way."""
        text = self._sentence("#intro#", {})
        self._keep(_TASK.sub("", _BANNER.sub("", text)))
        kept, solution = self._kept[0], self._solution
        for command in self.game.walkthrough:
            offered = spelled(command, kept.commands)
            if not offered:
                break
            solution.add(*self._split_facts(), offered)
            kept = self._take(kept, offered)
        solved = kept.shown.won
        if not solved:
            solution.clear()
        del self._kept[1:]
        self._stand(self._kept[0])
        first = self._show(self._kept[0].shown.text, self._kept[0].commands, 0, solved)
        self._kept[0] = self._kept[0]._replace(shown=first)

    def _take(self, kept: Kept, command: str) -> Kept:
        action = kept.commands.get(command)
        if action is None:
            raise ValueError(f"{command!r} is not possible")
        self._stand(kept)
        self._state.apply(action)
        self._env._last_action = action
        return self._keep(self._sentence(action.feedback_rule, action.mapping))

    def _stand(self, kept: Kept) -> None:
        """Go to a state that was reached before: the planner keeps all of them."""
        self._state.downward_lib.set_state_id(kept.number)
        self._set_facts(kept.facts)
        self._state._operators = self._operators

    def _keep(self, text: str) -> Kept:
        """Record the state that the engine is in now."""
        commands = self._possible()
        index = len(self._kept)
        shown = self._show(text, commands, index)
        kept = Kept(self._state.downward_lib.get_state_id(), self._copy_facts(), commands, shown)
        self._kept.append(kept)
        return kept

    def _show(self, text: str, commands: Mapping[str, Any], index: int, solved: bool = False) -> Shown:
        won = bool(self._state.check_goal())
        facts, place = self._split_facts()
        advice, thought = ("", "") if won else self._solution.advise(facts, place, commands)
        done = progress(self.game.aim, self._state.facts) if self.game.aim else 0.0
        return Shown(
            state=f"{self._name}:{index}",
            text=text,
            actions=tuple(sorted(commands)),
            won=won,
            progress=1.0 if won else min(done, 0.99),
            key=self._key(),
            advice=advice,
            thought=thought,
            solved=solved,
        )

    def _possible(self) -> dict[str, Any]:
        """The commands that are possible now; of two that read the same, the first, as TextWorld has it."""
        commands: dict[str, Any] = {}
        actions = self._state.all_applicable_actions()
        self._operators.update(self._state._operators)
        self._state._operators = self._operators
        for action in actions:
            # TextWorld makes new objects for the same actions in each state; states share the first.
            commands.setdefault(self._command(action), self._actions.setdefault(action.id, action))
        return commands

    def _command(self, action: Any) -> str:
        """An action's command; derived once where no fact that changes has a say in it."""
        found = self._texts.get(action.id)
        if found is not None:
            return found
        template = action.command_template
        if not _RULES.search(template):
            slots = {slot.name: self._things[thing.name].name for slot, thing in action.mapping.items()}
            text: str = template.format(**slots)
            self._texts[action.id] = text
            return text
        derived = self._sentence(template, action.mapping)
        action.command_template = derived
        text = action.format_command({key: thing.name for key, thing in self._things.items()})
        if "#" not in template and not self._telling.intersection(_CALL.findall(template)):
            self._texts[action.id] = text
        return text

    def _sentence(self, rule: str, mapping: Any) -> str:
        """What TextWorld's grammar derives from a rule in this state."""
        context = {
            "state": self._state,
            "facts": list(self._state.facts),
            "variables": {slot.name: self._things[thing.name] for slot, thing in mapping.items()},
            "mapping": mapping,
            "entity_infos": self._things,
        }
        derived: str = self._env._logic.grammar.derive(rule, context)
        return derived

    def _copy_facts(self) -> Facts:
        """TextWorld's account of this state; what is as it was in the state before is shared with it."""
        state, before = self._state, self._before
        return Facts(
            _copies(state._facts, before.facts),
            before.by_name if state._vars_by_name == before.by_name else dict(state._vars_by_name),
            _copies(state._vars_by_type, before.by_type),
            before.counts if state._var_counts == before.counts else Counter(state._var_counts),
        )

    def _set_facts(self, facts: Facts) -> None:
        """Make TextWorld's account that of a kept state, in its own containers."""
        state, self._before = self._state, facts
        for held, kept in ((state._facts, facts.facts), (state._vars_by_type, facts.by_type)):
            held.clear()
            held.update({name: set(each) for name, each in kept.items()})
        state._vars_by_name = dict(facts.by_name)
        state._var_counts = Counter(facts.counts)

    def _telling_facts(self) -> Iterator[str]:
        """The facts that an action, the goal or a sentence asks for and that can change, as text."""
        for fact in self._state.facts:
            if fact.name in self._telling:
                yield f"{fact.name}({','.join(each.name for each in fact.arguments)})"

    def _split_facts(self) -> tuple[frozenset[str], str]:
        """What holds but where the agent is, and where it is."""
        facts = [fact for fact in self._telling_facts() if not fact.startswith("not_")]
        places = sorted(fact for fact in facts if fact.startswith(f"{LOCATION}("))
        return frozenset(facts).difference(places), " ".join(places)

    def _key(self) -> str:
        facts = "\n".join(sorted(self._telling_facts()))
        return blake2b(facts.encode(), digest_size=12).hexdigest()


def _telling(task: Any, grammar: str) -> frozenset[str]:
    """Predicates that actions change and that mean something; denied ones, which sentences may ask for, as `not_`.

    ALFWorld's rules note what has been looked at, which nothing ever asks for: it does not make states different.
    """
    changed = {effect.literal.predicate for action in task.actions for effect in action.effects}
    asked = set(_predicates(task.goal))
    for action in task.actions:
        asked.update(_predicates(action.precondition))
        asked.update(name for effect in action.effects for name in _predicates(effect.condition))
    asked.update(name for axiom in task.axioms for name in _predicates(axiom.condition))
    told = {name.lower() for name in _CALL.findall(grammar)}
    denied = {name for name in told if name.startswith("not_") and name.removeprefix("not_") in changed}
    return frozenset((changed & (asked | told)) | denied)


def _predicates(condition: Any) -> Iterator[str]:
    """The predicates of a condition and all its parts."""
    if name := getattr(condition, "predicate", ""):
        yield str(name)
    for part in condition.parts:
        yield from _predicates(part)


def progress(aim: Aim, facts: Iterable[Any]) -> float:
    """The share of an aim's conditions that hold, as `household` counts them: had, treated, placed."""
    by_name: dict[str, list[tuple[str, ...]]] = {}
    for fact in facts:
        if fact.name in _COUNTED:
            by_name.setdefault(fact.name, []).append(tuple(each.name for each in fact.arguments))
    wanted = {thing for thing, kind in by_name.get("objecttype", []) if kind == f"{aim.thing}type"}
    held = any(thing in wanted for _, thing in by_name.get("holds", []))
    if aim.type == "look_at_obj_in_light":
        lamps = {thing for thing, kind in by_name.get("objecttype", []) if kind == f"{aim.place}type"}
        return (held + any(lamp in lamps for (lamp,) in by_name.get("istoggled", []))) / 3
    places = {place for place, kind in by_name.get("receptacletype", []) if kind == f"{aim.place}type"}
    placed = [(thing, place) for thing, place in by_name.get("inreceptacle", []) if thing in wanted and place in places]
    if aim.type == "pick_two_obj_and_place":
        most = max(Counter(place for _, place in placed).values(), default=0)
        return (2 * min(most, 2) + held) / 4
    treatment = _TREATMENTS.get(aim.type)
    if treatment is None:
        return held / 2
    treated = {thing for (thing,) in by_name.get(treatment, []) if thing in wanted}
    had = {thing for _, thing in by_name.get("holds", []) if thing in wanted} | treated
    return max((((thing in had) + (thing in treated)) / 3 for thing in wanted), default=0.0)


_COUNTED = frozenset(
    ("objecttype", "receptacletype", "holds", "inreceptacle", "istoggled", "isclean", "ishot", "iscool")
)
_TREATMENTS = {
    "pick_clean_then_place_in_recep": "isclean",
    "pick_heat_then_place_in_recep": "ishot",
    "pick_cool_then_place_in_recep": "iscool",
}
