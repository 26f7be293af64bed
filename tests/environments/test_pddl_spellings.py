"""PDDL as people write it: spellings of one small world that all mean the same, and mistakes that are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrm_models.errors import AgentRMError, DataError
from agentrm_tui.environments.registry import make_environment

DOMAIN = """\
(define (domain ferry)
  (:requirements :strips :typing)
  (:types place thing - object car bike - thing)
  (:constants quay - place)
  (:predicates (at ?t - thing ?p - place) (here ?p - place) (aboard ?t - thing) (empty))
  (:action sail
    :parameters (?from ?to - place)
    :precondition (here ?from)
    :effect (and (here ?to) (not (here ?from))))
  (:action board
    :parameters (?t - thing ?p - place)
    :precondition (and (at ?t ?p) (here ?p) (empty))
    :effect (and (aboard ?t) (not (at ?t ?p)) (not (empty))))
  (:action unload
    :parameters (?t - thing ?p - place)
    :precondition (and (aboard ?t) (here ?p))
    :effect (and (at ?t ?p) (empty) (not (aboard ?t)))))
"""
PROBLEM = """\
(define (problem two)
  (:domain ferry)
  (:objects island - place beetle - car racer - bike)
  (:init (at beetle quay) (at racer island) (here quay) (empty))
  (:goal (and (at beetle island) (at racer quay))))
