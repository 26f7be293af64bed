"""PDDL from files: classic domains in the dialects in which they are published, one's own, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import conformance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.cli import run_command
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.pddl.files import PDDLFilesEnvironment
from agentrm_tui.environments.pddl.grounding import ground
from agentrm_tui.environments.pddl.planning import QUICK, Planner, without_needless
from agentrm_tui.environments.pddl.reading import parse_domain, parse_problem
from agentrm_tui.environments.pddl.schema_words import SchemaWords
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.store import load_state

BLOCKS = """(define (domain BLOCKS) (:requirements :strips)
  (:predicates (on ?x ?y) (on-table ?x) (clear ?x) (arm-empty) (holding ?x))
  (:action pick-up :parameters (?x) :precondition (and (clear ?x) (on-table ?x) (arm-empty))
    :effect (and (not (on-table ?x)) (not (clear ?x)) (not (arm-empty)) (holding ?x)))
  (:action put-down :parameters (?x) :precondition (holding ?x)
    :effect (and (not (holding ?x)) (clear ?x) (arm-empty) (on-table ?x)))
  (:action stack :parameters (?x ?y) :precondition (and (holding ?x) (clear ?y))
    :effect (and (not (holding ?x)) (not (clear ?y)) (clear ?x) (arm-empty) (on ?x ?y)))
  (:action unstack :parameters (?x ?y) :precondition (and (on ?x ?y) (clear ?x) (arm-empty))
    :effect (and (holding ?x) (clear ?y) (not (clear ?x)) (not (arm-empty)) (not (on ?x ?y)))))
"""

SUSSMAN = """(define (problem sussman) (:domain BLOCKS) (:objects A B C)
  (:init (on-table A) (on-table B) (on C A) (clear C) (clear B) (arm-empty))
  (:goal (AND (on A B) (on B C))))
"""

GRIPPER = """(define (domain gripper-strips)
  (:predicates (room ?r) (ball ?b) (gripper ?g) (at-robby ?r) (at ?b ?r) (free ?g) (carry ?o ?g))
  (:action move :parameters (?from ?to) :precondition (and (room ?from) (room ?to) (at-robby ?from))
    :effect (and (at-robby ?to) (not (at-robby ?from))))
  (:action pick :parameters (?obj ?room ?gripper)
    :precondition (and (ball ?obj) (room ?room) (gripper ?gripper) (at ?obj ?room) (at-robby ?room) (free ?gripper))
    :effect (and (carry ?obj ?gripper) (not (at ?obj ?room)) (not (free ?gripper))))
  (:action drop :parameters (?obj ?room ?gripper)
    :precondition (and (ball ?obj) (room ?room) (gripper ?gripper) (carry ?obj ?gripper) (at-robby ?room))
    :effect (and (at ?obj ?room) (free ?gripper) (not (carry ?obj ?gripper)))))
