"""ALFWorld: own games, a person's own games and spellings without the package; the engine where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import conformance
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.errors import DataError, MissingExtraError, UsageError
from agentrm_tui.environments.alfworld import ALFWorldEnvironment
from agentrm_tui.environments.alfworld.downloaded import describe_skipped, goal_of, list_games, read_game
from agentrm_tui.environments.alfworld.environment import read_command
from agentrm_tui.environments.alfworld.games import TASK_TYPES, Game
from agentrm_tui.environments.alfworld.levels import HOMES, MIX, make_game
from agentrm_tui.environments.alfworld.messages import Begin, Failed, spelled
from agentrm_tui.environments.base import StepResult
from agentrm_tui.environments.household import HouseholdEnvironment

PACKAGES = ("alfworld", "fast_downward", "textworld")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
needs_extra = pytest.mark.skipif(
    bool(MISSING), reason=f"the extra [alfworld] is not installed: no {', '.join(MISSING)}"
)


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have games of their own."""
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)


@pytest.fixture
def made() -> Iterator[list[ALFWorldEnvironment]]:
    environments: list[ALFWorldEnvironment] = []
    yield environments
    for environment in environments:
        environment.close()


@pytest.fixture
def env(made: list[ALFWorldEnvironment]) -> ALFWorldEnvironment:
    made.append(ALFWorldEnvironment())
    return made[0]


# Own games, without the engine


def test_own_levels_are_the_six_types_in_two_sizes() -> None:
    assert set(MIX) == set(TASK_TYPES.values()) and len(HOMES) == 12
    env = ALFWorldEnvironment()
    assert env.traits.levels == tuple(HOMES) and env.traits.extra == "alfworld"
    assert {env.task(f"{level}:1").step_limit for level in HOMES} == {20, 50}
    for level, home in HOMES.items():
        twin = HouseholdEnvironment().task(f"{home}:7")
        assert env.task(f"{level}:7").goal == twin.goal


@pytest.mark.parametrize("level", HOMES)
def test_a_game_holds_rules_sentences_a_problem_and_its_solution(level: str) -> None:
    game = make_game(level, 3)
    record = json.loads(msgspec.json.encode(game))
    assert {"pddl_domain", "grammar", "pddl_problem", "walkthrough", "solvable"} <= set(record)
    assert game.solvable and game.walkthrough and len(game.thoughts) == len(game.walkthrough)
    assert game.pddl_problem.count("(") == game.pddl_problem.count(")")
    assert goal_of(game) == ALFWorldEnvironment().task(f"{level}:3").goal
    assert make_game(level, 4).key != game.key == msgspec.json.decode(msgspec.json.encode(game), type=Game).key


@pytest.mark.parametrize(
    ("command", "offered", "expected"),
    [
        ("move mug 1 to desk 1", ("move mug 1 to desk 1",), "move mug 1 to desk 1"),
        ("put mug 1 in/on desk 1", ("move mug 1 to desk 1",), "move mug 1 to desk 1"),
        ("put mug 1 in desk 1", ("move mug 1 to desk 1",), "move mug 1 to desk 1"),
        ("put mug 1 on desk 1", ("put mug 1 in/on desk 1",), "put mug 1 in/on desk 1"),
        ("move mug 1 to desk 1", ("put mug 1 in/on desk 1",), "put mug 1 in/on desk 1"),
        ("move mug 1 to desk 2", ("move mug 1 to desk 1",), ""),
        ("put mug 1", ("move mug 1 to desk 1",), ""),
        ("", ("look",), ""),
    ],
)
def test_both_spellings_are_one_command(command: str, offered: tuple[str, ...], expected: str) -> None:
    assert spelled(command, offered) == expected


