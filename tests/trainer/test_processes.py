from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from agentrm_models.errors import InterruptedRun, UsageError
from agentrm_trainer.fitting.processes import even_shares, refuse_processes
from agentrm_trainer.workflow import launching, pipeline
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.workspace import read_json


def launch(folder: Path, stage: str) -> None:
    """Run a stage on two processes, which talk over loopback."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    paths = os.pathsep.join(filter(None, (str(here), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, str(here / "launched_stages.py"), str(folder), stage],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def assert_close(one: Path, other: Path) -> None:
    """Equal but for rounding: sums of two halves are not rounded as one sum."""
    left, right = load_file(one), load_file(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert (tensor.float() - right[name].float()).abs().max() <= 1e-4, name


def test_a_launcher_starts_two_processes_that_train_the_model_that_one_does(make_workspace) -> None:
    alone = make_workspace("alone")
    run_stage(alone, "collect")
    together = make_workspace("together")
    shutil.copytree(alone.folder("collect"), together.folder("collect"))
    run_stage(alone, "sft")
    launch(together.out, "sft")
    figures = [read_json(workspace.folder("sft") / "done.json")["figures"] for workspace in (alone, together)]
    assert figures[0]["tokens"] == figures[1]["tokens"] and figures[0]["steps"] == figures[1]["steps"] > 10
    assert_close(*(workspace.folder("sft") / "checkpoint" / "model.safetensors" for workspace in (alone, together)))


def test_a_stage_starts_its_own_processes(make_workspace, monkeypatch) -> None:
    alone = make_workspace("alone")
    for stage in ("collect", "sft", "explore", "label"):
        run_stage(alone, stage)
    together = make_workspace("together", fit={"processes": 2})
    for name in ("collect", "sft", "explore", "label"):
        shutil.copytree(alone.folder(name), together.folder(name))
    run_stage(alone, "fit")
    run_stage(together, "fit")
    assert_close(*(workspace.folder("fit") / "checkpoint" / "model.safetensors" for workspace in (alone, together)))
    assert (together.folder("fit") / "reward" / "model.safetensors").exists()
    assert not multiprocessing.active_children()
    monkeypatch.setattr(pipeline, "run_in_processes", None)
    run_stage(make_workspace("together", resume=True, fit={"processes": 2}), "fit")


def test_a_stage_in_several_processes_is_stopped_and_gone_on_with(make_workspace) -> None:
    whole = make_workspace("whole")
    run_stage(whole, "collect")
    stopped = make_workspace("stopped", sft={"processes": 2})
    shutil.copytree(whole.folder("collect"), stopped.folder("collect"))
    stopped.stop()
    with pytest.raises(InterruptedRun, match="--resume"):
        run_stage(stopped, "sft")
    assert not (stopped.folder("sft") / "done.json").exists()
    assert not multiprocessing.active_children()
    run_stage(whole, "sft")
    run_stage(make_workspace("stopped", resume=True, sft={"processes": 2}), "sft")
    assert_close(*(workspace.folder("sft") / "checkpoint" / "model.safetensors" for workspace in (whole, stopped)))


def test_an_error_of_one_process_ends_all(make_workspace) -> None:
    workspace = make_workspace(sft={"processes": 2}, model={"context": 16})
    run_stage(workspace, "collect")
    with pytest.raises(UsageError, match="no trajectory fits the context"):
        run_stage(workspace, "sft")
    assert not multiprocessing.active_children()


def test_a_process_that_does_not_leave_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "GRACE_SECONDS", 0.2)
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    waiting = [pool.submit(time.sleep, 600) for _ in range(2)]
    launching._dismiss(pool)
    assert all(future.done() for future in waiting)
    assert not multiprocessing.active_children()


def test_other_stages_are_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refuse_processes("sft")
    with pytest.raises(UsageError, match="explore was launched in 2 processes"):
        refuse_processes("explore")


@given(sizes=st.lists(st.integers(1, 2_000), max_size=12), count=st.integers(1, 4))
def test_a_batch_is_divided_evenly(sizes: list[int], count: int) -> None:
    shares = even_shares(list(enumerate(sizes)), lambda part: part[1], count)
    assert sorted(part for share in shares for part in share) == list(enumerate(sizes))
    filled = [sum(size for _, size in share) for share in shares]
    assert max(filled) - min(filled) <= max(sizes, default=0)