"""


def gripper_problem(balls: int) -> str:
    names = [f"ball{number}" for number in range(balls, 0, -1)]
    return f"""(define (problem strips-gripper-x-1) (:domain gripper-strips)
      (:objects rooma roomb {" ".join(names)} left right)
      (:init (room rooma) (room roomb) {" ".join(f"(ball {name}) (at {name} rooma)" for name in names)}
             (at-robby rooma) (free left) (free right) (gripper left) (gripper right))
      (:goal (and {" ".join(f"(at {name} roomb)" for name in names)})))"""


BARMAN = """(define (domain barman)
  (:requirements :strips :typing)
  (:types hand level beverage dispenser container - object
          ingredient cocktail - beverage
          shot shaker - container)
  (:predicates (ontable ?c - container) (holding ?h - hand ?c - container) (handempty ?h - hand) (empty ?c - container)
    (contains ?c - container ?b - beverage) (clean ?c - container) (used ?c - container ?b - beverage)
    (dispenses ?d - dispenser ?i - ingredient) (shaker-empty-level ?s - shaker ?l - level)
    (shaker-level ?s - shaker ?l - level) (next ?l1 - level ?l2 - level) (unshaked ?s - shaker) (shaked ?s - shaker)
    (cocktail-part1 ?c - cocktail ?i - ingredient) (cocktail-part2 ?c - cocktail ?i - ingredient))
  (:action grasp :parameters (?h - hand ?c - container) :precondition (and (ontable ?c) (handempty ?h))
    :effect (and (not (ontable ?c)) (not (handempty ?h)) (holding ?h ?c)))
  (:action leave :parameters (?h - hand ?c - container) :precondition (holding ?h ?c)
    :effect (and (not (holding ?h ?c)) (handempty ?h) (ontable ?c)))
  (:action fill-shot :parameters (?s - shot ?i - ingredient ?h1 - hand ?h2 - hand ?d - dispenser)
    :precondition (and (holding ?h1 ?s) (handempty ?h2) (dispenses ?d ?i) (empty ?s) (clean ?s))
    :effect (and (not (empty ?s)) (contains ?s ?i) (not (clean ?s)) (used ?s ?i)))
  (:action clean-shot :parameters (?s - shot ?b - beverage ?h1 - hand ?h2 - hand)
    :precondition (and (holding ?h1 ?s) (handempty ?h2) (empty ?s) (used ?s ?b))
    :effect (and (not (used ?s ?b)) (clean ?s)))
  (:action pour-shot-to-clean-shaker
    :parameters (?s - shot ?i - ingredient ?d - shaker ?h1 - hand ?l - level ?l1 - level)
    :precondition (and (holding ?h1 ?s) (contains ?s ?i) (empty ?d) (clean ?d) (shaker-level ?d ?l) (next ?l ?l1))
    :effect (and (not (contains ?s ?i)) (empty ?s) (contains ?d ?i) (not (empty ?d)) (not (clean ?d)) (unshaked ?d)
                 (not (shaker-level ?d ?l)) (shaker-level ?d ?l1)))
  (:action pour-shot-to-used-shaker
    :parameters (?s - shot ?i - ingredient ?d - shaker ?h1 - hand ?l - level ?l1 - level)
    :precondition (and (holding ?h1 ?s) (contains ?s ?i) (unshaked ?d) (shaker-level ?d ?l) (next ?l ?l1))
    :effect (and (not (contains ?s ?i)) (contains ?d ?i) (empty ?s) (not (shaker-level ?d ?l)) (shaker-level ?d ?l1)))
  (:action shake
    :parameters (?b - cocktail ?d1 - ingredient ?d2 - ingredient ?s - shaker ?h1 - hand ?h2 - hand)
    :precondition (and (holding ?h1 ?s) (handempty ?h2) (contains ?s ?d1) (contains ?s ?d2)
                       (cocktail-part1 ?b ?d1) (cocktail-part2 ?b ?d2) (unshaked ?s))
    :effect (and (not (unshaked ?s)) (not (contains ?s ?d1)) (not (contains ?s ?d2)) (shaked ?s) (contains ?s ?b)))
  (:action pour-shaker-to-shot
    :parameters (?b - beverage ?d - shot ?h - hand ?s - shaker ?l - level?l1 - level)
    :precondition (and (holding ?h ?s) (shaked ?s) (empty ?d) (clean ?d) (contains ?s ?b) (shaker-level ?s ?l)
                       (next ?l1 ?l))
    :effect (and (not (clean ?d)) (not (empty ?d)) (contains ?d ?b) (shaker-level ?s ?l1) (not (shaker-level ?s ?l)))))
"""

DRINKS = """(define (problem prob) (:domain barman)
  (:objects shaker1 - shaker left right - hand shot1 shot2 shot3 - shot ingredient1 ingredient2 - ingredient
            cocktail1 cocktail2 - cocktail dispenser1 dispenser2 - dispenser l0 l1 l2 - level)
  (:init (ontable shaker1) (ontable shot1) (ontable shot2) (ontable shot3) (dispenses dispenser1 ingredient1)
    (dispenses dispenser2 ingredient2) (clean shaker1) (clean shot1) (clean shot2) (clean shot3) (empty shaker1)
    (empty shot1) (empty shot2) (empty shot3) (handempty left) (handempty right) (shaker-empty-level shaker1 l0)
    (shaker-level shaker1 l0) (next l0 l1) (next l1 l2) (cocktail-part1 cocktail1 ingredient2)
    (cocktail-part2 cocktail1 ingredient1) (cocktail-part1 cocktail2 ingredient1)
    (cocktail-part2 cocktail2 ingredient2))
  (:goal (and (contains shot1 cocktail1) (contains shot2 ingredient2))))
