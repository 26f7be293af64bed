from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import UsageError
from agentrm_tui.environments.base import Environment, StepResult, Task
from agentrm_tui.environments.pddl import PDDLEnvironment
from agentrm_tui.environments.pddl.environment import CHECK, FINISH, INVALID_LIMIT, MIX
from agentrm_tui.environments.pictures import decode_picture, encode_picture
from agentrm_tui.environments.registry import make_environment

ALL_LEVELS = PDDLEnvironment().traits.levels


def _play(environment: PDDLEnvironment, task: Task) -> list[tuple[str, str, StepResult]]:
    environment.reset(task)
    steps = []
    while True:
        thought, action = environment.expert()
        result = environment.step(action)
        steps.append((thought, action, result))
        if result.done:
            return steps


def _wander(environment: PDDLEnvironment, choices: list[int]) -> None:
    for choice in choices:
        actions = environment.valid_actions()[:-1]
        if environment.step(actions[choice % len(actions)]).done:
            return


def test_registered_and_declared() -> None:
    environment: Environment = make_environment("pddl")
    traits = environment.traits
    assert (traits.name, traits.origin, traits.procedural) == ("pddl", "compatible", True)
    assert traits.snapshots and traits.valid_actions and traits.expert and traits.pictures and traits.state_keys
    assert set(traits.mix) <= set(traits.levels)
    assert [level.rpartition("-")[0] for level in MIX[:4]] == ["blockworld", "gripper", "barman", "tyreworld"]


def test_tasks_cycle_through_the_mix_and_take_any_seed() -> None:
    environment = PDDLEnvironment()
    tasks = environment.tasks("test", first_seed=900_000, count=24)
    assert [task.level for task in tasks] == [MIX[seed % len(MIX)] for seed in range(900_000, 900_024)]
    assert tasks[3] == environment.task(tasks[3].id)
    assert environment.task("gripper-2").id == "gripper-2:0"
    assert environment.reset(environment.task(f"barman-1:{10**17}"))
    with pytest.raises(UsageError, match="blockworld-3"):
        environment.task("blokworld-3:7")


def test_a_task_from_elsewhere_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no level"):
        PDDLEnvironment().reset(Task("maze-1:4", "find the exit", 4, 10, "maze-1"))


def test_one_known_episode_word_for_word() -> None:
    environment = PDDLEnvironment()
    task = environment.task("blockworld-3:0")
    first = environment.reset(task)
    steps = _play(environment, task)
    assert first.startswith(("Your hand is empty. Blocks: ", "You hold "))
    assert [action.split()[0] for _, action, _ in steps][-1] == FINISH
    blocks = sorted(set(task.goal.replace(".", "").replace(",", "").split()) - {"is", "on"})
    assert len(blocks) == 3
    assert steps[-1][2].text == "You finish. 2 of 2 goals hold."
    for (_, _, before), (_, _, after) in pairwise(steps):
        assert before.outcome <= after.outcome
    assert steps[-1][2] == StepResult(steps[-1][2].text, 1.0, True, True)


@pytest.mark.parametrize("level", ALL_LEVELS)
def test_the_expert_succeeds_within_the_limit(level: str) -> None:
    environment = PDDLEnvironment()
    count = 50 if level in MIX else 10
    episodes = [_play(environment, environment.make_task(level, seed)) for seed in range(count)]
    assert mean(steps[-1][2].outcome for steps in episodes) >= 0.95
    for steps in episodes:
        assert 3 <= len(steps) <= 22
        assert steps[-1][1] == FINISH
        assert all(result.valid for _, _, result in steps)
        assert all(0 < len(thought.split()) <= 12 for thought, _, _ in steps)
        assert all(len(result.text.split()) <= 60 for _, _, result in steps)
        assert len({thought for thought, _, _ in steps}) >= min(3, len(steps))


@given(st.sampled_from(ALL_LEVELS), st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=25))
@settings(max_examples=60, deadline=None)
def test_the_expert_goes_on_from_any_reachable_state(level: str, seed: int, choices: list[int]) -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task(level, seed))
    environment.restore(environment.snapshot()._replace(step_limit=10_000))
    _wander(environment, choices)
    result = StepResult("", 0.0, False, True)
    for _ in range(60):
        thought, action = environment.expert()
        assert thought
        assert action in environment.valid_actions()
        result = environment.step(action)
        if result.done:
            break
    assert result.done
    assert result.outcome == 1.0
    assert environment.expert() == ("", "")


