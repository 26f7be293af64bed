"""The way into the screen: Textual is imported with the garbage collector off, so that the first paint comes sooner.

Importing and building make some hundred thousand objects that live as long as the program. Looking through them again
and again costs a sixth of the start, and later pauses in the middle of a search; so they are set aside once.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from agentrm_models.errors import DataError

if TYPE_CHECKING:
    from agentrm_tui.runs.plan import RunPlan


_A_GLANCE = 65_536
"""Bytes that are read before the screen is opened: whether it is a run at all."""


def run_app(
    plan: RunPlan | None = None, *, replay: Path | None = None, attach: Path | None = None, paused: bool = False
) -> int:
    """Show the screen until it is left; the process's exit code.

    Args:
        plan: Start this run at once; None without `replay` and `attach` opens the launcher.
        replay: A run file to look at.
        attach: A run file to follow while it grows.
        paused: Start the plan paused.

    Raises:
        DataError: `replay` or `attach` is not a run file or damaged, or `replay` holds no event.
    """
    gc.disable()
    try:
        from agentrm_tui.runs.store import RunReader
        from agentrm_tui.ui.app import AgentRMApp, real_surroundings

        for path in filter(None, (replay, attach)):
            if next(RunReader(path, _A_GLANCE).read_all(), None) is None and path is replay:
                raise DataError(f"{path}: not a run file of agentrm-tui: it holds no event")
        app = AgentRMApp(
            real_surroundings(),
            plan=plan,
            replay=replay,
            attach=attach,
            paused=paused,
            in_terminal=True,
            painted=set_aside,
        )
        try:
            code = app.run()
        finally:
            app.close_engines()
        if app.failure is not None:
            raise app.failure
    finally:
        gc.enable()
    return code if code is not None else app.return_code or 0


def set_aside() -> None:
    """Everything made so far stays: the collector need not look at it again."""
    gc.freeze()
    gc.enable()