"""

# Types without a section of requirements, constants that the problem repeats, and a predicate whose declared types
# do not fit its use: all of it is in the published file.
TYRES = """(define (domain tyreworld)
  (:types obj - object tool wheel nut - obj container hub - object)
  (:predicates (isopen ?x - container) (closed ?x - container) (have ?x - obj) (in ?x - container ?y - obj)
    (loose ?x - nut ?y - hub) (tight ?x - nut ?y - hub) (unlocked ?x - container) (on-ground ?x - hub)
    (not-on-ground ?x - hub) (inflated ?x - wheel) (not-inflated ?x - wheel) (fastened ?x - hub) (unfastened ?x - hub)
    (free ?x - hub) (on ?x - wheel ?y - hub) (intact ?x - wheel))
  (:constants wrench pump jack - tool)
  (:action open :parameters (?x - container) :precondition (and (unlocked ?x) (closed ?x))
    :effect (and (isopen ?x) (not (closed ?x))))
  (:action close :parameters (?x - container) :precondition (isopen ?x) :effect (and (closed ?x) (not (isopen ?x))))
  (:action fetch :parameters (?x - obj ?y - container) :precondition (and (in ?x ?y) (isopen ?y))
    :effect (and (have ?x) (not (in ?x ?y))))
  (:action put-away :parameters (?x - obj ?y - container) :precondition (and (have ?x) (isopen ?y))
    :effect (and (in ?x ?y) (not (have ?x))))
  (:action loosen :parameters (?x - nut ?y - hub) :precondition (and (have wrench) (tight ?x ?y) (on-ground ?y))
    :effect (and (loose ?x ?y) (not (tight ?x ?y))))
  (:action tighten :parameters (?x - nut ?y - hub) :precondition (and (have wrench) (loose ?x ?y) (on-ground ?y))
    :effect (and (tight ?x ?y) (not (loose ?x ?y))))
  (:action jack-up :parameters (?y - hub) :precondition (and (on-ground ?y) (have jack))
    :effect (and (not-on-ground ?y) (not (on-ground ?y)) (not (have jack))))
  (:action jack-down :parameters (?y - hub) :precondition (not-on-ground ?y)
    :effect (and (on-ground ?y) (have jack) (not (not-on-ground ?y))))
  (:action undo :parameters (?x - nut ?y - hub)
    :precondition (and (not-on-ground ?y) (fastened ?y) (have wrench) (loose ?x ?y))
    :effect (and (have ?x) (unfastened ?y) (not (fastened ?y)) (not (loose ?x ?y))))
  (:action do-up :parameters (?x - nut ?y - hub)
    :precondition (and (have wrench) (unfastened ?y) (not-on-ground ?y) (have ?x))
    :effect (and (loose ?x ?y) (fastened ?y) (not (unfastened ?y)) (not (have ?x))))
  (:action remove-wheel :parameters (?x - wheel ?y - hub)
    :precondition (and (not-on-ground ?y) (on ?x ?y) (unfastened ?y))
    :effect (and (have ?x) (free ?y) (not (on ?x ?y))))
  (:action put-on-wheel :parameters (?x - wheel ?y - hub)
    :precondition (and (have ?x) (free ?y) (unfastened ?y) (not-on-ground ?y))
    :effect (and (on ?x ?y) (not (free ?y)) (not (have ?x))))
  (:action inflate :parameters (?x - wheel) :precondition (and (have pump) (not-inflated ?x) (intact ?x))
    :effect (and (inflated ?x) (not (not-inflated ?x)))))
"""

FLAT = """(define (problem tyreworld-1) (:domain tyreworld)
  (:objects wrench jack pump - tool the-hub1 the-hub2 - hub nuts1 nuts2 - nut boot - container r1 w1 r2 w2 - wheel)
  (:init (in jack boot) (in pump boot) (in wrench boot) (unlocked boot) (closed boot)
    (intact r1) (in r1 boot) (not-inflated r1) (on w1 the-hub1) (on-ground the-hub1) (tight nuts1 the-hub1)
    (fastened the-hub1)
    (intact r2) (in r2 boot) (not-inflated r2) (on w2 the-hub2) (on-ground the-hub2) (tight nuts2 the-hub2)
    (fastened the-hub2))
  (:goal (and (on r1 the-hub1) (inflated r1) (tight nuts1 the-hub1) (in w1 boot) (in wrench boot) (closed boot))))
