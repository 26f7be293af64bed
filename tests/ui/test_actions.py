"""The action registry: each screen's keys, palette, help and docs come from its one file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_run import finished_run, surroundings
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Footer, Static

from agentrm_tui.ui import actions
from agentrm_tui.ui.actions import SCREENS, bindings, keys_markdown
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.keys.action import Action, PaneHelp, ScreenActions
from agentrm_tui.ui.keys.episode import EPISODE
from agentrm_tui.ui.palette import ActionCommands
from agentrm_tui.ui.screens.episode import EpisodeScreen
from agentrm_tui.ui.screens.help import HelpScreen
from agentrm_tui.ui.screens.launcher import Launcher
from agentrm_tui.ui.session import Facts


class FakeFacts(NamedTuple):
    """Facts of a screen that is not the episode screen."""

    sorted: bool


FAKE = ScreenActions(
    "study",
    "The study screen",
    ("Rows",),
    (
        Action("sort", "s", "Sort", "Sort the rows.", lambda facts: not facts.sorted, footer=True, group="Rows"),
        Action("undo", "z", "Undo", "Take the sorting back.", lambda facts: facts.sorted, group="Rows"),
        Action("app.help", "f1", "Help", "List the keys.", group="Rows"),
    ),
    {"rows": PaneHelp("Rows", "One row for each run.")},
)


def fake_screen() -> Screen[None]:
    """A third screen: nothing but its actions and what they do."""

    class StudyScreen(Screen[None]):
        BINDINGS = bindings("study")
        facts = FakeFacts(sorted=False)

        def compose(self) -> ComposeResult:
            yield Static("rows")
            yield Footer()

        def action_sort(self) -> None:
            self.facts = FakeFacts(sorted=True)

    return StudyScreen()


def replay_app() -> AgentRMApp:
    return AgentRMApp(surroundings(finished_run()), replay=Path("x.jsonl"), tick=False)


async def palette_of(pilot: Pilot[int]) -> list[str]:
    await pilot.pause()
    return [item.name for item in ActionCommands(pilot.app.screen)._offered()]


async def test_a_third_screen_costs_its_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(actions.SCREENS, "study", FAKE)
    app = replay_app()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        screen = fake_screen()
        await app.push_screen(screen)
        assert (await palette_of(pilot))[0] == "Sort the rows  (s)"
        assert not any("Pause" in name or "sorting back" in name for name in await palette_of(pilot))
        await pilot.press("s")
        assert "Take the sorting back  (z)" in await palette_of(pilot)
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)
        shown = app.screen._text(80).plain
        assert "Sort the rows." in shown and "the recording" not in shown
    assert "## The study screen" in keys_markdown() and "| `s` | Rows | Sort the rows. |" in keys_markdown()


def test_no_key_has_two_meanings_at_once() -> None:
    """Whatever holds of a run: recordings are never live, and of everything else each may or may not be so."""
    names = [name for name in Facts._fields if name not in ("live", "replay")]
    draw = random.Random(5)
    for _ in range(3_000):
        kind = draw.choice(({}, {"live": True}, {"replay": True}))
        facts = Facts(**kind, **{name: draw.random() < 0.5 for name in names})
        keys = [action.key for action in EPISODE.actions if action.applies(facts)]
        assert len(keys) == len(set(keys))


async def test_the_palette_offers_only_what_applies() -> None:
    app = replay_app()
    async with app.run_test(size=(120, 40)) as pilot:
        names = await palette_of(pilot)
        assert any("Play the recording" in name for name in names)
        assert not any("Pause at the next token" in name for name in names)
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert type(app.screen).__name__ == "CommandPalette"


async def test_the_launcher_has_a_palette_and_help(tmp_path: Path) -> None:
    app = AgentRMApp(surroundings([], folder=tmp_path), tick=False)
    async with app.run_test(size=(100, 40)) as pilot:
        names = await palette_of(pilot)
        assert any("Start the run" in name for name in names) and not any("next field" in name for name in names)
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)
        assert "ctrl+s" in app.screen._text(80).plain


@pytest.mark.parametrize(("name", "screen"), [("episode", EpisodeScreen), ("launcher", Launcher)])
def test_every_action_is_there_and_means_one_thing(name: str, screen: type[Screen[None]]) -> None:
    keys = SCREENS[name]
    assert [binding.key for binding in screen.BINDINGS] == [action.key for action in keys.actions]
    assert {action.group for action in keys.actions} <= set(keys.groups)
    pairs = [(action.key, action.group == "Recording") for action in keys.actions]
    assert len(set(pairs)) == len(pairs)
    for action in keys.actions:
        owner, _, method = ("", "", action.id) if "." not in action.id else action.id.partition(".")
        assert hasattr(AgentRMApp if owner == "app" else screen, "action_" + method.partition("(")[0]), action.id