@given(st.sampled_from(ALL_LEVELS), st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_listed_action_is_accepted_and_others_are_not(level: str, seed: int, choices: list[int]) -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task(level, seed))
    _wander(environment, choices)
    before = environment.snapshot()
    listed = environment.valid_actions()
    assert len(set(listed)) == len(listed)
    texts = {}
    for sentence in (*before.script.sentences, FINISH):
        environment.restore(before)
        result = environment.step(sentence)
        assert result.valid == (sentence in listed)
        assert 0.0 <= result.outcome <= 1.0
        if result.valid and sentence != FINISH:
            # Observations tell states apart.
            key = environment.state_key()
            assert texts.setdefault(result.text, key) == key
        elif not result.valid:
            assert environment.snapshot().state == before.state
            assert result.text.startswith(f"Invalid action (1 of {INVALID_LIMIT}): ")
            assert "not understood" not in result.text
    environment.restore(before)
    assert environment.valid_actions() == listed


def test_snapshots_are_exact_in_any_instance() -> None:
    first, second = PDDLEnvironment(), PDDLEnvironment()
    task = first.task("tyreworld-2:17")
    first.reset(task)
    _wander(first, [5, 2, 8])
    first.step("nonsense")
    frozen = first.snapshot()
    seen = (first.state_key(), first.valid_actions(), first.picture(), first.expert())
    actions = [first.expert()[1], "fly", FINISH]
    once = [first.step(action) for action in actions]
    second.reset(second.task("gripper-2:1"))
    second.restore(frozen)
    assert (second.state_key(), second.valid_actions(), second.picture(), second.expert()) == seen
    assert [second.step(action) for action in actions] == once
    first.restore(frozen)
    assert (first.state_key(), first.valid_actions(), first.picture(), first.expert()) == seen


def test_no_task_leaks_into_the_next_and_instances_are_independent() -> None:
    environment, other = PDDLEnvironment(), PDDLEnvironment()
    a, b = environment.task("barman-2:5"), environment.task("blockworld-4:9")
    alone = _play(environment, a)
    environment.reset(b)
    _wander(environment, [3, 1, 4])
    environment.step("x")
    other.reset(a)
    assert _play(environment, a) == alone
    assert other.step(alone[0][1]) == alone[0][2]
    assert other.snapshot().steps == 1


def test_the_same_seed_gives_the_same_episode_under_any_hash_seed() -> None:
    program = (
        "from agentrm_tui.environments.pddl import PDDLEnvironment as E\n"
        "e = E()\n"
        "for t in e.tasks('train', count=24):\n"
        "    print(t.goal, e.reset(t), e.valid_actions(), e.state_key())\n"
        "    for _ in range(4):\n"
        "        th, a = e.expert(); print(th, a, e.step(a) if a != 'finish' else '')\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] != b""


def test_importing_stays_light() -> None:
    program = (
        "import sys, agentrm_tui.environments.pddl\n"
        "heavy = {'torch', 'transformers', 'numpy', 'textual', 'gymnasium', 'minigrid'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert result.stdout == "[]\n"


HOSTILE = [
    "",
    " ",
    "\x00\x1b[31mstack\x07",
    "x" * 1_000_000,
    '{"action": "pick up',
    "pick up",
    "stack {x} on {y}",
    "stack %s on %s",
    "Action: finish",
    "finish now",
    "\u202eput down b",
    "🧱" * 50,
    "pick up b\nput down b",
]


@pytest.mark.parametrize("action", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("level", ["barman-2", "blockworld-3", "gripper-2", "tyreworld-1"])
def test_hostile_actions_are_invalid_steps(level: str, action: str) -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task(level, 1))
    before = environment.snapshot()
    result = environment.step(action)
    assert (result.valid, result.done, result.outcome) == (False, False, 0.0)
    assert "not understood" in result.text
    assert len(result.text) < 500
    assert environment.snapshot() == before._replace(steps=1, invalid=1)


@given(st.text(max_size=60))
def test_no_text_raises(action: str) -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task("gripper-2", 1))
    result = environment.step(action)
    assert result.text.isprintable()


def test_actions_forgive_case_blanks_and_a_full_stop() -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task("blockworld-3", 3))
    before = environment.snapshot()
    plain = environment.valid_actions()[0]
    wanted = environment.step(plain)
    for spelling in (plain.upper(), f"  {plain}. ", plain.replace(" ", "   ")):
        environment.restore(before)
        assert environment.step(spelling) == wanted


def test_reasons_name_what_is_missing() -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task("tyreworld-3", 2))
    atoms = environment.snapshot().script.task.atoms
    hub = next(atom[1] for atom in atoms if atom[0] == "tight")
    result = environment.step(f"do up {hub}")
    assert not result.valid
    assert result.text.startswith(f"Invalid action (1 of 3): you do not have nuts{hub[-1]}. ")
    environment.reset(environment.make_task("blockworld-3", 3))
    block = environment.snapshot().script.task.problem.objects[0].name
    assert environment.step(f"put down {block}").text.startswith(f"Invalid action (1 of 3): you do not hold {block}. ")