"""

CLASSICS = {
    "blocks": (BLOCKS, SUSSMAN, 6),
    "gripper": (GRIPPER, gripper_problem(4), 11),
    "barman": (BARMAN, DRINKS, None),
    "tyreworld": (TYRES, FLAT, None),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The classic domains and one problem of each."""
    for name, (domain, problem, _) in CLASSICS.items():
        (tmp_path / f"{name}.pddl").write_text(domain)
        (tmp_path / f"{name}-p01.pddl").write_text(problem)
    return tmp_path


def played(environment: Environment, problem: Path) -> tuple[list[str], float]:
    """The expert's actions and the outcome."""
    task = environment.task(str(problem))
    environment.reset(task)
    actions, outcome, done = [], 0.0, False
    while not done:
        _, action = environment.expert()
        assert action, "no plan was found"
        actions.append(action)
        _, outcome, done, valid = environment.step(action)
        assert valid
    return actions, outcome


@pytest.mark.parametrize("name", CLASSICS)
def test_classic_problems_are_solved(folder: Path, name: str) -> None:
    environment = make_environment(f"pddl:{folder / name}.pddl")
    actions, outcome = played(environment, folder / f"{name}-p01.pddl")
    assert outcome == 1.0 and actions[-1] == "finish"
    shortest = CLASSICS[name][2]
    if shortest:
        assert len(actions) - 1 <= shortest + 2


def test_a_known_plan_in_words(folder: Path) -> None:
    actions, _ = played(make_environment(f"pddl:{folder}/blocks.pddl"), folder / "blocks-p01.pddl")
    assert actions == ["unstack c a", "put down c", "pick up b", "stack b c", "pick up a", "stack a b", "finish"]


def test_what_is_told(folder: Path) -> None:
    environment = PDDLFilesEnvironment(str(folder / "blocks.pddl"))
    task = environment.task(str(folder / "blocks-p01.pddl"))
    assert task.goal == "a on b; b on c."
    assert environment.reset(task) == ("Objects: a, b, c. Now: c on a. on table: a, b. clear: b, c. arm empty.")
    assert environment.step("unstack c a").text == "on table: a, b. clear: a, b. holding c."
    refused = environment.step("stack c d")
    assert refused.text.startswith("Invalid action (1 of 3): not understood.")
    assert "arm empty" in environment.step("pick up a").text
    full = environment.instruction("full")
    assert "stack X Y: needs holding X, clear Y; then not holding X, not clear Y, clear X, arm empty, X on Y." in full
    assert "pick up X, put down X, stack X Y, unstack X Y" in environment.instruction("short")


def test_fixed_facts_are_told_once_and_types_are_told(folder: Path) -> None:
    environment = PDDLFilesEnvironment(str(folder / "tyreworld.pddl"))
    first = environment.reset(environment.task("tyreworld-p01.pddl"))
    assert "Objects: tool wrench, pump, jack;" in first and "Always: intact: r1, r2; unlocked: any." in first
    assert "not-inflated: r1, r2" in first, "hyphens keep this apart from `not inflated`"
    assert "Always" not in environment.step("open boot").text


@pytest.mark.parametrize("spelling", ["pick up b", "pick-up b", "pick-up(b)", "(PICK-UP B)", " Pick  up b. "])
def test_ways_of_writing_an_action(folder: Path, spelling: str) -> None:
    environment = PDDLFilesEnvironment(str(folder / "blocks.pddl"))
    environment.reset(environment.task("blocks-p01.pddl"))
    assert environment.step(spelling) == ("c on a. on table a. clear c. holding b.", 0.0, False, True)


def test_sentences_stay_apart_where_words_alone_would_not() -> None:
    domain = parse_domain(
        """(define (domain d) (:predicates (p) (q ?x))
             (:action move :parameters (?x ?y) :effect (p))
             (:action move-up :parameters (?x) :effect (p))
             (:action move_up :parameters (?x) :effect (q ?x))
             (:action go-on :parameters () :effect (p)))"""
    )
    task = ground(domain, parse_problem("(define (problem p) (:domain d) (:objects up a) (:goal (p)))", domain))
    sentences = SchemaWords(domain, "x").sentences(task)
    assert len(set(sentences)) == len(task.operators) == 4 + 2 + 2 + 1
    assert {"move up a", "move-up a", "move_up a", "move a up", "go on"} <= set(sentences)


NAMES = st.lists(st.sampled_from(["a", "b", "a-b", "b-a", "a_b", "up", "a-up"]), min_size=1, max_size=5, unique=True)


