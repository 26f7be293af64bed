"""Workers end with the process that started them, however it ends, and nothing half written is read afterwards."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentrm_trainer.workflow import plays
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.workspace import clear_leftovers, partial_path


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes that are not its own, as Linux can")
@pytest.mark.parametrize("kind", ["system", "pipe", "training"])
def test_workers_end_with_a_parent_that_is_killed(make_workspace, kind: str) -> None:
    workspace = make_workspace()
    if kind == "training":
        run_stage(workspace, "collect")
    here = Path(__file__).parent
    paths = os.pathsep.join(filter(None, (str(here), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(here / "lost_parent.py"), kind, str(workspace.out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        ends = [os.pidfd_open(worker) for worker in workers]
        parent.send_signal(signal.SIGKILL)
    waiting = select.poll()
    for end in ends:
        waiting.register(end, select.POLLIN)
    left = set(ends)
    while left and (ended := waiting.poll(20_000)):
        for end, _ in ended:
            waiting.unregister(end)
            left.remove(end)
    for end in ends:
        os.close(end)
    for worker in workers if left else []:
        os.kill(worker, signal.SIGKILL)
    assert not left, "workers live on after their parent"


def test_an_interrupted_chunk_is_no_result_under_a_smaller_budget(make_workspace, monkeypatch) -> None:
    """`explore` died inside its third chunk; its time is up in the next sitting."""
    workspace = make_workspace(explore={"trees": 0, "max_minutes": 60.0, "dev_samples": 0})
    for stage in ("collect", "sft"):
        run_stage(workspace, stage)
    plain, begun, left = plays.open_run, [], [5]

    def counted(plan, path, **options):
        begun.append(path)
        return plain(plan, path, **options)

    def die() -> None:
        if len(begun) == 3:
            left[0] -= 1
            if not left[0]:
                raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(plays, "open_run", counted)
        patch.setattr(plays, "check_stop_here", die)
        with pytest.raises(SystemExit):
            run_stage(workspace, "explore")
    folder = workspace.folder("explore")
    assert len(list((folder / "runs").rglob("*"))) == 3
    half = begun[2].read_bytes()
    run_stage(make_workspace(resume=True, explore={"trees": 0, "max_minutes": 1e-9, "dev_samples": 0}), "explore")
    assert workspace.done("explore").figures == {"trees": {"ladder": 8}, "initial_states": 8}
    assert begun[2].read_bytes() == half, "no result, and kept for a sitting that has time for it"
    run_stage(workspace, "label")
    assert workspace.done("label").figures["trees"] == 8


def test_what_a_killed_process_left_is_cleared_or_put_back(tmp_path) -> None:
    for name in ("checkpoint", ".checkpoint.new", ".policy.old", ".backbone.old", "backbone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    partial_path(tmp_path / "checkpoint" / "model.safetensors").write_text("half")
    partial_path(tmp_path / "checkpoint" / "run.jsonl").write_text("to be resumed")
    (tmp_path / ".lock").write_text("")
    clear_leftovers(tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"checkpoint/file", "checkpoint/.run.jsonl.part", "policy/file", "backbone/file", ".lock"}
    assert (tmp_path / "policy" / "file").read_text() == ".policy.old"
    assert (tmp_path / "backbone" / "file").read_text() == "backbone"


def test_no_pattern_for_results_matches_a_part(tmp_path) -> None:
    for name in ("maze-0000000.jsonl", "maze.json", "model.safetensors"):
        partial = partial_path(tmp_path / name)
        partial.write_text("half")
        assert not list(tmp_path.glob(f"*{Path(name).suffix}"))
        assert not list(tmp_path.glob(f"{Path(name).stem}*"))
