"""Snapshots of every screen at three sizes. After a wanted change: `pytest tests/ui --snapshot-update`, and look."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_run import FakeClock, FakeEngineLink, FakeRun, fake_plan, finished_run, running_run, surroundings
from textual.app import App
from textual.pilot import Pilot

from agentrm_tui.engine.commands import Status
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.store import RunWriter
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.choices import Choices, save_choices
from agentrm_tui.ui.export import export_svg

SIZES = [(80, 24), (120, 40), (200, 60)]
SNAPSHOT = Callable[..., bool]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
NOW = FakeClock().now

RUNNING = Status("running", "generating", 12, 64, NOW - 1.2, "e0", "propose", ("0.1.1", "0.0.1"))
PAUSED = Status("paused", "", 0, 0, NOW - 8, "e0", "propose", ("0",), {"0": ("move up", "move down")})
LOADING = Status("loading", "policy bundled:small", 0, 0, NOW - 2.3, "", "")


def live(events: list[ev.AnyEvent], status: Status | None) -> App[int]:
    return AgentRMApp(surroundings(events, FakeEngineLink(status)), plan=fake_plan(), tick=False)


async def settled(pilot: Pilot[int]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    await pilot.pause()


def pressing(*keys: str) -> Callable[[Pilot[int]], object]:
    async def press(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)

    return press


@sizes
def test_a_running_episode(snap_compare: SNAPSHOT, size: tuple[int, int]) -> None:
    assert snap_compare(live(running_run(), RUNNING), terminal_size=size, run_before=settled)


@sizes
def test_a_recording(snap_compare: SNAPSHOT, size: tuple[int, int]) -> None:
    app = AgentRMApp(surroundings(finished_run(tasks=2)), replay=Path("x.jsonl"), tick=False)
    assert snap_compare(app, terminal_size=size, run_before=settled)


@sizes
def test_while_models_load(snap_compare: SNAPSHOT, size: tuple[int, int]) -> None:
    assert snap_compare(live([], LOADING), terminal_size=size, run_before=settled)


@sizes
def test_the_launcher(snap_compare: SNAPSHOT, size: tuple[int, int], tmp_path: Path) -> None:
    choices = Choices(environment="maze", policy="scripted", reward="random", search={"beam": {"beam": "3x5"}})
    save_choices(tmp_path / "launcher.json", choices)
    for number, events in enumerate((finished_run(), running_run())):
        path = tmp_path / f"{number}.jsonl"
        writer = RunWriter(path)
        for event in events:
            writer.append(event)
        writer.close()
        os.utime(path, (NOW - 7_200 * number - 60, NOW - 7_200 * number - 60))
    (tmp_path / "2.jsonl").write_text("not a run\n")
    os.utime(tmp_path / "2.jsonl", (NOW - 864_000, NOW - 864_000))
    app = AgentRMApp(surroundings([], folder=tmp_path), tick=False)
    assert snap_compare(app, terminal_size=size, run_before=settled)


@sizes
def test_help(snap_compare: SNAPSHOT, size: tuple[int, int]) -> None:
    assert snap_compare(live(running_run(), RUNNING), terminal_size=size, run_before=pressing("2", "question_mark"))


@sizes
def test_an_own_move(snap_compare: SNAPSHOT, size: tuple[int, int]) -> None:
    assert snap_compare(live(running_run(), PAUSED), terminal_size=size, run_before=pressing("e", "m", "o"))


@pytest.mark.parametrize("key", ["1", "3", "4", "5", "6"], ids=["map", "transcript", "picture", "values", "tree"])
def test_one_pane_at_a_time(snap_compare: SNAPSHOT, key: str) -> None:
    assert snap_compare(live(running_run(), PAUSED), terminal_size=(80, 24), run_before=pressing(key))


def test_asking_before_the_end(snap_compare: SNAPSHOT) -> None:
    assert snap_compare(live(running_run(), RUNNING), terminal_size=(80, 24), run_before=pressing("q"))


def test_a_dead_engine(snap_compare: SNAPSHOT) -> None:
    link = FakeEngineLink(RUNNING)
    app = AgentRMApp(surroundings(running_run(), link), plan=fake_plan(), tick=False)

    async def die(pilot: Pilot[int]) -> None:
        await settled(pilot)
        link.alive = False
        app.screen.refresh_run()  # type: ignore[attr-defined]
        await settled(pilot)

    assert snap_compare(app, terminal_size=(120, 40), run_before=die)


def mcts_run() -> list[ev.AnyEvent]:
    """Two expansions of MCTS with returns backed up."""
    run = FakeRun("mcts").load().start_episode()
    nodes = run.propose(["0"], 3)
    run.score(nodes, [0.4, 0.7, 0.2])
    run.act([nodes[1]], 1)
    run.add(ev.Backpropagated(episode="e0", path=("0", nodes[1]), values=(0.7, 0.7)))
    deeper = run.propose([nodes[1]], 3)
    run.score(deeper, [0.5, 0.9, 0.6])
    run.act([deeper[1]], 2)
    run.add(ev.Backpropagated(episode="e0", path=("0", nodes[1], deeper[1]), values=(0.9, 0.9, 0.9)))
    return run.events


def test_monte_carlo_tree_search(snap_compare: SNAPSHOT) -> None:
    assert snap_compare(live(mcts_run(), RUNNING), terminal_size=(120, 40), run_before=settled)


def test_export_draws_a_run_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    for event in finished_run():
        writer.append(event)
    writer.close()
    whole, start = tmp_path / "whole.svg", tmp_path / "start.svg"
    export_svg(path, (120, 40), whole)
    export_svg(path, (120, 40), start, at_event=6)
    assert "Reach" in whole.read_text()
    assert "outside" in whole.read_text()
    assert "outside" not in start.read_text()


@pytest.mark.parametrize("theme", ["ansi-dark", "textual-light"])
async def test_other_themes_and_no_colour_keep_the_signs(theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = AgentRMApp(surroundings(finished_run()), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        app.theme = theme
        await settled(pilot)
        text = app.export_screenshot()
        for sign in ("★", "✓", "✗", "●", "○", "▸"):
            assert sign in text
