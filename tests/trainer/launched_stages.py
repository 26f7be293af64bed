"""What the launcher starts twice in a test: stages of the tiny configuration in a folder, on the fake environment."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import torch
from conftest import TINY
from fake_ladder import FakeEntryPoint, FakeLadder

from agentrm_trainer.config import Config
from agentrm_trainer.fitting.processes import launched_processes
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.progress import PlainDisplay
from agentrm_trainer.workflow.workspace import Workspace
from agentrm_tui.environments import registry

if __name__ == "__main__":
    if launched_processes() != 2:
        raise SystemExit(f"launched in {launched_processes()} processes instead of 2")
    registry._installed = lambda: {"ladder": FakeEntryPoint(FakeLadder)}  # type: ignore[assignment,dict-item,return-value]
    torch.set_num_threads(1)
    workspace = Workspace(msgspec.convert(TINY, Config), Path(sys.argv[1]), PlainDisplay())
    for name in sys.argv[2:]:
        run_stage(workspace, name)
