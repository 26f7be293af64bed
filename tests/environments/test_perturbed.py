from __future__ import annotations

import random
from itertools import chain

import conformance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import UsageError
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.perturbed import PERTURBATIONS, make_rule
from agentrm_tui.environments.perturbed.words import THINGS, VERBS
from agentrm_tui.environments.registry import environment_names, make_environment

NAMES = [name for name in environment_names() if name not in ("jericho", "scienceworld", "alfworld")]
PAIRS = [
    ("adventure", "rename-verbs"),
    ("babyai", "rename-objects"),
    ("household", "paper-1"),
    ("household", "paper-2"),
    ("household", "paper-3"),
    ("household", "paper-4"),
    ("household", "reorder-arguments"),
    ("maze", "shuffle-actions"),
    ("pddl", "reorder-arguments"),
    ("tooloperation", "rename-verbs"),
    ("toolquery", "rename-verbs@3"),
    ("webshop", "rename-verbs"),
]


def actions_of(environment: Environment, tasks: int = 2) -> set[str]:
    """Valid actions and the expert's, on the expert's way through a few tasks."""
    found: set[str] = set()
    for task in environment.tasks("test", count=tasks):
        environment.reset(task)
        for _ in range(task.step_limit):
            action = environment.expert()[1]
            found |= {*environment.valid_actions(), action}
            if environment.step(action).done:
                break
    return found - {""}


@pytest.fixture(scope="module")
def actions() -> dict[str, set[str]]:
    return {name: actions_of(make_environment(name)) for name in NAMES}


@pytest.mark.parametrize("spec", [*PERTURBATIONS, "rename-verbs@7", "rename-objects@7"])
def test_every_action_comes_back_and_no_two_become_one(actions: dict[str, set[str]], spec: str) -> None:
    rule = make_rule(spec)
    for name, known in actions.items():
        changed = {rule.action(action) for action in known}
        assert len(changed) == len(known), name
        assert {rule.action(action) for action in changed} == known, name


@pytest.mark.parametrize("spec", ["rename-verbs@2", "rename-objects@2", "paper-4"])
@given(
    text=st.text(alphabet="aAbB 1_.,'\n" + "takeGoMug", max_size=60), words=st.lists(st.sampled_from([*VERBS, *THINGS]))
)
@settings(max_examples=60)
def test_texts_come_back(spec: str, text: str, words: list[str]) -> None:
    rule = make_rule(spec)
    both = text + " ".join(chain(words, (word.capitalize() for word in words), (word.upper() for word in words)))
    assert rule.text(rule.text(both)) == both


def test_no_word_stands_for_two() -> None:
    for table in (VERBS, THINGS):
        words = [*table, *chain.from_iterable(table.values())]
        assert len(set(words)) == len(words)
        assert all(word.isalpha() and word.islower() and len(word) > 1 for word in words)


def test_articles_stay_right() -> None:
    assert [
        (old, new) for old, others in THINGS.items() for new in others if (old[0] in "aeiou") != (new[0] in "aeiou")
    ] == []


def test_the_papers_rules_word_for_word() -> None:
    one, two, three, four = (make_rule(f"paper-{number}") for number in (1, 2, 3, 4))
    assert one.action("clean mug 1 with sinkbasin 1") == "clean mug 1 using sinkbasin 1"
    assert one.action("go to sofa 1") == "go to sofa 1"
    assert two.action("go to sofa 1") == "move to sofa 1"
    assert two.action("move mug 1 to sofa 1") == "move mug 1 to sofa 1"
    assert three.action("heat egg 1 with microwave 1") == "heat egg 1 using microwave 1"
    assert three.action("take mug 1 from desk 2") == "from desk 2 take mug 1"
    assert four.action("take mug 1 from desk 2") == "take mug1 from desk2"
    assert "from Y take X" in three.instruction("Actions: go to X, take X from Y, move X to Y.")
    assert "heat THING using microwave 1 (" in one.instruction("- heat THING with microwave 1 (held)")
    assert "clean X using Y or heat X using Y or cool X using Y" in one.instruction("clean/heat/cool X with Y")


@pytest.mark.parametrize(("name", "spec"), PAIRS)
def test_the_expert_scores_as_before_in_other_words(name: str, spec: str) -> None:
    scores = []
    for environment in (make_environment(name), make_environment(f"{name}+{spec}")):
        total = 0.0
        for task in environment.tasks("test", count=4):
            environment.reset(task)
            result = None
            for _ in range(task.step_limit):
                result = environment.step(environment.expert()[1])
                if result.done:
                    break
            assert result is not None
            total += result.outcome
        scores.append(total)
    assert scores[0] == scores[1] > 0


@pytest.mark.parametrize(("name", "spec", "old", "new"), [
    ("household", "paper-2", "go to ", "move to "),
    ("babyai", "rename-objects", "", ""),
])  # fmt: skip
def test_the_old_words_are_not_understood(name: str, spec: str, old: str, new: str) -> None:
    environment = make_environment(f"{name}+{spec}")
    task = environment.tasks("test", count=1)[0]
    environment.reset(task)
    plain = make_environment(name)
    plain.reset(plain.task(task.id))
    changed = [action for action in plain.valid_actions() if action not in environment.valid_actions()]
    assert changed and all(action.startswith(old) for action in changed)
    if new:
        assert any(action.startswith(new) for action in environment.valid_actions())
    before = environment.state_key()
    assert not environment.step(changed[0]).valid or environment.state_key() != before


@pytest.mark.parametrize(("name", "spec"), PAIRS)
def test_a_perturbed_environment_is_one_like_any_other(name: str, spec: str) -> None:
    def make() -> Environment:
        return make_environment(f"{name}+{spec}")

    environment = make()
    assert environment.traits.name == f"{name}+{spec}"
    task = environment.tasks("test", count=1)[0]
    assert environment.task(task.id) == task
    assert conformance.play(make(), task, "a", 12) == conformance.play(environment, task, "a", 12)
    rng = random.Random(1)
    for action in rng.sample(conformance.HOSTILE, 12):
        environment.reset(task)
        assert 0 <= environment.step(action).outcome <= 1


def test_rules_may_follow_each_other() -> None:
    environment = make_environment("household+paper-1+paper-4")
    environment.reset(environment.tasks("test", count=1)[0])
    assert any(
        action.startswith("go to ") and action[-1].isdigit() and " 1" not in action
        for action in environment.valid_actions()
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maze+rename-verb", "Did you mean 'rename-verbs'"),
        ("maze+rename-verbs@x", "not a whole number"),
        ("maze+paper-1", "changes nothing in maze"),
        ("maze+reorder-arguments", "changes nothing in maze"),
        ("household+rename-verbs+reorder-arguments", "give this one first"),
        ("maz+rename-verbs", "Did you mean 'maze'"),
    ],
)
def test_mistakes_are_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_environment(name)