@given(st.text(max_size=300))
def test_any_text_is_read(action: str) -> None:
    assert read_command("  Go   to Desk 1. ") == "go to desk 1"
    assert "\n" not in read_command(action)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrm_tui.environments.alfworld.process.find_spec", lambda name: None)
    monkeypatch.setattr("agentrm_tui.environments.alfworld.process._shared", None)
    env = ALFWorldEnvironment()
    assert env.tasks("train", count=3)
    with pytest.raises(MissingExtraError, match="engine is not installed") as caught:
        env.reset(env.task(MIX[0]))
    assert "pip install 'agentrm-tui[alfworld]'" in caught.value.remedy and "cmake" in caught.value.remedy


# A person's own games


def keep_game(data: Path, game: Game | dict[str, Any], split: str, kind: str, trial: str = "trial_T1") -> Path:
    """Write a game where ALFWorld's download would have it."""
    folder = data / "json_2.1.1" / split / kind / trial
    folder.mkdir(parents=True)
    path = folder / "game.tw-pddl"
    path.write_bytes(msgspec.json.encode(game))
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    return tmp_path


def test_own_games_are_levels_only_where_the_variable_is_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ALFWorldEnvironment()
    assert env.traits.levels == (*HOMES, "train", "valid_seen", "valid_unseen")
    monkeypatch.delenv("ALFWORLD_DATA")
    assert env.traits.levels == tuple(HOMES)
    with pytest.raises(UsageError, match="no level 'valid_seen'"):
        env.task("valid_seen:0")


def test_a_missing_or_empty_folder_is_one_line(data: Path) -> None:
    env = ALFWorldEnvironment()
    with pytest.raises(DataError, match=r"there is no folder .*json_2\.1\.1") as caught:
        env.task("valid_seen:0")
    assert "\n" not in str(caught.value) and "alfworld-download" in caught.value.remedy
    assert env.remarks() == (caught.value.cause,)
    (data / "json_2.1.1" / "valid_seen").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no folder .*valid_unseen"):
        env.task("valid_unseen:0")
    with pytest.raises(DataError, match="holds no game that can be played"):
        env.task("valid_seen:0")


def test_games_are_found_in_order_and_what_cannot_be_played_is_named(data: Path) -> None:
    game = make_game(MIX[0], 1)
    for scene in (2, 1):
        keep_game(data, game, "valid_unseen", f"pick_and_place_simple-Mug-None-Desk-{scene}")
    keep_game(data, game, "valid_unseen", "pick_and_place_with_movable_recep-Mug-Pan-Desk-1")
    keep_game(data, game, "valid_unseen", "pick_and_place_simple-AppleSliced-None-Desk-1")
    unsolvable = msgspec.structs.replace(game, solvable=False)
    keep_game(data, unsolvable, "valid_unseen", "pick_two_obj_and_place-Mug-None-Desk-1", "trial_never")
    broken = keep_game(data, game, "valid_unseen", "pick_two_obj_and_place-Pen-None-Desk-1", "trial_broken")
    broken.write_text("{")
    found = list_games("valid_unseen")
    assert [path.parent.parent.name[-1] for path in found.games] == ["1", "2"] and not found.unproven
    told = describe_skipped(found.skipped)
    assert len(found.skipped) == 4 and told.startswith("left out 4: ") and told.endswith("and 1 more")
    assert {"trial_never", "trial_broken"} <= {one.path.parent.name for one in found.skipped}
    env = ALFWorldEnvironment()
    tasks = [env.task(f"valid_unseen:{seed}") for seed in (0, 9_000_000, 9_000_002, 5_000_001)]
    assert {task.goal for task in tasks} == {env.task(f"{MIX[0]}:1").goal} and {task.step_limit for task in tasks} == {
        50
    }
    assert [env._path("valid_unseen", task.seed) == found.games[0] for task in tasks] == [True, True, True, False]


def test_a_game_without_its_parts_is_one_line(data: Path) -> None:
    path = keep_game(
        data, {"pddl_problem": "", "solvable": True, "walkthrough": ["look"]}, "train", f"{MIX[0]}-A-None-B-1"
    )
    with pytest.raises(DataError, match=r"game\.tw-pddl is not a game of ALFWorld") as caught:
        ALFWorldEnvironment().task("train:0")
    assert str(path) in str(caught.value)