def test_three_invalid_actions_end_the_episode() -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task("gripper-3", 4))
    results = []
    for action in ("sing", "dance"):
        results.append(environment.step(action))
        results.append(environment.step(environment.expert()[1]))
    results.append(environment.step("sing"))
    assert [result.done for result in results] == [False, False, False, False, True]
    assert results[-1].text.endswith("The episode ends.")
    assert not results[-1].valid
    assert environment.valid_actions() == ()
    assert environment.expert() == ("", "")
    with pytest.raises(RuntimeError, match="ended"):
        environment.step("go to hall")


def test_finishing_early_ends_with_what_holds() -> None:
    environment = PDDLEnvironment()
    task = environment.make_task("gripper-3", 4)
    environment.reset(task)
    assert environment.step(FINISH) == StepResult("You finish. 1 of 3 goals hold.", 0.0, True, True)
    partial = next(result.outcome for _, _, result in _play(environment, task) if 0 < result.outcome < 1)
    environment.reset(task)
    while (result := environment.step(environment.expert()[1])).outcome == 0.0:
        assert not result.done
    assert result.outcome == partial
    assert environment.step(FINISH).outcome == partial


def test_reaching_the_goal_does_not_end_the_episode_but_the_limit_does() -> None:
    environment = PDDLEnvironment()
    task = environment.make_task("blockworld-3", 8)
    environment.reset(task)
    while environment.expert()[1] != FINISH:
        result = environment.step(environment.expert()[1])
    assert (result.outcome, result.done) == (1.0, False)
    while not result.done:
        result = environment.step(CHECK)
        assert result.text.startswith("Valid actions: ")
        assert FINISH in result.text
    assert result.outcome == 1.0
    assert result.text.endswith("The step limit is reached.")
    assert environment.snapshot().steps == task.step_limit


def test_state_keys_tell_goals_states_and_invalid_actions_apart_but_not_steps() -> None:
    environment = PDDLEnvironment()
    keys = []
    for seed in range(200):
        environment.reset(environment.make_task("blockworld-4", seed))
        keys.append(environment.state_key())
    assert len(set(keys)) >= 195
    start = keys[-1]
    environment.step(CHECK)
    assert environment.state_key() == start
    environment.step("nonsense")
    assert environment.state_key() != start


@pytest.mark.parametrize("level", MIX)
def test_few_initial_states_repeat(level: str) -> None:
    environment = PDDLEnvironment()
    first = [environment.make_task(level, seed) for seed in range(300)]
    keys = []
    for task in first:
        environment.reset(task)
        keys.append(environment.state_key())
    assert len(set(keys)) >= 0.95 * len(keys)


@given(st.sampled_from(ALL_LEVELS), st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=15))
@settings(max_examples=40, deadline=None)
def test_pictures_are_rectangles_that_survive_encoding(level: str, seed: int, choices: list[int]) -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task(level, seed))
    _wander(environment, choices)
    picture = environment.picture()
    assert picture.caption
    assert len({len(row) for row in picture.rows}) == 1
    assert all(len(cell.glyph) == 1 and cell.glyph.isprintable() for row in picture.rows for cell in row)
    assert max(len(row) for row in picture.rows) <= 60
    assert decode_picture(encode_picture(picture)) == picture


def test_a_picture_of_blocks_shows_every_block() -> None:
    environment = PDDLEnvironment()
    environment.reset(environment.make_task("blockworld-5", 1))
    random = Random(0)
    for _ in range(6):
        environment.step(random.choice(environment.valid_actions()[:-1]))
        glyphs = [cell.glyph for row in environment.picture().rows for cell in row if cell.role == "object"]
        names = sorted(item.name for item in environment.snapshot().script.task.problem.objects)
        assert sorted(glyphs) == names


def test_instructions_name_every_action() -> None:
    environment = PDDLEnvironment()
    full, short = environment.instruction("full"), environment.instruction("short")
    assert len(short.split()) <= 75
    assert "Thought:" in full
    for text in (full, short):
        for word in ("stack X on Y", "unstack X from Y", "go to ROOM", "drop", "pour X into Y", "shake", FINISH):
            assert word in text
        for verb in ("open", "close", "fetch", "loosen", "tighten", "undo", "do up", "jack up", "jack down", "inflate"):
            assert verb in text
    assert CHECK in full


def test_nothing_works_before_reset() -> None:
    with pytest.raises(RuntimeError, match="reset"):
        PDDLEnvironment().valid_actions()
