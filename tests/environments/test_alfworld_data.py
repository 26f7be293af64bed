"""A person's own copy of ALFWorld's games: what is found, what is left out and why, and how it is played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from alfworld_games import hold_engine, keep_game, needs_extra

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.doctor import _environment
from agentrm_tui.environments.alfworld import ALFWorldEnvironment
from agentrm_tui.environments.alfworld.downloaded import describe_skipped, list_games, read_game
from agentrm_tui.environments.alfworld.levels import HOMES, MIX, make_game
from agentrm_tui.environments.alfworld.messages import Begin, Failed
from agentrm_tui.environments.alfworld.process import EngineProcess
from agentrm_tui.environments.shared_process import Shared
from agentrm_tui.headless.listing import environment_table


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    yield from hold_engine()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def env() -> Iterator[ALFWorldEnvironment]:
    environment = ALFWorldEnvironment()
    yield environment
    environment.close()


def test_own_games_are_levels_only_where_the_variable_is_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ALFWorldEnvironment()
    assert env.traits.levels == (*HOMES, "train", "valid_seen", "valid_unseen")
    monkeypatch.delenv("ALFWORLD_DATA")
    assert env.traits.levels == tuple(HOMES)
    with pytest.raises(DataError, match="ALFWORLD_DATA is not set"):
        env.task("valid_seen:0")
    with pytest.raises(UsageError, match="no level 'valid'"):
        env.task("valid:0")


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


def test_games_are_found_in_order_and_what_cannot_be_played_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setenv("ALFWORLD_DATA", str(data / "json_2.1.1"))
    assert list_games("valid_unseen") == found, "the inner folder is understood as well"
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


# Played in the engine


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
def test_doctor_tells_the_versions_and_what_it_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_game(data, make_game(MIX[0], 1), "train", f"{MIX[0]}-A-None-B-1")
    keep_game(data, {}, "train", f"{MIX[0]}-A-None-B-2", "trial_broken")
    line = _environment("alfworld").line()
    assert line.startswith("ok  env alfworld") and "original" in line and "alfworld 0." in line
    assert "train: 1 games, left out 1: trial_broken (it cannot be read" in line and "\n" not in line
    monkeypatch.setenv("ALFWORLD_DATA", str(data / "nowhere"))
    assert f"there is no folder {data}/nowhere/json_2.1.1" in _environment("alfworld").line()
    monkeypatch.delenv("ALFWORLD_DATA")
    assert "ALFWORLD_DATA is not set" in _environment("alfworld").line()


def test_doctor_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrm_tui.environments.alfworld.process.find_spec", lambda name: None)
    monkeypatch.setattr("agentrm_tui.environments.alfworld.process._shared", Shared(EngineProcess))
    line = _environment("alfworld").line()
    assert line.startswith("--  env alfworld") and "pip install 'agentrm-tui[alfworld]'" in line and "\n" not in line


def test_the_list_says_original_extra_and_snapshot() -> None:
    row = next(line for line in environment_table() if line.startswith("alfworld"))
    assert row.split()[1:3] == ["original", "alfworld"] and "snapshot" in row


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
