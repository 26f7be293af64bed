"""ScienceWorld: tasks, splits and texts without the package; the simulator itself where package and Java are there."""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
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
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_models.errors import DataError, MissingExtraError
from agentrm_tui.environments.base import SPLIT_SEEDS, EnvironmentTraits, Split, StepResult
from agentrm_tui.environments.scienceworld import ScienceWorldEnvironment
from agentrm_tui.environments.scienceworld.environment import clean, read_command
from agentrm_tui.environments.scienceworld.gold import candidates, condense, leave_running, merge_waits, shorten
from agentrm_tui.environments.scienceworld.levels import (
    LEAST_REACHED,
    LEVELS,
    left_out,
    played_variations,
    split_variations,
    variation_of,
)
from agentrm_tui.environments.scienceworld.simulators import Simulator, find_java, visible_actions
from agentrm_tui.headless.choosing import TaskChoice
from agentrm_tui.headless.listing import task_table

ROOT = Path(__file__).parent.parent.parent
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


def _missing() -> str:
    if importlib.util.find_spec("scienceworld") is None:
        return "the extra [scienceworld] is not installed"
    try:
        find_java()
    except MissingExtraError as error:
        return error.cause
    return ""


needs_extra = pytest.mark.skipif(bool(_missing()), reason=_missing() or "all there")


@pytest.fixture
def env() -> Iterator[ScienceWorldEnvironment]:
    made = ScienceWorldEnvironment()
    yield made
    made.close()


def test_thirty_tasks_with_the_published_step_limits() -> None:
    assert len(LEVELS) == 30
    limits = {name: level.step_limit for name, level in LEVELS.items()}
    assert {limits["boil"], limits["melt"], limits["power-component"], limits["lifespan-longest-lived"]} == {
        100,
        80,
        20,
        10,
    }
    assert min(limits.values()) == 10 and max(limits.values()) == 120
    assert sum(level.variations for level in LEVELS.values()) == 7_207


@pytest.mark.parametrize("level", LEVELS)
def test_splits_are_disjoint_and_complete(level: str) -> None:
    parts = [list(split_variations(level, split)) for split in SPLITS]
    assert [*parts[0], *parts[1], *parts[2]] == list(range(LEVELS[level].variations))
    assert all(parts)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
def test_seeds_of_a_split_play_all_its_variations(level: str, split: Split) -> None:
    expected = set(played_variations(level, split))
    first, count = SPLIT_SEEDS[split], 31 * len(expected)
    assert {variation_of(level, first + seed) for seed in range(count)} == expected
    in_turn = {variation_of(level, first + len(LEVELS) * seed) for seed in range(count)}
    assert in_turn == expected, "the seeds that a level gets when all take turns"


@given(st.sampled_from(sorted(LEVELS)), st.integers(0, 10**18 - 1))
def test_every_seed_plays_a_variation(level: str, seed: int) -> None:
    assert 0 <= variation_of(level, seed) < LEVELS[level].variations


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("  open   door to kitchen ", "open door to kitchen"),
        ("focus on unknown substance B", "focus on unknown substance B"),
        ("look\naround", "look around"),
        ("look\x00", ""),
        ("größer", ""),
        ("x" * 201, ""),
        ("", ""),
    ],
)
def test_only_plain_lines_reach_the_simulator(action: str, command: str) -> None:
    assert read_command(action) == command


def test_texts_have_no_tabs_and_are_never_empty() -> None:
    assert clean("In it, you see: \n\tthe agent\n\n\ta picture\r\n") == "In it, you see:\n  the agent\n  a picture"
    assert clean("\x00\t\n") == "Nothing happens."


def test_paths_are_shortened_without_losing_an_act() -> None:
    path = ["look around", "open door to hallway", "go to hallway", "go to kitchen", "pick up pot", *["wait1"] * 23]
    assert shorten(path)[:2] == ["teleport to kitchen", "pick up pot"]
    assert merge_waits(path)[-5:] == ["wait", "wait", "wait1", "wait1", "wait1"]
    assert candidates(tuple(path))[-1] == tuple(path)
    assert [len(each) for each in candidates(tuple(path))] == [7, 25, 10, 28]
    assert merge_waits(["wait1"] * 14, 4) == ["wait", "wait"] and merge_waits(["wait1"] * 3, 4) == ["wait1"] * 3


def test_watching_becomes_waiting_and_as_much_time_goes_by() -> None:
    look, pair = "look at plane", ["examine ice", "use thermometer in inventory on ice"]
    assert condense([look] * 20) == [look, look, *["wait1"] * 16, look, look]
    assert condense([*pair * 4, "focus on ice"]) == [*pair, *["wait1"] * 4, *pair, "focus on ice"]
    assert condense(["wait", *pair] * 5)[:6] == ["wait", *pair, "wait1", "wait1", "wait1"]
    assert len(condense(["wait", *pair] * 5)) == 3 + 3 * 12 + 3
    for path in ([look] * 3, pair * 2, ["pick up pot", "move pot to stove"] * 9, [], ["go to kitchen"]):
        assert condense(path) == path


