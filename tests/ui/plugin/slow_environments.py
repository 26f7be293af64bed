"""A maze whose engine loads it only when it is told to, through a named pipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agentrm_tui.environments.maze import MazeEnvironment


class FakeSlowMaze(MazeEnvironment):
    """In the engine's process alone, making one waits until somebody writes to `FAKE_SLOW_PIPE`."""

    def __init__(self) -> None:
        if "agentrm_tui.engine" in sys.orig_argv:
            Path(os.environ["FAKE_SLOW_PIPE"]).read_bytes()
        super().__init__()
