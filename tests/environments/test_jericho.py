"""Z-machine games: commands that are let through, texts, generated houses, and a person's own story file."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.environments.base import StepResult
from agentrm_tui.environments.jericho import JerichoEnvironment, StoryEnvironment
from agentrm_tui.environments.jericho.files import GAMES, LEVELS, _distinct, game_files, game_number
from agentrm_tui.environments.jericho.machine import clean, read_command
from agentrm_tui.environments.registry import make_environment

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("textworld") is None or importlib.util.find_spec("jericho") is None,
    reason="the extra [interactive-fiction] is not installed",
)


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("Take the lamp.", "take the lamp"),
        ("  open   chest ", "open chest"),
        ("examine Henderson's key", "examine henderson's key"),
        ("save", ""),
        ("RESTORE game", ""),
        ("quit", ""),
        ("tw-print state", ""),
        ("take key then go east", ""),
        ("take key, drop key", ""),
        ("take key. go east", ""),
        ("naïve", ""),
        ("look\x00", ""),
        ("x" * 101, ""),
        ("", ""),
    ],
)
def test_only_one_command_at_a_time_reaches_the_machine(action: str, command: str) -> None:
    assert read_command(action) == command


def test_texts_lose_status_line_and_prompt() -> None:
    raw = "\nYou take   the key.\n\n\n>" + " " * 90 + "-= Attic =-0/3"
    assert clean(raw) == "You take the key."
    assert clean("North of House\nA mailbox.\n\n>") == "North of House\nA mailbox."


def test_names_that_contain_one_another_are_told() -> None:
    assert _distinct(["red key", "chest", "blue key"])
    assert not _distinct(["chest", "old chest"])
    assert not _distinct(["key", "Key"])


def test_splits_share_no_game() -> None:
    numbers = [{game_number(first + seed) for seed in range(50)} for first in (0, 5_000_000, 9_000_000)]
    assert all(len(each) == GAMES for each in numbers)
    assert not (numbers[0] & numbers[1] or numbers[1] & numbers[2] or numbers[0] & numbers[2])


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_import(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("agentrm_tui.environments.jericho.machine.import_module", fake_import)
    env = JerichoEnvironment()
    assert env.traits.extra == "interactive-fiction" and env.tasks("train", count=3)
    with pytest.raises(DataError, match="textworld, which is not installed") as caught:
        env.reset(env.task("quest-3:0"))
    assert "pip install 'agentrm-tui[interactive-fiction]'" in str(caught.value.remedy)


def test_a_story_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no story file"):
        make_environment(f"jericho:{tmp_path / 'nothing.z5'}")
    (tmp_path / "story.txt").write_text("once upon a time")
    with pytest.raises(DataError, match="not a story file"):
        make_environment(f"jericho:{tmp_path / 'story.txt'}")


@needs_extra
def test_a_generated_house_is_won_by_the_expert_and_progress_only_grows() -> None:
    env = JerichoEnvironment()
    for level in LEVELS:
        first = env.reset(env.task(f"{level}:1"))
        assert "-= " in first and "$$" not in first
        outcomes, done = [0.0], False
        while not done:
            action = env.expert()[1]
            assert action in env.valid_actions()
            result = env.step(action)
            outcomes.append(result.outcome)
            done = result.done
        assert outcomes == sorted(outcomes) and outcomes[-1] == 1.0
        assert len(outcomes) - 1 == LEVELS[level].quest
        assert result.text.endswith("You have won.") and "RESTART" not in result.text
    env.close()


@needs_extra
def test_a_snapshot_is_the_state_in_another_instance() -> None:
    one, other = JerichoEnvironment(), JerichoEnvironment()
    one.reset(one.task("quest-5:2"))
    one.step(one.expert()[1])
    snapshot, key = one.snapshot(), one.state_key()
    rest: list[StepResult] = []
    while not (rest and rest[-1].done):
        rest.append(one.step(one.expert()[1]))
    other.restore(snapshot)
    assert other.state_key() == key
    again: list[StepResult] = []
    while not (again and again[-1].done):
        again.append(other.step(other.expert()[1]))
    assert again == rest and rest[-1].outcome == 1.0
    one.close()
    other.close()


@needs_extra
def test_an_unknown_story_file_tells_its_score_in_words(tmp_path: Path) -> None:
    generated = JerichoEnvironment()
    task = generated.task("quest-3:1")
    generated.reset(task)
    commands: list[str] = []
    while not commands or not generated.snapshot().done:
        commands.append(generated.expert()[1])
        generated.step(commands[-1])
    story = tmp_path / "mine.z8"
    shutil.copy(game_files("quest-3", 1).story, story)
    env = make_environment(f"jericho:{story}")
    assert isinstance(env, StoryEnvironment)
    env.reset(env.task("story:5"))
    assert "unknown to jericho: score read from the text" in env.traits.summary
    refused = env.step("frobnicate the moon")
    assert not refused.valid and not refused.done and refused.outcome == 0.0
    results = [env.step(command) for command in commands[:-1]]
    assert all(result.valid and result.outcome == 0.0 for result in results)
    last = env.step(commands[-1])
    assert last.done and last.outcome == 1.0
    with pytest.raises(UsageError, match="an expert"):
        env.expert()
    env.close()
    generated.close()


@needs_extra
def test_a_story_goes_back_to_a_snapshot_exactly(tmp_path: Path) -> None:
    story = tmp_path / "mine.z8"
    generated = JerichoEnvironment()
    generated.reset(generated.task("quest-3:1"))
    shutil.copy(game_files("quest-3", 1).story, story)
    env, other = StoryEnvironment(str(story)), StoryEnvironment(str(story))
    env.reset(env.task("story:0"))
    snapshot, key = env.snapshot(), env.state_key()
    after = env.step("inventory")
    assert env.state_key() != key
    other.restore(snapshot)
    assert other.state_key() == key and other.step("inventory") == after
    for each in (env, other, generated):
        each.close()
