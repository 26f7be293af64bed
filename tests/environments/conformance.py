"""What every environment must keep, as functions over a way to make one: also for environments installed by others.

Each function takes `make`, which creates a fresh instance, and raises `AssertionError` with the task and the action
that broke the rule. Optional methods are checked where `traits` declares them.
"""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len

from agentrm_models.errors import UsageError
from agentrm_tui.environments.base import Environment, StepResult, Task
from agentrm_tui.environments.pictures import decode_picture, encode_picture

Make: TypeAlias = Callable[[], Environment]

SHORT_WORDS = 90
THOUGHT_WORDS = 15

HOSTILE = (
    "",
    " ",
    "\n",
    "\x00",
    "a\x00b",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "[bold red]markup[/bold red]",
    "[/]",
    "[[[",
    "{",
    '{"a": [1, 2',
    '{"action": "go", "n": 1e999}',
    "search with Action Input: {",
    "search with Action Input: []",
    'search with Action Input: {"a": {"b": {"c": null}}}',
    "click[",
    "click[]",
    "%s %d %n {0} {x!r} ${HOME}",
    "../../../../etc/passwd",
    "; rm -rf ~ #",
    "__import__('os').system('true')",
    "'\"\\`",
    "-1",
    "9" * 400,
    "١٢٣",
    "²",
    "go to 99999999999999999999",
    "go to -1",
    "go to ½",
    "\u202eright to left",
    "e\u0301" * 50,
    "🧭" * 100,
    "\ud800",
    "\x85\u2028\u2029",
    "word " * 400,
    "(" * 2_000,
    "x" * 1_000_000,
    "pick up " * 125_000,
    "\t\r\n\v\f",
)
"""Action texts that have broken parsers: empty, huge, half JSON, markup, escapes, odd digits, a lone surrogate."""

_ALPHABET = "abcdefghij klmnopqrst uvwxyz0123456789.,:;()[]{}\"'\\/<>?!\n\t\x00\x1b\x7fé漢🙂"


class Facts(NamedTuple):
    """Everything an environment says about its current state, besides the observation."""

    valid_actions: tuple[str, ...]
    state_key: str
    picture: str
    expert: tuple[str, str]


class Move(NamedTuple):
    """One step of a trace: the action, what it did, and how the state looks after it."""

    action: str
    result: StepResult
    facts: Facts


class Trace(NamedTuple):
    """A played episode, or a part of one."""

    first: str
    facts: Facts
    moves: tuple[Move, ...]


def look(environment: Environment, done: bool = False) -> Facts:
    """Ask for all that the environment declares; nothing is promised about a finished state but its picture."""
    traits = environment.traits
    return Facts(
        environment.valid_actions() if traits.valid_actions and not done else (),
        environment.state_key() if traits.state_keys else "",
        encode_picture(environment.picture()) if traits.pictures else "",
        environment.expert() if traits.expert and not done else ("", ""),
    )


def random_text(rng: random.Random) -> str:
    """Between nothing and 60 characters, some of them nasty."""
    return "".join(rng.choice(_ALPHABET) for _ in range(rng.randrange(61)))


def pick_action(environment: Environment, rng: random.Random, noise: float = 0.1) -> str:
    """A valid action mostly, now and then the expert's or nonsense."""
    traits = environment.traits
    if rng.random() < noise:
        return random_text(rng)
    if traits.expert and rng.random() < 0.4 and (action := environment.expert()[1]):
        return action
    if traits.valid_actions and (actions := environment.valid_actions()):
        return rng.choice(actions)
    return rng.choice(HOSTILE)


def moves(environment: Environment, seed: str, noise: float = 0.1) -> Iterator[Move]:
    """Play on at random from where the environment stands, until the episode ends."""
    rng = random.Random(seed)
    done = False
    while not done:
        action = pick_action(environment, rng, noise)
        result = environment.step(action)
        done = result.done
        yield Move(action, result, look(environment, done))


def play(environment: Environment, task: Task, seed: str = "", length: int | None = None) -> Trace:
    """Reset and play `length` random moves, or to the end."""
    first = environment.reset(task)
    return Trace(first, look(environment), tuple(islice(moves(environment, f"{task.id}/{seed}"), length)))