def test_a_tap_stays_open() -> None:
    path = ["activate sink", "move jug to sink", "deactivate sink", "wait", "activate sink", "move jug to sink"]
    assert leave_running(path) == ["activate sink", "move jug to sink", "wait", "move jug to sink"]


def test_what_is_left_out_is_known_and_no_seed_plays_it() -> None:
    for level, aside in left_out().items():
        assert aside and set(aside) < set(range(LEVELS[level].variations))
        for split in SPLITS:
            played = played_variations(level, split)
            assert played and not set(played) & set(aside)
            assert {*played, *aside} >= set(split_variations(level, split))


def test_what_is_left_out_is_what_the_record_of_the_benchmark_says() -> None:
    lines = (ROOT / "benchmarks" / "results" / "scienceworld_paths.jsonl").read_text("utf-8").splitlines()
    played = {(level, variation): reached for level, variation, _, reached in map(json.loads, lines)}
    assert len(played) == len(lines)
    short = sorted(each for each, reached in played.items() if reached < LEAST_REACHED)
    assert short == sorted((level, variation) for level, aside in left_out().items() for variation in aside)
    of_seeds = [(level, variation_of(level, SPLIT_SEEDS["test"] + seed)) for seed, level in enumerate([*LEVELS] * 2)]
    reached = [played[each] for each in of_seeds[:50]]
    assert sum(reached) / len(reached) >= LEAST_REACHED


def test_what_is_left_out_is_listed_beside_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    traits = ScienceWorldEnvironment().traits
    assert len(traits.left_out) == len(left_out())
    monkeypatch.setattr(
        ScienceWorldEnvironment, "traits", traits._replace(left_out=("freeze, variations 19: too long",))
    )
    lines = task_table("scienceworld", TaskChoice(number=2))
    assert "left out: freeze, variations 19: too long" in lines


def test_actions_on_hidden_objects_are_left_out() -> None:
    listed = ["look at pot", "look at table", "move pot to table", "look at bee 1", "move table to bee 1", "wait"]
    assert visible_actions(listed, {"table"}) == ("look at table", "wait")
    assert visible_actions(listed, {"pot", "table"}) == ("look at pot", "look at table", "move pot to table", "wait")


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_import(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("agentrm_tui.environments.scienceworld.simulators.import_module", fake_import)
    env = ScienceWorldEnvironment()
    assert env.traits.extra == "scienceworld" and env.tasks("train", count=3)
    with pytest.raises(MissingExtraError, match="scienceworld, which is not installed") as caught:
        env.reset(env.task("boil:0"))
    assert "pip install 'agentrm-tui[scienceworld]'" in str(caught.value.remedy)


def test_without_java_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingExtraError, match="needs a Java runtime") as caught:
        find_java()
    assert "JAVA_HOME" in str(caught.value.remedy)
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java() == str(java)


@needs_extra
def test_the_table_is_that_of_the_simulator() -> None:
    simulator = Simulator()
    java = simulator._java
    assert set(java.getTaskNames()) == set(LEVELS)
    for name, level in LEVELS.items():
        assert java.getTaskMaxVariations(name) == level.variations
    for name in ("find-animal", "grow-fruit", "lifespan-longest-lived"):
        simulator.begin(name, 0)
        found = (java.getVariationsTrain(), java.getVariationsDev(), java.getVariationsTest())
        assert [list(part) for part in found] == [list(split_variations(name, split)) for split in SPLITS]
    simulator.close()


def play(env: ScienceWorldEnvironment, task_id: str) -> tuple[str, list[tuple[str, StepResult]]]:
    """The expert's episode."""
    first, moves = env.reset(env.task(task_id)), []
    while not (moves and moves[-1][1].done) and (action := env.expert()[1]):
        moves.append((action, env.step(action)))
    return first, moves


@needs_extra
@pytest.mark.parametrize("task_id", ["find-plant:1", "use-thermometer:4", "chemistry-mix-paint-tertiary-color:9000002"])
def test_the_expert_wins_and_the_same_actions_give_the_same_texts(env: ScienceWorldEnvironment, task_id: str) -> None:
    first, moves = play(env, task_id)
    outcomes = [result.outcome for _, result in moves]
    assert outcomes[-1] == 1.0 and outcomes == sorted(outcomes) and moves[-1][1].done
    other = ScienceWorldEnvironment()
    play(other, "inclined-plane-determine-angle:0")
    for again in (env, other):
        assert again.reset(again.task(task_id)) == first
        assert [(action, again.step(action)) for action, _ in moves] == moves
    other.close()


@needs_extra
def test_a_wrong_focus_ends_the_episode_with_nothing(env: ScienceWorldEnvironment) -> None:
    env.reset(env.task("find-plant:1"))
    result = env.step("focus on agent")
    assert result.done and result.outcome == 0.0 and result.valid
    assert env.expert() == ("", "") and env.valid_actions() == ()