"""

SAME = {
    "upper case": (DOMAIN.upper(), PROBLEM.upper()),
    "mixed case": (DOMAIN.title(), PROBLEM.replace("beetle", "Beetle")),
    "one line": (" ".join(DOMAIN.split()), " ".join(PROBLEM.split())),
    "no blanks": (DOMAIN.replace(" (", "(").replace(") ", ")"), PROBLEM.replace(" (", "(")),
    "blanks within brackets": (DOMAIN.replace("(", "( ").replace(")", " )"), PROBLEM.replace("(", "( ")),
    "windows line ends": (DOMAIN.replace("\n", "\r\n"), "\ufeff" + PROBLEM.replace("\n", "\r\n")),
    "old mac line ends": (DOMAIN.replace("\n", "\r"), PROBLEM.replace("\n", "\r")),
    "tabs and form feeds": (DOMAIN.replace("  ", "\t\f"), PROBLEM.replace("  ", "\t")),
    "comments": (
        "; (define (domain other)\n;;; )))\n" + DOMAIN.replace("(:types", "; types (here\n  (:types") + "; the end )",
        PROBLEM.replace("(:init", ";(at nothing nowhere)\n(:init") + ";",
    ),
    "a comment glued to a word": (
        DOMAIN.replace("(empty))\n  (:action sail", "(empty));last\n  (:action sail"),
        PROBLEM,
    ),
    "variables without a blank before them": (
        DOMAIN.replace("thing ?p", "thing?p").replace("at ?t ?p", "at ?t?p"),
        PROBLEM,
    ),
    "types without a blank before them": (DOMAIN.replace("- place", "-place").replace("- thing", "-thing"), PROBLEM),
    "types without object": (
        DOMAIN.replace("place thing - object car bike - thing", "car bike - thing place"),
        PROBLEM,
    ),
    "object among the types": (DOMAIN.replace("place thing - object", "object place thing - object"), PROBLEM),
    "object as a type without a parent": (DOMAIN.replace("(:types ", "(:types object "), PROBLEM),
    "requirements twice": (DOMAIN.replace(":strips :typing", ":strips)\n  (:requirements :typing"), PROBLEM),
    "requirements in the problem": (DOMAIN, PROBLEM.replace("(:objects", "(:requirements :strips :typing)\n(:objects")),
    "no requirements": (DOMAIN.replace("(:requirements :strips :typing)", ""), PROBLEM),
    "empty requirements": (DOMAIN.replace(":strips :typing", ""), PROBLEM),
    "sections in parts": (
        DOMAIN.replace("(here ?p - place) (aboard", "(here ?p - place)) (:predicates (aboard").replace(
            "(:types place thing - object ", "(:types place thing - object) (:types "
        ),
        PROBLEM.replace("island - place ", "island - place) (:objects ").replace("(here quay)", ") (:init (here quay)"),
    ),
    "sections in another order": (
        DOMAIN.replace("  (:constants quay - place)\n", "").rstrip()[:-1] + "(:constants quay - place))",
        PROBLEM.replace("  (:domain ferry)\n", "").rstrip()[:-1] + "(:domain ferry))",
    ),
    "effect before precondition": (
        DOMAIN.replace(
            ":precondition (here ?from)\n    :effect (and (here ?to) (not (here ?from)))",
            ":effect (and (here ?to) (not (here ?from)))\n    :precondition (here ?from)",
        ),
        PROBLEM,
    ),
    "and in and": (
        DOMAIN.replace("(and (at ?t ?p) (here ?p) (empty))", "(and (and) (and (at ?t ?p) (and (here ?p))) (empty))"),
        PROBLEM.replace("(and (at beetle island)", "(and (and (at beetle island))"),
    ),
    "a single literal in and": (DOMAIN.replace("(here ?from)\n", "(and (here ?from))\n"), PROBLEM),
    "either": (DOMAIN.replace("(?t - thing ?p - place)\n", "(?t - (either car bike) ?p - place)\n"), PROBLEM),
    "either in predicates": (DOMAIN.replace("(aboard ?t - thing)", "(aboard ?t - (either car bike))"), PROBLEM),
    "constants declared again": (DOMAIN, PROBLEM.replace("island - place", "island quay - place")),
    "not in the initial state": (DOMAIN, PROBLEM.replace("(empty))", "(empty) (not (here island)))")),
    "and in the initial state": (DOMAIN, PROBLEM.replace("(:init", "(:init (and").replace("(empty))", "(empty)))")),
    "a list in parts without types": (
        DOMAIN.replace(
            "(:types place thing - object car bike - thing)", "(:types place) (:types thing car bike - thing)"
        ).replace("thing car bike", "thing) (:types car bike"),
        PROBLEM,
    ),
    "an atom twice in the initial state": (DOMAIN, PROBLEM.replace("(empty))", "(empty) (here quay))")),
    "a metric and a length": (DOMAIN, PROBLEM[:-2] + "(:metric minimize (total-time)) (:length (:serial 9)))"),
    "costs": (
        DOMAIN.replace(":typing", ":typing :action-costs")
        .replace("(:action sail", "(:functions (total-cost) (toll ?p - place) - number)\n(:action sail")
        .replace("(not (here ?from))", "(not (here ?from)) (increase (total-cost) (toll ?to))"),
        PROBLEM.replace("(:init", "(:init (= (total-cost) 0) (= (toll island) 3) (= (toll quay) 2.5)"),
    ),
    "costs without a type": (
        DOMAIN.replace(":typing", ":typing :action-costs").replace(
            "(:action sail", "(:functions (total-cost))(:action sail"
        ),
        PROBLEM,
    ),
    "an effect that says nothing": (
        DOMAIN[:-2] + "(:action wait :effect (and)) (:action sleep :parameters () :precondition () :effect ()))",
        PROBLEM,
    ),
    "no types at all": (
        "(define (domain ferry) (:predicates (at ?t ?p) (here ?p) (aboard ?t) (empty) (place ?p))"
        "(:action sail :parameters (?from ?to) :precondition (and (here ?from) (place ?to))"
        " :effect (and (here ?to) (not (here ?from))))"
        "(:action board :parameters (?t ?p) :precondition (and (at ?t ?p) (here ?p) (empty))"
        " :effect (and (aboard ?t) (not (at ?t ?p)) (not (empty))))"
        "(:action unload :parameters (?t ?p) :precondition (and (aboard ?t) (here ?p))"
        " :effect (and (at ?t ?p) (empty) (not (aboard ?t)))))",
        PROBLEM.replace("island - place beetle - car racer - bike", "quay island beetle racer").replace(
            "(:init", "(:init (place quay) (place island)"
        ),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_spellings_of_one_problem_are_all_solved(tmp_path: Path, name: str) -> None:
    domain, problem = SAME[name]
    assert (domain, problem) != (DOMAIN, PROBLEM)
    (tmp_path / "ferry.pddl").write_text(domain, "utf-8", newline="")
    (tmp_path / "two.pddl").write_text(problem, "utf-8", newline="")
    env = make_environment(f"pddl:{tmp_path}/ferry.pddl")
    (task,) = env.tasks("test")
    assert task.goal == "beetle at island; racer at quay."
    env.reset(task)
    outcome, actions = 0.0, []
    while action := env.expert()[1]:
        actions.append(action)
        result = env.step(action)
        assert result.valid, f"{action}: {result.text}"
        outcome = result.outcome
        if result.done:
            break
    assert outcome == 1.0 and actions[-1] == "finish"
    assert len(actions) == 7


WRONG = [
    ("thing - object car", "thing - object thing - car car", "line 3: "),
    ("car bike - thing", "car bike - (either thing place)", "line 3: "),
    ("(:constants quay - place)", "(:constants quay - plaice)", "line 4: type 'plaice' is not declared"),
    ("(here ?p - place)", "(here ?p - )", "line 5: '-' is not followed by a type"),
    ("(here ?p - place)", "(here ?p - place) (here ?q - place)", "line 5: the name here occurs twice"),
    ("(empty))\n  (:action sail", "empty)\n  (:action sail", "line 5: a predicate is not written"),
    (":precondition (here ?from)", ":precondition here", "line 8: "),
    (":precondition (here ?from)", ":precondition (here ?form)", "line 8: '?form' in (here ?form) is not declared"),
    (":precondition (here ?from)", ":precondition (here ?from) (here ?to)", "line 6: an action is not written"),
    (":precondition (here ?from)", ":precondition (not here)", "line 8: "),
    (":precondition (here ?from)", ":precondition (not (and (here ?from)))", "line 8: "),
    (":precondition (here ?from)", ":condition (here ?from)", "line 8: action sail: :condition is not supported"),
    (":effect (and (here ?to)", ":effect (and (= ?from ?to)", "line 9: "),
    ("(?from ?to - place)", "(from to - place)", "line 7: "),
    ("(?from ?to - place)", "?from", "line 7: "),
    ("(?from ?to - place)", "(?from ?from - place)", "line 7: the name ?from occurs twice"),
    ("(:action board", "(:action sail", "line 10: the name sail occurs twice"),
    ("(domain ferry)", "(domain)", "line 1: "),
    ("(domain ferry)", "(problem ferry)", "line 1: "),
    ("(domain ferry)", "(domain ferry) junk", "line 1: "),
    (":strips :typing)", ":strips :typing :time-travel)", "line 2: requirement :time-travel is not supported"),
]


@pytest.mark.parametrize(("old", "new", "told"), WRONG)
def test_a_mistake_in_a_domain_is_named_with_file_and_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert DOMAIN.count(old) >= 1
    (tmp_path / "ferry.pddl").write_text(DOMAIN.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        make_environment(f"pddl:{tmp_path}/ferry.pddl")
    message = str(caught.value)
    assert f"ferry.pddl: {told}" in message and "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("(here quay)", "(here (quay))", "two.pddl: line 4: "),
        ("(here quay)", "here quay", "two.pddl: line 4: "),
        ("(here quay)", "(forall (?p) (here ?p))", "two.pddl: line 4: quantifiers"),
        (
            "(and (at beetle island)",
            "(or (at beetle island)",
            "two.pddl: line 5: disjunctions (or …) are not supported",
        ),
        ("(and (at beetle island)", "(and (at beetle ?where)", "two.pddl: line 5: '?where'"),
        ("(:goal (and (at beetle island) (at racer quay)))", "", "two.pddl: "),
        ("(:domain ferry)", "", "two.pddl: "),
        ("(here quay) ", "", "two.pddl: the goal cannot be reached"),
        ("beetle - car", "beetle - (either car bike)", "two.pddl: line 3: "),
        ("(problem two)", "(problem)", "two.pddl: line 1: "),
        ("(at beetle quay)", "(= beetle quay)", "two.pddl: line 4: "),
        ("(empty))", "(empty) (not (here quay)))", "two.pddl: line 4: (here quay) is said to hold and not to hold"),
    ],
)
def test_a_mistake_in_a_problem_is_named_with_file_and_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    (tmp_path / "ferry.pddl").write_text(DOMAIN)
    (tmp_path / "two.pddl").write_text(PROBLEM.replace(old, new, 1))
    with pytest.raises(AgentRMError) as caught:
        make_environment(f"pddl:{tmp_path}/ferry.pddl").task(str(tmp_path / "two.pddl"))
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("precondition", "objects", "told"),
    [
        ("(p ?a ?b)", 30, "more than 20,000 ground actions, at action mix with 6 parameters and 30 objects"),
        ("(and (p ?a ?b) (r ?e ?f))", 60, "more than 500,000 assignments to try, at action mix"),
    ],
)
def test_a_problem_that_would_fill_the_memory_is_refused(
    tmp_path: Path, precondition: str, objects: int, told: str
) -> None:
    (tmp_path / "d.pddl").write_text(
        "(define (domain d) (:predicates (p ?a ?b) (r ?a ?b) (q))"
        f"(:action mix :parameters (?a ?b ?c ?d ?e ?f) :precondition {precondition} :effect (q)))"
    )
    names = " ".join(f"o{number}" for number in range(objects))
    (tmp_path / "p.pddl").write_text(
        f"(define (problem p) (:domain d) (:objects {names}) (:init (p o1 o2) (r o9 o9) (r o8 o8)) (:goal (q)))"
    )
    with pytest.raises(DataError) as caught:
        make_environment(f"pddl:{tmp_path}/d.pddl").task("p.pddl")
    assert f"p.pddl: {told}" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["~nosuchuser/d.pddl", "x" * 5_000])
def test_a_path_that_no_file_has_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "ferry.pddl").write_text(DOMAIN)
    for ask in (
        lambda: make_environment(f"pddl:{name}"),
        lambda: make_environment(f"pddl:{tmp_path}/ferry.pddl").task(name),
    ):
        with pytest.raises(AgentRMError) as caught:
            ask()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