@given(NAMES, NAMES, st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_every_sentence_means_one_ground_action(schemas: list[str], objects: list[str], seed: int) -> None:
    rng = Random(seed)
    actions = "".join(
        f"(:action {name} :parameters ({' '.join(f'?x{i}' for i in range(rng.randrange(3)))}) :effect (p))"
        for name in schemas
    )
    domain = parse_domain(f"(define (domain d) (:predicates (p)) {actions})")
    text = f"(define (problem p) (:domain d) (:objects {' '.join(objects)}) (:goal (p)))"
    task = ground(domain, parse_problem(text, domain))
    sentences = SchemaWords(domain, "x").sentences(task)
    assert len(set(sentences)) == len(sentences) == len(task.operators)


UNSUPPORTED = [
    ("(:requirements :strips)", "(:requirements :strips :conditional-effects)", "conditional effects", 1),
    ("(:requirements :strips)", "(:requirements :fluents)", "numeric fluents", 1),
    ("(:requirements :strips)", "(:functions (fuel ?x))", "numeric fluents", 1),
    ("(:requirements :strips)", "(:derived (above ?x ?y) (on ?x ?y))", "derived predicates (:derived)", 1),
    ("(:requirements :strips)", "(:durative-action fly)", "durative actions", 1),
    ("(clear ?x) (on-table ?x) (arm-empty))\n", "(forall (?y) (clear ?y)))\n", "quantifiers (forall …)", 3),
    ("(clear ?x) (on-table ?x) (arm-empty))\n", "(exists (?y) (clear ?y)))\n", "quantifiers (exists …)", 3),
    ("(and (holding ?x) (clear ?y))", "(or (holding ?x) (clear ?y))", "disjunctions (or …)", 7),
    ("(and (holding ?x) (clear ?y))", "(imply (holding ?x) (clear ?y))", "implications", 7),
    ("(arm-empty) (on-table ?x))", "(when (clear ?x) (on-table ?x)))", "conditional effects (when …)", 6),
    ("(arm-empty) (on-table ?x))", "(increase (fuel) 1))", "numeric effects (increase …)", 6),
    ("(and (holding ?x) (clear ?y))", "(> (fuel) 3)", "numeric conditions (> …)", 7),
    ("(and (holding ?x) (clear ?y))", "(= (fuel) 3)", "numeric conditions", 7),
]


@pytest.mark.parametrize(("old", "new", "told", "line"), UNSUPPORTED)
def test_what_is_not_supported_is_named_with_file_and_line(
    tmp_path: Path, old: str, new: str, told: str, line: int
) -> None:
    assert BLOCKS.count(old) == 1
    path = tmp_path / "mine.pddl"
    path.write_text(BLOCKS.replace(old, new))
    with pytest.raises(DataError) as caught:
        make_environment(f"pddl:{path}")
    message = str(caught.value)
    assert f"mine.pddl: line {line}: " in message and told in message and "not supported" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("(clear C)", "(cleer C)", "line 2: predicate 'cleer' is not declared. Did you mean 'clear'?"),
        ("(on C A)", "(on C)", "line 2: (on c) needs 2 arguments"),
        ("(on C A)", "(on C D)", "line 2: 'd' in (on c d) is not declared"),
        ("(:domain BLOCKS)", "(:domain rocks)", "line 1: the problem is of domain 'rocks', not 'blocks'"),
        ("A B C)", "A B C C)", "line 1: the name c occurs twice"),
        ("A B C)", "A B C - block)", "line 1: type 'block' is not declared"),
        ("(on B C))))", "(on B C)))", "never closed"),
        ("(on C A)", "(on C A) (= (fuel) x)", "line 2: numeric conditions"),
        ("(on C A)", "(on C A) (at 5 (clear A))", "line 2: timed initial literals"),
        ("(AND (on A B) (on B C))", "(not (and (on A B) (on B C)))", "line 3: negated conjunctions"),
        ("(AND (on A B)", "(AND (= A B)", "line 3: the goal (= a b) can never hold"),
        ("(AND (on A B)", "(AND (not (= A A))", "line 3: the goal (not (= a a)) can never hold"),
        ("(AND (on A B) (on B C))", "(holding A) (holding B)", "line 3: exactly one goal"),
    ],
)
def test_a_wrong_problem_is_one_line(folder: Path, old: str, new: str, told: str) -> None:
    path = folder / "wrong.pddl"
    path.write_text(SUSSMAN.replace(old, new))
    with pytest.raises(DataError) as caught:
        make_environment(f"pddl:{folder}/blocks.pddl").task(str(path))
    assert "wrong.pddl" in str(caught.value) and told in str(caught.value) and "\n" not in str(caught.value)