@needs_extra
def test_an_ambiguous_request_is_answered_by_a_number(env: ScienceWorldEnvironment) -> None:
    env.reset(env.task("find-plant:3"))
    assert env.step("open door").text.startswith("Ambiguous request") and env.valid_actions() == ("0", "1", "2")
    assert not env.step("3").valid and not env.step("xyzzy").valid
    assert env.valid_actions() == ("0", "1", "2")
    assert env.step("1").text == "The door is already open." and len(env.valid_actions()) > 3
    assert env.step("open door").valid
    assert env.step("inventory").text.startswith("In your inventory")


@needs_extra
def test_what_is_listed_is_accepted(env: ScienceWorldEnvironment) -> None:
    task = env.task("use-thermometer:2")
    rng = random.Random("listed")
    for _ in range(3):
        env.reset(task)
        for _ in range(10):
            action = rng.choice([each for each in env.valid_actions() if not each.startswith("focus")])
            assert env.step(action).valid, action


class FakeLazyEnvironment(ScienceWorldEnvironment):
    """The same, but never asked for lists of actions, which take longer than all else."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(valid_actions=False, expert=False)


@pytest.fixture
def made() -> Iterator[list[ScienceWorldEnvironment]]:
    environments: list[ScienceWorldEnvironment] = []
    yield environments
    for environment in environments:
        environment.close()


@needs_extra
@pytest.mark.parametrize("kind", ["random", "hostile"])
def test_any_text_ends_in_an_observation(made: list[ScienceWorldEnvironment], kind: str) -> None:
    def make() -> ScienceWorldEnvironment:
        made.append(FakeLazyEnvironment())
        return made[-1]

    rng = random.Random("texts")
    random_texts = [conformance.random_text(rng) for _ in range(200)]
    hostile = [text for _ in range(6) for text in (*conformance.HOSTILE, "open door")][:200]
    tasks = [make().task(task) for task in ("find-plant:5", "power-component:5000001", "grow-fruit:9000001")]
    conformance.check_any_text(make, tasks, random_texts if kind == "random" else hostile)


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
def test_instances_share_one_machine_that_ends_with_the_last() -> None:
    one, other = ScienceWorldEnvironment(), ScienceWorldEnvironment()
    for each in (one, other):
        each.reset(each.task("find-plant:0"))
    assert one._simulator is not None and other._simulator is not None
    machine = one._simulator.process_id
    assert machine == other._simulator.process_id
    one.close()
    one.close()
    assert other.step("look around").valid
    assert one.reset(one.task("find-plant:0")) and one._simulator.process_id == machine
    one.close()
    other.close()
    assert _ends(machine)


@needs_extra
def test_a_machine_that_dies_is_an_error_and_the_next_episode_has_another(env: ScienceWorldEnvironment) -> None:
    first = env.reset(env.task("find-plant:0"))
    assert env._simulator is not None
    machine = env._simulator.process_id
    os.kill(machine, signal.SIGKILL)
    assert _ends(machine)
    with pytest.raises(DataError, match="simulator failed"):
        env.step("look around")
    assert env.reset(env.task("find-plant:0")) == first
    assert env._simulator.process_id != machine


@needs_extra
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_the_machine_does_not_outlive_a_killed_process() -> None:
    script = (
        "import os, signal\n"
        "from agentrm_tui.environments.scienceworld import ScienceWorldEnvironment\n"
        "env = ScienceWorldEnvironment()\n"
        "env.reset(env.task('find-plant:0'))\n"
        "print(env._simulator.process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert _ends(int(ended.stdout))


def _children(process_id: int) -> list[int]:
    """Processes that this one has started and not yet reaped."""
    listed = Path(f"/proc/{process_id}/task/{process_id}/children")
    return [int(each) for each in listed.read_text().split()]


@needs_extra
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_machine_does_not_outlive_the_program(tmp_path: Path, how: signal.Signals) -> None:
    typed = ["--policy", "expert", "--search", "greedy", "--tasks", "30", "--out", str(tmp_path / "a.jsonl")]
    command = [sys.executable, "-m", "agentrm_tui", "run", "scienceworld", "--level", "find-plant", *typed]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert program.stdout is not None
    for line in program.stdout:
        if "act" in line:
            break
    (machine,) = _children(program.pid)
    assert "java" in Path(f"/proc/{machine}/cmdline").read_text()
    program.send_signal(how)
    program.wait(60)
    program.stdout.close()
    assert _ends(machine)


@needs_extra
def test_a_machine_that_died_leaves_no_log_behind_not_even_when_garbage_is_collected(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    env = ScienceWorldEnvironment()
    env.reset(env.task("find-plant:0"))
    assert env._simulator is not None
    os.kill(env._simulator.process_id, signal.SIGKILL)
    assert _ends(env._simulator.process_id)
    with pytest.raises(DataError):
        env.step("look around")
    env._simulator._java = None
    gc.collect()
    env.close()
    del env
    gc.collect()
    logging.getLogger("py4j.java_gateway").error("it cannot be reached")
    assert caplog.records == [] and capfd.readouterr() == ("", "")
