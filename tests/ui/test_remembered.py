"""What is there again at the next start: the theme, and what was filled in."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import surroundings
from textual.widgets import Input

from agentrm_tui.ui.app import DEFAULT_THEME, AgentRMApp
from agentrm_tui.ui.choices import Choices, load_choices, save_choices


def started(tmp_path: Path) -> AgentRMApp:
    return AgentRMApp(surroundings([])._replace(memory=tmp_path / "memory.json"), tick=False)


async def test_a_theme_that_was_chosen(tmp_path: Path) -> None:
    app = started(tmp_path)
    async with app.run_test() as pilot:
        assert app.theme == DEFAULT_THEME and not (tmp_path / "memory.json").exists()
        app.theme = "nord"
        await pilot.pause()
    save_choices(tmp_path / "memory.json", Choices(environment="maze"))  # a run was started
    assert load_choices(tmp_path / "memory.json") == Choices(environment="maze", theme="nord")
    assert started(tmp_path).theme == "nord"


@pytest.mark.parametrize("stored", [b'{"theme": "no-such-theme"}', b"{", b"\xff", b'{"theme": 3}'])
def test_a_memory_that_cannot_be_used(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "memory.json").write_bytes(stored)
    assert started(tmp_path).theme == DEFAULT_THEME


async def test_what_was_typed_before_leaving(tmp_path: Path) -> None:
    app = started(tmp_path)
    async with app.run_test() as pilot:
        await pilot.pause()
        app.screen.query_one("#policy", Input).value = "http://localhost:8000/v1"
        await pilot.press("escape")
    assert load_choices(tmp_path / "memory.json").policy == "http://localhost:8000/v1"