def test_costs_of_actions_are_passed_over(tmp_path: Path) -> None:
    costs = BLOCKS.replace(":strips)", ":strips :action-costs) (:functions (total-cost) - number)").replace(
        "(holding ?x)))\n", "(holding ?x) (increase (total-cost) 2)))\n"
    )
    (tmp_path / "d.pddl").write_text(costs)
    told = "(= (total-cost) 0) (= (way A B) 1e3) (= (way B A) -1.5)"
    problem = SUSSMAN.replace("(:init", f"(:metric minimize (total-cost)) (:init {told}")
    (tmp_path / "p.pddl").write_text(problem)
    assert played(make_environment(f"pddl:{tmp_path}/d.pddl"), tmp_path / "p.pddl")[1] == 1.0


def test_a_goal_that_holds_by_its_names_is_left_out(folder: Path) -> None:
    problem = folder / "p.pddl"
    problem.write_text(SUSSMAN.replace("(AND (on A B)", "(AND (= A A) (not (= A B)) (on A B)"))
    environment = make_environment(f"pddl:{folder}/blocks.pddl")
    assert environment.task(str(problem)).goal == "a on b; b on c."
    assert played(environment, problem)[1] == 1.0


def hanoi(discs: int) -> tuple[str, str]:
    names = [f"d{number}" for number in range(1, discs + 1)]
    smaller = [(peg, name) for peg in ("p1", "p2", "p3") for name in names]
    smaller += [(large, small) for place, small in enumerate(names) for large in names[place + 1 :]]
    tower = " ".join(f"(on {small} {large})" for small, large in pairwise(names))
    domain = """(define (domain hanoi) (:predicates (clear ?x) (on ?x ?y) (smaller ?x ?y))
      (:action move :parameters (?d ?from ?to)
        :precondition (and (smaller ?to ?d) (on ?d ?from) (clear ?d) (clear ?to))
        :effect (and (clear ?from) (on ?d ?to) (not (on ?d ?from)) (not (clear ?to)))))"""
    facts = " ".join(f"(smaller {large} {small})" for large, small in smaller)
    return (
        domain,
        f"""(define (problem h) (:domain hanoi) (:objects p1 p2 p3 {" ".join(names)})
      (:init {facts} (clear p2) (clear p3) (clear d1) (on d{discs} p1) {tower})
      (:goal (and (on d{discs} p3) {tower})))""",
    )


@pytest.mark.parametrize("discs", [5, 6])
def test_the_step_limit_leaves_room_for_a_plan_that_undoes_much(tmp_path: Path, discs: int) -> None:
    domain, problem = hanoi(discs)
    (tmp_path / "d.pddl").write_text(domain)
    (tmp_path / "p.pddl").write_text(problem)
    assert played(make_environment(f"pddl:{tmp_path}/d.pddl"), tmp_path / "p.pddl")[1] == 1.0


