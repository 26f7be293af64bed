"""What a loader says about a model reaches whoever watches, for as long as they watch."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeEngineLink, FakeRun, fake_plan, surroundings

from agentrm_tui.engine.commands import Status
from agentrm_tui.headless.display import PlainDisplay, ProgressDisplay
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
