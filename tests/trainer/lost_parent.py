"""What a test kills: a process that says who its workers are, and waits for them for ever."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
from pathlib import Path

import msgspec
from conftest import TINY

from agentrm_trainer.config import Config
from agentrm_trainer.workflow import launching, workers
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.progress import PlainDisplay
from agentrm_trainer.workflow.workspace import Workspace


def work_for_ever(by_pipe_alone: bool) -> None:
    """A job that no signal ends; without the help of the system it is the pipe that tells of the parent's end."""
    if by_pipe_alone:
        ctypes.CDLL(None).prctl(1, 0)
    print(os.getpid(), flush=True)
    threading.Event().wait()


def main(kind: str, out: str) -> None:
    """Start workers as the chunks of a stage, or the processes of a training in a folder with collected tasks."""
    raw = {**TINY, "sft": {**TINY["sft"], "max_tokens": 10**9, "processes": 2}}
    workspace = Workspace(msgspec.convert(raw, Config), Path(out), PlainDisplay())
    if kind != "training":
        list(workers.run_chunks(workspace, [kind == "pipe"] * 2, work_for_ever, 2))
    plain = launching._follow

    def follow(*arguments: object) -> None:
        for child in multiprocessing.active_children():
            print(child.pid, flush=True)
        plain(*arguments)  # type: ignore[arg-type]

    launching._follow = follow
    run_stage(workspace, "sft")


if __name__ == "__main__":
    main(*sys.argv[1:])