def test_the_aim_of_a_game_is_in_its_folder_name(data: Path) -> None:
    path = keep_game(data, make_game(MIX[0], 1), "train", "pick_heat_then_place_in_recep-Mug-None-CoffeeMachine-10")
    aim = read_game(path).aim
    assert aim is not None
    assert (aim.type, aim.thing, aim.place) == ("pick_heat_then_place_in_recep", "mug", "coffeemachine")


# The same games in `household` and in the engine


def same_text(text: str) -> str:
    """`household`'s text as the engine says it: only the former answers `put X in/on Y` with `put`."""
    if text.startswith("You put the "):
        thing, _, place = text.removeprefix("You put the ").partition(" in/on the ")
        return f"You move the {thing} to the {place}"
    return text


def same_actions(actions: tuple[str, ...]) -> list[str]:
    """The engine lists `help`; `household` knows it, but does not list it. Orders differ."""
    return sorted(action for action in actions if action != "help")


def compare(engine: ALFWorldEnvironment, twin: HouseholdEnvironment, actions: Iterator[str]) -> StepResult:
    """Take the same actions in both and compare all that they say; returns the last result."""
    for action in actions:
        ours, theirs = engine.step(action), twin.step(action)
        assert ours.text == same_text(theirs.text), action
        assert ours.outcome == pytest.approx(theirs.outcome) and ours[2:] == theirs[2:], action
        assert same_actions(engine.valid_actions()) == same_actions(twin.valid_actions()), action
        if ours.done:
            break
    return ours


def wander(twin: HouseholdEnvironment, seed: str, expert: float) -> Iterator[str]:
    """Possible actions, now and then the expert's, nonsense, or the other spelling."""
    rng = random.Random(seed)
    while True:
        action = twin.expert()[1] if rng.random() < expert else rng.choice(twin.valid_actions())
        if rng.random() < 0.5 and action.startswith("move "):
            action = action.replace("move ", "put ").replace(" to ", " in/on ")
        yield action if rng.random() < 0.95 else "sing"


@needs_extra
@pytest.mark.parametrize("level", MIX)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_household_and_the_engine_play_the_same_game(env: ALFWorldEnvironment, level: str, seed: int) -> None:
    twin = HouseholdEnvironment()
    task, twin_task = env.task(f"{level}:{seed}"), twin.task(f"{HOMES[level]}:{seed}")
    for expert in (0.6, 0.1):
        assert env.reset(task) == twin.reset(twin_task)
        assert same_actions(env.valid_actions()) == same_actions(twin.valid_actions())
        compare(env, twin, wander(twin, f"{task.id}/{expert}", expert))


@needs_extra
@pytest.mark.parametrize("level", [level for level in HOMES if level not in MIX])
def test_in_small_homes_the_expert_is_the_same_and_wins_in_both(env: ALFWorldEnvironment, level: str) -> None:
    twin = HouseholdEnvironment()
    assert env.reset(env.task(f"{level}:5")) == twin.reset(twin.task(f"{HOMES[level]}:5"))

    def expert() -> Iterator[str]:
        while True:
            assert env.expert() == twin.expert()
            yield env.expert()[1]

    assert compare(env, twin, expert()).outcome == 1.0


# The engine as TextWorld and ALFWorld run it

ORIGINAL = """
import json, sys
import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
from textworld.envs.pddl import PddlEnv

asked = json.load(sys.stdin)
env = AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)))
env.load(asked["path"])
state = env.reset()
told = [[state.feedback, [c.strip() for c in state["admissible_commands"]], state["won"]]]
for command in asked["commands"]:
    state, _, _ = env.step(command)
    told.append([state.feedback, [c.strip() for c in state["admissible_commands"]], state["won"]])
print(json.dumps(told))
"""


