"""What a loader says about a model reaches whoever watches, for as long as they watch."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeEngineLink, FakeRun, fake_plan, surroundings

from agentrm_tui.engine.commands import Status
from agentrm_tui.headless.display import PlainDisplay, ProgressDisplay
from agentrm_tui.headless.waits import Waits
from agentrm_tui.runs import events as ev
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.screens.help import HelpScreen
from agentrm_tui.ui.widgets.budget import Budget

NOTICE = "prefix cache off: cached and uncached scores differ"


def run_with_notice() -> list[ev.AnyEvent]:
    return FakeRun().load(NOTICE).start_episode().beam(2).finish().events


@pytest.mark.parametrize("display", [PlainDisplay, ProgressDisplay])
def test_a_loaders_notice_is_printed(display: type[PlainDisplay | ProgressDisplay]) -> None:
    lines: list[str] = []
    shown = display(lines.append)
    for event in run_with_notice():
        shown.show(event)
    shown.close()
    assert [line for line in lines if NOTICE in line] == [f"loaded policy bundled:small in 0.6 s; {NOTICE}"]


@pytest.mark.parametrize("live", [True, False], ids=["live", "replay"])
async def test_a_loaders_notice_is_told_and_stays(live: bool) -> None:
    outside = surroundings(run_with_notice()[:-1], FakeEngineLink(Status("running", "generating")))
    app = AgentRMApp(outside, **({"plan": fake_plan()} if live else {"replay": Path("x.jsonl")}), tick=False)
    async with app.run_test(size=(160, 40), notifications=True) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert [note.message for note in app._notifications] == [NOTICE]
        assert NOTICE[:12] in app.screen.query_one(Budget).render().plain
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert NOTICE in app.screen._text(120).plain


LOUD = "http://127.0.0.1:8000/v1 takes no temperature, so it samples with its own in place of 0.7"


def run_with_findings() -> list[ev.AnyEvent]:
    run = FakeRun().load().start_episode()
    run.add(ev.Noticed(what="policy", notice=LOUD, loud=True))
    run.add(ev.Noticed(what="policy", notice="http://127.0.0.1:8000/v1 takes no seed"))
    return run.beam(2).finish().events


@pytest.mark.parametrize("display", [PlainDisplay, ProgressDisplay])
def test_what_a_model_finds_out_is_printed_and_what_changes_results_again_at_the_end(
    display: type[PlainDisplay | ProgressDisplay],
) -> None:
    lines: list[str] = []
    shown = display(lines.append)
    for event in run_with_findings():
        shown.show(event)
    shown.close()
    assert [line for line in lines if "takes no" in line] == [
        f"warning: {LOUD}",
        "note: http://127.0.0.1:8000/v1 takes no seed",
        f"warning: {LOUD}",
    ]
    assert lines[-1] == f"warning: {LOUD}"


async def test_what_changes_results_stays_on_the_screen() -> None:
    app = AgentRMApp(surroundings(run_with_findings()), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(200, 40), notifications=True) as pilot:
        await pilot.pause()
        severities = {note.message: note.severity for note in app._notifications}
        assert severities == {LOUD: "error", "http://127.0.0.1:8000/v1 takes no seed": "warning"}
        assert LOUD[:40] in app.screen.query_one(Budget).render().plain


@pytest.mark.parametrize("width", [80, 120])
async def test_a_rate_limit_is_shown_with_its_reason(width: int) -> None:
    words = "waiting for the server: 429 Rate limit reached for requests, 7 s"
    outside = surroundings(run_with_notice()[:-1], FakeEngineLink(Status("running", words, 1, 4)))
    app = AgentRMApp(outside, plan=fake_plan(), tick=False)
    async with app.run_test(size=(width, 40)) as pilot:
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert words in app.screen.query_one(Budget).render().plain


def test_without_a_screen_a_wait_is_said_once_in_a_while() -> None:
    lines: list[str] = []
    seconds = [0.0]
    waits = Waits(lines.append, lambda: seconds[0])
    said = [
        "429 slow down, used 1,200.5, 9 s",
        "429 slow down, used 7, 8 s",
        "Loading, 2 s",
        "429 slow down, used 1, 7 s",
    ]
    for now, words in enumerate(said):
        seconds[0] = now
        waits.tell(f"waiting for the server: {words}")
    seconds[0] = 31.0
    waits.tell("waiting for the server: 429 slow down, used 3, 30 s")
    assert [line.rpartition(": ")[2] for line in lines] == [said[0], said[2], "429 slow down, used 3, 30 s"]


async def test_a_later_notice_takes_the_budget_line_and_help_keeps_both() -> None:
    run = FakeRun().load(NOTICE).start_episode()
    run.add(ev.Truncated(episode="e0", what="policy", dropped=3))
    app = AgentRMApp(surroundings(run.events), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(160, 40)) as pilot:
        await pilot.pause()
        assert "policy: context full" in app.screen.query_one(Budget).render().plain
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        shown = app.screen._text(120).plain
        assert shown.index(NOTICE) < shown.index("context full")