def sample_tasks(environment: Environment, count: int, first_seed: int = 700) -> list[Task]:
    """`count` tasks that touch as many levels as possible, those of the mix first."""
    traits = environment.traits
    if not traits.procedural:
        return list(environment.tasks("test", count=count))
    levels = list(dict.fromkeys((*traits.mix, *traits.levels)))
    return [environment.task(f"{levels[i % len(levels)]}:{first_seed + i}") for i in range(count)]


def check_traits(make: Make, name: str) -> None:
    """Facts are consistent, and what is not declared is refused in words."""
    environment = make()
    traits = environment.traits
    assert traits == make().traits
    assert traits.name == name and traits.summary and "\n" not in traits.summary
    assert len(set(traits.levels)) == len(traits.levels)
    assert set(traits.mix) <= set(traits.levels)
    assert traits.levels or not traits.procedural
    environment.reset(sample_tasks(environment, 1)[0])
    optional: dict[str, tuple[bool, Callable[[], object]]] = {
        "valid_actions": (traits.valid_actions, environment.valid_actions),
        "snapshot": (traits.snapshots, environment.snapshot),
        "expert": (traits.expert, environment.expert),
        "picture": (traits.pictures, environment.picture),
        "state_key": (traits.state_keys, environment.state_key),
    }
    for method, (declared, call) in optional.items():
        try:
            call()
        except UsageError:
            assert not declared, f"{method} is declared but refused"
        else:
            assert declared, f"{method} works but is not declared"


def check_tasks(make: Make) -> None:
    """Tasks are named, found again by name, cycle through the mix, and take any seed."""
    environment = make()
    traits = environment.traits
    for split in ("train", "dev", "test"):
        tasks = environment.tasks(split, count=2 * len(traits.mix or traits.levels) or 5)
        assert len({task.id for task in tasks}) == len(tasks)
        for task in tasks:
            check_task(environment, task)
    if not traits.procedural:
        return
    mix = traits.mix or traits.levels
    for first in (0, 900_000, 123_456_789):
        listed = environment.tasks("test", first_seed=first, count=len(mix) + 1)
        assert [task.level for task in listed] == [mix[seed % len(mix)] for seed in range(first, first + len(mix) + 1)]
        assert [task.seed for task in listed] == list(range(first, first + len(mix) + 1))
    assert len(environment.tasks("test")) == 100
    for level in traits.levels:
        task = environment.task(level)
        assert task == environment.task(f"{level}:0") and task.level == level
        check_task(environment, task)
    check_wrong_task_ids(environment)


def check_task(environment: Environment, task: Task) -> None:
    """A task's id leads back to it, and its fields make sense."""
    assert environment.task(task.id) == task
    assert task.goal.strip() and task.step_limit > 0
    check_text(task.goal, f"goal of {task.id}")
    if environment.traits.procedural:
        assert task.id == f"{task.level}:{task.seed}"


def check_wrong_task_ids(environment: Environment) -> None:
    """A misspelt level is answered with the nearest one; a seed that is no number is refused in words."""
    level = environment.traits.levels[-1]
    for wrong in (f"{level}x", f"{level}:-1", f"{level}:1.5", f"{level}:²", f"{level}:one", "\x00", f"{level}:0:0"):
        try:
            environment.task(wrong)
        except UsageError as error:
            assert "\n" not in str(error)
            assert wrong != f"{level}x" or level in str(error), "the nearest level is not offered"
        else:
            raise AssertionError(f"task {wrong!r} was accepted")


def check_determinism(make: Make, tasks: Sequence[Task]) -> None:
    """The same task and actions give the same episode: in another instance, and again in the same one."""
    one, other = make(), make()
    for task in tasks:
        trace = play(one, task)
        assert play(other, task) == trace, task.id
        assert play(one, task) == trace, task.id


def check_snapshots(make: Make, tasks: Sequence[Task]) -> None:
    """A restored state is the state: same facts, same future, as often as one likes, in any instance."""
    here, elsewhere = make(), make()
    for number, task in enumerate(tasks):
        here.reset(task)
        played = list(islice(moves(here, f"{task.id}/lead-in"), 1 + 2 * number % 9))
        if played[-1].result.done:
            here.reset(task)
        snapshot, facts = here.snapshot(), look(here)
        future = list(moves(here, task.id))
        for environment in (here, elsewhere, here):
            environment.restore(snapshot)
            assert look(environment) == facts, task.id
            assert list(moves(environment, task.id)) == future, task.id
        here.restore(snapshot)
        list(moves(here, f"{task.id}/another way"))
        here.restore(snapshot)
        assert list(moves(here, task.id)) == future, f"{task.id}: a snapshot changed while another way was played"