def play_original(path: Path, commands: list[str]) -> list[tuple[str, list[str], bool]]:
    """What ALFWorld's own classes say to these commands, in a process of their own."""
    asked = json.dumps({"path": str(path), "commands": commands})
    variables = {**os.environ, "ALFWORLD_DATA": str(path.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", ORIGINAL], input=asked, env=variables, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return [tuple(each) for each in json.loads(ended.stdout.splitlines()[-1])]


def their_rules(game: Game, goal: str) -> Game:
    """The same home, played by ALFWorld's own rules in ALFWorld's own sentences, as its package brings them."""
    spec = importlib.util.find_spec("alfworld")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    return msgspec.structs.replace(
        game,
        pddl_domain=(folder / "alfred.pddl").read_text(),
        grammar=(folder / "alfred.twl2").read_text().replace("UNKNOWN GOAL", goal.removesuffix(".")),
        pddl_problem=game.pddl_problem.replace("(:domain household)", "(:domain alfred)"),
    )


def keep_theirs(data: Path, level: str, seed: int) -> Path:
    """A home under ALFWorld's own rules, as a game of a person's own."""
    game = make_game(level, seed)
    assert game.aim is not None
    kind = f"{game.aim.type}-{game.aim.thing.capitalize()}-None-{game.aim.place.capitalize()}-1"
    return keep_game(data, their_rules(game, goal_of(game)), "valid_seen", kind)


def record(env: ALFWorldEnvironment, task_id: str, actions: Iterator[str]) -> tuple[list[str], list[Any]]:
    """The actions that were taken, and what was said, offered and reached."""
    told: list[Any] = [(env.reset(env.task(task_id)), list(env.valid_actions()), False)]
    taken = []
    for action in actions:
        result = env.step(action)
        taken.append(action)
        assert env._now is not None
        told.append((result.text, list(env._now.shown.actions), env._now.shown.won))
        if result.done:
            break
    return taken, told


def offered(env: ALFWorldEnvironment, seed: str) -> Iterator[str]:
    """Offered actions at random, often the expert's."""
    rng = random.Random(seed)
    while True:
        yield (env.expert()[1] if rng.random() < 0.5 else "") or rng.choice(env.valid_actions())


@needs_extra
@pytest.mark.parametrize("level", ["pick_cool_then_place_in_recep-small", "look_at_obj_in_light-small"])
@pytest.mark.parametrize("rules", ["own", "theirs"])
def test_texts_and_actions_are_those_of_alfworlds_own_classes(
    env: ALFWorldEnvironment, data: Path, level: str, rules: str
) -> None:
    if rules == "own":
        path = keep_game(data, make_game(level, 2), "valid_seen", f"{level.removesuffix('-small')}-A-None-B-1")
    else:
        path = keep_theirs(data, level, 2)
    taken, told = record(env, "valid_seen:0", offered(env, level))
    original = play_original(path, taken)
    assert (told[0][0] in original[0][0] and told[0][1:] == list(original[0][1:])) or told[0][1:] == original[0][1:]
    assert told[1:] == original[1:]


# ALFWorld's own rules and `household`


def without_switch(text: str) -> str:
    """A lamp that was never used is `off` to `household`, and nothing special to ALFWorld."""
    lamp = text.removeprefix("This ").removesuffix(" is off.")
    return f"There's nothing special about {lamp}." if text == f"This {lamp} is off." else text


def possible_in_both(env: ALFWorldEnvironment, twin: HouseholdEnvironment, seed: str) -> Iterator[str]:
    """Actions that both offer, often the expert's; what only one offers is checked to be of the kinds named below."""
    rng = random.Random(seed)
    while True:
        ours, theirs = set(same_actions(env.valid_actions())), set(same_actions(twin.valid_actions()))
        # ALFWorld also offers lamps and food that are out of sight in a closed place.
        assert all(action.startswith(("use ", "slice ")) for action in ours - theirs)
        # `household` also offers to examine what is in sight but not in the hand.
        assert all(action.startswith("examine ") for action in theirs - ours)
        assert not any(action.removeprefix("examine ") in twin.picture().caption for action in theirs - ours)
        yield twin.expert()[1] if rng.random() < 0.5 else rng.choice(sorted(ours & theirs))


@needs_extra
@pytest.mark.parametrize("level", MIX)
def test_household_and_alfworlds_own_rules_play_the_same_game(env: ALFWorldEnvironment, data: Path, level: str) -> None:
    """Texts, score and end are the same, but for what `without_switch` and `possible_in_both` name."""
    keep_theirs(data, level, 21)
    twin = HouseholdEnvironment()
    assert env.reset(env.task("valid_seen:0")) == twin.reset(twin.task(f"{HOMES[level]}:21"))
    for action in possible_in_both(env, twin, level):
        ours, theirs = env.step(action), twin.step(action)
        expected = theirs._replace(text=without_switch(same_text(theirs.text)), outcome=pytest.approx(theirs.outcome))
        assert ours == expected, action
        if ours.done:
            break


# The process, going back, and the rules that every environment keeps


@needs_extra
def test_put_and_move_do_the_same_in_old_and_new_games(env: ALFWorldEnvironment, data: Path) -> None:
    level = "pick_and_place_simple-small"
    game = make_game(level, 4)
    old = msgspec.structs.replace(game, grammar=game.grammar.replace('"move {o} to {r}"', '"put {o} in/on {r}"'))
    keep_game(data, old, "train", "pick_and_place_simple-A-None-B-1")
    keep_game(data, game, "train", "pick_and_place_simple-A-None-B-2")
    for task in ("train:0", "train:1"):
        for spelling in ("move {} to {}", "put {} in/on {}", "put {} in {}", "put {} on {}"):
            env.reset(env.task(task))
            for command in game.walkthrough:
                if command.startswith("move "):
                    command = spelling.format(*command.removeprefix("move ").split(" to "))
                result = env.step(command)
                assert result.valid, command
            assert result.outcome == 1.0 and result.done


@needs_extra
def test_games_that_cannot_be_won_are_left_out_and_named(env: ALFWorldEnvironment, data: Path) -> None:
    game = make_game("pick_heat_then_place_in_recep-small", 1)
    assert game.aim is not None
    # Nothing heats where there is no microwave.
    impossible = msgspec.structs.replace(
        game, pddl_problem=game.pddl_problem.replace("MicrowaveType", "StoveType"), solvable=None, walkthrough=()
    )
    unknown = msgspec.structs.replace(game, solvable=None, walkthrough=())
    kind = "pick_heat_then_place_in_recep-A-None-B-{}"
    bad = keep_game(data, impossible, "train", kind.format(1), "trial_impossible")
    good = keep_game(data, unknown, "train", kind.format(2))
    assert env._path("train", 0) == env._path("train", 1) == good
    assert env.remarks() == ("train: 1 games, left out 1: trial_impossible (KeyError: 'val1')",)
    assert env.reset(env.task("train:0")) and env.expert() == ("", "")
    bad.write_bytes(msgspec.json.encode(msgspec.structs.replace(impossible, solvable=True, walkthrough=("look",))))
    answer = env._running().ask(Begin(read_game(bad)))
    assert isinstance(answer, Failed) and answer.impossible
    with pytest.raises(DataError, match=r"trial_impossible.* is left out: its goal can never be reached .*val1"):
        env._begin(read_game(bad), str(bad))


@needs_extra
def test_a_game_that_is_no_planning_problem_is_one_line_and_the_next_one_plays(
    env: ALFWorldEnvironment, data: Path
) -> None:
    game = make_game("pick_and_place_simple-small", 1)
    keep_game(data, msgspec.structs.replace(game, pddl_problem="(define"), "train", "pick_and_place_simple-A-None-B-1")
    with pytest.raises(DataError, match="cannot be played") as caught:
        env.reset(env.task("train:0"))
    assert "\n" not in str(caught.value)
    assert env.reset(env.task(MIX[0]))


@needs_extra
def test_the_expert_goes_on_from_beside_its_way(env: ALFWorldEnvironment) -> None:
    task = env.task("pick_heat_then_place_in_recep:2")
    env.reset(task)
    rng, result = random.Random("beside"), None
    for step in range(task.step_limit):
        thought, action = env.expert()
        if step in (1, 3, 4, 8):
            action = rng.choice([each for each in env.valid_actions() if each.startswith(("go to ", "look", "inv"))])
        assert action and thought
        result = env.step(action)
        if result.done:
            break
    assert result is not None and result.outcome == 1.0
    env.reset(task)
    opened = next(each for each in env.valid_actions() if each.startswith("go to cabinet"))
    env.step(opened)
    env.step(opened.replace("go to", "open"))
    assert env.expert() == ("", ""), "the stored solution does not open it"


@needs_extra
def test_a_snapshot_outlives_the_process_and_other_games(env: ALFWorldEnvironment) -> None:
    task = env.task("pick_two_obj_and_place-small:6")
    env.reset(task)
    for _ in range(4):
        env.step(env.expert()[1])
    snapshot = env.snapshot()
    future = list(conformance.moves(env, "future"))
    for seed in range(9):
        env.reset(env.task(f"pick_and_place_simple-small:{seed}"))
    env.restore(snapshot)
    assert list(conformance.moves(env, "future")) == future, "after nine other games, more than are kept"
    process = env._running().process_id
    os.kill(process, signal.SIGKILL)
    assert _ends(process)
    env.restore(snapshot)
    assert list(conformance.moves(env, "future")) == future and env._running().process_id != process


def _ends(process_id: int, seconds: float = 10.0) -> bool:
    """Whether a process is gone, or dead and not yet reaped, before the time is over."""
    stat, until = Path(f"/proc/{process_id}/stat"), time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


@needs_extra
def test_instances_share_one_process_that_ends_with_the_last() -> None:
    one, other = ALFWorldEnvironment(), ALFWorldEnvironment()
    for each in (one, other):
        each.reset(each.task("pick_and_place_simple-small:0"))
    process = one._running().process_id
    assert process == other._running().process_id
    one.close()
    one.close()
    assert other.step("look").valid
    assert one.reset(one.task("pick_and_place_simple-small:0")) and one._running().process_id == process
    one.close()
    other.close()
    assert _ends(process)


@needs_extra
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_the_engine_does_not_outlive_a_killed_process() -> None:
    script = (
        "import os, signal\n"
        "from agentrm_tui.environments.alfworld import ALFWorldEnvironment\n"
        "env = ALFWorldEnvironment()\n"
        "env.reset(env.task('pick_and_place_simple-small:0'))\n"
        "print(env._running().process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert _ends(int(ended.stdout))


def test_tasks_and_instructions_keep_the_rules() -> None:
    conformance.check_tasks(ALFWorldEnvironment)
    conformance.check_instructions(ALFWorldEnvironment)


@needs_extra
@pytest.mark.parametrize("kind", ["random", "hostile"])
def test_any_text_ends_in_an_observation(made: list[ALFWorldEnvironment], kind: str) -> None:
    def make() -> ALFWorldEnvironment:
        made.append(ALFWorldEnvironment())
        return made[-1]

    rng = random.Random("texts")
    random_texts = [conformance.random_text(rng) for _ in range(200)]
    hostile = [text for _ in range(6) for text in (*conformance.HOSTILE, "go to desk 1")][:200]
    tasks = [make().task(f"{level}:5000001") for level in HOMES if level not in MIX]
    conformance.check_any_text(make, tasks, random_texts if kind == "random" else hostile)


@needs_extra
def test_the_expert_wins_every_type(made: list[ALFWorldEnvironment]) -> None:
    def make() -> ALFWorldEnvironment:
        made.append(ALFWorldEnvironment())
        return made[-1]

    assert conformance.check_expert(make, make().tasks("test", count=12)) == 1.0