def test_a_large_map_is_told_without_trying_all_pairs_for_each_fact(tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[str] = []
    plain = SchemaWords._always
    monkeypatch.setattr(SchemaWords, "_always", lambda *given: asked.append(given[2]) or plain(*given))
    size = 15
    cells = [(x, y) for x in range(size) for y in range(size)]
    links = [f"(link c{x}-{y} c{x + 1}-{y}) (link c{y}-{x} c{y}-{x + 1})" for x, y in cells if x + 1 < size]
    (tmp_path / "d.pddl").write_text(
        """(define (domain map) (:predicates (at ?c) (link ?a ?b) (open ?a))
          (:action go :parameters (?a ?b) :precondition (and (at ?a) (link ?a ?b) (open ?b))
            :effect (and (at ?b) (not (at ?a)))))"""
    )
    names = [f"c{x}-{y}" for x, y in cells]
    (tmp_path / "p.pddl").write_text(
        f"""(define (problem p) (:domain map) (:objects {" ".join(names)})
          (:init (at c0-0) {" ".join(links)} {" ".join(f"(open {name})" for name in names)}) (:goal (at c9-9)))"""
    )
    environment = make_environment(f"pddl:{tmp_path}/d.pddl")
    text = environment.reset(environment.task(str(tmp_path / "p.pddl")))
    assert sorted(asked) == ["link", "open"]
    assert "open: any" in text and "c0-0 link c1-0" in text


def test_negative_preconditions_equality_and_a_negative_goal(tmp_path: Path) -> None:
    (tmp_path / "d.pddl").write_text(
        """(define (domain lights) (:requirements :strips :typing :negative-preconditions :equality)
             (:types lamp - object) (:constants hall - lamp) (:predicates (lit ?l - lamp))
             (:action light :parameters (?l - lamp) :precondition (not (lit ?l)) :effect (lit ?l))
             (:action swap :parameters (?a ?b - lamp)
               :precondition (and (and (lit ?a) (not (lit ?b))) (not (= ?a ?b)))
               :effect (and (lit ?b) (not (lit ?a)))))"""
    )
    (tmp_path / "p.pddl").write_text(
        """(define (problem p) (:domain lights) (:objects den attic - lamp) (:init (lit hall))
             (:goal (and (lit den) (not (lit hall)) (lit attic))))"""
    )
    environment = make_environment(f"pddl:{tmp_path}/d.pddl")
    task = environment.task(str(tmp_path / "p.pddl"))
    assert task.goal == "lit: den, attic. not lit hall."
    actions, outcome = played(environment, tmp_path / "p.pddl")
    assert outcome == 1.0 and len(actions) == 3
    assert "swap A B (A lamp, B lamp): needs lit A, not lit B, A is not B;" in environment.instruction("full")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "none.pddl", "there is no domain file"),
        (lambda folder: folder, "cannot be read"),
        (lambda folder: folder / "blocks-p01.pddl", "does not begin with (define (domain NAME)"),
        (lambda folder: folder / "binary", "not text in UTF-8"),
        (lambda folder: folder / "empty", "is not one (define …) expression"),
        (lambda folder: folder / "bare", "has no action"),
    ],
)
def test_a_wrong_domain_file_is_one_line(folder: Path, make: Any, told: str) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe\x00(")
    (folder / "empty").write_text("; nothing\n")
    (folder / "bare").write_text("(define (domain d) (:predicates (p)))")
    with pytest.raises((DataError, UsageError)) as caught:
        make_environment(f"pddl:{make(folder)}")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_words_that_have_a_meaning_here_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.pddl").write_text("(define (domain d) (:predicates (p)) (:action finish :effect (p)))")
    (tmp_path / "p.pddl").write_text("(define (problem p) (:domain d) (:goal (p)))")
    with pytest.raises(DataError, match="'finish' has a meaning"):
        make_environment(f"pddl:{tmp_path}/d.pddl").task(str(tmp_path / "p.pddl"))


def test_a_goal_out_of_reach_is_refused(folder: Path) -> None:
    (folder / "p.pddl").write_text(SUSSMAN.replace("(arm-empty)", ""))
    with pytest.raises(DataError, match="cannot be reached"):
        make_environment(f"pddl:{folder}/blocks.pddl").task(str(folder / "p.pddl"))


def test_ids_know_what_they_were_made_from(folder: Path) -> None:
    environment = make_environment(f"pddl:{folder}/blocks.pddl")
    path = folder / "blocks-p01.pddl"
    task = environment.task(str(path))
    assert task.id.startswith(f"{path}#") and environment.task(task.id) == task
    assert environment.task("blocks-p01.pddl") == task
    path.write_text(SUSSMAN.replace("(on A B)", "(on A C)"))
    with pytest.raises(DataError, match="has changed since the run began"):
        environment.task(task.id)
    assert environment.task(str(path)).id != task.id
    with pytest.raises(UsageError, match="there is no problem file"):
        environment.task("blocks-p09.pddl")


def test_problems_beside_the_domain_are_its_tasks(folder: Path) -> None:
    (folder / "blocks").mkdir()
    for number in (10, 2, 1):
        (folder / "blocks" / f"problem{number}.pddl").write_text(SUSSMAN)
    environment = make_environment(f"pddl:{folder}/blocks.pddl")
    names = [Path(task.id).name.partition("#")[0] for task in environment.tasks("test")]
    assert names == ["blocks-p01.pddl", "problem1.pddl", "problem2.pddl", "problem10.pddl"]
    assert [task.id for task in environment.tasks("test", 1, 2)] == [task.id for task in environment.tasks("dev")[1:3]]
    (folder / "alone").mkdir()
    (folder / "alone" / "d.pddl").write_text(BLOCKS)
    with pytest.raises(UsageError, match="--problem"):
        make_environment(f"pddl:{folder}/alone/d.pddl").tasks("test")


@pytest.mark.parametrize("name", ["blocks", "gripper"])
def test_they_keep_the_rules_of_environments(folder: Path, name: str) -> None:
    (folder / "gripper-p01.pddl").write_text(gripper_problem(2))
    address = f"pddl:{folder}/{name}.pddl"

    def make() -> Environment:
        return make_environment(address)

    tasks = list(make().tasks("test"))
    conformance.check_traits(make, address)
    conformance.check_tasks(make)
    conformance.check_instructions(make)
    conformance.check_determinism(make, tasks)
    conformance.check_snapshots(make, tasks * 3)
    conformance.check_no_leak(make, tasks * 2)
    conformance.check_instances_apart(make, tasks * 2)
    conformance.check_valid_actions(make, tasks)
    conformance.check_state_keys(make, tasks, 20)
    conformance.check_observations(make, tasks)
    conformance.check_any_text(make, tasks, conformance.HOSTILE)
    assert conformance.check_expert(make, tasks) == 1.0


def test_needless_actions_are_left_out() -> None:
    domain = parse_domain(BLOCKS)
    task = ground(domain, parse_problem(SUSSMAN.replace("(AND (on A B) (on B C))", "(on-table C)"), domain))
    names = [(operator.name, *operator.arguments) for operator in task.operators]
    long = [("pick-up", "b"), ("put-down", "b"), ("unstack", "c", "a"), ("put-down", "c"), ("pick-up", "a")]
    short = without_needless(task, task.initial, [names.index(name) for name in long])
    assert [names[index] for index in short] == [("unstack", "c", "a"), ("put-down", "c")]


def test_a_larger_problem_is_solved_sooner_than_shortest() -> None:
    domain = parse_domain(GRIPPER)
    task = ground(domain, parse_problem(gripper_problem(12), domain))
    plan = Planner(task, QUICK).plan(task.initial)
    assert plan is not None and len(plan) <= 12 * 4
    state = task.initial
    for index in plan:
        assert index in task.applicable(state)
        state = task.apply(state, index)
    assert task.is_goal(state)


@pytest.fixture
def runs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("runs")
    monkeypatch.setenv("AGENTRM_RUNS", str(path))
    yield path


def test_the_command_line_takes_files(
    folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    free = ["--policy", "expert", "--search", "greedy", "--display", "none", "--out", str(runs / "a.jsonl")]
    files = ["--domain", "blocks.pddl", "--problem", "blocks-p01.pddl", "--problem", "blocks-p01.pddl"]
    assert run_command(["run", "pddl", *files, *free]) == 0
    state = load_state(runs / "a.jsonl")
    assert state.run is not None and state.finished is not None
    assert state.run.plan.environment == f"pddl:{folder}/blocks.pddl"
    assert state.finished.scores == (1.0, 1.0)
    # What the run file says is enough to play it again, from any other folder.
    monkeypatch.chdir(runs)
    again = make_environment(state.run.plan.environment)
    assert again.task(state.run.plan.tasks[0]).id == state.run.plan.tasks[0]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("run", "maze", "--domain", "d.pddl"), 2, "--domain is for the environment pddl"),
        (("run", "pddl", "--problem", "p.pddl"), 2, "lacks the domain"),
        (("run", "pddl:blocks.pddl", "--domain", "d.pddl"), 2, "both name a domain"),
        (("run", "pddl", "--domain", "d.pddl", "--problem", "p.pddl"), 2, "there is no domain file"),
        (("run", "pddl", "--domain", "blocks.pddl", "--problem", "p.pddl"), 2, "there is no problem file"),
        (("list", "tasks", "pddl:"), 2, "after the colon"),
    ],
)
def test_wrong_flags_are_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(folder)
    assert run_command([*arguments]) == code
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_own_problems_are_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert run_command(["list", "tasks", "pddl:blocks.pddl"]) == 0
    assert "blocks-p01.pddl#" in capsys.readouterr().out
    assert run_command(["list", "environments"]) == 0
    out = capsys.readouterr().out
    assert all(kind in out for kind in ("pddl:DOMAIN.pddl", "openenv:URL", "agentgym:URL"))
