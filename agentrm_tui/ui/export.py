"""Pictures of a run without a terminal: the episode screen of a run file as SVG."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentrm_tui.runs.store import RunReader
from agentrm_tui.ui.app import AgentRMApp, real_surroundings
from agentrm_tui.ui.screens.episode import EpisodeScreen


def export_svg(run_path: Path, size: tuple[int, int], out: Path, at_event: int | None = None) -> None:
    """Draw a run file's episode screen.

    Args:
        run_path: A run file, finished or not.
        size: Columns and lines of the terminal that is drawn.
        out: Where the SVG goes.
        at_event: Stand after so many events; None is the end.

    Raises:
        DataError: `run_path` is not a run file.
    """
    out.write_text(asyncio.run(_draw(run_path, size, at_event)), encoding="utf-8")


async def _draw(run_path: Path, size: tuple[int, int], at_event: int | None) -> str:
    RunReader(run_path).poll()
    surroundings = real_surroundings()
    app = AgentRMApp(surroundings, replay=run_path, tick=False)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = app.screen
        if isinstance(screen, EpisodeScreen):
            _read_on(screen)
            if at_event is not None:
                screen.session.feed.seek(at_event)
                screen.refresh_run()
                _read_on(screen)
        await pilot.pause()
        return app.export_screenshot(title="agentrm-tui")


def _read_on(screen: EpisodeScreen) -> None:
    """Go to where the screen should stand; no timer does it here."""
    while screen.session.feed.behind:
        screen.refresh_run()
