"""A foreign run file, hostile in every string and in its name, sends no control to a terminal, wherever it shows."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import surroundings
from hostile_run import HOSTILE, UNSAFE, hostile_events
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App
from textual.widgets import Input, OptionList

from agentrm_models.errors import DataError
from agentrm_models.terminal_text import clean, json_line, on_one_line, one_line, printable_line, strip_controls
from agentrm_tui.cli import run_command
from agentrm_tui.headless.display import JsonDisplay, PlainDisplay, ProgressDisplay
from agentrm_tui.headless.listing import columns
from agentrm_tui.runs.store import RunWriter
from agentrm_tui.standard_streams import GuardedStream, write_line
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.catalog import Offer
from agentrm_tui.ui.screens.launcher import Launcher
from agentrm_tui.ui.widgets.bars import PANES

NAME = "run\x1b]0;owned\x07\u202e\x9b31m.jsonl"
texts = pytest.mark.parametrize("text", [*HOSTILE, "".join(HOSTILE) * 100], ids=range(len(HOSTILE) + 1))
any_text = st.text(st.characters(exclude_categories=()), max_size=80)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "runs\x1b]0;owned\x07"
    place.mkdir()
    monkeypatch.setenv("AGENTRM_RUNS", str(place))
    monkeypatch.setenv("AGENTRM_CONFIG", str(tmp_path / "config"))
    return place


def write_run(folder: Path, text: str) -> Path:
    writer = RunWriter(folder / NAME)
    for event in hostile_events(text):
        writer.append(event)
    writer.close()
    return folder / NAME


def is_safe(shown: str) -> bool:
    return re.search(UNSAFE, shown) is None


def screen_text(app: App[int]) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


@texts
def test_commands_that_show_the_run(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = write_run(folder, text)
    (folder / "broken\x1b[31m\u202e.jsonl").write_text(f"{text}\n")
    for arguments in (["runs"], ["replay", str(path)], ["attach", str(path)], ["replay", f"none{text}"]):
        run_command([part.replace("\x00", "") for part in arguments])
        out, err = capsys.readouterr()
        assert out or err
        assert is_safe(out) and is_safe(err), arguments


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\x00" not in text])
@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "{}", "--policy", "scripted"],
        ["run", "maze", "--policy", "./{}"],
        ["run", "maze", "--policy", "{}", "--reward", "random"],
        ["run", "maze", "--policy", "scripted", "--reward", "{}"],
        ["run", "maze", "--task", "{}"],
        ["run", "pddl", "--domain", "{}"],
        ["list", "tasks", "{}"],
        ["list", "tasks", "maze", "--level", "{}"],
        ["{}"],
        ["run", "maze", "--{}"],
        ["run", "--resume", "{}"],
    ],
    ids=" ".join,
)
def test_mistakes_that_repeat_what_was_typed(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    code = run_command([part.replace("{}", text) for part in arguments])
    out, err = capsys.readouterr()
    assert code != 0 and err.splitlines()[-1].startswith("error: ")
    assert is_safe(out) and is_safe(err)


def test_doctor_names_a_hostile_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["doctor"])
    out, _ = capsys.readouterr()
    assert "runs folder" in out and is_safe(out)


@texts
def test_json_stays_the_same_data(text: str) -> None:
    lines: list[str] = []
    display = JsonDisplay(lines.append)
    events = hostile_events(text)
    for event in events:
        display.show(event)
    assert all(is_safe(line) and line.isprintable() for line in lines)
    assert json.loads(lines[0])["plan"]["environment"] == text


@texts
@pytest.mark.parametrize("display", [PlainDisplay, ProgressDisplay])
def test_displays_clean_what_they_quote(display: type[PlainDisplay | ProgressDisplay], text: str) -> None:
    lines: list[str] = []
    shown = display(lines.append)
    for event in hostile_events(text):
        shown.show(event)
    shown.close()
    assert len(lines) > 3
    out = io.StringIO()
    for line in lines:
        write_line(line, out)
    assert is_safe(out.getvalue()) and out.getvalue().count("\n") == len(lines)


@texts
async def test_the_episode_screen(folder: Path, text: str) -> None:
    events = hostile_events(text)
    app = AgentRMApp(surroundings(events), replay=folder / NAME, tick=False)
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await pilot.pause()
        for number in range(1, len(PANES) + 1):
            await pilot.press(str(number))
            assert is_safe(screen_text(app))
        await pilot.press("question_mark")
        await pilot.pause()
        assert is_safe(screen_text(app)) and "Notices" in screen_text(app)
        await pilot.press("escape", "home")
        for _ in events:
            await pilot.press("right")
            assert is_safe(screen_text(app))


@texts
async def test_the_launcher(folder: Path, text: str) -> None:
    write_run(folder, text)
    (folder / "broken\x1b[31m\u202e.jsonl").write_text(f"{text}\n")

    async def refuse(name: str) -> Offer:
        raise DataError(text)

    app = AgentRMApp(surroundings([], folder=folder)._replace(describe=refuse), tick=False)
    async with app.run_test(size=(160, 50), notifications=True) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, Launcher)
        app.screen.query_one("#policy", Input).value = text
        app.screen.query_one("#recent", OptionList).border_title = text
        await pilot.pause()
        shown = screen_text(app)
        assert is_safe(shown) and {cell_len(line) for line in shown.split("\n")} == {160}


@given(any_text)
def test_every_way_out_is_safe_for_any_text(text: str) -> None:
    for safe in (clean, one_line, printable_line, on_one_line, strip_controls):
        assert is_safe(safe(text).replace("\n", ""))
    out = io.StringIO()
    write_line(text, out)
    assert is_safe(out.getvalue()) and out.getvalue().count("\n") == 1
    raw = io.BytesIO()
    guarded = GuardedStream(io.TextIOWrapper(raw, encoding="utf-8"))
    guarded.write(text)
    guarded.flush()
    assert is_safe(raw.getvalue().decode("utf-8"))
    assert all(is_safe(line) for line in columns([[text, "x"], ["", text]]))


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_escaped_json_means_the_same(text: str) -> None:
    encoded = json_line(json.dumps({text: [text]}, ensure_ascii=False))
    assert is_safe(encoded) and json.loads(encoded) == {text: [text]}


def test_tables_align_by_cells_and_are_never_cut() -> None:
    rows = columns([["表意文字", "a"], ["abc", "b"], ["é🧭", "c" * 900]])
    assert [cell_len(row[: row.index(mark)]) for row, mark in zip(rows, "abc", strict=True)][::2] == [10, 10]
    assert rows[1] == "abc       b" and rows[2].endswith("c" * 900)


GUARDED = """
import sys, warnings
from agentrm_tui.standard_streams import open_standard_streams
open_standard_streams()
print(sys.argv[1])
warnings.warn(sys.argv[1])
sys.stderr.write(sys.argv[1])
raise ValueError(sys.argv[1])
"""


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\x00" not in text])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_nobody_cleaned_is_stopped_at_the_streams(text: str, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, f"{text} left"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 1 and "ValueError" in err and ("left" in out or "\x1b]52" in text)
    assert is_safe(out) and is_safe(err)