def check_no_leak(make: Make, tasks: Sequence[Task]) -> None:
    """An episode of A after one of B, finished or broken off, is that of A."""
    environment = make()
    for one, other in pairwise(tasks):
        trace = play(environment, one)
        play(environment, other)
        assert play(environment, one) == trace, f"{one.id} after {other.id}"
        play(environment, other, length=3)
        assert play(environment, one) == trace, f"{one.id} after a part of {other.id}"


def check_instances_apart(make: Make, tasks: Sequence[Task]) -> None:
    """Two instances that play in turns do not disturb each other."""
    one, other = make(), make()
    for task, task_beside in pairwise(tasks):
        expected, expected_beside = play(one, task), play(other, task_beside)
        assert (one.reset(task), other.reset(task_beside)) == (expected.first, expected_beside.first)
        ways = (moves(one, f"{task.id}/"), moves(other, f"{task_beside.id}/"))
        seen: tuple[list[Move], list[Move]] = ([], [])
        for _ in range(max(len(expected.moves), len(expected_beside.moves))):
            for way, out in zip(ways, seen, strict=True):
                out.extend(islice(way, 1))
        assert tuple(seen[0]) == expected.moves, task.id
        assert tuple(seen[1]) == expected_beside.moves, task_beside.id


def check_valid_actions(make: Make, tasks: Sequence[Task], most: int = 25) -> None:
    """Every action that is offered is accepted; the list has a fixed order and no action twice."""
    environment = make()
    rng = random.Random("valid actions")
    for task in tasks:
        environment.reset(task)
        done = False
        while not done:
            actions = environment.valid_actions()
            assert actions == environment.valid_actions()
            assert len(set(actions)) == len(actions), f"{task.id}: {actions}"
            if environment.traits.snapshots:
                snapshot = environment.snapshot()
                for action in rng.sample(actions, min(most, len(actions))):
                    assert environment.step(action).valid, f"{task.id}: {action!r} was offered and refused"
                    environment.restore(snapshot)
            if not actions:
                break
            action = rng.choice(actions)
            result = environment.step(action)
            assert result.valid, f"{task.id}: {action!r} was offered and refused"
            done = result.done


def check_any_text(make: Make, tasks: Sequence[Task], actions: Sequence[str]) -> None:
    """Whatever the action says, a step ends in an observation, and an invalid one leaves the state as it was."""
    environment = make()
    traits = environment.traits
    turn = 0
    environment.reset(tasks[0])
    outcome: float | None = None
    before = look(environment)
    for action in actions:
        result = environment.step(action)
        check_result(result, f"{tasks[turn % len(tasks)].id}: {action[:60]!r}")
        if result.done:
            turn += 1
            environment.reset(tasks[turn % len(tasks)])
            outcome = None
        after = look(environment)
        if not result.valid and not result.done:
            assert outcome is None or result.outcome == outcome, action[:60]
            assert after.valid_actions == before.valid_actions, action[:60]
            if traits.pictures:
                assert decode_picture(after.picture).rows == decode_picture(before.picture).rows, action[:60]
        outcome = None if result.done else result.outcome
        before = after


def check_result(result: StepResult, where: str) -> None:
    """An observation that can be shown, an outcome in [0, 1], and two plain truths."""
    assert isinstance(result.text, str) and result.text.strip(), where
    check_text(result.text, where)
    assert isinstance(result.outcome, (int, float)) and math.isfinite(result.outcome), where
    assert 0.0 <= result.outcome <= 1.0, f"{where}: outcome {result.outcome}"
    assert type(result.done) is bool and type(result.valid) is bool, where


def check_text(text: str, where: str) -> None:
    """No control characters but the newline, no surrogates, nothing that writes from right to left."""
    for char in text:
        allowed = char == "\n" or unicodedata.category(char) not in {"Cc", "Cs", "Cf"}
        assert allowed, f"{where}: the text holds {char!r}"


