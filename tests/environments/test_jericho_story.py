"""A person's own story files: one that is compiled here in several versions of the Z-machine, and files that are none.

No interpreter knows these files, so their score is read from the text; the words are those of Infocom's games.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import conformance
import pytest

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.cli import run_command
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.jericho import StoryEnvironment
from agentrm_tui.environments.jericho.machine import clean
from agentrm_tui.environments.jericho.story import _SCORE, check_story
from agentrm_tui.environments.jericho.trying import candidates, understood
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.store import load_state

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("textworld") is None or importlib.util.find_spec("jericho") is None,
    reason="the extra [interactive-fiction] is not installed",
)

CELLAR = """\
Release 1;
Serial "260101";
Global location;
Global score;
Global moves;
Object Cellar "Cellar";
Object Garden "Garden";
Object lamp "lamp";
Array line -> 82;
Array words -> 64;

[ Deep; Deep(); Deep(); ];
[ Look;
  print (object) location, "^";
  if (location == Cellar) {
    print "You are in a cold cellar. A stair leads up.^";
    if (lamp in Cellar) print "There is a lamp here.^";
  }
  else print "You are in a garden. A hole leads down, a ladder up to heaven.^";
];
[ Finish; print "Your score is ", score, " (total of 10 points), in ", moves, " moves.^"; @quit; ];
[ Main verb noun;
  location = Cellar; move lamp to Cellar;
  print "^THE CELLAR^A story of a few turns.^^";
  Look();
  for (::) {
    print "^>";
    line->0 = 80; words->0 = 15;
#Iftrue (#version_number < 5);
    @sread line words;
#Ifnot;
    line->1 = 0;
    @aread line words -> verb;
#Endif;
    moves++;
    verb = words-->1; noun = words-->3;
    if (words->1 == 0) { print "I beg your pardon?^"; continue; }
    if (verb == 'look') { Look(); continue; }
    if (verb == 'inventory') { if (lamp in Cellar) print "You are empty-handed.^"; else print "A lamp.^"; continue; }
    if (verb == 'take') {
      if (noun == 'lamp' && location == Cellar && lamp in Cellar) { remove lamp; score = score + 5; print "Taken.^"; }
      else print "You can't see any lamp here!^";
      continue;
    }
    if (verb == 'up' or 'down') {
      if ((verb == 'up') == (location == Garden)) { print "You can't go that way.^"; continue; }
      if (location == Garden) location = Cellar; else location = Garden;
      Look(); continue;
    }
    if (verb == 'climb') {
      if (location == Cellar) { print "There is nothing to climb.^"; continue; }
      score = score + 5;
      print "You climb and climb.^^   ****  You have won  ****^^";
      Finish(); continue;
    }
    if (verb == 'jump') { print "You fall.^^   ****  You have died  ****^^"; Finish(); continue; }
    if (verb == 'break') Deep();
    if (verb == 'score') { print "Your score is ", score, " (total of 10 points), in ", moves, " moves.^"; continue; }
    print "I don't know that word.^";
  }
];
"""


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the story in versions 3, 4, 5 and 8, compiled by the Inform that TextWorld brings."""
    from textworld.generator.inform7.world2inform7 import I7_DEFAULT_PATH

    folder = tmp_path_factory.mktemp("stories")
    (folder / "cellar.inf").write_text(CELLAR, "ascii")
    compiler = Path(I7_DEFAULT_PATH) / "share" / "inform7" / "Compilers" / "inform6"
    for version in (3, 4, 5, 8):
        command = [str(compiler), "-~S", "-w", f"-v{version}", "cellar.inf", f"cellar.z{version}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@needs_extra
@pytest.mark.parametrize("version", [3, 4, 5, 8])
def test_a_story_of_each_version_plays_to_its_end(stories: Path, version: int) -> None:
    env = StoryEnvironment(str(stories / f"cellar.z{version}"))
    first = env.reset(env.task("story:1"))
    assert first.startswith("THE CELLAR") and first.endswith("There is a lamp here.")
    assert env.traits.summary.endswith("unknown to jericho: score read from the text.")
    assert env.valid_actions() == ("up", "take lamp", "climb lamp", "look", "inventory")
    told = [env.step(action) for action in ("look", "fly", "take lamp", "up", "up", "climb ladder")]
    assert [result.valid for result in told] == [True, False, True, True, False, True]
    assert [result.outcome for result in told] == [0.0, 0.0, 0.5, 0.5, 0.5, 1.0]
    assert [result.done for result in told] == [False] * 5 + [True]
    assert told[0].text == "Cellar\nYou are in a cold cellar. A stair leads up.\nThere is a lamp here."
    assert told[2].text == "Taken."
    assert env.valid_actions() == ()
    env.close()


@needs_extra
def test_a_story_that_dies_or_stops_ends_and_the_search_goes_back_behind_it(stories: Path) -> None:
    env = StoryEnvironment(str(stories / "cellar.z5"))
    env.reset(env.task("story:1"))
    env.step("take lamp")
    here, key = env.snapshot(), env.state_key()
    died = env.step("jump")
    assert died.done and died.outcome == 0.5 and "You have died" in died.text
    env.restore(here)
    stopped = env.step("break lamp")
    assert stopped.done and stopped.outcome == 0.5 and stopped.text == "The game stops."
    env.restore(here)
    assert env.state_key() == key
    assert env.step("look").text.startswith("Cellar") and env.step("up").text.startswith("Garden")
    assert env.reset(env.task("story:1")).startswith("THE CELLAR")
    env.close()


@needs_extra
@pytest.mark.parametrize("version", [3, 8])
def test_stories_keep_the_rules_of_environments(stories: Path, version: int) -> None:
    address = f"jericho:{stories / f'cellar.z{version}'}"

    def make() -> Environment:
        return make_environment(address)

    task = make().task
    tasks = [task("story:0"), task("story:7")]
    conformance.check_tasks(make)
    conformance.check_instructions(make)
    conformance.check_determinism(make, tasks)
    conformance.check_snapshots(make, tasks)
    conformance.check_no_leak(make, tasks)
    conformance.check_instances_apart(make, tasks)
    conformance.check_valid_actions(make, tasks[:1])
    conformance.check_any_text(make, tasks, conformance.HOSTILE)
    conformance.check_step_limit(make, tasks)


@needs_extra
def test_the_command_line_takes_a_story(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stories)
    out = tmp_path / "a.jsonl"
    typed = ["--policy", "scripted", "--search", "greedy", "--max-steps", "3", "--display", "none", "--out", str(out)]
    assert run_command(["run", "jericho", "--story", "cellar.z5", *typed]) == 0
    state = load_state(out)
    assert state.run is not None and state.finished is not None
    assert state.run.plan.environment == f"jericho:{stories}/cellar.z5", "it can be gone on with from any folder"
    assert run_command(["list", "tasks", "jericho", "--story", "cellar.z3"]) == 0
    assert "story:9000000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "maze", "--story", "a.z5"), "--story is for the environment jericho"),
        (("run", "jericho:a.z5", "--story", "b.z5"), "both name a story file"),
        (("run", "jericho", "--domain", "d.pddl"), "--domain is for the environment pddl"),
        (("run", "jericho", "--story", "none.z5"), "there is no story file at"),
    ],
)
def test_wrong_flags_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    assert run_command([*arguments]) in (2, 3)
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("text.z5", b"hello", "is not a story file"),
        ("empty.z8", b"", "is not a story file"),
        ("noise.z5", bytes([200]) * 200, "is not a story file"),
        ("story", bytes([5]) * 200, r"must end in .z1 to .z8"),
        ("story.gblorb", b"FORM\x00\x00\x00\x00IFRS" + bytes(200), "Blorb archive"),
        ("short.z5", bytes([5] + [0] * 25 + [1, 0] + [0] * 100), "cut off: it has 128 of 1024 bytes"),
    ],
)
def test_what_is_no_story_is_one_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        make_environment(f"jericho:{tmp_path / name}")
    with pytest.raises((DataError, UsageError)):
        make_environment(f"jericho:{tmp_path}")