def check_step_limit(make: Make, tasks: Sequence[Task]) -> None:
    """An episode ends within its step limit, whatever is done, and is over exactly then."""
    environment = make()
    for task in tasks:
        for noise in (0.0, 1.0):
            environment.reset(task)
            played = list(moves(environment, f"{task.id}/limit", noise))
            assert 1 <= len(played) <= task.step_limit, f"{task.id}: {len(played)} steps of {task.step_limit}"
            assert played[-1].result.done
            for move in played:
                check_result(move.result, f"{task.id}: {move.action[:60]!r}")


def check_observations(make: Make, tasks: Sequence[Task]) -> None:
    """First observations can be shown and are not empty."""
    environment = make()
    for task in tasks:
        first = environment.reset(task)
        assert first.strip(), task.id
        check_text(first, f"first observation of {task.id}")


def check_pictures(make: Make, tasks: Sequence[Task]) -> None:
    """Pictures are grids of cells of width 1, and survive being written as text."""
    environment = make()
    for task in tasks:
        environment.reset(task)
        picture = environment.picture()
        assert picture.rows and picture.rows[0], task.id
        assert encode_picture(picture) == encode_picture(environment.picture())
        for move in (None, *moves(environment, task.id)):
            picture = environment.picture()
            where = f"{task.id} after {move.action[:60]!r}" if move else task.id
            assert len({len(row) for row in picture.rows}) <= 1, f"{where}: rows of different lengths"
            for row in picture.rows:
                for cell in row:
                    assert len(cell.glyph) == 1 and cell_len(cell.glyph) == 1, f"{where}: {cell.glyph!r}"
                    assert cell.glyph.isprintable(), f"{where}: {cell.glyph!r}"
            check_text(picture.caption, where)
            assert decode_picture(encode_picture(picture)) == picture._replace(
                caption=picture.caption.replace("\n", " ")
            ), where


def check_state_keys(make: Make, tasks: Sequence[Task], steps: int = 60) -> None:
    """Equal keys, equal futures: a state met again answers an action in the same way, steps left aside."""
    environment = make()
    for task in tasks:
        known: dict[tuple[str, str], tuple[float, bool, str]] = {}
        rng = random.Random(f"{task.id}/keys")
        environment.reset(task)
        assert environment.state_key() == environment.state_key() != ""
        count = 0
        for _ in range(steps):
            count += 1
            key, action = environment.state_key(), pick_action(environment, rng, noise=0.0)
            result = environment.step(action)
            if count < task.step_limit:
                seen = (result.outcome, result.valid, environment.state_key())
                assert known.setdefault((key, action), seen) == seen, f"{task.id}: {key!r} then {action!r}"
            if result.done:
                environment.reset(task)
                count = 0


def check_expert(make: Make, tasks: Sequence[Task]) -> float:
    """The expert's actions are accepted and briefly explained; returns the mean outcome of its episodes."""
    environment = make()
    outcomes = []
    for task in tasks:
        environment.reset(task)
        outcome, done = 0.0, False
        while not done:
            thought, action = environment.expert()
            if not action:
                break
            assert len(thought.split()) <= THOUGHT_WORDS and "\n" not in thought, f"{task.id}: {thought!r}"
            check_text(thought + action, task.id)
            result = environment.step(action)
            assert result.valid, f"{task.id}: the expert's {action!r} was refused: {result.text!r}"
            outcome, done = result.outcome, result.done
        outcomes.append(outcome)
    return sum(outcomes) / len(outcomes)


def check_expert_from_anywhere(make: Make, tasks: Sequence[Task]) -> None:
    """In the middle of an episode the expert acts or says by silence that it cannot be won; asking changes nothing."""
    environment = make()
    for task in tasks:
        environment.reset(task)
        for move in moves(environment, f"{task.id}/middle", noise=0.3):
            if move.result.done:
                break
            thought, action = environment.expert()
            assert (thought, action) == environment.expert()
            assert action or not thought
            assert look(environment) == move.facts, f"{task.id}: asking the expert changed the state"


def check_instructions(make: Make) -> None:
    """The full instruction tells the reply format; the short one is short; both can be shown."""
    environment = make()
    full, short = environment.instruction("full"), environment.instruction("short")
    assert "Thought:" in full and "Action:" in full
    assert 1 <= len(short.split()) <= SHORT_WORDS
    assert len(short) < len(full)
    for text in (full, short):
        check_text(text, "instruction")


def digest(make: Make, tasks: Sequence[Task]) -> str:
    """All traces as text, to compare between processes."""
    environment = make()
    return json.dumps([play(environment, task) for task in tasks])