def test_a_whole_file_of_each_version_is_let_through(tmp_path: Path) -> None:
    for version, unit in ((1, 2), (3, 2), (5, 4), (8, 8)):
        story = tmp_path / f"story.z{version}"
        story.write_bytes(bytes([version] + [0] * 25 + [0, 64] + [0] * (64 * unit - 28)))
        check_story(story)
        story.write_bytes(story.read_bytes()[:-1])
        with pytest.raises(DataError, match="cut off"):
            check_story(story)


@pytest.mark.parametrize(
    ("text", "score", "most"),
    [
        ("You have so far scored 10 out of a possible 350, in 4 turns", 10, 350),
        ("Your score is 0 (total of 350 points), in 1 move.", 0, 350),
        ("Your score is 35 (out of 350).", 35, 350),
        ("If you were to quit now, you would have 36 points out of a possible total of 430.", 36, 430),
        ("You scored 3 out of a maximum of 7 points.", 3, 7),
        ("Your score is -10 of a possible 400, in 20 turns.", -10, 400),
        ("Score: 5/100", 5, 100),
        ("You have scored 2 points, out of 5", 2, 5),
    ],
)
def test_scores_are_read_from_the_usual_sentences(text: str, score: int, most: int) -> None:
    found = _SCORE.search(text)
    assert found is not None and (int(found[1]), int(found[2])) == (score, most)


def test_a_status_line_and_a_prompt_left_over_are_taken_away() -> None:
    status = "> Cellar" + " " * 60 + "Score: 5        Moves: 3    "
    assert clean(f"{status}\nTaken.\n\n") == "Taken."
    assert clean(">\nTaken.\n\n>") == "Taken."
    assert clean("> quoted\nTaken.") == "> quoted\nTaken."


def test_what_is_tried_comes_from_dictionary_and_texts() -> None:
    words = ("north", "take", "examin", "mailbo", "look", "lamp", "the", "x")
    tried = tuple(candidates(words, ("There is a small mailbox on the lawn.", "A lamp; a sword.")))
    assert tried == ("north", "take mailbox", "examine mailbox", "take lamp", "examine lamp", "look")
    answers = {"north": "You can't go that way.", "look": "Field"}
    assert understood(tried, lambda command: answers.get(command, ""), re.compile("can't")) == ("look",)
